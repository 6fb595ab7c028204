"""Finds out what a data folder holds, which spans of it to read, and whether it changed."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from components.readers import fer2013, ferg
from components.readers.record import Reader
from data_validation.errors import InputError

_SPAN = re.compile(r"span-(\d+)$")


@dataclass(frozen=True)
class ReaderOptions:
    """Cleaning rules that readers apply.

    Attributes:
        drop_test_duplicates: Drop evaluation and test images that are copies of training images.
    """

    drop_test_duplicates: bool = False


def open_readers(folder: Path, options: ReaderOptions) -> list[Reader]:
    """Opens every data set of a folder, by the files that its format is known by.

    Args:
        folder: A data folder, or one span of it.
        options: Cleaning rules.

    Returns:
        One reader a data set found.

    Raises:
        InputError: The folder does not exist or holds no known data set.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected a data folder, found {'a file' if folder.exists() else 'nothing'}"
        )
    readers: list[Reader] = []
    if (folder / fer2013.CSV_NAME).is_file():
        readers.append(fer2013.FerCsvReader(folder, options.drop_test_duplicates))
    elif (folder / fer2013.INDEX_NAME).is_file():
        readers.append(fer2013.FerFolderReader(folder, options.drop_test_duplicates))
    if (folder / ferg.FOLDER_NAME).is_dir():
        readers.append(ferg.FergReader(folder))
    if not readers:
        known = f"{fer2013.CSV_NAME}, {fer2013.INDEX_NAME} or {ferg.FOLDER_NAME}/"
        raise InputError(f"{folder}: no known data set; expected {known}")
    return readers


def select_spans(folder: Path, window: int) -> tuple[list[Path], int]:
    """Finds the newest spans of a data folder.

    Args:
        folder: A folder of `span-<number>` folders, or a data set itself.
        window: How many of the newest spans to read.

    Returns:
        The folders to read, oldest first, and the newest span's number (0 for a folder without spans).

    Raises:
        InputError: Two folders stand for the same span.
    """
    spans: dict[int, Path] = {}
    for child in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _SPAN.match(child.name)
        if match and child.is_dir():
            number = int(match.group(1))
            if number in spans:
                raise InputError(f"{folder}: {spans[number].name} and {child.name} are the same span")
            spans[number] = child
    if not spans:
        return [folder], 0
    newest = sorted(spans)[-window:]
    return [spans[number] for number in newest], newest[-1]


def fingerprint(folders: list[Path]) -> str:
    """Hashes the names, sizes and times of all files below some folders.

    Args:
        folders: Data folders.

    Returns:
        64 hexadecimal digits; another value means that the data may have changed.
    """
    digest = hashlib.sha256()
    for folder in folders:
        visited: set[str] = set()
        # Links are followed, since the readers follow them too.
        for parent, children, files in os.walk(folder, followlinks=True):
            children.sort()
            if os.path.realpath(parent) in visited:
                children.clear()  # a loop of links
                continue
            visited.add(os.path.realpath(parent))
            for name in sorted(files):
                entry = f"{os.path.relpath(parent, folder)}/{name}:{_state(os.path.join(parent, name))}"
                digest.update(entry.encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()


def _state(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "unreadable"  # a link to nowhere
    return f"{status.st_size}:{status.st_mtime_ns}"
