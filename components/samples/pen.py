"""A pen that draws smooth shapes in the coordinates of a head, whatever its place, size and roll.

The head's own coordinates: the middle of the head is (0, 0), the chin is near (0, 1), x grows to the right
and y downwards, as in the picture.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

_ELLIPSE_ANGLES = np.linspace(0.0, 2.0 * math.pi, 28, endpoint=False)
_ELLIPSE = np.stack([np.cos(_ELLIPSE_ANGLES), np.sin(_ELLIPSE_ANGLES)], axis=1)
_GLOW_RINGS = (1.0, 0.86, 0.72, 0.58, 0.42, 0.24)
_ARC_STEPS = np.linspace(0.0, 1.0, 9)[:, None]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour that lies `share` of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def darker(colour: Colour, factor: float) -> Colour:
    """The colour with its light multiplied by a factor from 0 to 1."""
    return mix((0, 0, 0), colour, factor)


def arc(start: Point, end: Point, bulge: float) -> np.ndarray:
    """Points on a flat arc between two points; a positive bulge lifts its middle when drawn left to right."""
    first, last = np.array(start), np.array(end)
    along = last - first
    upwards = np.array([along[1], -along[0]]) / max(float(np.hypot(*along)), 1e-9)
    lift = 4.0 * _ARC_STEPS * (1.0 - _ARC_STEPS)
    return first + along * _ARC_STEPS + upwards * bulge * lift


def through(points: Sequence[Point]) -> np.ndarray:
    """A smooth curve through all the points (Catmull-Rom)."""
    knots = np.array([points[0], *points, points[-1]], dtype=float)
    pieces = []
    for before, start, end, after in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        t = _ARC_STEPS[:-1]
        linear, square = end - before, 2 * before - 5 * start + 4 * end - after
        pieces.append(
            0.5 * (2 * start + linear * t + square * t**2 + (3 * (start - end) + after - before) * t**3)
        )
    return np.concatenate([*pieces, knots[-1:]])


@lru_cache(maxsize=64)
def _half_widths(points: int, ends: Point) -> np.ndarray:
    share = np.linspace(0.0, 1.0, points)
    return np.interp(share, (0.0, 0.4, 0.6, 1.0), (ends[0], 1.0, 1.0, ends[1])) / 2.0


class Pen:
    """Fills shapes on a canvas, given in head coordinates."""

    def __init__(self, canvas: Image.Image, origin: Point, unit: float, roll_degrees: float) -> None:
        self._draw = ImageDraw.Draw(canvas, "RGBA")
        self._origin = np.array(origin)
        angle = math.radians(roll_degrees)
        cos, sin = math.cos(angle) * unit, math.sin(angle) * unit
        self._matrix = np.array([[cos, sin], [-sin, cos]])

    def moved(self, offset_x: float, offset_y: float) -> "Pen":
        """The same pen with its middle moved, in head coordinates."""
        pen = object.__new__(Pen)
        pen._draw, pen._matrix = self._draw, self._matrix
        pen._origin = self._origin + np.array([offset_x, offset_y]) @ self._matrix
        return pen

    def pixel(self, point: Point) -> Point:
        """Where a point of the head lies on the canvas."""
        x, y = np.array(point) @ self._matrix + self._origin
        return float(x), float(y)

    def fill(self, outline: np.ndarray, colour: Colour, opacity: float = 1.0) -> None:
        """Fills a closed outline."""
        places = outline @ self._matrix + self._origin
        self._draw.polygon(places.ravel().tolist(), fill=(*colour, round(255 * opacity)))

    def ellipse(self, centre: Point, radii: Point, colour: Colour, opacity: float = 1.0) -> None:
        """Fills an ellipse."""
        self.fill(_ELLIPSE * radii + centre, colour, opacity)

    def glow(self, centre: Point, radii: Point, colour: Colour, opacity: float) -> None:
        """Fills an ellipse that fades out at its edge."""
        for share in _GLOW_RINGS:
            self.ellipse(centre, (radii[0] * share, radii[1] * share), colour, opacity / 4.0)

    def stroke(
        self, line: np.ndarray, width: float, colour: Colour, opacity: float = 1.0, ends: Point = (0.35, 0.35)
    ) -> None:
        """Draws a line of varying width: full in the middle, a share of it (`ends`) at start and end."""
        # One polygon rather than PIL's wide line: no gaps at the bends, and see-through lines do not
        # darken where the segments meet.
        along = np.empty_like(line)
        along[1:-1] = line[2:] - line[:-2]
        along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
        half = _half_widths(len(line), ends) * (width / length)
        offset = np.empty_like(line)
        offset[:, 0], offset[:, 1] = -along[:, 1] * half, along[:, 0] * half
        self.fill(np.concatenate([line + offset, (line - offset)[::-1]]), colour, opacity)
