"""Writes drawn scenes in the form of WIDER FACE, and single faces with landmarks in that of CNN_FacePoint."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from components.readers import face_points, wider_face
from components.readers.record import hash_split
from components.samples.atomic import appearing_whole
from components.samples.backgrounds import PATTERNS
from components.samples.emotion import Progress
from components.samples.faces import PaintedFace
from components.samples.scenes import SceneFace, draw_points_face, draw_scene, scene_pattern
from data_validation.errors import InputError

FEWEST = 3
"""Pictures of which each split gets one."""
POINTS_FOLDER = "drawn"
_NO_BOX = " ".join("0" * 10)


def write_wider_face(folder: Path, count: int, seed: int, progress: Progress | None = None) -> Path:
    """Writes `wider_face_bbx_gt.txt` and the folder `images`.

    Args:
        folder: Where they are made.
        count: Number of scenes; a tenth, but one at least, is in each of `eval` and `test`.
        seed: The same seed gives the same bytes.
        progress: Called with the number of pictures done since the last call.

    Returns:
        The folder.

    Raises:
        InputError: There are fewer than FEWEST scenes, one of both exists, or they cannot be made.
    """
    splits = _splits(count)
    with ExitStack() as stack:
        # The annotation appears last: it is what the data set is known by.
        annotation = stack.enter_context(appearing_whole(folder / wider_face.FILE_NAME))
        images = stack.enter_context(appearing_whole(folder / wider_face.IMAGES))
        lines = []
        for number, split in enumerate(splits):
            picture, faces = draw_scene(seed, number)
            path = _scene_path(number)
            (images / path).parent.mkdir(parents=True, exist_ok=True)
            (images / path).write_bytes(_jpeg_of_split(picture, split))
            lines += [path, str(len(faces)), *(map(_box_line, faces) if faces else [_NO_BOX])]
            if progress is not None:
                progress(1)
        annotation.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return folder


def write_face_points(folder: Path, count: int, seed: int, progress: Progress | None = None) -> Path:
    """Writes `trainImageList.txt`, `testImageList.txt` and the folder `drawn`.

    Args:
        folder: Where they are made.
        count: Number of pictures with one face; a tenth, but one at least, is in each of `eval` and `test`.
        seed: The same seed gives the same bytes.
        progress: Called with the number of pictures done since the last call.

    Returns:
        The folder.

    Raises:
        InputError: There are fewer than FEWEST pictures, one of the three exists, or they cannot be made.
    """
    splits = _splits(count)
    with ExitStack() as stack:
        lists = {name: stack.enter_context(appearing_whole(folder / name)) for name in face_points.LISTS}
        images = stack.enter_context(appearing_whole(folder / POINTS_FOLDER))
        images.mkdir()
        lines: dict[str, list[str]] = {name: [] for name in lists}
        for number, (name, split) in enumerate(zip(_points_names(splits), splits, strict=True)):
            picture, painted = draw_points_face(seed, number)
            picture.save(images / name, format="JPEG", quality=90)
            listed = face_points.TEST_LIST if split == "test" else face_points.TRAIN_LIST
            lines[listed].append(_points_line(name, painted))
            if progress is not None:
                progress(1)
        for name, file in lists.items():
            file.write_text("\n".join([*lines[name], ""]), encoding="utf-8")
    return folder


def _scene_path(number: int) -> str:
    event, name = PATTERNS.index(scene_pattern(number)), scene_pattern(number).title()
    return f"{event}--{name}/{event}_{name}_{name}_{event}_{number + 1}.jpg"


def _box_line(face: SceneFace) -> str:
    left, top, right, bottom = (round(edge) for edge in face.painted.box)
    return " ".join(map(str, (left, top, right - left, bottom - top, *face.attributes)))


def _points_line(name: str, painted: PaintedFace) -> str:
    left, top, right, bottom = painted.box
    places = (left, right, top, bottom, *(place for point in painted.landmarks for place in point))
    # Drawn places count from the edge of the picture, those of the lists from the middle of a pixel.
    return " ".join([f"{POINTS_FOLDER}/{name}", *(f"{place - 0.5:.3f}" for place in places)])


def _splits(count: int) -> list[str]:
    if count < FEWEST:
        raise InputError(f"count: expected at least {FEWEST} pictures, found {count}")
    held_out = max(1, count // 10)
    return ["eval"] * held_out + ["test"] * held_out + ["train"] * (count - 2 * held_out)


def _points_names(splits: list[str]) -> Iterator[str]:
    """Names of files; the hash of the path decides between `train` and `eval`, so names are chosen by it."""
    number = 0
    for split in splits:
        while True:
            number += 1
            name = f"{number:05d}.jpg"
            if split in ("test", hash_split(f"{POINTS_FOLDER}/{name}", test_percent=0)):
                yield name
                break


def _jpeg_of_split(picture: Image.Image, split: str) -> bytes:
    """Encodes a picture; the hash of the bytes decides the split, so a comment in them is chosen by it."""
    buffer = io.BytesIO()
    number = 0
    blank = f"{number:06d}".encode()
    picture.save(buffer, format="JPEG", quality=90, comment=blank)
    before, after = buffer.getvalue().split(blank, maxsplit=1)
    while True:
        encoded = before + f"{number:06d}".encode() + after
        if hash_split(hashlib.sha256(encoded).hexdigest()) == split:
            return encoded
        number += 1
