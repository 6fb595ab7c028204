"""FER-2013, as Kaggle publishes it (`fer2013.csv`) and as folders of images with an index.

Source: Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning
contests", ICML 2013 workshop. Emotion codes 0 to 6 as in `data_validation.labels.EMOTIONS`.
"""

import csv
import hashlib
import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from components.readers.record import FaceRecord, RecordDropped, RecordRejected
from data_validation.errors import InputError
from data_validation.labels import EMOTIONS

CSV_NAME = "fer2013.csv"
INDEX_NAME = "fer2013_index.csv"
SIDE = 48
USAGE_SPLITS = {"Training": "train", "PublicTest": "eval", "PrivateTest": "test"}
DUPLICATE_REASON = "same picture as a training image"
# Whether an evaluation or test image is a copy of a training image: metrics are sliced by it, since a figure
# over copies says less than it seems.
COPY_FEATURE = "copy_of_training"
# A row of pixels has some 9,000 characters; the csv module's own limit is not needed, ours keeps rows sane.
_MAX_FIELD = 1_000_000


class CsvRow(NamedTuple):
    """A data row of fer2013.csv."""

    line: int
    emotion: str
    pixels: str
    usage: str
    duplicate: bool


class IndexRow(NamedTuple):
    """A data row of the index of the folder form."""

    line: int
    emotion: str
    usage: str
    path: str
    duplicate: bool


class FerCsvReader:
    """Reads `fer2013.csv`: columns `emotion`, `pixels` (2304 grey values) and `Usage`."""

    source = "fer2013"

    def __init__(self, folder: Path, drop_duplicates: bool = False) -> None:
        """Opens the data set.

        Args:
            folder: Folder that holds `fer2013.csv`.
            drop_duplicates: Drop the evaluation and test images whose pixels equal a training image's.

        Raises:
            InputError: A column is missing.
        """
        self._file = folder / CSV_NAME
        self._drop_duplicates = drop_duplicates
        _check_header(self._file, {"emotion", "pixels", "Usage"})

    def items(self) -> Iterator[CsvRow]:
        """Lists the rows in file order."""
        training = self._training_digests()
        for line, row in _rows(self._file):
            pixels, usage = row["pixels"] or "", row["Usage"] or ""
            duplicate = usage != "Training" and _digest(pixels) in training
            yield CsvRow(line, row["emotion"] or "", pixels, usage, duplicate)

    def name(self, item: CsvRow) -> str:
        """Returns `fer2013.csv:<line>`."""
        return f"{CSV_NAME}:{item.line}"

    def load(self, item: CsvRow) -> FaceRecord:
        """Turns a row into a PNG (lossless) and its label; see `Reader.load`."""
        if item.duplicate and self._drop_duplicates:
            raise RecordDropped(DUPLICATE_REASON)
        return FaceRecord(
            filename=self.name(item),
            image=_encode_png(_parse_pixels(item.pixels)),
            split=_split(item.usage),
            source=self.source,
            labels={"emotion": _emotion(item.emotion), COPY_FEATURE: "yes" if item.duplicate else "no"},
        )

    def _training_digests(self) -> set[bytes]:
        return {_digest(row["pixels"] or "") for _, row in _rows(self._file) if row["Usage"] == "Training"}


class FerFolderReader:
    """Reads the folder form: `<Usage>/<emotion>/<file>.jpg` listed by `fer2013_index.csv`.

    The index has the columns `emotion` (code), `Usage`, `path` (relative to the index) and, optionally,
    `duplicate_group` (the same code for identical pictures, empty for the others).
    """

    source = "fer2013"

    def __init__(self, folder: Path, drop_duplicates: bool = False) -> None:
        """Opens the data set.

        Args:
            folder: Folder that holds `fer2013_index.csv` and the images.
            drop_duplicates: Drop the evaluation and test images that share a `duplicate_group` with training.

        Raises:
            InputError: A column is missing.
        """
        self._folder = folder
        self._index = folder / INDEX_NAME
        self._drop_duplicates = drop_duplicates
        needed = {"emotion", "Usage", "path"} | ({"duplicate_group"} if drop_duplicates else set())
        _check_header(self._index, needed)

    def items(self) -> Iterator[IndexRow]:
        """Lists the rows of the index in file order."""
        rows = list(_rows(self._index))
        training = {row.get("duplicate_group") for _, row in rows if row["Usage"] == "Training"} - {"", None}
        for line, row in rows:
            duplicate = row["Usage"] != "Training" and row.get("duplicate_group") in training
            yield IndexRow(line, row["emotion"] or "", row["Usage"] or "", row["path"] or "", duplicate)

    def name(self, item: IndexRow) -> str:
        """Returns the image's path, or the index's line where it has none."""
        return item.path or f"{INDEX_NAME}:{item.line}"

    def load(self, item: IndexRow) -> FaceRecord:
        """Reads an image file; see `Reader.load`."""
        if item.duplicate and self._drop_duplicates:
            raise RecordDropped(DUPLICATE_REASON)
        return FaceRecord(
            filename=self.name(item),
            image=self._read(item.path),
            split=_split(item.usage),
            source=self.source,
            labels={"emotion": _emotion(item.emotion), COPY_FEATURE: "yes" if item.duplicate else "no"},
        )

    def _read(self, path: str) -> bytes:
        file = (self._folder / path).resolve()
        if not path or not file.is_relative_to(self._folder.resolve()):
            raise RecordRejected(f"path: expected a file inside the data set, found {path!r}")
        try:
            return file.read_bytes()
        except OSError as error:
            raise RecordRejected(f"file cannot be read: {error.strerror}") from error


def _check_header(file: Path, needed: Iterable[str]) -> None:
    with file.open(newline="", encoding="utf-8") as handle:
        header = next(csv.reader(handle), [])
    missing = sorted(set(needed) - set(header))
    if missing:
        raise InputError(
            f"{file}: missing column {', '.join(missing)}; found {', '.join(header) or 'an empty file'}"
        )


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    csv.field_size_limit(min(_MAX_FIELD, sys.maxsize))
    with file.open(newline="", encoding="utf-8", errors="replace") as handle:
        reader = csv.DictReader(handle)
        for row in reader:
            yield reader.line_num, row


def _emotion(code: str) -> str:
    try:
        # int() alone would take "-1" for the last emotion.
        return EMOTIONS[int(code)] if code.isascii() and code.isdigit() else _unknown_emotion(code)
    except IndexError:
        return _unknown_emotion(code)


def _unknown_emotion(code: str) -> str:
    raise RecordRejected(f"emotion: expected a code from 0 to {len(EMOTIONS) - 1}, found {code[:20]!r}")


def _split(usage: str) -> str:
    if usage not in USAGE_SPLITS:
        raise RecordRejected(f"Usage: expected {', '.join(USAGE_SPLITS)}, found {usage[:20]!r}")
    return USAGE_SPLITS[usage]


def _parse_pixels(text: str) -> np.ndarray:
    """Parses 2304 space-separated grey values to uint8 [48, 48]."""
    words = text.split()
    if len(words) != SIDE * SIDE:
        raise RecordRejected(f"pixels: expected {SIDE * SIDE} values, found {len(words)}")
    if not all(word.isascii() and word.isdigit() and len(word) <= 3 for word in words):
        raise RecordRejected("pixels: expected whole numbers from 0 to 255")
    values = np.array(words, dtype=np.int64)
    if values.max() > 255:
        raise RecordRejected(f"pixels: expected values from 0 to 255, found {values.max()}")
    return values.astype(np.uint8).reshape(SIDE, SIDE)


def _encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _digest(pixels: str) -> bytes:
    return hashlib.sha256(pixels.encode()).digest()
