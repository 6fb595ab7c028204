"""Finds faces in pictures with a trained detection model: the same for reading data and for serving.

A place in a picture is told by the edges of pixels: the first pixel is from 0 to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from components.alignment import align
from data_validation.errors import InputError, one_line
from data_validation.image_quality import UnreadableImageError, read_size
from trainers.imaging import decode

SIGNATURE = "pixels"
# From the edges of pixels, which detectors tell, to their middles, from which alignment counts.
_TO_MIDDLE = 0.5


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    Attributes:
        box: Left, top, right and bottom edge in pixels.
        score: How sure the model is, 0 to 1.
        points: Eyes, nose and corners of the mouth, left before right as seen; float32 [5, 2], x and y in
            pixels from the middle of the first one, as `components.alignment.align` takes them.
    """

    box: tuple[float, float, float, float]
    score: float
    points: np.ndarray


class FaceFinder:
    """A detection model that is ready to answer."""

    def __init__(self, folder: Path) -> None:
        """Loads the model.

        Args:
            folder: A SavedModel of the detection task.

        Raises:
            InputError: There is no SavedModel, or it has no signature `pixels`.
        """
        try:
            # Kept: its signatures do not keep its variables alive.
            self._model = tf.saved_model.load(str(folder))
        except (OSError, tf.errors.OpError) as error:
            raise InputError(
                f"{folder}: cannot be loaded as a SavedModel: {one_line(error)[:200]}"
            ) from error
        if SIGNATURE not in self._model.signatures:
            found = ", ".join(sorted(self._model.signatures)) or "none"
            raise InputError(f"{folder}: expected a model with the signature {SIGNATURE!r}, found {found}")
        self._call = self._model.signatures[SIGNATURE]

    def find(self, rgb: np.ndarray) -> list[Face]:
        """Finds the faces of a picture, by the model's own settings.

        Args:
            rgb: uint8 [H, W, 3].

        Returns:
            The faces, the highest score first; none where the model finds none.
        """
        answer = {key: value.numpy()[0] for key, value in self._call(pixels=tf.constant(rgb[None])).items()}
        count = int(answer["num_detections"])
        height, width = rgb.shape[:2]
        # ymin, xmin, ymax, xmax and y, x, as shares of the picture.
        boxes = answer["detection_boxes"][:count, [1, 0, 3, 2]] * (width, height, width, height)
        points = answer["detection_keypoints"][:count, :, ::-1] * (width, height) - _TO_MIDDLE
        faces = [
            Face(box=(left, top, right, bottom), score=float(score), points=five.astype(np.float32))
            for (left, top, right, bottom), score, five in zip(
                boxes.tolist(), answer["detection_scores"][:count], points, strict=True
            )
        ]
        return sorted(faces, key=lambda face: -face.score)


def read_rgb(encoded: bytes) -> np.ndarray:
    """Decodes a picture as training and serving do.

    Args:
        encoded: A JPEG, PNG or GIF, in colour or grey.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UnreadableImageError: The bytes are no such picture, or it holds more than MAX_PIXELS.
    """
    read_size(encoded)  # before its pixels are in memory
    try:
        return np.asarray(decode(tf.constant(encoded), channels=3))
    except tf.errors.InvalidArgumentError as error:
        raise UnreadableImageError(f"image cannot be decoded: {error.message.splitlines()[0]}") from error


def face_at(faces: Sequence[Face], place: tuple[float, float, float, float]) -> Face | None:
    """Chooses the face that is meant, where it is known about where in the picture that is.

    A face of somebody else, or what was wrongly taken for one, may have the higher score or be larger.

    Args:
        faces: Faces of one picture.
        place: Left, top, right and bottom edge in pixels.

    Returns:
        Of the faces whose box covers the middle of the place, the one that overlaps it best (IoU); None where
        there is none.
    """
    left, top, right, bottom = place
    x, y = (left + right) / 2.0, (top + bottom) / 2.0
    there = [face for face in faces if face.box[0] <= x <= face.box[2] and face.box[1] <= y <= face.box[3]]
    return max(there, key=lambda face: _iou(face.box, place), default=None)


def cut_out(rgb: np.ndarray, face: Face) -> Image.Image:
    """Cuts a face out of its picture, aligned by its five points.

    Args:
        rgb: The picture, uint8 [H, W, 3].
        face: A face of it.

    Returns:
        A picture of 112x112 pixels in RGB, or in grey (L) where the picture has no colour.

    Raises:
        InputError: The five points are all at one place.
    """
    grey = (rgb == rgb[..., :1]).all()
    return align(Image.fromarray(rgb[..., 0] if grey else rgb), face.points)


def _iou(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Returns intersection over union of two boxes."""
    edges = zip(first[2:], second[2:], first[:2], second[:2], strict=True)
    sides = [max(0.0, min(end, other) - max(start, before)) for end, other, start, before in edges]
    shared = sides[0] * sides[1]
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - shared
    return shared / union if union > 0.0 else 0.0
