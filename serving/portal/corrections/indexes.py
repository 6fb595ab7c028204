"""Lists of data sets: which pictures there are, and what their labels are.

An index is read into rows, by the name that it has for the picture, and written out of them. Only files
that the portal itself wrote are read, so anything else in them is an error.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

_CELEBA_HEADER = "Male"
_FER_HEADER = ["emotion", "Usage", "path", "duplicate_group"]
_FER_USAGE = "Training"

Rows = dict[str, str]


class BadIndex(ValueError):
    """An index that the portal did not write, or that was changed since."""


@dataclass(frozen=True)
class Index:
    """A list of pictures and their labels.

    Attributes:
        file: Its name.
        folder: What comes before a picture's name in the list, to get its path; empty or with a slash.
        parse: Reads the text into rows.
        render: Writes rows.
        comes_first: Whether the index is to be written before its pictures.
    """

    file: str
    folder: str
    parse: Callable[[str], Rows]
    render: Callable[[Mapping[str, str]], str]
    comes_first: bool = False


def parse_celeba(text: str) -> Rows:
    """Reads `list_attr_celeba.txt`: the count, the header `Male`, and lines of a name and 1 or -1.

    Raises:
        BadIndex: It is of another form.
    """
    lines = text.splitlines()
    rows = dict(_pair(line) for line in lines[2:])
    if lines[:2] != [str(len(rows)), _CELEBA_HEADER]:
        raise BadIndex(f"expected a count of lines and {_CELEBA_HEADER!r}")
    return rows


def render_celeba(rows: Mapping[str, str]) -> str:
    """Writes `list_attr_celeba.txt`."""
    lines = [f"{name} {value}" for name, value in rows.items()]
    return "".join(f"{line}\n" for line in (str(len(rows)), _CELEBA_HEADER, *lines))


def parse_fer(text: str) -> Rows:
    """Reads `fer2013_index.csv` into codes of emotions by path.

    Raises:
        BadIndex: It is of another form.
    """
    header, *lines = list(csv.reader(io.StringIO(text))) or [[]]
    if header != _FER_HEADER or any(len(line) != len(_FER_HEADER) for line in lines):
        raise BadIndex(f"expected the columns {', '.join(_FER_HEADER)}")
    return {path: code for code, _, path, _ in lines}


def render_fer(rows: Mapping[str, str]) -> str:
    """Writes `fer2013_index.csv`; all of it is for training."""
    out = io.StringIO()
    lines = ([code, _FER_USAGE, path, ""] for path, code in rows.items())
    csv.writer(out, lineterminator="\n").writerows([_FER_HEADER, *lines])
    return out.getvalue()


def parse_wider(text: str) -> Rows:
    """Reads `wider_face_bbx_gt.txt` into the lines of boxes, by path; of a picture without faces, none.

    Raises:
        BadIndex: It is of another form.
    """
    rows = {}
    lines = iter(text.splitlines())
    for path in lines:
        count = next(lines, "")
        if not (count.isascii() and count.isdigit()):
            raise BadIndex("expected a count of boxes after the name of a picture")
        boxes = list(islice(lines, max(1, int(count))))
        if len(boxes) != max(1, int(count)):
            raise BadIndex("expected as many boxes as counted")
        rows[path] = "\n".join(boxes) if int(count) else ""
    return rows


def render_wider(rows: Mapping[str, str]) -> str:
    """Writes `wider_face_bbx_gt.txt`."""
    blocks = (
        f"{path}\n{len(boxes.splitlines())}\n{boxes or ' '.join('0' * 10)}\n" for path, boxes in rows.items()
    )
    return "".join(blocks)


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(" ")
    if value not in ("1", "-1"):
        raise BadIndex("expected lines of a name and 1 or -1")
    return name, value


# A line without a picture and a picture without a line are both faults to CelebA's reader. It reads the list
# before it looks at the folder, so a list that comes first leaves it the least time to see one of the two.
CELEBA = Index("list_attr_celeba.txt", "img_align_celeba/", parse_celeba, render_celeba, comes_first=True)
FER2013 = Index("fer2013_index.csv", "", parse_fer, render_fer)
WIDER_FACE = Index("wider_face_bbx_gt.txt", "images/", parse_wider, render_wider)
