"""The six applications, and the page that runs all that work on a photo, as pages show them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Application:
    """An application.

    Attributes:
        name: In addresses, and of the task.
        title: In the bar.
        question: What it answers, in a short sentence.
        tasks: Of FACE_TASKS, which models are asked about each face.
        pictures: How many pictures it takes: 0, 1 or 2.
    """

    name: str
    title: str
    question: str
    tasks: tuple[str, ...] = ()
    pictures: int = 1


DETECTION = Application("detection", "Detection", "Where are the faces, and their eyes, noses and mouths?")
VERIFICATION = Application(
    "verification", "Verification", "Do two pictures show the same person?", pictures=2
)
GENDER = Application("gender", "Gender", "Which of the data sets' two labels fits each face?", ("gender",))
AGE = Application("age", "Age", "How old does each face look?", ("age",))
EMOTION = Application("emotion", "Emotion", "Which of seven expressions does each face show?", ("emotion",))
SYNTHESIS = Application("synthesis", "Synthesis", "What do persons who do not exist look like?", pictures=0)
EVERYTHING = Application(
    "everything", "Everything", "All of it, about one photo.", ("gender", "age", "emotion")
)

APPLICATIONS = (DETECTION, VERIFICATION, GENDER, AGE, EMOTION, SYNTHESIS)
BY_NAME = {application.name: application for application in (*APPLICATIONS, EVERYTHING)}
ONE_PICTURE = tuple(each for each in BY_NAME.values() if each.pictures == 1)
