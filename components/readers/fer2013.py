"""FER-2013, as Kaggle publishes it (`fer2013.csv`) and as folders of images with an index.

Source: Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning
contests", ICML 2013 workshop. Emotion codes 0 to 6 as in `data_validation.labels.EMOTIONS`.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

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
# A row of pixels has some 9,000 characters. What a line has beyond this is left out, and the row rejected.
_MAX_LINE = 100_000
_DIGITS = re.compile(r"[0-9\s]+", re.ASCII)


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
            duplicate = row["Usage"] != "Training" and _digest(row["pixels"]) in training
            yield CsvRow(line, row["emotion"], row["pixels"], row["Usage"], duplicate)

    def name(self, item: CsvRow) -> str:
        """Returns `fer2013.csv:<line>`."""
        return f"{CSV_NAME}:{item.line}"

    def load(self, item: CsvRow) -> FaceRecord:
        """Turns a row into a PNG (lossless) and its label; see `Reader.load`."""
        record = FaceRecord(
            filename=self.name(item),
            image=_encode_png(_parse_pixels(item.pixels)),
            split=_split(item.usage),
            source=self.source,
            labels=_labels(item),
        )
        # Only now: a row that cannot be read is rejected, whatever it is a copy of.
        return _unless_dropped(record, item.duplicate and self._drop_duplicates)

    def _training_digests(self) -> set[bytes]:
        return {_digest(row["pixels"]) for _, row in _rows(self._file) if row["Usage"] == "Training"}


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
            yield IndexRow(line, row["emotion"], row["Usage"], row["path"], duplicate)

    def name(self, item: IndexRow) -> str:
        """Returns the image's path, or the index's line where it has none."""
        return item.path or f"{INDEX_NAME}:{item.line}"

    def load(self, item: IndexRow) -> FaceRecord:
        """Reads an image file; see `Reader.load`."""
        record = FaceRecord(
            filename=self.name(item),
            image=self._read(item.path),
            split=_split(item.usage),
            source=self.source,
            labels=_labels(item),
        )
        return _unless_dropped(record, item.duplicate and self._drop_duplicates)

    def _read(self, path: str) -> bytes:
        try:
            file = (self._folder / path).resolve()
            if not path or not file.is_relative_to(self._folder.resolve()):
                raise RecordRejected(f"path: expected a file inside the data set, found {path[:100]!r}")
            return file.read_bytes()
        except OSError as error:
            raise RecordRejected(f"file cannot be read: {error.strerror}") from error
        except (ValueError, RuntimeError) as error:  # a NUL character, a loop of links
            raise RecordRejected(f"path: no file can be called {path[:100]!r}") from error


def _check_header(file: Path, needed: Iterable[str]) -> None:
    with _open(file) as handle:
        header = _fields(next(_lines(handle), ""))
    missing = sorted(set(needed) - set(header))
    if missing:
        found = ", ".join(header)[:200] or "an empty file"
        raise InputError(f"{file}: missing column {', '.join(missing)}; found {found}")


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields line numbers and rows; a row has all columns, empty where it is short."""
    with _open(file) as handle:
        lines = _lines(handle)
        header = _fields(next(lines, ""))
        for number, line in enumerate(lines, start=2):
            fields = _fields(line)
            if fields:
                yield number, dict(zip(header, [*fields, *[""] * len(header)], strict=False))


def _open(file: Path) -> TextIO:
    # utf-8-sig: spreadsheet programs write a byte-order mark. Bytes that are no text spoil their row only.
    return file.open(newline="", encoding="utf-8-sig", errors="replace")


def _lines(handle: TextIO) -> Iterator[str]:
    """Yields the lines of a file, cut to a bounded length and without NUL, which the csv module refuses."""
    while line := handle.readline(_MAX_LINE):
        rest = line
        while rest and not rest.endswith(("\n", "\r")):
            rest = handle.readline(_MAX_LINE)
        yield line.replace("\0", "\ufffd")


def _fields(line: str) -> list[str]:
    """Splits one line. Line by line, so that a quote that is never closed spoils its own row only."""
    return next(csv.reader([line]), [])


def _labels(item: CsvRow | IndexRow) -> dict[str, str]:
    return {"emotion": _emotion(item.emotion), COPY_FEATURE: "yes" if item.duplicate else "no"}


def _unless_dropped(record: FaceRecord, dropped: bool) -> FaceRecord:
    if dropped:
        raise RecordDropped(DUPLICATE_REASON)
    return record


def _emotion(code: str) -> str:
    # int() alone would take "-1" for the last emotion, and other scripts' digits.
    number = int(code) if code.isascii() and code.isdigit() and len(code) < 3 else len(EMOTIONS)
    if number >= len(EMOTIONS):
        raise RecordRejected(f"emotion: expected a code from 0 to {len(EMOTIONS) - 1}, found {code[:20]!r}")
    return EMOTIONS[number]


def _split(usage: str) -> str:
    if usage not in USAGE_SPLITS:
        raise RecordRejected(f"Usage: expected {', '.join(USAGE_SPLITS)}, found {usage[:20]!r}")
    return USAGE_SPLITS[usage]


def _parse_pixels(text: str) -> np.ndarray:
    """Parses 2304 space-separated grey values to uint8 [48, 48]."""
    words = text.split()
    if len(words) != SIDE * SIDE:
        raise RecordRejected(f"pixels: expected {SIDE * SIDE} values, found {len(words)}")
    # The usual row is checked and converted as a whole, several times as fast as word by word.
    values = np.fromstring(text, dtype=np.int64, sep=" ") if _DIGITS.fullmatch(text) else None
    if values is None or values.max() > 255:
        bad = next(
            word for word in words if not (_DIGITS.fullmatch(word) and len(word) < 4 and int(word) < 256)
        )
        raise RecordRejected(f"pixels: expected whole numbers from 0 to 255, found {bad[:20]!r}")
    return values.astype(np.uint8).reshape(SIDE, SIDE)


def _encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _digest(pixels: str) -> bytes:
    # Of the values, not of the text: another spacing is the same picture.
    return hashlib.sha256(" ".join(pixels.split()).encode()).digest()
