"""Finds out what a data folder holds, which spans of it to read, and whether it changed."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.readers import (
    att,
    celeba,
    face_points,
    fer2013,
    ferg,
    identity_folders,
    imdb_wiki,
    lfw_pairs,
    utkface,
    wider_face,
)
from components.readers.boxes import LABEL as BOXES
from components.readers.face_box import Box
from components.readers.identity import LABEL as IDENTITY
from components.readers.record import Reader
from data_validation.errors import InputError

_SPAN = re.compile(r"span-(\d+)$")


# What a reader of figures must know of how a data set is split.
SPLIT_NOTES = {
    utkface.UtkFaceReader.source: (
        "UTKFace tells of no identities, so it is split by the hash of the image: two pictures of one person "
        "may be on both sides, and figures over it are a little too good."
    ),
    celeba.CelebaReader.source: (
        "CelebA is split by its own partition where that is there, else by the hash of the person's number. "
        "Without both lists it is split by the hash of the image: two pictures of one person may then be on "
        "both sides, and figures over it are a little too good."
    ),
}


class UnknownDataError(InputError):
    """A folder without a data set that is known and wanted."""


@dataclass(frozen=True)
class ReaderOptions:
    """Which data sets are read, and the cleaning rules that readers apply.

    Attributes:
        drop_test_duplicates: Drop evaluation and test images that are copies of training images.
        label: Read only data sets that have this label; all where it is empty. A record without `gender` or
            `age` is left out where that is the label.
        min_face_score: Lowest score of a face detector that is kept.
        single_face: Leave out pictures with a second face.
        gender_known: Leave out pictures of persons whose gender is not known.
        age_known: Leave out pictures of persons whose age is not known or not from 0 to 100.
        att_box: Where the face is in every picture of AT&T: left, top, width, height; empty for all of it.
        lfw_box: The same for the images of LFW's pairs.
        male_share: Share of CelebA's images that are to be male, 0 to 1; None for all images.
        max_images: Most images of CelebA that are read in one folder, 0 for any number.
    """

    drop_test_duplicates: bool = False
    label: str = ""
    min_face_score: float = 1.0
    single_face: bool = True
    gender_known: bool = True
    age_known: bool = True
    att_box: Box = ()
    lfw_box: Box = ()
    male_share: float | None = None
    max_images: int = 0


@dataclass(frozen=True)
class _Format:
    """A published format: what it is known by and who reads it.

    Attributes:
        marks: Names of files, or of folders with a slash; the first that exists is read.
        labels: What tasks can learn from it.
        open: Opens the data set of a folder by the mark found, relative to the folder.
        below: Folders in which the marks are looked for.
    """

    marks: tuple[str, ...]
    labels: tuple[str, ...]
    open: Callable[[Path, str, ReaderOptions], Reader]
    below: tuple[str, ...] = ("",)

    def find(self, folder: Path) -> str | None:
        """Returns the first mark in a folder, relative to it, None where there is none."""
        for place in (f"{below}{mark}" for mark in self.marks for below in self.below):
            path = folder / place
            if path.is_dir() if place.endswith("/") else path.is_file():
                return place
        return None


def _open_fer2013(folder: Path, mark: str, options: ReaderOptions) -> Reader:
    if mark == fer2013.CSV_NAME:
        return fer2013.FerCsvReader(folder, options.drop_test_duplicates)
    return fer2013.FerFolderReader(folder, options.drop_test_duplicates)


def _open_ferg(folder: Path, mark: str, options: ReaderOptions) -> Reader:
    del mark, options
    return ferg.FergReader(folder)


def _open_imdb_wiki(folder: Path, mark: str, options: ReaderOptions) -> Reader:
    cleaning = imdb_wiki.Cleaning(
        min_face_score=options.min_face_score,
        single_face=options.single_face,
        gender_known=options.gender_known,
        age_known=options.age_known,
    )
    return imdb_wiki.ImdbWikiReader(folder, mark, options.label, cleaning)


def _open_utkface(folder: Path, mark: str, options: ReaderOptions) -> Reader:
    del mark
    return utkface.UtkFaceReader(folder, options.label)


def _open_celeba(folder: Path, mark: str, options: ReaderOptions) -> Reader:
    subset = celeba.Subset(options.male_share, options.max_images)
    return celeba.CelebaReader(folder, mark, options.label, subset)


def _open_att(folder: Path, mark: str, options: ReaderOptions) -> Reader:
    return att.AttReader(folder / mark.removesuffix(att.MARK), options.att_box)


def _open_identity_folders(folder: Path, mark: str, options: ReaderOptions) -> Reader:
    del options
    return identity_folders.IdentityFoldersReader(folder / mark)


def _open_lfw_pairs(folder: Path, mark: str, options: ReaderOptions) -> Reader:
    del mark
    return lfw_pairs.LfwPairsReader(folder, options.lfw_box)


def _open_wider_face(folder: Path, mark: str, options: ReaderOptions) -> Reader:
    del mark, options
    return wider_face.WiderFaceReader(folder)


def _open_face_points(folder: Path, mark: str, options: ReaderOptions) -> Reader:
    del mark, options
    return face_points.FacePointsReader(folder)


_PERSON = ("gender", "age")
_FORMATS = (
    # Both forms of FER-2013 hold the same pictures, so only one is read.
    _Format((fer2013.CSV_NAME, fer2013.INDEX_NAME), ("emotion",), _open_fer2013),
    _Format((f"{ferg.FOLDER_NAME}/",), ("emotion",), _open_ferg),
    _Format(("wiki.mat",), _PERSON, _open_imdb_wiki, below=("", "wiki_crop/")),
    _Format(("imdb.mat",), _PERSON, _open_imdb_wiki, below=("", "imdb_crop/")),
    _Format((f"{utkface.FOLDER_NAME}/",), _PERSON, _open_utkface),
    # Of ages, CelebA tells only who is young.
    _Format((f"{celeba.FOLDER_NAME}/",), (celeba.LABEL, "gender"), _open_celeba, below=("", "Img/")),
    _Format((att.MARK,), (IDENTITY,), _open_att, below=("", *(f"{name}/" for name in att.FOLDERS))),
    _Format((lfw_pairs.FILE_NAME,), (IDENTITY,), _open_lfw_pairs),
    _Format((f"{identity_folders.FOLDER_NAME}/",), (IDENTITY,), _open_identity_folders),
    _Format(wider_face.FILE_NAMES, (BOXES,), _open_wider_face, below=wider_face.FOLDERS),
    _Format(face_points.LISTS, (BOXES,), _open_face_points),
)


def open_readers(folder: Path, options: ReaderOptions) -> list[Reader]:
    """Opens the data sets of a folder, by the files that their formats are known by.

    Any folder of folders with images looks like folders of persons, those of other data sets too. So a data
    folder is itself read as such only for the label `identity`, and only when it holds no known data set,
    whatever its label. The folder `identities` in a data folder is read beside other data sets.

    Args:
        folder: A data folder, or one span of it.
        options: Which data sets, and the cleaning rules.

    Returns:
        One reader a data set found.

    Raises:
        InputError: The folder does not exist, or a data set in it is malformed.
        UnknownDataError: The folder holds no known data set, or none with the label.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected a data folder, found {'a file' if folder.exists() else 'nothing'}"
        )
    wanted = [each for each in _FORMATS if not options.label or options.label in each.labels]
    marks = [(each, each.find(folder)) for each in wanted]
    readers = [each.open(folder, mark, options) for each, mark in marks if mark]
    if readers:
        return readers
    others = [mark for mark in (each.find(folder) for each in _FORMATS) if mark]
    if options.label == IDENTITY and not others and identity_folders.holds_persons(folder):
        return [identity_folders.IdentityFoldersReader(folder)]
    raise _nothing_to_read(folder, options.label, wanted, others)


def _nothing_to_read(folder: Path, label: str, wanted: list[_Format], others: list[str]) -> UnknownDataError:
    names = [mark for each in wanted for mark in each.marks]
    if label == IDENTITY:
        names.append("<person>/<image>.jpg")
    *first, last = names
    expected = f"expected {', '.join(first)} or {last}" if first else f"expected {last}"
    if not others:
        return UnknownDataError(f"{folder}: no known data set; {expected}")
    found = ", ".join(others)
    return UnknownDataError(f"{folder}: no data set with the label {label!r}; {expected}, found {found}")


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
