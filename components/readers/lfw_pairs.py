r"""LFW's pairs: `pairs.txt` and the images that it names.

Source: Huang, Ramesh, Berg, Learned-Miller, "Labeled Faces in the Wild", University of Massachusetts,
Amherst, technical report 07-49, 2007. Layout: `pairs.txt` beside the folder `lfw-deepfunneled` or `lfw` with
`<Name>/<Name>_<number of four digits>.jpg`. The first line of `pairs.txt` is the count of pairs of each kind
(`1000`), or folds and count per fold (`10<TAB>300`); the others are `name n1 n2` for one person and
`name1 n1 name2 n2` for two.

All persons are in the split `test`. Only images that occur in pairs are read, each once.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components.readers.face_box import Box, cut_face
from components.readers.files import read_image, read_lines
from components.readers.identity import LABEL, Pair, pseudonym, pseudonymous
from components.readers.record import FaceRecord, Uncut
from data_validation.errors import InputError

FILE_NAME = "pairs.txt"
FOLDERS = ("lfw-deepfunneled", "lfw")

_MOST_DIGITS = 6
_HEAD = "a count, or folds and a count"
_LINE = "'name n1 n2' or 'name1 n1 name2 n2'"


class LfwImage(NamedTuple):
    """An image that occurs in pairs: `<Name>/<file>`, and the first line of `pairs.txt` that names it."""

    path: str
    line: int


class LfwPairsReader:
    """Reads the images of the pairs."""

    source = "lfw"

    def __init__(self, folder: Path, box: Box = ()) -> None:
        """Opens the data set.

        Args:
            folder: Folder that holds `pairs.txt`.
            box: Where the face is in every picture.

        Raises:
            InputError: `pairs.txt` is malformed, or the folder of images is not beside it.
        """
        self._box = box
        self._pairs = folder / FILE_NAME
        found = [folder / name for name in FOLDERS if (folder / name).is_dir()]
        if not found:
            raise InputError(
                f"{self._pairs}: expected {FOLDERS[0]}/ or {FOLDERS[1]}/ beside it, found neither"
            )
        self._root = found[0]
        # Checked now, but not kept here: Beam sends readers to its workers.
        read_pairs(self._pairs)

    def items(self) -> Iterator[LfwImage]:
        """Lists the images in the order in which the pairs name them."""
        seen = set()
        for line, pair in _numbered_pairs(self._pairs):
            for path in (pair.first, pair.second):
                if path not in seen:
                    seen.add(path)
                    yield LfwImage(path, line)

    def name(self, item: LfwImage) -> str:
        """Returns the line of `pairs.txt`, which tells the name, and the path without the name."""
        return f"{FILE_NAME}:{item.line} {pseudonymous(self.source, item.path)}"

    def load(self, item: LfwImage) -> FaceRecord:
        """Reads one image file; see `Reader.load`."""
        picture = read_image(self._root, item.path)
        return FaceRecord(
            filename=pseudonymous(self.source, item.path),
            image=cut_face(picture, self._box),
            split="test",
            source=self.source,
            labels={LABEL: pseudonym(self.source, item.path.split("/")[0])},
            uncut=Uncut(picture, self._box),
        )

    def pairs(self) -> list[Pair]:
        """Returns the pairs in the order of the file."""
        return read_pairs(self._pairs)


def read_pairs(file: Path) -> list[Pair]:
    """Reads the pairs; whether the images exist is found out when they are read.

    Args:
        file: LFW's `pairs.txt` or a file of its form.

    Returns:
        The pairs in the order of the file, paths relative to the folder of images.

    Raises:
        InputError: The file cannot be read, a line is not of the form, or the first line counts otherwise
            than the lines that follow.
    """
    return [pair for _, pair in _numbered_pairs(file)]


def _numbered_pairs(file: Path) -> list[tuple[int, Pair]]:
    (first, head), *lines = [(line, text.split()) for line, text in read_lines(file)] or [(1, [])]
    folds, count = _counts(f"{file}, line {first}", head)
    pairs = [
        (line, _pair(f"{file}, line {line}", fields, fold=index // (2 * count)))
        for index, (line, fields) in enumerate(lines)
    ]
    for same, kind in ((True, "one person"), (False, "two persons")):
        found = sum(pair.same == same for _, pair in pairs)
        if found != folds * count:
            raise InputError(
                f"{file}, line {first}: expected {folds * count} pairs of {kind} as counted, found {found}"
            )
    return pairs


def _counts(where: str, head: list[str]) -> tuple[int, int]:
    """Returns the number of folds and the count of pairs of each kind in a fold."""
    numbers = [number for number in map(_number, head) if number is not None]
    if len(numbers) not in (1, 2) or len(numbers) < len(head):
        raise InputError(f"{where}: expected {_HEAD}, found {_shown(head)}")
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (1, numbers[0])


def _pair(where: str, fields: list[str], fold: int) -> Pair:
    if len(fields) == 3:
        name, first, second = fields
        ends = [(name, first), (name, second)]
    elif len(fields) == 4:
        ends = [(fields[0], fields[1]), (fields[2], fields[3])]
        if fields[0] == fields[2]:
            raise InputError(f"{where}: expected two persons, found {fields[0][:60]!r} twice")
    else:
        raise InputError(f"{where}: expected {_LINE}, found {_shown(fields)}")
    (first_name, _), (second_name, _) = ends
    paths = [_path(where, name, number) for name, number in ends]
    if paths[0] == paths[1]:
        raise InputError(f"{where}: expected two images, found number {fields[1]} twice")
    return Pair(paths[0], paths[1], same=first_name == second_name, fold=fold)


def _path(where: str, name: str, text: str) -> str:
    # A name is a folder: it must not lead out of the data.
    if "/" in name or "\\" in name or "\0" in name or name.startswith("."):
        raise InputError(f"{where}: expected a name without '/', '\\' and leading '.', found {name[:60]!r}")
    number = _number(text)
    if number is None:
        raise InputError(f"{where}: expected an image number from 1, found {text[:20]!r}")
    return f"{name}/{name}_{number:04d}.jpg"


def _number(text: str) -> int | None:
    # int() alone would take "-1", "1_0" and other scripts' digits.
    plain = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) or None if plain else None


def _shown(fields: list[str]) -> str:
    return repr(" ".join(fields)[:60]) if fields else "nothing"
