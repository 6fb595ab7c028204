"""Finds faces in pictures with a trained detection model: the same for reading data and for the command line.

A place in a picture, be it an edge of a box or a point, is told from the left and upper edge of the picture:
the first pixel is from 0 to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from data_validation.errors import InputError, one_line
from data_validation.image_quality import UnreadableImageError, read_size
from serving import alignment
from trainers.imaging import decode

SIGNATURE = "pixels"
OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_keypoints")
"""What a detection model answers with, whatever it is asked by."""


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    Attributes:
        box: Left, top, right and bottom edge in pixels, inside of the picture.
        score: How sure the model is, 0 to 1.
        points: Eyes, nose and corners of the mouth, left before right as seen; float64 [5, 2], x and y in
            pixels.
    """

    box: tuple[float, float, float, float]
    score: float
    points: np.ndarray

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        return _area(self.box)


def faces_of(answer: Mapping[str, Any], width: int, height: int) -> list[Face]:
    """Reads a detection model's answer for one picture.

    Args:
        answer: What a signature of the model answers for a batch of one, see OUTPUTS: `num_detections` int32
            [1], `detection_boxes` float32 [1, K, 4] (ymin, xmin, ymax, xmax, as shares of the picture),
            `detection_scores` float32 [1, K], `detection_keypoints` float32 [1, K, 5, 2] (y, x, likewise);
            tensors or arrays.
        width: Columns of the picture.
        height: Rows of the picture.

    Returns:
        The faces, the highest score first; none is no error.
    """
    count, boxes, scores, points = (np.asarray(answer[name])[0] for name in OUTPUTS)
    edges = boxes[:count, [1, 0, 3, 2]] * np.array((width, height) * 2, np.float64)
    faces = [
        Face((left, top, right, bottom), score, five)
        for (left, top, right, bottom), score, five in zip(
            edges.tolist(),
            scores[:count].tolist(),
            alignment.in_pixels(points[:count], width, height),
            strict=True,
        )
    ]
    return sorted(faces, key=lambda face: -face.score)


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
        height, width = rgb.shape[:2]
        return faces_of(self._call(pixels=tf.constant(rgb[None])), width, height)


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
        InputError: The five points are all within one pixel.
    """
    try:
        return alignment.cut_out(rgb, face.points)
    except ValueError as error:
        raise InputError(str(error)) from error


def _area(box: tuple[float, ...]) -> float:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def _iou(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    """Returns intersection over union of two boxes."""
    edges = zip(first[2:], second[2:], first[:2], second[:2], strict=True)
    sides = [max(0.0, min(end, other) - max(start, before)) for end, other, start, before in edges]
    shared = sides[0] * sides[1]
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0.0 else 0.0
