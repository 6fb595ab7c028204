"""Draws scenes with several faces, and pictures of one face in whatever surroundings."""

import math
import random
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from components.samples.backgrounds import PATTERNS, draw_background
from components.samples.faces import Face, PaintedFace, paint_face, random_face
from components.samples.pen import darker

POINTS_SIDE = 80
SMALLEST, LARGEST = 12.0, 120.0
"""Heights of the faces of scenes that count, in pixels."""

_WIDTHS, _HEIGHTS = (140, 320), (120, 280)
_EMPTY_EVERY = 12
_FACES = (1, 2, 3, 4, 5, 6, 8, 10)
_FACES_WEIGHTS = (22, 20, 16, 12, 10, 8, 7, 5)
_LARGEST_SHARE = 0.6  # of the shorter side of the scene
_TINY = (4.0, 9.0)
_TINY_CHANCE = 0.25
_POINTS_HEIGHTS = (24.0, 46.0)
_TRIES = 12
# Of a face, by sample points on its box.
_LEAST_INSIDE, _CUT_CHANCE = 0.55, 0.3
_LEAST_VISIBLE = 0.55
_HEAVILY_HIDDEN = 0.3
_GRID = (np.stack(np.meshgrid(range(8), range(8)), axis=-1).reshape(-1, 2) + 0.5) / 8.0

# In head coordinates (half a head is 1). The painted square reaches 2.5 from the middle of the head, the
# shoulders in it 2.4.
_BOX_HEIGHT = 1.8
_SQUARE = 5.0
_SHOULDERS_END = 2.3
_WAIST, _FEET = 5.5, 11.0
_HEAD = (-1.05, -1.15, 1.05, 1.3)
_SHOULDERS = 1.35
_CHILD_BELOW, _CHILD_NARROWER = 16.0, 0.35


@dataclass(frozen=True)
class SceneFace:
    """One face of a scene.

    Attributes:
        painted: Where it is, in pixels of the scene; it may reach outside.
        attributes: WIDER FACE's blur, expression, illumination, invalid, occlusion and pose.
    """

    painted: PaintedFace
    attributes: tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class _Placed:
    """A person before it is painted: middle of the head, half its height, and whether it is too small."""

    face: Face
    x: float
    y: float
    unit: float
    invalid: bool

    def hides(self) -> list[tuple[float, float, float, float]]:
        """Rectangles that cover what is behind: head with hair, and body."""
        left, top, right, bottom = (edge * self.unit for edge in _HEAD)
        wide = _SHOULDERS * self.unit
        return [
            (self.x + left, self.y + top, self.x + right, self.y + bottom),
            (self.x - wide, self.y + bottom, self.x + wide, self.y + _FEET * self.unit),
        ]

    def samples(self) -> np.ndarray:
        """Points on the face, [N, 2] as (x, y)."""
        return (_GRID - 0.5) * (1.5 * self.unit, _BOX_HEIGHT * self.unit) + (self.x, self.y)


@dataclass(frozen=True)
class _Look:
    """Light and lens of a picture."""

    gain: float
    side_light: float
    blur: float
    grain: float
    seed: int


def draw_scene(seed: int, number: int) -> tuple[Image.Image, list[SceneFace]]:
    """Draws a scene; every twelfth has no face.

    Args:
        seed: The same seed and number draw the same scene.
        number: Number of the scene, from 0; it decides the pattern of the background.

    Returns:
        The RGB picture, at most 320x280, and its faces, the nearest last; those below SMALLEST are invalid.
    """
    rng = random.Random(f"{seed}/scenes/{number}")
    size = rng.randint(*_WIDTHS), rng.randint(*_HEIGHTS)
    picture = draw_background(rng, size, scene_pattern(number))
    look = _random_look(rng)
    persons = [] if number % _EMPTY_EVERY == _EMPTY_EVERY - 1 else _place(rng, size)
    painted = [_paint(picture, person) for person in persons]
    faces = [
        SceneFace(where, _attributes(person, persons[index + 1 :], look))
        for index, (person, where) in enumerate(zip(persons, painted, strict=True))
    ]
    return _seen(picture, look), faces


def draw_points_face(seed: int, number: int) -> tuple[Image.Image, PaintedFace]:
    """Draws a picture of one face.

    Args:
        seed: The same seed and number draw the same picture.
        number: Number of the picture, from 0.

    Returns:
        The RGB picture of POINTS_SIDE pixels, and where the face is: all inside.
    """
    rng = random.Random(f"{seed}/points/{number}")
    picture = draw_background(rng, (POINTS_SIDE, POINTS_SIDE), scene_pattern(number))
    unit = rng.uniform(*_POINTS_HEIGHTS) / _BOX_HEIGHT
    middle = POINTS_SIDE / 2
    spread = middle - 1.3 * unit
    x, y = (middle + max(-spread, min(spread, rng.gauss(0.0, 6.0))) for _ in range(2))
    painted = _paint(picture, _Placed(_random_face(rng), x, y, unit, invalid=False))
    return _seen(picture, _random_look(rng)), painted


def _place(rng: random.Random, size: tuple[int, int]) -> list[_Placed]:
    """Places persons so that enough of each face can be seen; far ones first."""
    largest = min(LARGEST, _LARGEST_SHARE * min(size))
    (count,) = rng.choices(_FACES, _FACES_WEIGHTS)
    heights = [math.exp(rng.uniform(math.log(SMALLEST), math.log(largest))) for _ in range(count)]
    tiny = rng.randint(1, 3) if rng.random() < _TINY_CHANCE else 0
    heights += [rng.uniform(*_TINY) for _ in range(tiny)]
    persons: list[_Placed] = []
    for height in sorted(heights):
        face = _random_face(rng)
        least_inside = _LEAST_INSIDE if rng.random() < _CUT_CHANCE else 1.0
        for _ in range(_TRIES):
            x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
            person = _Placed(face, x, y, height / _BOX_HEIGHT, invalid=height < SMALLEST)
            inside = _share(person.samples(), [(0, 0, *size)])
            hidden = (_share(each.samples(), person.hides()) for each in persons)
            if inside >= least_inside and all(share <= 1.0 - _LEAST_VISIBLE for share in hidden):
                persons.append(person)
                break
    return persons


def _share(points: np.ndarray, rectangles: list[tuple[float, float, float, float]]) -> float:
    """Share of points [N, 2] that lie in any of the rectangles."""
    x, y = points.T
    within = [(x >= x0) & (y >= y0) & (x < x1) & (y < y1) for x0, y0, x1, y1 in rectangles]
    return float(np.any(within, axis=0).mean())


def _random_face(rng: random.Random) -> Face:
    face = random_face(rng)
    tilted = rng.uniform(-28.0, 28.0) if rng.random() < 0.2 else face.roll
    return replace(face, roll=tilted, shift=(0.0, 0.0))


def _paint(picture: Image.Image, person: _Placed) -> PaintedFace:
    size = max(8, round(_SQUARE * person.unit))
    face = replace(person.face, scale=2.0 * person.unit / size)
    _paint_body(picture, person)
    place = round(person.x - size / 2), round(person.y - size / 2)
    return paint_face(picture, face, place, size)


def _paint_body(picture: Image.Image, person: _Placed) -> None:
    """Trunk and legs below the shoulders that come with a face."""
    unit, roll = person.unit, math.radians(person.face.roll)
    childlike = max(0.0, 1.0 - person.face.age / _CHILD_BELOW)
    wide = (_SHOULDERS - _CHILD_NARROWER * childlike) * unit
    across = wide * math.cos(roll), wide * math.sin(roll)
    x, y = (
        person.x - _SHOULDERS_END * unit * math.sin(roll),
        person.y + _SHOULDERS_END * unit * math.cos(roll),
    )
    waist, feet = person.y + _WAIST * unit, person.y + _FEET * unit
    draw = ImageDraw.Draw(picture)
    trousers = darker(person.face.clothes[::-1], 0.6)
    for side in (-1, 1):
        middle = x + side * wide * 0.5
        draw.rectangle((middle - wide * 0.4, waist - unit, middle + wide * 0.4, feet), fill=trousers)
    trunk = [
        (x - across[0], y - across[1]),
        (x + across[0], y + across[1]),
        (x + wide * 0.9, waist),
        (x - wide * 0.9, waist),
    ]
    draw.polygon(trunk, fill=person.face.clothes)


def _random_look(rng: random.Random) -> _Look:
    return _Look(
        gain=rng.choice((rng.uniform(0.45, 0.75), rng.uniform(0.75, 1.1), rng.uniform(0.75, 1.1))),
        side_light=rng.uniform(-0.5, 0.5),
        blur=rng.uniform(0.4, 1.1) if rng.random() < 0.2 else 0.0,
        grain=rng.uniform(1.0, 5.0),
        seed=rng.getrandbits(32),
    )


def _seen(picture: Image.Image, look: _Look) -> Image.Image:
    """The picture as a camera sees it."""
    if look.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(look.blur))
    across = np.linspace(-1.0, 1.0, picture.width, dtype=np.float32)
    gain = look.gain * (1.0 + np.float32(0.4 * look.side_light) * across)
    pixels = np.asarray(picture, dtype=np.float32) * gain[None, :, None]
    noise = np.random.default_rng(look.seed).standard_normal((*pixels.shape[:2], 1), dtype=np.float32)
    pixels += noise * np.float32(look.grain)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _attributes(person: _Placed, nearer: list[_Placed], look: _Look) -> tuple[int, int, int, int, int, int]:
    """Blur, expression, illumination, invalid, occlusion and pose, in WIDER FACE's codes."""
    hidden = _share(person.samples(), [each for other in nearer for each in other.hides()]) if nearer else 0.0
    face = person.face
    return (
        0 if not look.blur else 1 if look.blur < 0.8 else 2,
        int(face.expression != "neutral" and face.intensity > 0.9),
        int(look.gain < 0.6),
        int(person.invalid),
        0 if not hidden else 1 if hidden < _HEAVILY_HIDDEN else 2,
        int(abs(face.roll) > 15.0),
    )


def scene_pattern(number: int) -> str:
    """Returns which of PATTERNS is behind the faces of a picture."""
    return PATTERNS[number % len(PATTERNS)]
