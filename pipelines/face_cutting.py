"""How the faces of pictures get into the form that verification models take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from components.readers.face_box import cut_face
from components.readers.record import RecordRejected
from data_validation.errors import InputError
from pipelines.detector import MODEL, Detector
from pipelines.pictures import as_png, upright
from pipelines.pushed_model import REAL, described, find_pushed
from pipelines.settings import Workspace

if TYPE_CHECKING:
    from components.face_finder import Face


@dataclass(frozen=True)
class FaceChoice:
    """Where the face of a picture is; without anything it is searched for.

    Attributes:
        box: Left, top, width and height in pixels of the upright picture; empty for none.
        aligned: Whether the picture is an aligned face already.
        largest: Whether to take the largest face where there are several.
    """

    box: tuple[int, ...] = ()
    aligned: bool = False
    largest: bool = False


class FaceCutter(NamedTuple):
    """What makes the face of an encoded picture ready.

    Attributes:
        cut: Takes the picture and what messages call it; returns the face, encoded. It raises InputError for
            a picture that it cannot do this with.
        found_by: How the face is found: a model's name and version, `box` or `aligned`.
        notice: A line for people about that, where it is not what they said; empty for none.
    """

    cut: Callable[[bytes, str], bytes]
    found_by: str
    notice: str = ""


def face_cutter(choice: FaceChoice, workspace: Workspace, source: str) -> FaceCutter:
    """Returns what makes faces ready.

    A detection model that knows drawn faces only is not used for a verification model of real data: a demo
    must not change what happens to real pictures.

    Args:
        choice: What the user says of the pictures.
        workspace: Where a detection model may have been pushed.
        source: What the verification model was trained on: `real` or `sample`.

    Raises:
        InputError: The detection model cannot be loaded.
    """
    if choice.box:
        return FaceCutter(lambda encoded, name: _cut_box(encoded, choice.box, name), "box")
    if choice.aligned:
        return FaceCutter(_as_it_is, "aligned")
    pushed = find_pushed(workspace, MODEL)
    if pushed is None or (source == REAL and pushed.source != REAL):
        data = " --data DIR" if source == REAL else ""
        notice = (
            f"no {MODEL} model{' of real data' if data else ''} in the workspace, so pictures are taken for "
            f"aligned faces; `hexaface run {MODEL}{data}` makes one that finds and aligns them"
        )
        return FaceCutter(_as_it_is, "aligned", notice)
    detector = Detector(pushed)
    return FaceCutter(
        lambda encoded, name: _find_and_align(encoded, name, detector, choice.largest),
        detector.version,
        f"faces found by {described(detector.version, detector.source)}",
    )


def _as_it_is(encoded: bytes, name: str) -> bytes:
    return encoded


def _cut_box(encoded: bytes, box: Sequence[int], name: str) -> bytes:
    """Cuts the face out as readers of data sets do."""
    try:
        return cut_face(as_png(upright(encoded, name)), tuple(box))
    except RecordRejected as error:
        raise InputError(f"{name}: {error}") from error


def _find_and_align(encoded: bytes, name: str, detector: Detector, largest: bool) -> bytes:
    # It imports TensorFlow.
    from components.face_finder import cut_out

    image = upright(encoded, name)
    face = _the_one(detector.find(image, name), name, largest)
    return as_png(cut_out(np.asarray(image), face))


def _the_one(faces: Sequence["Face"], name: str, largest: bool) -> "Face":
    if not faces:
        raise InputError(
            f"{name}: expected one face, found none; --aligned takes a picture for an aligned face as it is"
        )
    if len(faces) > 1 and not largest:
        raise InputError(f"{name}: expected one face, found {len(faces)}; --largest takes the largest")
    return max(faces, key=lambda face: face.area)
