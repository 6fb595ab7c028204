"""Boxes of faces, as readers of data sets for detection give them.

A record has these ragged features, one value a box, in the order of the annotation:

- `boxes/ymin`, `boxes/xmin`, `boxes/ymax`, `boxes/xmax`: edges as shares of the image's height and width,
  0 to 1, clipped to the image;
- `boxes/height`: height in pixels of the image, after clipping, for metrics by size;
- `boxes/ignored`: 1 for regions that are neither face nor background: marked so by the data set, or without
  an area after clipping;
- `boxes/clipped`: 1 where the box reached outside of the image;

and `landmarks/y`, `landmarks/x`: shares as well, five a face (eyes, nose, corners of the mouth, left before
right as seen) where the data set has them, else none. The label `boxes` is the class of `labels.FACE_COUNTS`
that the number of boxes not ignored belongs to. How many were ignored or clipped is in the account of what
was read (`Ingestion.flag_total`).

All are of the pixels as stored: an orientation in EXIF data changes nothing, as for the decoder of training.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from components.readers.record import FaceRecord, RecordRejected
from data_validation.image_quality import UnreadableImageError, read_size
from data_validation.labels import face_count

LABEL = "boxes"
"""The label of all readers for detection."""


class FaceBox(NamedTuple):
    """Where a face is, in pixels from the left and upper edge of the image (the first pixel is 0 to 1).

    Attributes:
        left: Left edge.
        top: Upper edge.
        right: Right edge, not left of the left one.
        bottom: Lower edge, not above the upper one.
        ignored: Whether the data set says that it is not to be counted.
    """

    left: float
    top: float
    right: float
    bottom: float
    ignored: bool = False


def box_record(
    filename: str,
    image: bytes,
    split: str,
    source: str,
    boxes: Sequence[FaceBox],
    landmarks: Sequence[tuple[float, float]] = (),
) -> FaceRecord:
    """Makes the record of an image with boxes.

    Args:
        filename: See `FaceRecord`.
        image: See `FaceRecord`.
        split: See `FaceRecord`.
        source: See `FaceRecord`.
        boxes: In the image's pixels.
        landmarks: Points (x, y), measured as boxes are; five a face, or none.

    Returns:
        The record, with the features that the module tells.

    Raises:
        RecordRejected: The image's header cannot be read, or a landmark lies outside of the image.
    """
    try:
        size = read_size(image)
    except UnreadableImageError as error:
        raise RecordRejected(str(error)) from error
    ragged = {**_box_features(boxes, size), **_landmark_features(landmarks, size)}
    faces = len(boxes) - int(ragged["boxes/ignored"].sum())
    return FaceRecord(filename, image, split, source, {LABEL: face_count(faces)}, ragged)


def _box_features(boxes: Sequence[FaceBox], size: tuple[int, int]) -> dict[str, np.ndarray]:
    edges = np.array([box[:4] for box in boxes], dtype=np.float64).reshape(-1, 4)
    inside = np.clip(edges, 0.0, (*size, *size))
    empty = (inside[:, 2:] <= inside[:, :2]).any(axis=1)
    marked = np.array([box.ignored for box in boxes], dtype=bool)
    left, top, right, bottom = (inside / (*size, *size)).astype(np.float32).T
    return {
        "boxes/ymin": top,
        "boxes/xmin": left,
        "boxes/ymax": bottom,
        "boxes/xmax": right,
        "boxes/height": (inside[:, 3] - inside[:, 1]).astype(np.float32),
        "boxes/ignored": (empty | marked).astype(np.int64),
        "boxes/clipped": (inside != edges).any(axis=1).astype(np.int64),
    }


def _landmark_features(
    landmarks: Sequence[tuple[float, float]], size: tuple[int, int]
) -> dict[str, np.ndarray]:
    shares = np.array(landmarks, dtype=np.float64).reshape(-1, 2) / size
    for (x, y), share in zip(landmarks, shares, strict=True):
        # Then the list was made for images of another size.
        if share.min() < 0.0 or share.max() > 1.0:
            raise RecordRejected(
                f"expected landmarks inside of the image of {size[0]}x{size[1]}, found ({x:g}, {y:g})"
            )
    return {
        "landmarks/y": shares[:, 1].astype(np.float32),
        "landmarks/x": shares[:, 0].astype(np.float32),
    }
