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
        verb: On the button that starts it.
        waiting: What the result panel says before there is one.
    """

    name: str
    title: str
    question: str
    tasks: tuple[str, ...] = ()
    pictures: int = 1
    verb: str = "Assess"
    waiting: str = "Choose a picture, and what the models see in it appears here."

    @property
    def icon(self) -> str:
        """The template of its drawing."""
        return f"portal/_icon_{self.name}.html"

    @property
    def result_page(self) -> str:
        """The address's name of a result about a picture."""
        return f"{self.name}-result"


DETECTION = Application(
    "detection", "Detection", "Where are the faces, and their eyes, noses and mouths?", verb="Find faces"
)
VERIFICATION = Application(
    "verification",
    "Verification",
    "Do two pictures show the same person?",
    pictures=2,
    verb="Compare",
    waiting="Choose two pictures, and how alike their faces are appears here.",
)
GENDER = Application("gender", "Gender", "Which of the data sets' two labels fits each face?", ("gender",))
AGE = Application("age", "Age", "How old does each face look?", ("age",))
EMOTION = Application("emotion", "Emotion", "Which of seven expressions does each face show?", ("emotion",))
SYNTHESIS = Application(
    "synthesis",
    "Synthesis",
    "What do people who do not exist look like?",
    pictures=0,
    verb="Draw faces",
    waiting="Say how many, and new faces appear here.",
)
EVERYTHING = Application(
    "everything",
    "Everything",
    "Faces, gender, age and emotion, all about one photo.",
    ("gender", "age", "emotion"),
)

APPLICATIONS = (DETECTION, VERIFICATION, GENDER, AGE, EMOTION, SYNTHESIS)
BY_NAME = {application.name: application for application in (*APPLICATIONS, EVERYTHING)}
ONE_PICTURE = tuple(each for each in BY_NAME.values() if each.pictures == 1)
