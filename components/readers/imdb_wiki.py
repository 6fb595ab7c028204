"""IMDB-WIKI: pictures of public persons with the metadata of `wiki.mat` and `imdb.mat`.

Source: Rothe, Timofte, Van Gool, "DEX: Deep EXpectation of apparent age from a single image", ICCV 2015
workshops. Layout: `wiki.mat`, a MATLAB 5 file with one struct `wiki`, and the pictures as
`NN/<id>_<date of birth>_<year>.jpg`, all in the folder `wiki_crop`; likewise `imdb`.

The names of the persons decide the split, so that no person is on two sides, and go no further than this; a
record without a name is taken for a person of its own. Paths hold dates of birth and go no further either.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.readers.files import NOT_FOUND, read_inside
from components.readers.record import (
    NO_GENDER,
    TOO_OLD,
    FaceRecord,
    RecordDropped,
    RecordRejected,
    hash_split,
    person_key,
)
from data_validation.errors import InputError, one_line
from data_validation.labels import GENDERS, MAX_AGE, UNKNOWN, person_labels

NO_FACE = "no face found"
LOW_SCORE = "face score below data.min_face_score"
SECOND_FACE = "second face in the picture"
NO_DATE = "date of birth or year of the photo unknown"
BEFORE_YEAR_1 = "born before year 1"
BELOW_0 = "age below 0"
# In their order: the first rule that applies counts.
CLEANING_RULES = (NO_FACE, LOW_SCORE, SECOND_FACE, NO_GENDER, NO_DATE, BEFORE_YEAR_1, BELOW_0, TOO_OLD)

# imdb.mat has some 30 MB.
_MAX_BYTES = 1 << 30
# MATLAB counts days from a year 0, which Python's calendar has not.
_DAYS_BEFORE_YEAR_1 = 366
_LAST_DAY = date.max.toordinal() + _DAYS_BEFORE_YEAR_1
_NUMBERS = ("dob", "photo_taken", "gender", "face_score", "second_face_score")
_TEXTS = ("full_path", "name")
_HEADER_BYTES = 128
_HDF5 = (b"\x89HDF", b"MATLAB 7.3 MAT-file")


@dataclass(frozen=True)
class Cleaning:
    """Which records are left out; a picture without a face always is.

    Attributes:
        min_face_score: Lowest score of the face detector that is kept.
        single_face: Leave out pictures with a second face.
        gender_known: Leave out pictures of persons whose gender is not known.
        age_known: Leave out pictures of persons whose age is not known or not from 0 to 100.
    """

    min_face_score: float = 1.0
    single_face: bool = True
    gender_known: bool = True
    age_known: bool = True


class ImdbWikiItem(NamedTuple):
    """A record of the metadata, without the person's name.

    Attributes:
        number: Counted from 1, as MATLAB does.
        path: Of the image, relative to the folder of images.
        split: `train`, `eval` or `test`.
        dob: Date of birth, MATLAB's serial date number (days).
        photo_taken: Year.
        gender: 0 female, 1 male, NaN unknown.
        face_score: Of the detector; -Inf where it found no face.
        second_face_score: NaN where there is no second face.
    """

    number: int
    path: str
    split: str
    dob: float
    photo_taken: float
    gender: float
    face_score: float
    second_face_score: float


class ImdbWikiReader:
    """Reads one of the two parts of IMDB-WIKI; image files are passed on as they are."""

    def __init__(self, folder: Path, mat: str, label: str = "", cleaning: Cleaning | None = None) -> None:
        """Opens the data set.

        Args:
            folder: Data folder.
            mat: The metadata below it: `wiki.mat`, `wiki_crop/wiki.mat`, `imdb.mat` or `imdb_crop/imdb.mat`.
                The images are beside it or in a folder `wiki_crop` (`imdb_crop`) beside it.
            label: The task's label: `gender` and `age` must be known, whatever the cleaning says.
            cleaning: What to leave out; None for the defaults.

        Raises:
            InputError: The metadata is no MATLAB 5 file, lacks a field or holds one of the wrong kind.
        """
        cleaning = cleaning or Cleaning()
        self._mat = folder / mat
        self.source = self._mat.stem
        crops = self._mat.parent / f"{self.source}_crop"
        self._roots = [self._mat.parent, *([crops] if crops.is_dir() else [])]
        self._label = label
        self._cleaning = cleaning
        self._gender_known = cleaning.gender_known or label == "gender"
        self._age_known = cleaning.age_known or label == "age"
        # Read and checked now, but not kept here: Beam sends readers to its workers.
        _metadata(self._mat)

    def items(self) -> Iterator[ImdbWikiItem]:
        """Lists the records in the order of the metadata."""
        metadata = _metadata(self._mat)
        columns = [metadata.numbers[field].tolist() for field in _NUMBERS]
        rows = zip(metadata.paths, metadata.splits, *columns, strict=True)
        for number, row in enumerate(rows, start=1):
            yield ImdbWikiItem(number, *row)

    def name(self, item: ImdbWikiItem) -> str:
        """Returns `wiki.mat:<number>`: the path would tell a person's page and date of birth."""
        return f"{self._mat.name}:{item.number}"

    def cleaning_reason(self, item: ImdbWikiItem) -> str | None:
        """Says by the metadata alone why a record is left out.

        Args:
            item: A record.

        Returns:
            The first of `CLEANING_RULES` that applies, None for a record that stays.
        """
        if math.isnan(item.face_score) or item.face_score == -math.inf:
            return NO_FACE
        if item.face_score < self._cleaning.min_face_score:
            return LOW_SCORE
        if self._cleaning.single_face and not math.isnan(item.second_face_score):
            return SECOND_FACE
        if self._gender_known and math.isnan(item.gender):
            return NO_GENDER
        return age_or_reason(item.dob, item.photo_taken)[1] if self._age_known else None

    def load(self, item: ImdbWikiItem) -> FaceRecord:
        """Cleans by the metadata, then reads the image file; see `Reader.load`."""
        gender = _gender(item.gender)
        reason = self.cleaning_reason(item)
        if reason:
            raise RecordDropped(reason)
        age, _ = age_or_reason(item.dob, item.photo_taken)
        return FaceRecord(
            filename=self.name(item),
            image=self._read(item.path),
            split=item.split,
            source=self.source,
            labels=person_labels(self._label, age, gender),
        )

    def _read(self, path: str) -> bytes:
        if not path:
            raise RecordRejected("full_path: expected the path of an image, found nothing")
        for root in self._roots:
            image = read_inside(root, path)
            if image is not None:
                return image
        raise RecordRejected(NOT_FOUND)


def age_or_reason(dob: float, photo_taken: float) -> tuple[int | None, str | None]:
    """Computes the age of a person in a photo that was taken in the middle of its year.

    Args:
        dob: Date of birth, MATLAB's serial date number (days).
        photo_taken: Year of the photo.

    Returns:
        Whole years from 0 to 100 and None, or None and the cleaning rule that says why there is no age.
    """
    if not (math.isfinite(dob) and math.isfinite(photo_taken)) or dob > _LAST_DAY:
        return None, NO_DATE
    if dob < _DAYS_BEFORE_YEAR_1 + 1:
        return None, BEFORE_YEAR_1
    born = date.fromordinal(int(dob) - _DAYS_BEFORE_YEAR_1)
    age = int(photo_taken) - born.year - (born.month >= 7)
    if age < 0:
        return None, BELOW_0
    return (None, TOO_OLD) if age > MAX_AGE else (age, None)


def _gender(code: float) -> str:
    if math.isnan(code):
        return UNKNOWN
    if code not in (0, 1):
        raise RecordRejected(f"gender: expected 0, 1 or NaN, found {code:g}")
    return GENDERS[int(code)]


class _Metadata(NamedTuple):
    paths: list[str]
    splits: list[str]
    numbers: dict[str, np.ndarray]  # float64 [records] each


def _metadata(mat: Path) -> _Metadata:
    try:
        status = mat.stat()
    except OSError as error:
        raise InputError(f"{mat}: cannot be read: {error.strerror}") from error
    if status.st_size > _MAX_BYTES:
        raise InputError(f"{mat}: expected at most {_MAX_BYTES} bytes, found {status.st_size}")
    return _parsed(mat, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4)
def _parsed(mat: Path, bytes_long: int, mtime_ns: int) -> _Metadata:
    """Parses a metadata file, once as long as its size and time stay: it takes a second."""
    del bytes_long, mtime_ns
    struct = _struct(mat)
    fields = struct.dtype.names
    for field in (*_NUMBERS, *_TEXTS):
        if field not in fields:
            raise InputError(f"{mat}: field {field!r} is missing; found {', '.join(fields)[:200]}")
    columns = {field: struct[field].flat[0] for field in (*_NUMBERS, *_TEXTS)}
    numbers = {field: _numbers(mat, field, columns[field]) for field in _NUMBERS}
    paths, names = (_texts(mat, field, columns[field]) for field in _TEXTS)
    records = len(paths)
    sizes = {field: len(values) for field, values in numbers.items()}
    for field, size in {"name": len(names), **sizes}.items():
        if size != records:
            raise InputError(
                f"{mat}: field {field!r}: expected {records} values as in 'full_path', found {size}"
            )
    splits = [hash_split(person_key(name) or path) for name, path in zip(names, paths, strict=True)]
    return _Metadata(paths, splits, numbers)


def _struct(mat: Path) -> np.ndarray:
    """Loads the struct that is called like the file."""
    from scipy.io import loadmat, whosmat  # here: slow to import, and most data folders do not need it

    _check_header(mat)
    name = mat.stem
    try:
        found = loadmat(mat, variable_names=[name]).get(name)
        others = "" if found is not None else ", ".join(variable for variable, *_ in whosmat(mat))
    except Exception as error:
        # Of damaged files, SciPy raises whatever it stumbles over: zlib.error, TypeError, MemoryError.
        raise InputError(f"{mat}: damaged or truncated MATLAB 5 file: {one_line(error)[:200]}") from error
    if found is None:
        raise InputError(f"{mat}: expected a struct {name!r}, found {others[:200] or 'nothing'}")
    if not isinstance(found, np.ndarray) or found.dtype.names is None or found.size != 1:
        raise InputError(f"{mat}: {name!r}: expected one struct, found {_kind(found)}")
    return found


def _check_header(mat: Path) -> None:
    try:
        with mat.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise InputError(f"{mat}: cannot be read: {error.strerror}") from error
    if header.startswith(_HDF5):
        raise InputError(
            f"{mat}: expected a MATLAB 5 file, found MATLAB v7.3 (HDF5); "
            "load it in MATLAB and save it again with save -v7"
        )
    # The last two bytes of the header say in which order the bytes of numbers are.
    if header[-2:] not in (b"IM", b"MI") or len(header) < _HEADER_BYTES:
        found = "another format" if header else "an empty file"
        raise InputError(f"{mat}: expected a MATLAB 5 file, found {found}")


def _numbers(mat: Path, field: str, values: Any) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise InputError(f"{mat}: field {field!r}: expected numbers, found {_kind(values)}")
    return values.ravel().astype(np.float64)


def _texts(mat: Path, field: str, cells: Any) -> list[str]:
    if not isinstance(cells, np.ndarray) or cells.dtype != object:
        raise InputError(f"{mat}: field {field!r}: expected cells of text, found {_kind(cells)}")
    return [_text(mat, field, number, cell) for number, cell in enumerate(cells.flat, start=1)]


def _text(mat: Path, field: str, number: int, cell: Any) -> str:
    # An empty text is an array without elements, of whatever kind.
    if isinstance(cell, np.ndarray) and cell.size == 0:
        return ""
    if not isinstance(cell, np.ndarray) or cell.dtype.kind != "U" or cell.size != 1:
        raise InputError(f"{mat}: field {field!r}, record {number}: expected a text, found {_kind(cell)}")
    # Half a character of UTF-16 could not be hashed or written.
    return str(cell.flat[0]).encode("utf-8", "replace").decode("utf-8")


def _kind(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    if value.dtype.names is not None:
        return f"{value.size} structs"
    return {"U": "text", "O": "cells"}.get(value.dtype.kind, str(value.dtype))
