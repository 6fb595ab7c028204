"""The face tasks: all in which the pipelines differ. Importing this imports no TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass

from data_validation.errors import InputError, hint
from data_validation.labels import EMOTIONS, GENDERS
from pipelines.task_settings import (
    AgeSettings,
    DetectionSettings,
    EmotionSettings,
    GenderSettings,
    Settings,
    SynthesisSettings,
    VerificationSettings,
)


@dataclass(frozen=True)
class FaceTask:
    """One facial application as a pipeline.

    Attributes:
        name: Short name: pipeline, model, MLflow experiment and folder are called so.
        title: A line for people.
        label: Feature with the label; `face` where a picture of one is all that is learnt from.
        classes: Class names in the model's order; empty where the label is a number.
        assessment: How the model is judged and reported, see `components.evaluation.assessments`.
        schema: Curated schema, file in `data_validation/schemas`.
        module: Trainer module, dotted, with `preprocessing_fn` and `run_fn`.
        settings: Kind of its settings.
        slices: Features by which metrics are sliced.
        sample: Name of the drawn sample data; tasks of the same name share it.
        sample_images: How many images the demo draws.
        real_data: Data sets that it is made for, for help texts.
    """

    name: str
    title: str
    label: str
    classes: tuple[str, ...]
    assessment: str
    schema: str
    module: str
    settings: type[Settings]
    slices: tuple[str, ...]
    sample: str
    sample_images: int
    real_data: str


TASKS: Mapping[str, FaceTask] = {
    task.name: task
    for task in (
        FaceTask(
            name="detection",
            title="Detection: faces and five points of each",
            label="boxes",
            classes=(),
            assessment="detection",
            schema="detection.pbtxt",
            module="trainers.detection",
            settings=DetectionSettings,
            slices=(),  # boxes are always told by size
            sample="scenes",
            sample_images=400,
            real_data="WIDER FACE, CNN_FacePoint",
        ),
        FaceTask(
            name="verification",
            title="Verification: do two faces show one person?",
            label="identity",
            classes=(),
            assessment="pairs",
            schema="verification.pbtxt",
            module="trainers.verification",
            settings=VerificationSettings,
            slices=(),  # pairs are always told by data set
            sample="identities",
            sample_images=1200,
            real_data="identity folders, AT&T, LFW pairs",
        ),
        FaceTask(
            name="emotion",
            title="Facial emotion: seven expressions",
            label="emotion",
            classes=EMOTIONS,
            assessment="classification",
            schema="emotion.pbtxt",
            module="trainers.emotion",
            settings=EmotionSettings,
            slices=("source", "copy_of_training"),
            sample="expressions",
            sample_images=2000,
            real_data="FER-2013, FERG-DB",
        ),
        FaceTask(
            name="gender",
            title="Gender: the data sets' binary labels",
            label="gender",
            classes=GENDERS,
            assessment="classification",
            schema="gender.pbtxt",
            module="trainers.gender",
            settings=GenderSettings,
            slices=("source", "gender", "age_group", "race"),
            sample="people",
            sample_images=1200,
            real_data="IMDB-WIKI, UTKFace",
        ),
        FaceTask(
            name="age",
            title="Age: years, with an interval",
            label="age",
            classes=(),
            assessment="age",
            schema="age.pbtxt",
            module="trainers.age",
            settings=AgeSettings,
            slices=("source", "gender", "age_group", "race"),
            sample="people",
            sample_images=1200,
            real_data="IMDB-WIKI, UTKFace",
        ),
        FaceTask(
            name="synthesis",
            title="Synthesis: faces of persons who do not exist",
            label="face",
            classes=(),
            assessment="synthesis",
            schema="synthesis.pbtxt",
            module="trainers.synthesis",
            settings=SynthesisSettings,
            slices=(),  # distances are between sets of images
            sample="celebrities",
            sample_images=1600,
            real_data="CelebA",
        ),
    )
}


def get_task(name: str) -> FaceTask:
    """Looks a task up.

    Args:
        name: Its name.

    Returns:
        The task.

    Raises:
        InputError: There is none of that name.
    """
    if name not in TASKS:
        raise InputError(f"task {name!r}: expected {', '.join(TASKS)}{hint(name, TASKS)}")
    return TASKS[name]
