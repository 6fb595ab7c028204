"""Draws what is behind faces: walls with patterns, and things that look a little like faces."""

import math
import random

import numpy as np
from PIL import Image, ImageDraw

from components.samples.pen import Colour, darker, mix

PATTERNS = ("plain", "stripes", "bricks", "leaves")

# Drawn larger and shrunk, so that edges are smooth.
_OVERSIZE = 2
_CLOUD_CELL = 40
_THINGS_PER_PIXEL = 1 / 9000
_MOST_LEAVES = 240
_SKIN: tuple[Colour, ...] = ((250, 222, 200), (226, 178, 142), (164, 110, 76), (118, 76, 54))
_HAIR: tuple[Colour, ...] = ((32, 26, 26), (98, 62, 38), (204, 164, 96), (206, 206, 208))


def draw_background(rng: random.Random, size: tuple[int, int], pattern: str) -> Image.Image:
    """Draws a wall and things before it: discs, wheels, buttons, posters, heads from behind, never a face.

    Args:
        rng: Source of all randomness.
        size: Width and height in pixels.
        pattern: One of PATTERNS.

    Returns:
        An RGB picture.
    """
    width, height = (side * _OVERSIZE for side in size)
    picture = _clouds(rng, width, height)
    draw = ImageDraw.Draw(picture, "RGBA")
    if pattern != "plain":
        {"stripes": _stripes, "bricks": _bricks, "leaves": _leaves}[pattern](rng, draw, width, height)
    for _ in range(rng.randint(1, 2 + round(size[0] * size[1] * _THINGS_PER_PIXEL))):
        radius = math.exp(rng.uniform(math.log(0.03), math.log(0.2))) * min(width, height)
        centre = rng.uniform(0, width), rng.uniform(0, height)
        rng.choice(_THINGS)(rng, draw, centre, radius)
    return picture.reduce(_OVERSIZE)


def _clouds(rng: random.Random, width: int, height: int) -> Image.Image:
    """Two colours that run into each other, with soft spots."""
    noise = np.random.default_rng(rng.getrandbits(32))
    rows, columns = height // _CLOUD_CELL + 2, width // _CLOUD_CELL + 2
    share = np.linspace(0.0, 1.0, rows)[:, None, None]
    cells = np.array(_colour(rng)) * share + np.array(_colour(rng)) * (1.0 - share)
    spots = noise.normal(0.0, rng.uniform(4.0, 28.0), (rows, columns, 1))
    tints = noise.normal(0.0, 6.0, (rows, columns, 3))
    grid = Image.fromarray(np.clip(cells + spots + tints, 0, 255).astype(np.uint8))
    return grid.resize((width, height), Image.Resampling.BICUBIC)


def _stripes(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    colour = (*_colour(rng), rng.randint(60, 170))
    period = rng.uniform(14, 70)
    slant = rng.choice((0.0, 0.0, rng.uniform(-0.8, 0.8)))
    upright = rng.random() < 0.6
    length, across = (height, width) if upright else (width, height)
    shift = slant * length
    for start in np.arange(-abs(shift), across + abs(shift), period):
        band = [
            (start, 0),
            (start + period / 2, 0),
            (start + period / 2 + shift, length),
            (start + shift, length),
        ]
        draw.polygon(band if upright else [(y, x) for x, y in band], fill=colour)


def _bricks(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    tall = rng.uniform(16, 44)
    wide = tall * rng.uniform(1.0, 2.6)
    colour = _colour(rng)
    for row, top in enumerate(np.arange(0, height, tall)):
        for left in np.arange(-wide * (row % 2) / 2, width, wide):
            shade = (*darker(colour, rng.uniform(0.75, 1.0)), 150)
            draw.rectangle((left, top, left + wide - 3, top + tall - 3), fill=shade)


def _leaves(rng: random.Random, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    colour = mix(_colour(rng), (60, 110, 50), 0.6)
    for _ in range(min(_MOST_LEAVES, width * height // 1200)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        angle, length = rng.uniform(0, math.pi), rng.uniform(10, 34)
        dx, dy = length * math.cos(angle), length * math.sin(angle)
        leaf = [(x - dx, y - dy), (x - dy / 3, y + dx / 3), (x + dx, y + dy), (x + dy / 3, y - dx / 3)]
        draw.polygon(leaf, fill=(*mix(colour, _colour(rng), rng.uniform(0.0, 0.4)), 200))


def _disc(rng: random.Random, draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float) -> None:
    """A ball or a lamp, often in the colour of skin."""
    colour = mix(rng.choice(_SKIN), _colour(rng), rng.choice((0.0, 0.2, 0.9)))
    _ellipse(draw, centre, radius, radius * rng.uniform(1.0, 1.4), darker(colour, 0.7))
    _ellipse(draw, centre, radius * 0.93, radius * 0.95, colour)
    x, y = centre
    _ellipse(
        draw, (x - radius * 0.3, y - radius * 0.3), radius * 0.3, radius * 0.3, mix(colour, (255,) * 3, 0.4)
    )


def _wheel(rng: random.Random, draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float) -> None:
    """A clock, a wheel or a target."""
    dark, light = darker(_colour(rng), 0.5), mix(_colour(rng), (255, 255, 255), 0.4)
    _ellipse(draw, centre, radius, radius, dark)
    _ellipse(draw, centre, radius * 0.85, radius * 0.85, light)
    spokes, turn = rng.randint(2, 12), rng.uniform(0, math.pi)
    for spoke in range(spokes):
        angle = turn + 2 * math.pi * spoke / spokes
        tip = centre[0] + 0.8 * radius * math.cos(angle), centre[1] + 0.8 * radius * math.sin(angle)
        draw.line((*centre, *tip), fill=dark, width=max(1, round(radius * 0.07)))


def _button(
    rng: random.Random, draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float
) -> None:
    """A disc with holes where a face has none: in a ring, and evenly."""
    colour = mix(rng.choice(_SKIN), _colour(rng), rng.choice((0.0, 0.5)))
    _ellipse(draw, centre, radius, radius, darker(colour, 0.8))
    _ellipse(draw, centre, radius * 0.9, radius * 0.9, colour)
    holes, turn = rng.choice((2, 4, 6)), rng.uniform(0.4, 1.2)
    for hole in range(holes):
        angle = turn + 2 * math.pi * hole / holes
        place = centre[0] + 0.4 * radius * math.cos(angle), centre[1] + 0.4 * radius * math.sin(angle)
        _ellipse(draw, place, radius * 0.13, radius * 0.13, darker(colour, 0.25))


def _poster(
    rng: random.Random, draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float
) -> None:
    """A sheet or a window with lines across."""
    tall = radius * rng.uniform(0.8, 1.6)
    (x, y), paper = centre, _colour(rng)
    draw.rectangle((x - radius, y - tall, x + radius, y + tall), fill=darker(paper, 0.6))
    draw.rectangle((x - radius * 0.94, y - tall * 0.94, x + radius * 0.94, y + tall * 0.94), fill=paper)
    ink, lines = darker(paper, rng.uniform(0.3, 0.7)), rng.randint(2, 7)
    for line in range(lines):
        top = y - tall * 0.8 + 1.6 * tall * line / lines
        end = x + radius * rng.uniform(0.1, 0.8)
        draw.rectangle((x - radius * 0.8, top, end, top + 0.8 * tall / lines), fill=ink)


def _from_behind(
    rng: random.Random, draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float
) -> None:
    """A head that looks the other way, on its shoulders."""
    (x, y), skin = centre, rng.choice(_SKIN)
    clothes = _colour(rng)
    draw.rounded_rectangle(
        (x - 1.5 * radius, y + 1.4 * radius, x + 1.5 * radius, y + 5 * radius), radius * 0.6, fill=clothes
    )
    draw.rectangle((x - 0.4 * radius, y + 0.8 * radius, x + 0.4 * radius, y + 1.6 * radius), fill=skin)
    for side in (-1, 1):
        _ellipse(draw, (x + side * 0.82 * radius, y + 0.15 * radius), radius * 0.14, radius * 0.22, skin)
    _ellipse(draw, centre, radius * 0.85, radius * 1.08, rng.choice(_HAIR))


_THINGS = (_disc, _wheel, _button, _poster, _poster, _from_behind)


def _ellipse(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], across: float, along: float, colour: Colour
) -> None:
    x, y = centre
    draw.ellipse((x - across, y - along, x + across, y + along), fill=colour)


def _colour(rng: random.Random) -> Colour:
    grey = rng.randint(50, 225)
    tint = (rng.randint(20, 235), rng.randint(20, 235), rng.randint(20, 235))
    return mix((grey, grey, grey), tint, 0.4)
