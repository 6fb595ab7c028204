"""Training of networks that tell classes apart, end to end."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from data_validation.errors import InputError
from data_validation.ingestion import Ingestion
from trainers.image_training import Recipe
from trainers.training import Monitor

MONITOR = Monitor("val_accuracy")


def check_classes(examples: Path, label: str, classes: Sequence[str]) -> None:
    """Refuses training data that lack a class, before anything is trained.

    Args:
        examples: Folder of the Examples artifact.
        label: Feature with the class name.
        classes: Class names.

    Raises:
        InputError: The training split has no example of a class.
    """
    found = Ingestion.load(examples).distribution(label, "train")
    missing = [name for name in classes if not found[name]]
    if missing:
        raise InputError(
            f"{label}: expected {' and '.join(classes)} in the training split, found none of "
            f"{', '.join(missing)}"
        )


def recipe(
    label: str, classes: Sequence[str], build: Callable[[], keras.Model], settings: Mapping[str, Any]
) -> Recipe:
    """Describes the training of a classifier: cross-entropy, judged by accuracy.

    Args:
        label: Transformed feature with the number of the class, int64 [N].
        classes: Class names in the order of the logits.
        build: Builds the network, see `Recipe`.
        settings: `label_smoothing`, the share of the label's mass that is spread over all classes (Szegedy et
            al., "Rethinking the Inception Architecture", CVPR 2016).

    Returns:
        The recipe.
    """
    return Recipe(
        label=label,
        build=build,
        target=lambda numbers: tf.one_hot(numbers, len(classes)),
        loss=lambda: keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=settings["label_smoothing"]
        ),
        metrics=lambda: ["accuracy"],
        monitor=MONITOR,
    )
