"""A pushed classifier in this process: classes of faces, without a server."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data_validation.errors import InputError, one_line
from pipelines.pushed_model import PushedModel, load_signature

_SIGNATURE, _INPUT, _CLASSES, _SCORES = "serving_default", "image_bytes", "classes", "scores"
_BATCH = 32


class Classifier:
    """Names the class of faces with one version of a model of the tasks gender or emotion.

    Attributes:
        version: Name and version, such as "gender/1764000000".
        source: What it was trained on: `real` or `sample`, drawn faces.
    """

    def __init__(self, pushed: PushedModel, name: str) -> None:
        """Loads the model.

        Args:
            pushed: A version.
            name: The model's name.

        Raises:
            InputError: The model cannot be loaded.
        """
        self.version = f"{name}/{int(pushed.folder.name)}"
        self.source = pushed.source
        self._folder = pushed.folder
        self._model, self._signature = load_signature(pushed.folder, _SIGNATURE)

    def classify(self, images: Sequence[bytes]) -> list[str]:
        """Returns the class with the highest score of each image.

        Args:
            images: N encoded faces, JPEG, PNG or GIF.

        Raises:
            InputError: The model fails on them, or answers something else.
        """
        return [
            name
            for start in range(0, len(images), _BATCH)
            for name in self._run(images[start : start + _BATCH])
        ]

    def _run(self, images: Sequence[bytes]) -> list[str]:
        import tensorflow as tf

        try:
            answer: dict[str, Any] = self._signature(**{_INPUT: tf.constant(list(images), tf.string)})
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise InputError(f"{self._folder}: the model fails on faces: {one_line(error)}") from error
        missing = {_CLASSES, _SCORES} - set(answer)
        if missing:
            raise InputError(f"{self._folder}: {_SIGNATURE}: expected an output {min(missing)}")
        best = np.argmax(answer[_SCORES].numpy(), axis=1)
        names = answer[_CLASSES].numpy()
        return [names[row, column].decode() for row, column in enumerate(best)]
