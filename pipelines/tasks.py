"""The face tasks: all in which the pipelines differ. Importing this imports no TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass

from data_validation.errors import InputError, hint
from data_validation.labels import EMOTIONS


@dataclass(frozen=True)
class FaceTask:
    """One facial application as a pipeline.

    Attributes:
        name: Short name: pipeline, model, MLflow experiment and folder are called so.
        title: A line for people.
        label: Feature with the label.
        classes: Class names in the model's order.
        schema: Curated schema, file in `data_validation/schemas`.
        module: Trainer module, dotted, with `preprocessing_fn` and `run_fn`.
        slices: Features by which metrics are sliced.
        sample_images: How many images the demo draws.
    """

    name: str
    title: str
    label: str
    classes: tuple[str, ...]
    schema: str
    module: str
    slices: tuple[str, ...]
    sample_images: int


TASKS: Mapping[str, FaceTask] = {
    task.name: task
    for task in (
        FaceTask(
            name="emotion",
            title="Facial emotion: seven expressions",
            label="emotion",
            classes=EMOTIONS,
            schema="emotion.pbtxt",
            module="trainers.emotion",
            slices=("source", "copy_of_training"),
            sample_images=2000,
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
