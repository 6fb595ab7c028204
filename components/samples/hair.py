"""Draws hair, beards and glasses."""

import math

import numpy as np

from components.samples.pen import Colour, Pen, arc, darker, mix
from components.samples.people import Face
from components.samples.proportions import GROWN_UP, Proportions

_LONG = ("long", "shoulder", "fringe")
_CHILD_STYLES = {
    "receding": "short",
    "bald": "crew",
    "shoulder": "side_part",
    "bun": "ponytail",
    "pixie": "bob",
}
_VOLUME = {"crew": 0.03, "receding": 0.02, "curly": 0.12, "short": 0.09, "side_part": 0.1, "pixie": 0.08}
_SIDES = (-1.0, 1.0)
_BALDING_FROM = 62.0
_TODDLER = 1.6


def hair_style(face: Face) -> str:
    """The style worn at the age of the picture."""
    style = face.identity.hair_style
    if face.age < _TODDLER:
        return "baby"
    if face.age < GROWN_UP:
        return _CHILD_STYLES.get(style, style)
    if face.age < 28.0 and style in ("receding", "bald"):
        return "crew"
    if face.age > _BALDING_FROM and style in ("crew", "side_part", "short"):
        return "receding"
    return style


def draw_hair_behind(pen: Pen, face: Face, shape: Proportions) -> None:
    """Draws what is hidden by the head: long hair, pony tails, buns."""
    style, back = hair_style(face), darker(shape.hair, 0.78)
    width, side = shape.head_width, face.identity.hair_side
    if style in _LONG:
        _curtain(pen, shape, back, length=1.25 if style != "shoulder" else 0.95, spread=1.22)
    elif style == "bob":
        _curtain(pen, shape, back, length=0.62, spread=1.3)
    elif style == "ponytail":
        pen.ellipse((side * width * 1.12, 0.12), (0.2, 0.62), back)
        pen.ellipse((side * width * 1.0, -0.5), (0.24, 0.24), back)
    elif style == "bun":
        pen.ellipse((0.0, -1.12), (0.34, 0.28), back)
    elif style == "curly":
        female = face.identity.gender == "female"
        _curls(pen, shape, back, lowest=0.55 if female else -0.1, size=0.25 if female else 0.17)


def draw_hair(pen: Pen, face: Face, shape: Proportions) -> None:
    """Draws what lies over the head."""
    style = hair_style(face)
    if style == "bald":
        return
    if style == "baby":
        _baby_tuft(pen, shape)
        return
    if style == "receding":
        _temples(pen, shape)
    _cap(pen, face, shape, style)
    if style == "curly":
        _curls(pen, shape, shape.hair, lowest=-0.45, size=0.16)
    if style in (*_LONG, "bob"):
        _strands(pen, shape, 0.55 if style == "bob" else 0.95)


def _cap(pen: Pen, face: Face, shape: Proportions, style: str) -> None:
    foot = -0.3 if style in ("ponytail", "bun", "receding") else -0.12
    volume = 1.0 + _VOLUME.get(style, 0.08)
    right = shape.outline(foot, -1.0) * (volume, volume)
    crown = np.concatenate([right, (right * (-1.0, 1.0))[::-1]])
    edge = shape.half_width(foot) * 0.99
    span = np.linspace(-1.0, 1.0, 25)
    temples = np.abs(span) ** 4
    line = _hairline(span * face.identity.hair_side, style) + 0.12 * shape.childlike
    hairline = np.stack([span * edge, line * (1.0 - temples) + foot * temples], axis=1)
    opacity = 0.55 if style == "receding" else 1.0
    edge_colour = darker(shape.hair, 0.66)
    pen.fill(np.concatenate([crown * 1.018, hairline]), edge_colour, opacity)
    pen.fill(np.concatenate([crown, hairline]), shape.hair, opacity)
    pen.stroke(hairline, 0.022, edge_colour, 0.8 * opacity)
    shine = mix(shape.hair, (255, 255, 255), 0.16)
    pen.stroke(arc((-0.38, -0.8), (0.32, -0.83), 0.12), 0.09, shine, 0.5 * opacity, ends=(0.1, 0.1))
    if style in ("long", "shoulder", "bun", "ponytail", "side_part"):
        parting = face.identity.hair_side * (0.0 if style in ("long", "shoulder") else -0.35)
        top = np.array([(parting, -1.02), (parting * 0.9, float(np.interp(parting, span, line)) + 0.02)])
        pen.stroke(top, 0.025, darker(shape.hair, 0.6), 0.7)


def _hairline(span: np.ndarray, style: str) -> np.ndarray:
    """Heights of the edge of the hair over the forehead, from one temple to the other."""
    if style == "fringe":
        return -0.4 + 0.035 * np.abs(np.sin(span * 9.0))
    if style == "side_part":
        return -0.62 + 0.16 * span
    if style in ("long", "shoulder"):
        return -0.8 + 0.42 * np.abs(span) ** 1.4
    if style in ("bob", "pixie"):
        return -0.52 + 0.2 * span + 0.02 * np.sin(span * 14.0)
    if style == "receding":
        return -0.9 + 0.14 * np.exp(-((span / 0.3) ** 2))
    if style in ("bun", "ponytail"):
        return -0.74 + 0.12 * span**2
    return -0.66 + 0.03 * np.cos(span * 6.0)


def _curtain(pen: Pen, shape: Proportions, colour: Colour, length: float, spread: float) -> None:
    right = shape.outline(0.0, -1.0) * (1.14, 1.09)
    width = shape.head_width
    tips = [(width * 0.5, length + 0.06), (width * spread * 0.88, length), (width * spread, length - 0.25)]
    side = np.array([*tips, (width * 1.2, 0.2)])
    half = np.concatenate([side, right])
    pen.fill(np.concatenate([half, (half * (-1.0, 1.0))[::-1]]), colour)


def _strands(pen: Pen, shape: Proportions, length: float) -> None:
    """Locks that frame the face."""
    width = shape.head_width
    outer = np.array([(width * 1.08, -0.35), (width * 1.2, 0.2), (width * 1.16, length)])
    inner = np.array([(width * 1.0, length), (width * 0.94, 0.25), (width * 0.83, -0.3)])
    lock = np.concatenate([outer, inner])
    for side in _SIDES:
        pen.fill(lock * (side, 1.0), shape.hair)


def _curls(pen: Pen, shape: Proportions, colour: Colour, lowest: float, size: float) -> None:
    edge = shape.outline(lowest, -1.0, 8) * (1.06, 1.04)
    for index, (x, y) in enumerate(edge):
        radius = size * (1.0 + 0.15 * (-1) ** index)
        for side in _SIDES:
            pen.ellipse((side * float(x), float(y)), (radius, radius), colour)


def _temples(pen: Pen, shape: Proportions) -> None:
    for side in _SIDES:
        patch = np.concatenate(
            [shape.outline(0.0, -0.62, 10) * (1.05, 1.0), [(shape.half_width(-0.3) * 0.9, -0.3)]]
        )
        pen.fill(patch * (side, 1.0), shape.hair)


def _baby_tuft(pen: Pen, shape: Proportions) -> None:
    right = shape.outline(-0.62, -1.0) * 1.01
    crown = np.concatenate([right, (right * (-1.0, 1.0))[::-1]])
    pen.fill(np.concatenate([crown, arc((-0.5, -0.66), (0.5, -0.66), 0.12)]), shape.hair, 0.4)
    pen.stroke(arc((-0.06, -0.8), (0.1, -1.02), 0.06), 0.08, shape.hair, 0.8)


def draw_beard(pen: Pen, face: Face, shape: Proportions) -> None:
    """Draws the beard of a grown-up man."""
    beard = face.identity.beard
    if beard == "none" or face.age < GROWN_UP + 3.0:
        return
    if beard in ("stubble", "full"):
        _jaw_beard(pen, shape, 0.28 if beard == "stubble" else 0.92)
    if beard == "goatee":
        pen.ellipse((0.0, shape.chin - 0.12), (0.2, 0.2), shape.hair, 0.92)
    if beard in ("moustache", "goatee", "full"):
        y = shape.nose_y + 0.14
        pen.stroke(arc((-0.27, y + 0.06), (0.27, y + 0.06), 0.08), 0.1, shape.hair, 0.92, ends=(0.2, 0.2))


def _jaw_beard(pen: Pen, shape: Proportions, opacity: float) -> None:
    edge = shape.outline(0.02, shape.chin) * (1.01, 1.02)
    cheek = shape.half_width(0.3)
    inner = np.array(
        [(cheek * 0.2, shape.mouth_y - 0.09), (cheek * 0.62, shape.mouth_y - 0.12), (cheek * 0.88, 0.22)]
    )
    half = np.concatenate([inner, edge])
    pen.fill(np.concatenate([half, (half * (-1.0, 1.0))[::-1]]), shape.hair, opacity)


def draw_glasses(pen: Pen, face: Face, shape: Proportions) -> None:
    """Draws the glasses of those who wear some."""
    if not face.identity.glasses or face.age < 5.0:
        return
    frame: Colour = (44, 40, 46)
    angles = np.linspace(0.0, 2.0 * math.pi, 33)
    for side in _SIDES:
        centre = np.array([side * shape.eye_x, shape.eye_y + 0.01])
        ring = np.stack([np.cos(angles) * 0.26, np.sin(angles) * 0.21], axis=1)
        pen.stroke(ring + centre, 0.03, frame, ends=(1.0, 1.0))
        temple = np.array(
            [(side * (shape.eye_x + 0.26), shape.eye_y), (side * shape.head_width, shape.eye_y - 0.05)]
        )
        pen.stroke(temple, 0.03, frame, ends=(1.0, 1.0))
    reach = shape.eye_x - 0.255
    pen.stroke(arc((-reach, shape.eye_y), (reach, shape.eye_y), 0.03), 0.03, frame, ends=(1.0, 1.0))
