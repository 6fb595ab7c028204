"""The pushed detection model in this process: the faces of a picture, without a server."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from data_validation.errors import InputError, one_line
from pipelines.pictures import as_png
from pipelines.pushed_model import PushedModel, load_signature, need_pushed, read_object
from pipelines.settings import Workspace

if TYPE_CHECKING:
    from components.face_finder import Face
    from trainers.cascade import CascadeSettings

MODEL = "detection"
LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
"""Names of a face's points in their order; left and right as seen."""
_SIGNATURE = "detect"
_SETTINGS = Path("assets.extra") / "cascade.json"
_LONGEST_SIDE = "longest_side"


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
        # It imports TensorFlow.
        from components.face_finder import OUTPUTS

        self.version = f"{MODEL}/{int(pushed.folder.name)}"
        self.source = pushed.source
        self.settings, self.longest_side = _read_settings(pushed.folder / _SETTINGS)
        self._model, self._signature = load_signature(pushed.folder, _SIGNATURE)
        found = self._signature.structured_outputs
        if not set(OUTPUTS) <= set(found):
            raise InputError(
                f"{pushed.folder}: {_SIGNATURE}: expected the outputs {', '.join(OUTPUTS)}, "
                f"found {', '.join(sorted(found))}"
            )

    def find(self, image: Image.Image, name: str, settings: "CascadeSettings | None" = None) -> list["Face"]:
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

        from components.face_finder import faces_of

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
        return faces_of(answer, *image.size)


def load_detector(workspace: Workspace) -> Detector:
    """Loads the newest pushed detection model: of real data, or else of drawn sample data.

    Args:
        workspace: Where it was pushed.

    Raises:
        InputError: None has been pushed, or it cannot be loaded.
    """
    return Detector(need_pushed(workspace, MODEL))


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
