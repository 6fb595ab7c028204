"""CelebA: aligned faces of celebrities with 40 binary attributes.

Source: Liu, Luo, Wang, Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015. Layout: the folder
`img_align_celeba` of JPEG files, and beside it, or in `Anno` and `Eval` as published, lists that may be
missing:

- `list_attr_celeba.txt`: the count of images, the names of the attributes, and a line `name v1 ... v40` for
  each image, 1 or -1 each. `Male` is what is read; without the list, genders are `unknown`.
- `list_eval_partition.txt`: lines `name 0|1|2` for training, selection and test. CelebA's own partition has
  no person on two sides.
- `identity_CelebA.txt`: lines `name number`. Without the partition, the hash of the number decides the
  split, 10 % for selection, 10 % for test; without both, that of the image's bytes.

What a list says wrongly of an image, or does not say, is a reason to reject that image; so is a line without
an image. A list that is malformed as a whole cannot be read at all.

Names of files that are no numbers could be names of persons: records and messages have the first 16
hexadecimal digits of the name's SHA-256 instead, as the readers of persons do (`identity.py`).
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from components.readers import identity
from components.readers.files import NOT_FOUND, read_image, read_lines
from components.readers.record import NO_GENDER, SPLITS, FaceRecord, RecordDropped, RecordRejected, hash_split
from components.readers.subset import left_out
from data_validation.errors import InputError
from data_validation.face_sizes import SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH
from data_validation.image_quality import UnreadableImageError, read_size
from data_validation.labels import UNKNOWN, person_labels

LABEL = "face"
"""The label of data sets that are read for how faces look, and for nothing else."""

FOLDER_NAME = "img_align_celeba"
ATTRIBUTES = "list_attr_celeba.txt"
IDENTITIES = "identity_CelebA.txt"
PARTITION = "list_eval_partition.txt"
MALE = "Male"

_LIST_FOLDERS = ("", "Anno", "Eval")
# The published list of attributes has 27 MB.
_MAX_LIST_BYTES = 1 << 26
_GENDERS = {"1": "male", "-1": "female"}
_VALUES = frozenset(_GENDERS)
_PARTS = dict(zip(("0", "1", "2"), SPLITS, strict=True))
# Names with spaces could not be listed, and others not be written.
_NAME = re.compile(r"[0-9A-Za-z_.-]{1,100}\.jpe?g", re.ASCII | re.IGNORECASE)
_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
# As published; nothing in them can be a person's name.
_PLAIN = re.compile(r"[0-9]{1,100}\.jpe?g", re.ASCII | re.IGNORECASE)
_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Subset:
    """Which part of the data set is read.

    Attributes:
        male_share: Share of images that are to be male, 0 to 1; None for all images.
        max_images: Most images, 0 for any number.
    """

    male_share: float | None = None
    max_images: int = 0


class Entry(NamedTuple):
    """What a list says of an image: a value, or else what is wrong."""

    value: str
    fault: str = ""


class CelebaItem(NamedTuple):
    """An image that is in the folder or in a list.

    Attributes:
        name: Name of the file.
        gender: `female`, `male` or `unknown`.
        side: `train`, `eval` or `test` where the partition tells; else the number of the person, empty where
            that is not known.
        fault: Why the image is rejected, empty for a good one.
        left_out: Why the image is not in the part that is read, empty for one that is.
    """

    name: str
    gender: str
    side: str
    fault: str
    left_out: str


class CelebaReader:
    """Reads the folder of CelebA; files are passed on as they are."""

    source = "celeba"

    def __init__(
        self, folder: Path, images: str = FOLDER_NAME, label: str = "", subset: Subset | None = None
    ) -> None:
        """Opens the data set.

        Args:
            folder: Folder that holds the lists, or their folders `Anno` and `Eval`.
            images: The folder of the images below it.
            label: The task's label. For `gender`, images whose gender is not known are left out; else images
                that are smaller than what the synthesis model draws are rejected.
            subset: Which part to read; None for all of it. Shares and sizes are of the images that the
                lists find no fault with.

        Raises:
            InputError: There is no JPEG file, a list is malformed as a whole, or the data set cannot have the
                share of men.
        """
        self._root = folder / images
        self._attributes = _find(folder, ATTRIBUTES)
        self._partition = _find(folder, PARTITION)
        self._identities = None if self._partition else _find(folder, IDENTITIES)
        self._label = label
        self._subset = subset or Subset()
        if not self._present():
            raise InputError(f"{self._root}: expected JPEG files, found none")
        share = self._subset.male_share
        if share is not None and not self._attributes:
            raise InputError(f"data.balance.male={share:g}: expected {ATTRIBUTES} in {folder}, found none")
        for _ in self.items():
            break  # checked now, but not kept here: Beam sends readers to its workers

    def items(self) -> Iterator[CelebaItem]:
        """Lists the images and the lines of the lists, sorted by name."""
        genders = read_attributes(self._attributes) if self._attributes else {}
        sides = self._read_sides()
        files = (self._attributes, genders), (self._partition or self._identities, sides)
        lists = {file.name: entries for file, entries in files if file}
        present = self._present()
        names = sorted(present.union(genders, sides))
        faults = {name: _fault(name, present, lists) for name in names}
        found = {name: genders[name].value if genders else UNKNOWN for name in names if not faults[name]}
        reasons = self._left_out(found)
        for name in names:
            side = sides[name].value if sides and name in found else ""
            yield CelebaItem(name, found.get(name, UNKNOWN), side, faults[name], reasons.get(name, ""))

    def name(self, item: CelebaItem) -> str:
        """Returns the path of the image; a file whose name is no number has a pseudonym."""
        return f"{FOLDER_NAME}/{_shown(item.name)}"

    def load(self, item: CelebaItem) -> FaceRecord:
        """Reads one image file; see `Reader.load`."""
        if item.fault:
            raise RecordRejected(item.fault)
        if item.left_out:
            raise RecordDropped(item.left_out)
        if self._label == "gender" and item.gender == UNKNOWN:
            raise RecordDropped(NO_GENDER)
        image = read_image(self._root, item.name)
        if self._label != "gender":
            _check_size(image)
        return FaceRecord(
            filename=self.name(item),
            image=image,
            split=self._split(item, image),
            source=self.source,
            labels=self._labels(item.gender),
        )

    def _labels(self, gender: str) -> dict[str, str | int]:
        return person_labels("gender", None, gender) if self._label == "gender" else {"gender": gender}

    def _present(self) -> set[str]:
        """Names of the JPEG files in the folder."""
        names = os.listdir(self._root)
        return {name for name in names if name.lower().endswith(_SUFFIXES) and not name.startswith(".")}

    def _read_sides(self) -> dict[str, Entry]:
        """What decides the split; nothing where that is the image itself."""
        if self._partition:
            return _read_pairs(self._partition, _part)
        return _read_pairs(self._identities, _person) if self._identities else {}

    def _left_out(self, genders: Mapping[str, str]) -> dict[str, str]:
        share, most = self._subset.male_share, self._subset.max_images
        if share is not None:
            men = sum(gender == "male" for gender in genders.values())
            women = len(genders) - men
            if (share > 0.0 and not men) or (share < 1.0 and not women):
                raise InputError(
                    f"data.balance.male={share:g}: expected images of that share in {self._root}, found "
                    f"{men} male and {women} female"
                )
        return left_out(genders, share, most) if share is not None or most else {}

    def _split(self, item: CelebaItem, image: bytes) -> str:
        if self._partition:
            return item.side
        return hash_split(item.side or hashlib.sha256(image).hexdigest())


def read_attributes(file: Path) -> dict[str, Entry]:
    """Reads the list of attributes.

    Args:
        file: `list_attr_celeba.txt`.

    Returns:
        `female` or `male` by name of the image, or what is wrong with its line.

    Raises:
        InputError: The file cannot be read, the count is not that of the lines, or there is no attribute
            `Male`.
    """
    lines = read_lines(file, _MAX_LIST_BYTES)
    if len(lines) < 2:
        found = "an empty file" if not lines else "one line"
        raise InputError(f"{file}: expected a count, names of attributes and lines, found {found}")
    (first, count), (second, header), *rows = lines
    if not _COUNT.fullmatch(count):
        raise InputError(f"{file}, line {first}: expected the count of images, found {_told(count)}")
    attributes = header.split()
    if attributes.count(MALE) != 1:
        raise InputError(
            f"{file}, line {second}: expected names of attributes with {MALE!r} once, found it "
            f"{attributes.count(MALE)} times"
        )
    if int(count) != len(rows):
        raise InputError(f"{file}: expected {int(count)} lines as counted in line {first}, found {len(rows)}")
    column = attributes.index(MALE)
    return _entries(rows, lambda values: _gender(values, len(attributes), column))


def _gender(values: list[str], expected: int, column: int) -> Entry:
    if len(values) != expected:
        return Entry("", f"expected {expected} attributes of the image, found {len(values)}")
    if not _VALUES.issuperset(values):
        wrong = next(value for value in values if value not in _VALUES)
        return Entry("", f"expected attributes of 1 or -1, found {_told(wrong)}")
    return Entry(_GENDERS[values[column]])


def _read_pairs(file: Path, parse: Callable[[str], Entry]) -> dict[str, Entry]:
    """Reads a list of names and one value each."""

    def single(values: list[str]) -> Entry:
        if len(values) != 1:
            return Entry("", f"expected one value for the image, found {len(values)}")
        return parse(values[0])

    return _entries(read_lines(file, _MAX_LIST_BYTES), single)


def _part(value: str) -> Entry:
    part = _PARTS.get(value)
    return Entry(part) if part else Entry("", f"expected 0, 1 or 2, found {_told(value)}")


def _person(value: str) -> Entry:
    # int() alone would take "-1", "1_0" and other scripts' digits.
    if not _COUNT.fullmatch(value):
        return Entry("", f"expected the number of a person, found {_told(value)}")
    return Entry(str(int(value)))


def _entries(lines: list[tuple[int, str]], parse: Callable[[list[str]], Entry]) -> dict[str, Entry]:
    """Reads lines of a name and values, separated by spaces."""
    entries: dict[str, Entry] = {}
    for _, text in lines:
        name, *values = text.split()
        # None of two lines is more right than the other.
        twice = Entry("", "expected one line for the image, found several")
        entries[name] = twice if name in entries else parse(values)
    return entries


def _fault(name: str, present: set[str], lists: Mapping[str, Mapping[str, Entry]]) -> str:
    """Says what is wrong with an image or with what lists, by their names, tell of it; empty if nothing."""
    if not _NAME.fullmatch(name):
        return "file name: expected letters, digits and .jpg"
    if name not in present:
        return NOT_FOUND
    for file, entries in lists.items():
        if name not in entries:
            return f"{file}: expected a line for the image, found none"
        if entries[name].fault:
            return f"{file}: {entries[name].fault}"
    return ""


def _shown(name: str) -> str:
    """Returns a file's name as records and messages have it."""
    if _PLAIN.fullmatch(name):
        return name
    return identity.digits(name) + next((end for end in _SUFFIXES if name.lower().endswith(end)), "")


def _told(text: str) -> str:
    """Returns what was found in a list, for messages: numbers only, since other text may be a name."""
    return repr(text) if _NUMBER.fullmatch(text) else "other text"


def _find(folder: Path, name: str) -> Path | None:
    """Returns the path of a list, None where it is in none of its places."""
    return next((file for file in (folder / place / name for place in _LIST_FOLDERS) if file.is_file()), None)


def _check_size(image: bytes) -> None:
    try:
        width, height = read_size(image)
    except UnreadableImageError as error:
        raise RecordRejected(str(error)) from error
    if width < SYNTHESIS_WIDTH or height < SYNTHESIS_HEIGHT:
        raise RecordRejected(
            f"image: expected at least {SYNTHESIS_WIDTH}x{SYNTHESIS_HEIGHT} (width x height), found "
            f"{width}x{height}"
        )
