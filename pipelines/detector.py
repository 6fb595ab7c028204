"""The pushed detection model in this process: the faces of a picture, without a server."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from data_validation.errors import InputError, one_line
from pipelines.pictures import as_png
from pipelines.pushed_model import PushedModel, load_signature, need_pushed, read_object
from pipelines.settings import Workspace

if TYPE_CHECKING:
    from trainers.cascade import CascadeSettings

MODEL = "detection"
LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
"""Names of a face's points in their order; left and right as seen."""
_SIGNATURE = "detect"
_OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_keypoints")
_SETTINGS = Path("assets.extra") / "cascade.json"
_LONGEST_SIDE = "longest_side"


@dataclass(frozen=True)
class FoundFace:
    """A face in a picture; places in pixels from the left and upper edge (the first pixel is 0 to 1).

    Attributes:
        box: Left, top, right and bottom, inside of the picture.
        score: How sure the model is, 0 to 1.
        points: x and y of eyes, nose and corners of the mouth, as LANDMARKS names them.
    """

    box: tuple[float, float, float, float]
    score: float
    points: tuple[tuple[float, float], ...]

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


class Detector:
    """Finds faces with one version of the model; `load_detector` finds the newest.

    Attributes:
        version: Name and version, such as "detection/1764000000".
        source: What it was trained on: `real` or `sample`, drawn faces.
        settings: The model's own settings.
        longest_side: Pixels; larger pictures are made smaller first, and `min_face` is of the smaller one.
    """

    def __init__(self, pushed: PushedModel) -> None:
        """Loads the model.

        Args:
            pushed: A version, with the SavedModel and `assets.extra/cascade.json`.

        Raises:
            InputError: The model cannot be loaded or finds no faces, or its settings cannot be read.
        """
        self.version = f"{MODEL}/{int(pushed.folder.name)}"
        self.source = pushed.source
        self.settings, self.longest_side = _read_settings(pushed.folder / _SETTINGS)
        self._model, self._signature = load_signature(pushed.folder, _SIGNATURE)
        found = self._signature.structured_outputs
        if not set(_OUTPUTS) <= set(found):
            raise InputError(
                f"{pushed.folder}: {_SIGNATURE}: expected the outputs {', '.join(_OUTPUTS)}, "
                f"found {', '.join(sorted(found))}"
            )

    def find(
        self, image: Image.Image, name: str, settings: "CascadeSettings | None" = None
    ) -> tuple[FoundFace, ...]:
        """Finds the faces of a picture.

        Args:
            image: 8-bit RGB, upright: `pipelines.pictures.upright` makes it so.
            name: What messages call it.
            settings: `min_face`, `factor` and `thresholds` to go by; None for the model's own.

        Returns:
            The faces, the highest score first; none is no error.

        Raises:
            InputError: The model fails on it.
        """
        import tensorflow as tf

        chosen = settings or self.settings
        try:
            # Encoded again, because the model takes settings with encoded images only.
            answer = self._signature(
                image_bytes=tf.constant([as_png(image)]),
                min_face=tf.constant([chosen.min_face], tf.float32),
                factor=tf.constant([chosen.factor], tf.float32),
                thresholds=tf.constant([chosen.thresholds], tf.float32),
            )
        except tf.errors.OpError as error:
            raise InputError(f"{name}: the model fails on it: {one_line(error)}") from error
        return _faces({key: answer[key].numpy()[0] for key in _OUTPUTS}, image.size)


def load_detector(workspace: Workspace) -> Detector:
    """Loads the newest pushed detection model: of real data, or else of drawn sample data.

    Args:
        workspace: Where it was pushed.

    Raises:
        InputError: None has been pushed, or it cannot be loaded.
    """
    return Detector(need_pushed(workspace, MODEL))


def _faces(answer: dict[str, np.ndarray], size: tuple[int, int]) -> tuple[FoundFace, ...]:
    """Reads the model's answer for one picture of this width and height."""
    count = int(answer["num_detections"])
    # y before x, as shares of height and width.
    scale = np.array(size[::-1], np.float64)
    boxes = answer["detection_boxes"][:count] * np.tile(scale, 2)
    points = (answer["detection_keypoints"][:count] * scale)[..., ::-1]
    return tuple(
        FoundFace((left, top, right, bottom), score, tuple((x, y) for x, y in five))
        for (top, left, bottom, right), score, five in zip(
            boxes.tolist(), answer["detection_scores"][:count].tolist(), points.tolist(), strict=True
        )
    )


def _read_settings(file: Path) -> tuple["CascadeSettings", int]:
    """Returns the model's settings, and the longest side that it looks at."""
    values: dict[str, Any] = read_object(file)
    # It imports TensorFlow.
    from trainers.cascade import CascadeSettings

    longest_side = values.pop(_LONGEST_SIDE, None)
    if not isinstance(longest_side, int) or longest_side < 1:
        raise InputError(f"{file}: {_LONGEST_SIDE}: expected pixels, found {longest_side!r}")
    try:
        settings = CascadeSettings(**{**values, "thresholds": tuple(values["thresholds"])})
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file}: expected the settings of a cascade: {one_line(error)}") from error
    return settings, longest_side
