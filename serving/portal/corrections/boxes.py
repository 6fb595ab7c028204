"""Boxes of faces as people write them down: a line each."""

import re
from typing import NamedTuple

MAX_BOXES = 100
"""Of one picture that people can add."""

_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)
_EXAMPLE = "120,80,40,52"


class BoxError(ValueError):
    """A line that is no box; the message tells a person which, and why."""


class Box(NamedTuple):
    """Where a face is, in pixels.

    Attributes:
        left: Left edge.
        top: Upper edge.
        width: 1 or more.
        height: 1 or more.
    """

    left: int
    top: int
    width: int
    height: int


def parse(text: str, width: int, height: int) -> tuple[Box, ...]:
    """Reads lines of `left,top,width,height`.

    Args:
        text: What somebody wrote; empty lines mean nothing.
        width: Columns of the picture, pixels.
        height: Rows.

    Returns:
        The boxes in the order of the lines.

    Raises:
        BoxError: A line is of another form, a box is not inside of the picture or stands there twice, or
            there are too many.
    """
    boxes: dict[Box, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        box = _box(number, line)
        if not 0 < box.width <= width - box.left or not 0 < box.height <= height - box.top:
            raise BoxError(
                f"Line {number}: the face must be inside of the picture, which is {width} x {height} pixels."
            )
        if box in boxes:
            raise BoxError(f"Line {number}: this face is in line {boxes[box]} already.")
        boxes[box] = number
        if len(boxes) > MAX_BOXES:
            raise BoxError(f"At most {MAX_BOXES} faces can be added.")
    return tuple(boxes)


def from_edges(edges: tuple[float, float, float, float]) -> Box:
    """Returns the box of a left, upper, right and lower edge, in whole pixels."""
    left, top, right, bottom = (round(edge) for edge in edges)
    return Box(left, top, max(1, right - left), max(1, bottom - top))


def _box(number: int, line: str) -> Box:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != len(Box._fields) or not all(map(_NUMBER.fullmatch, fields)):
        raise BoxError(f"Line {number}: expected left,top,width,height in whole pixels, such as {_EXAMPLE}.")
    return Box(*map(int, fields))
