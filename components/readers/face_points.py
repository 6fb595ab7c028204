r"""CNN_FacePoint: pictures with the box and five landmarks of one face.

Source: Sun, Wang, Tang, "Deep Convolutional Network Cascade for Facial Point Detection", CVPR 2013. Layout:
`trainImageList.txt` and `testImageList.txt`, and the images that they name, relative to their folder. A line
is `path x1 x2 y1 y2` (left, right, top, bottom of the box) and x and y of left eye, right eye, nose, left and
right corner of the mouth, left and right as seen. The published lists have `\` between folders. Places count
from the middle of the first pixel.

The second list is the test split; 10 % of the first is for selection, by the hash of the person where the
path tells one (`lfw_5590/<Name>_<number of four digits>.jpg`), else of the path. Names are in no record and
no message: a line of a list stands for the file.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components.readers.boxes import FaceBox, box_record
from components.readers.files import read_image, read_lines
from components.readers.record import FaceRecord, hash_split, person_key
from data_validation.errors import InputError

TRAIN_LIST = "trainImageList.txt"
TEST_LIST = "testImageList.txt"
LISTS = (TRAIN_LIST, TEST_LIST)

_NUMBERS = 14
_LINE = f"a path and {_NUMBERS} numbers"
_NUMBER = re.compile(r"-?[0-9]{1,6}(\.[0-9]{0,20})?", re.ASCII)
_LFW = re.compile(r"lfw_5590/(.+)_[0-9]{4}\.jpg", re.ASCII | re.IGNORECASE)
# From places that count from the middle of the first pixel to places that count from its edge.
_FROM_MIDDLE = 0.5


class PointsImage(NamedTuple):
    """One line of a list.

    Attributes:
        list_name: One of LISTS.
        line: Number of the line.
        path: Path of the image, relative to the folder of the lists, with slashes.
        box: The face.
        landmarks: Five points (x, y), measured as the box is.
    """

    list_name: str
    line: int
    path: str
    box: FaceBox
    landmarks: tuple[tuple[float, float], ...]


class FacePointsReader:
    """Reads the lists and passes the images on as they are."""

    source = "face_points"

    def __init__(self, folder: Path) -> None:
        """Opens the data set.

        Args:
            folder: Folder that holds the lists.

        Raises:
            InputError: A list is malformed.
        """
        self._folder = folder
        for _ in self.items():
            pass  # checked now, but not kept here: Beam sends readers to its workers

    def items(self) -> Iterator[PointsImage]:
        """Lists the faces in the order of the lists; either list may be missing."""
        for name in LISTS:
            if (self._folder / name).is_file():
                yield from read_points(self._folder / name)

    def name(self, item: PointsImage) -> str:
        """Returns the line of the list, as `image/filename` has it."""
        return f"{item.list_name}:{item.line}"

    def load(self, item: PointsImage) -> FaceRecord:
        """Reads one image file; see `Reader.load`."""
        return box_record(
            filename=self.name(item),
            image=read_image(self._folder, item.path),
            split="test" if item.list_name == TEST_LIST else _split(item.path),
            source=self.source,
            boxes=[item.box],
            landmarks=item.landmarks,
        )


def read_points(file: Path) -> list[PointsImage]:
    """Reads a list; whether the images exist is found out when they are read.

    Args:
        file: One of LISTS, or a file of their form.

    Returns:
        The faces in the order of the file.

    Raises:
        InputError: The file cannot be read, or a line is not of the form.
    """
    return [_image(file, line, text) for line, text in read_lines(file)]


def _image(file: Path, line: int, text: str) -> PointsImage:
    # Paths may hold spaces.
    path, *fields = text.rsplit(maxsplit=_NUMBERS)
    # float() alone would take "nan", "1_0" and other scripts' digits.
    numbers = [float(field) for field in fields if _NUMBER.fullmatch(field)]
    if len(numbers) != _NUMBERS:
        # Not the text itself: the path may be a person's name.
        found = f"{len(text.split())} fields, of the last {_NUMBERS} {len(numbers)} numbers"
        raise InputError(f"{file}, line {line}: expected {_LINE}, found {found}")
    left, right, top, bottom, *points = (number + _FROM_MIDDLE for number in numbers)
    if right < left or bottom < top:
        raise InputError(
            f"{file}, line {line}: expected a box as left, right, top, bottom, found {' '.join(fields[:4])}"
        )
    landmarks = tuple(zip(points[::2], points[1::2], strict=True))
    box = FaceBox(left, top, right, bottom)
    return PointsImage(file.name, line, path.replace("\\", "/"), box, landmarks)


def _split(path: str) -> str:
    person = _LFW.fullmatch(path)
    return hash_split(person_key(person[1]) if person else path, test_percent=0)
