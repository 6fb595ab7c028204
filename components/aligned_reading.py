"""Aligns the faces of records while data is read, as serving aligns the faces that it is asked about.

Records whose face is not found are neither dropped nor rejected: without its hard pictures, a test would show
better figures than the same model earns. They stay as they are read without alignment (cut out by the data
set's own box, where it has one, else whole), and the account of what was read counts them by reason.
"""

import dataclasses
import io
from collections.abc import Callable

import numpy as np

from components.face_finder import Face, cut_out, face_at, read_rgb
from components.readers.record import FaceRecord, Uncut
from data_validation.errors import InputError

ALIGNED = "aligned"
NO_FACE = "no face found"
ELSEWHERE = "faces only elsewhere in the picture"
NO_DIRECTION = "face without a direction"

FindFaces = Callable[[np.ndarray], list[Face]]
"""`components.face_finder.FaceFinder.find`."""


def align_record(record: FaceRecord, find: FindFaces) -> tuple[FaceRecord, str]:
    """Aligns the face of a record.

    The face is looked for in the whole picture, not in what the reader has cut out of it, and is the one that
    is at the reader's box; where there is no box, the one in the middle of the picture, since the pictures of
    such data sets show one person each.

    Args:
        record: What a reader has read.
        find: Finds the faces of a picture.

    Returns:
        The record with a PNG of 112x112 (a JPEG would lose details a second time, and serving's faces lose
        none) and ALIGNED; or the record as it is and why it was not aligned.

    Raises:
        UnreadableImageError: The picture does not decode.
    """
    picture = record.uncut or Uncut(record.image)
    rgb = read_rgb(picture.image)
    faces = find(rgb)
    if not faces:
        return record, NO_FACE
    face = face_at(faces, _place(picture.box, *rgb.shape[:2]))
    if face is None:
        return record, ELSEWHERE
    try:
        aligned = cut_out(rgb, face)
    except InputError:
        return record, NO_DIRECTION
    buffer = io.BytesIO()
    aligned.save(buffer, format="PNG")
    return dataclasses.replace(record, image=buffer.getvalue(), uncut=None), ALIGNED


def _place(box: tuple[int, ...], height: int, width: int) -> tuple[float, float, float, float]:
    """Returns where the face is: edges of the box, or of the middle half where there is none."""
    if not box:
        return width / 4.0, height / 4.0, width * 3.0 / 4.0, height * 3.0 / 4.0
    left, top, across, down = box
    return left, top, left + across, top + down
