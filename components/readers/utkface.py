"""UTKFace: aligned faces whose file names tell age, gender and race.

Source: Zhang, Song, Qi, "Age Progression/Regression by Conditional Adversarial Autoencoder", CVPR 2017.
Layout: `UTKFace/<age>_<gender>_<race>_<date>.jpg`, also with `.chip.jpg` at the end; gender 0 male, 1 female
(IMDB-WIKI has it the other way round), race 0 to 4 as in `data_validation.labels.RACES`.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components.readers.files import read_image
from components.readers.record import TOO_OLD, FaceRecord, RecordDropped, RecordRejected, hash_split
from data_validation.labels import MAX_AGE, RACES, person_labels

FOLDER_NAME = "UTKFace"
GENDER_CODES = ("male", "female")
# The set's oldest label is 116; what is far above it is a slip.
_OLDEST = 130
_FORM = "age_gender_race_date.jpg"
# The dates have different lengths, and nothing depends on them.
_DATE = re.compile(r"[0-9]+\.jpg(\.chip\.jpg)?", re.ASCII | re.IGNORECASE)


class UtkFaceLabels(NamedTuple):
    """What a file name tells: years, and the names of the gender and race codes."""

    age: int
    gender: str
    race: str


class UtkFaceReader:
    """Reads the folder of UTKFace; files are passed on as they are.

    No label tells who is in a picture, so the split goes by the bytes of the image: 10 % for selection, 15 %
    for test, identical copies on one side. Near copies and two pictures of one person can be on both
    sides, and figures over this set are a little too good for it.
    """

    source = "utkface"

    def __init__(self, folder: Path, label: str = "") -> None:
        """Opens the data set.

        Args:
            folder: Folder that holds `UTKFace`.
            label: The task's label; for `age`, ages above 100 are left out, which the model has no class for.
        """
        self._root = folder / FOLDER_NAME
        self._label = label

    def items(self) -> Iterator[str]:
        """Lists the names of the JPEG files, sorted."""
        names = (file.name for file in self._root.iterdir())
        yield from sorted(
            name for name in names if name.lower().endswith(".jpg") and not name.startswith(".")
        )

    def name(self, item: str) -> str:
        """Returns the path of the image."""
        return f"{FOLDER_NAME}/{item}"

    def load(self, item: str) -> FaceRecord:
        """Parses the name and reads the file; see `Reader.load`."""
        age, gender, race = parse_name(item)
        if self._label == "age" and age > MAX_AGE:
            raise RecordDropped(TOO_OLD)
        image = read_image(self._root, item)
        return FaceRecord(
            filename=self.name(item),
            image=image,
            split=hash_split(hashlib.sha256(image).hexdigest(), eval_percent=10, test_percent=15),
            source=self.source,
            labels=person_labels(self._label, age, gender, race),
        )


def parse_name(name: str) -> UtkFaceLabels:
    """Reads the labels out of a file name.

    Args:
        name: File name without folders.

    Returns:
        The labels.

    Raises:
        RecordRejected: The name is not of the form `age_gender_race_date.jpg` or a code is out of range.
    """
    parts = name.split("_")
    if len(parts) != 4:
        raise RecordRejected(f"file name: expected {_FORM}, found {name[:60]!r}")
    age, gender, race, rest = parts
    labels = UtkFaceLabels(
        age=_code("age", age, _OLDEST),
        gender=GENDER_CODES[_code("gender", gender, len(GENDER_CODES) - 1)],
        race=RACES[_code("race", race, len(RACES) - 1)],
    )
    if not _DATE.fullmatch(rest):
        raise RecordRejected(f"date in the file name: expected digits and .jpg, found {rest[:60]!r}")
    return labels


def _code(field: str, text: str, highest: int) -> int:
    # int() alone would take "-1", " 1" and other scripts' digits.
    if not (text.isascii() and text.isdigit() and len(text) < 4 and int(text) <= highest):
        raise RecordRejected(
            f"{field} in the file name: expected a number from 0 to {highest}, found {text[:20]!r}"
        )
    return int(text)
