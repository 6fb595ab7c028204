"""Draws a stylised face from its parameters, and says where its landmarks are."""

import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from components.samples.expressions import EXPRESSIONS, Muscles, muscles
from components.samples.features import draw_brows, draw_eyes, draw_forehead_lines, draw_mouth, draw_nose
from components.samples.hair import draw_beard, draw_glasses, draw_hair, draw_hair_behind
from components.samples.pen import Pen, Point, arc, darker, mix
from components.samples.people import GENDERS, Face, Identity, random_face, random_identity
from components.samples.proportions import Proportions, proportions
from data_validation.errors import InputError

__all__ = [
    "EXPRESSIONS",
    "GENDERS",
    "LANDMARKS",
    "Face",
    "Identity",
    "PaintedFace",
    "draw_face",
    "paint_face",
    "random_face",
    "random_identity",
]

LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""What the five landmarks mark; left and right as seen in the picture."""

_SMALLEST = 8
# Above the brows but below the hair, as annotators draw a box.
_FOREHEAD = -0.8
_SIDES = (-1.0, 1.0)


@dataclass(frozen=True)
class PaintedFace:
    """Where a face is in a picture, in pixels from its left and upper edge.

    Attributes:
        landmarks: Those of `LANDMARKS` as (x, y).
        box: Left, top, right and bottom of the face from forehead to chin, without hair and ears.
    """

    landmarks: list[Point]
    box: tuple[float, float, float, float]


def draw_face(face: Face, size: int) -> tuple[Image.Image, list[Point]]:
    """Draws a face.

    Args:
        face: What to draw.
        size: Side of the square picture in pixels.

    Returns:
        The RGB picture, and the five landmarks of `LANDMARKS` as (x, y) in its pixels.
    """
    if size < _SMALLEST:
        raise InputError(f"size: expected at least {_SMALLEST} pixels, found {size}")
    oversize = _oversize(size)
    canvas = Image.new("RGB", (size * oversize, size * oversize))
    _background(canvas, face)
    landmarks = _draw(canvas, face).landmarks
    picture = canvas.reduce(oversize)
    return _lit(picture, face), [(x / oversize, y / oversize) for x, y in landmarks]


def paint_face(picture: Image.Image, face: Face, place: tuple[int, int], size: int) -> PaintedFace:
    """Paints a face over what is in a picture, without the face's background, light and noise.

    Args:
        picture: RGB; what lies outside of it is not painted.
        face: What to paint.
        place: Left and top of a square in the picture, in pixels; may lie outside of it.
        size: Side of the square, in which the face lies as in the picture of `draw_face`.

    Returns:
        Where the face is, whether or not that is inside of the picture.
    """
    left, top = place
    oversize = _oversize(size)
    part = picture.crop((left, top, left + size, top + size))
    canvas = part.resize((size * oversize, size * oversize), Image.Resampling.NEAREST)
    painted = _draw(canvas, face)
    picture.paste(canvas.reduce(oversize), place)
    x0, y0, x1, y1 = (edge / oversize for edge in painted.box)
    return PaintedFace(
        landmarks=[(left + x / oversize, top + y / oversize) for x, y in painted.landmarks],
        box=(left + x0, top + y0, left + x1, top + y1),
    )


def _oversize(size: int) -> int:
    """How much larger to draw, so that shrinking smooths the edges: less where pixels are small anyway."""
    return 4 if size <= 64 else 3 if size <= 128 else 2


def _draw(canvas: Image.Image, face: Face) -> PaintedFace:
    side = canvas.width
    origin = (side * (0.5 + face.shift[0]), side * (0.5 + face.shift[1]))
    pen = Pen(canvas, origin, side * face.scale / 2.0, face.roll)
    moved = muscles(face.expression, face.intensity, random.Random(face.seed))
    shape = proportions(face, moved)

    draw_hair_behind(pen, face, shape)
    _body(pen, face, shape)
    _head(pen, face, shape)
    features = pen.moved(face.turn, 0.0)
    _cheeks(features, face, shape, moved)
    _wrinkles(features, shape)
    draw_forehead_lines(features, shape, moved)
    draw_beard(pen.moved(face.turn * 0.5, 0.0), face, shape)
    nose = draw_nose(features, shape, moved)
    mouth = draw_mouth(features, shape, moved)
    eyes = draw_eyes(features, face, shape, moved)
    draw_hair(pen, face, shape)
    # Brows come last but for the glasses: an expression must not vanish under a fringe.
    draw_brows(features, face, shape, moved)
    draw_glasses(features, face, shape)
    edge = shape.outline(_FOREHEAD, shape.chin)
    outline = [pen.pixel((side * x, y)) for side in _SIDES for x, y in edge]
    xs, ys = zip(*outline, strict=True)
    return PaintedFace(
        landmarks=[features.pixel(point) for point in (*eyes, nose, *mouth)],
        box=(min(xs), min(ys), max(xs), max(ys)),
    )


def _background(canvas: Image.Image, face: Face) -> None:
    """A wall that the light falls on from above."""
    canvas.paste(mix(face.background, (255, 255, 255), 0.3), (0, 0, *canvas.size))
    downwards = Image.linear_gradient("L").resize(canvas.size, Image.Resampling.NEAREST)
    canvas.paste(darker(face.background, 0.7), (0, 0), downwards)


def _body(pen: Pen, face: Face, shape: Proportions) -> None:
    neck = (
        shape.head_width * (0.5 - 0.1 * shape.childlike) * (1.15 if face.identity.gender == "male" else 0.9)
    )
    shadow = darker(shape.skin, 0.72)
    shoulder = 1.35 - 0.35 * shape.childlike
    pen.fill(
        np.array(
            [
                (-shoulder, 2.4),
                (-shoulder, 1.5),
                (-neck, 1.22),
                (neck, 1.22),
                (shoulder, 1.5),
                (shoulder, 2.4),
            ]
        ),
        face.clothes,
    )
    pen.fill(np.array([(-neck, 0.4), (neck, 0.4), (neck, 1.22), (0.0, 1.42), (-neck, 1.22)]), shadow)


def _head(pen: Pen, face: Face, shape: Proportions) -> None:
    ear = 0.13 * face.identity.ear_size * (1.0 + 0.2 * shape.wrinkled)
    ear_y = shape.eye_y + 0.15
    for side in _SIDES:
        x = side * shape.half_width(ear_y)
        pen.ellipse((x, ear_y), (ear, ear * 1.6), shape.skin)
        pen.ellipse((x + side * 0.02, ear_y), (ear * 0.5, ear), darker(shape.skin, 0.78))
    right = shape.outline(-1.0, shape.chin)
    outline = np.concatenate([right, (right * (-1.0, 1.0))[::-1]])
    pen.fill(outline * 1.02, darker(shape.skin, 0.62))
    pen.fill(outline, shape.skin)
    pen.glow((0.0, -0.45), (0.5, 0.35), mix(shape.skin, (255, 250, 240), 0.35), 0.5)


def _cheeks(pen: Pen, face: Face, shape: Proportions, moved: Muscles) -> None:
    rosy = mix(shape.skin, (222, 90, 84), 0.35)
    strength = 0.3 + 0.35 * shape.childlike + 0.2 * moved.cheeks
    if face.identity.gender == "female":
        strength += 0.1
    y = shape.nose_y - 0.02 - 0.06 * moved.cheeks
    for side in _SIDES:
        pen.glow((side * 0.42, y), (0.2, 0.15), rosy, min(1.0, strength))
        if moved.cheeks > 0.3 and moved.smile > 0:
            fold = arc((side * 0.2, shape.nose_y), (side * 0.43, shape.mouth_y - 0.02), side * 0.04)
            pen.stroke(fold, 0.022, shape.line, 0.6 * moved.cheeks)
        if face.identity.freckles:
            for dx, dy in ((-0.08, 0.0), (0.0, 0.05), (0.08, -0.01), (0.02, -0.05)):
                pen.ellipse((side * 0.4 + dx, y + dy), (0.016, 0.016), darker(shape.skin, 0.68), 0.8)


def _wrinkles(pen: Pen, shape: Proportions) -> None:
    old = shape.wrinkled
    if old < 0.05:
        return
    for step in (0.1, 0.19, 0.28):
        y = shape.brow_y - step - 0.04
        pen.stroke(arc((-0.34, y), (0.34, y + 0.01), 0.03), 0.018, shape.line, 0.55 * old)
    for side in _SIDES:
        fold = arc((side * 0.16, shape.nose_y - 0.02), (side * 0.36, shape.mouth_y + 0.04), side * 0.05)
        pen.stroke(fold, 0.026, shape.line, 0.75 * old)
        bag_y = shape.eye_y + 0.15
        bag = arc((side * (shape.eye_x - 0.13), bag_y), (side * (shape.eye_x + 0.13), bag_y), side * -0.05)
        pen.stroke(bag, 0.024, shape.line, 0.6 * old)
        for fan in (-0.06, 0.0, 0.06):
            corner = (side * (shape.eye_x + 0.2), shape.eye_y + fan * 0.6)
            tip = (side * (shape.eye_x + 0.3), shape.eye_y + fan * 1.6)
            pen.stroke(arc(corner, tip, 0.0), 0.014, shape.line, 0.7 * old)
        jowl = arc((side * 0.36, shape.mouth_y + 0.14), (side * 0.44, shape.mouth_y + 0.3), side * 0.03)
        pen.stroke(jowl, 0.022, shape.line, 0.5 * old)


def _lit(picture: Image.Image, face: Face) -> Image.Image:
    """The picture under the light of the face, with the noise of a camera."""
    size = picture.width
    across = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    gain = face.brightness * (1.0 + 0.28 * face.side_light * across)
    pixels = np.asarray(picture, dtype=np.float32) * gain[None, :, None]
    if face.grain > 0:
        noise = np.random.default_rng(face.seed).standard_normal((size, size, 1), dtype=np.float32)
        pixels += noise * np.float32(face.grain)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
