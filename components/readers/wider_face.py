"""WIDER FACE: pictures of crowds and events with a box around each face.

Source: Yang, Luo, Loy, Tang, "WIDER FACE: A Face Detection Benchmark", CVPR 2016. Layout: an annotation, in
the data folder or in `wider_face_split`, and the images `<event>/<name>.jpg` in `images`, or in
`WIDER_train/images` and `WIDER_val/images`. Of each image the annotation has the name, the count of boxes,
and a line `x y w h blur expression illumination invalid occlusion pose` for each, in pixels. An image without
faces has the count 0 and one line of zeros, which is no box.

`wider_face_val_bbx_gt.txt` is the test split. What the other files name is split by the hash of the image,
10 % for selection, 10 % for test; but beside a val file, nothing else is test. Pictures of one event are on
both sides, as in the published split.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components.readers.boxes import FaceBox, box_record
from components.readers.files import read_image, read_lines
from components.readers.record import FaceRecord, hash_split
from data_validation.errors import InputError

FILE_NAME = "wider_face_bbx_gt.txt"
TRAIN_NAME = "wider_face_train_bbx_gt.txt"
VAL_NAME = "wider_face_val_bbx_gt.txt"
FILE_NAMES = (FILE_NAME, TRAIN_NAME, VAL_NAME)
FOLDERS = ("", "wider_face_split/")
IMAGES = "images"

_OWN_IMAGES = {TRAIN_NAME: "WIDER_train/images", VAL_NAME: "WIDER_val/images"}
_NUMBER = re.compile(r"-?[0-9]{1,6}", re.ASCII)
_IMAGE_NAME = re.compile(r".*\.(jpe?g|png)", re.IGNORECASE | re.DOTALL)
# The columns behind x and y, and their highest value.
_COLUMNS = {
    "w": 999_999,
    "h": 999_999,
    "blur": 2,
    "expression": 1,
    "illumination": 1,
    "invalid": 1,
    "occlusion": 2,
    "pose": 1,
}
_LINE = f"'x y {' '.join(_COLUMNS)}'"


class WiderImage(NamedTuple):
    """An image that an annotation names.

    Attributes:
        annotation: Path of the annotation, relative to the data folder.
        line: Line with the name.
        path: `<event>/<name>.jpg`.
        boxes: As annotated, not clipped.
    """

    annotation: str
    line: int
    path: str
    boxes: tuple[FaceBox, ...]


class WiderFaceReader:
    """Reads the annotations and passes the images on as they are."""

    source = "wider_face"

    def __init__(self, folder: Path) -> None:
        """Opens the data set.

        Args:
            folder: Folder that holds the annotation or `wider_face_split`, and the images.

        Raises:
            InputError: An annotation is malformed, or its folder of images is not there.
        """
        self._folder = folder
        self._images: dict[str, str] = {}
        for annotation in _annotations(folder):
            self._images[annotation] = _images(folder, annotation)
            # Checked now, but not kept here: Beam sends readers to its workers.
            read_annotation(folder / annotation)
        self._has_val = any(Path(each).name == VAL_NAME for each in self._images)

    def items(self) -> Iterator[WiderImage]:
        """Lists the images in the order of the annotations."""
        for annotation in self._images:
            for line, path, boxes in read_annotation(self._folder / annotation):
                yield WiderImage(annotation, line, path, boxes)

    def name(self, item: WiderImage) -> str:
        """Returns the line of the annotation and the path of the image."""
        return f"{item.annotation}:{item.line} {item.path}"

    def load(self, item: WiderImage) -> FaceRecord:
        """Reads one image file and clips its boxes; see `Reader.load`."""
        images = self._images[item.annotation]
        image = read_image(self._folder / images, item.path)
        return box_record(
            filename=f"{images}/{item.path}",
            image=image,
            split=self._split(item, image),
            source=self.source,
            boxes=item.boxes,
        )

    def _split(self, item: WiderImage, image: bytes) -> str:
        if Path(item.annotation).name == VAL_NAME:
            return "test"
        split = hash_split(hashlib.sha256(image).hexdigest())
        return "train" if split == "test" and self._has_val else split


def read_annotation(file: Path) -> list[tuple[int, str, tuple[FaceBox, ...]]]:
    """Reads an annotation; whether the images exist is found out when they are read.

    Args:
        file: One of FILE_NAMES, or a file of their form.

    Returns:
        Of each image the line with its name, its path relative to the folder of images, and its boxes.

    Raises:
        InputError: The file cannot be read, a line is not of the form, a count is not that of the boxes that
            follow, or an image is named twice.
    """
    lines = read_lines(file)
    if not lines:
        raise InputError(f"{file}: expected names, counts and boxes, found an empty file")
    starts = [index for index, (_, text) in enumerate(lines) if _IMAGE_NAME.fullmatch(text)]
    if not starts or starts[0] > 0:
        line, text = lines[0]
        raise InputError(f"{file}, line {line}: expected the name of an image, found {text[:60]!r}")
    images: dict[str, tuple[int, str, tuple[FaceBox, ...]]] = {}
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        line, path = lines[start]
        if path in images:
            first = images[path][0]
            raise InputError(
                f"{file}, line {line}: expected each image once, found {path[:60]!r} of line {first} again"
            )
        images[path] = (line, path, _boxes(file, line, lines[start + 1 : end]))
    return list(images.values())


def _annotations(folder: Path) -> list[str]:
    """Paths of the annotations to read; the published ones only where there is none of all images."""
    found = {}
    for name in FILE_NAMES:
        places = [f"{place}{name}" for place in FOLDERS if (folder / place / name).is_file()]
        if places:
            found[name] = places[0]
    return [found[FILE_NAME]] if FILE_NAME in found else list(found.values())


def _images(folder: Path, annotation: str) -> str:
    name = Path(annotation).name
    places = [_OWN_IMAGES[name], IMAGES] if name in _OWN_IMAGES else [IMAGES]
    for place in places:
        if (folder / place).is_dir():
            return place
    expected = " or ".join(f"{place}/" for place in places)
    raise InputError(f"{folder / annotation}: expected its images in {expected} of {folder}, found no folder")


def _boxes(file: Path, name_line: int, rows: list[tuple[int, str]]) -> tuple[FaceBox, ...]:
    """Reads the count and the boxes of one image."""
    if not rows:
        raise InputError(f"{file}, line {name_line}: expected a count of boxes after the name, found none")
    (count_line, text), *rows = rows
    count = _integer(text)
    if count is None or count < 0:
        raise InputError(f"{file}, line {count_line}: expected a count of boxes, found {text[:60]!r}")
    numbers = [_numbers(f"{file}, line {line}", row) for line, row in rows]
    if count == 0 and len(numbers) == 1 and not any(numbers[0]):
        return ()
    if len(numbers) != count:
        raise InputError(
            f"{file}, line {count_line}: expected {count} boxes as counted, found {len(numbers)}"
        )
    return tuple(_box(*row) for row in numbers)


def _numbers(where: str, text: str) -> list[int]:
    """Reads and checks the columns of a box."""
    numbers = [number for number in map(_integer, text.split()) if number is not None]
    if len(numbers) != len(_COLUMNS) + 2 or len(text.split()) > len(numbers):
        raise InputError(f"{where}: expected {_LINE}, found {text[:60]!r}")
    for (column, highest), number in zip(_COLUMNS.items(), numbers[2:], strict=True):
        if not 0 <= number <= highest:
            raise InputError(f"{where}: {column}: expected a number from 0 to {highest}, found {number}")
    return numbers


def _box(x: int, y: int, width: int, height: int, *attributes: int) -> FaceBox:
    invalid = attributes[list(_COLUMNS).index("invalid") - 2]
    return FaceBox(x, y, x + width, y + height, ignored=bool(invalid))


def _integer(text: str) -> int | None:
    # int() alone would take "1_0" and other scripts' digits.
    return int(text) if _NUMBER.fullmatch(text) else None
