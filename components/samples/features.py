"""Draws the features that carry an expression: eyes, brows, nose and mouth."""

import numpy as np

from components.samples.expressions import Muscles
from components.samples.pen import Colour, Pen, Point, arc, darker, mix, through
from components.samples.people import Face
from components.samples.proportions import Proportions

_SPAN = np.linspace(-1.0, 1.0, 25)
_ROUND = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
_MOUTH_INSIDE: Colour = (74, 18, 24)
_TEETH: Colour = (250, 247, 238)
_SIDES = (-1.0, 1.0)


def draw_eyes(pen: Pen, face: Face, shape: Proportions, moved: Muscles) -> list[Point]:
    """Draws both eyes and returns their middles, left one first."""
    for side in _SIDES:
        _eye(pen, face, shape, moved, side)
    return [(side * shape.eye_x, shape.eye_y) for side in _SIDES]


def _eye(pen: Pen, face: Face, shape: Proportions, moved: Muscles, side: float) -> None:
    xs = side * shape.eye_x + side * _SPAN * shape.eye_width  # from the inner to the outer corner
    corner_line = shape.eye_y - face.identity.eye_tilt * _SPAN
    open_up = shape.eye_height * max(0.12, moved.lid_open) * 1.15
    open_down = shape.eye_height * (1.0 - 1.25 * moved.lower_lid) * 0.85
    arch = np.sqrt(1.0 - _SPAN**2) * 0.5 + (1.0 - _SPAN**2) * 0.5
    bottom = corner_line + open_down * arch
    top = np.minimum(corner_line - open_up * arch + moved.lid_slope * _SPAN * arch, bottom - 0.012)

    upper, lower = np.stack([xs, top], axis=1), np.stack([xs, bottom], axis=1)
    socket = np.stack([xs, top - 0.03], axis=1)
    pen.fill(np.concatenate([socket, lower[::-1]]), darker(shape.skin, 0.8), 0.55)
    white = mix((250, 250, 248), (226, 206, 190), 0.5 * shape.wrinkled)
    pen.fill(np.concatenate([upper, lower[::-1]]), white)
    _iris(pen, face, shape, moved, upper[:: int(side)], lower[:: int(side)])
    _lids(pen, face, shape, moved, upper, lower)


def _iris(
    pen: Pen, face: Face, shape: Proportions, moved: Muscles, upper: np.ndarray, lower: np.ndarray
) -> None:
    radius = shape.eye_width * 0.56 * moved.iris
    centre = (float(upper[:, 0].mean()), shape.eye_y - 0.008)
    for share, colour in (
        (1.0, darker(face.identity.eye_colour, 0.55)),
        (0.84, face.identity.eye_colour),
        (0.48, (14, 12, 14)),
    ):
        disc = np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=1) * radius * share + centre
        # The lids cover what reaches beyond them.
        disc[:, 1] = np.clip(
            disc[:, 1],
            np.interp(disc[:, 0], upper[:, 0], upper[:, 1]),
            np.interp(disc[:, 0], lower[:, 0], lower[:, 1]),
        )
        pen.fill(disc, colour)
    glint = (centre[0] + radius * 0.3, centre[1] - radius * 0.35)
    if glint[1] - radius * 0.2 > np.interp(glint[0], upper[:, 0], upper[:, 1]):
        pen.ellipse(glint, (radius * 0.2, radius * 0.2), (255, 255, 255))


def _lids(
    pen: Pen, face: Face, shape: Proportions, moved: Muscles, upper: np.ndarray, lower: np.ndarray
) -> None:
    female = face.identity.gender == "female"
    lash = mix((24, 18, 18), shape.hair, 0.15 + 0.35 * shape.wrinkled)
    pen.stroke(upper, 0.05 if female else 0.036, lash, ends=(0.4, 1.0))
    pen.stroke(lower, 0.014, shape.line, 0.6)
    if female:
        outwards = 1.0 if upper[-1, 0] > upper[0, 0] else -1.0
        for step, length in ((-1, 0.075), (-4, 0.07), (-8, 0.055)):
            root = upper[step]
            tip = root + np.array([outwards * length, -length * 0.75])
            pen.stroke(arc(tuple(root), tuple(tip), 0.0), 0.022, lash, ends=(1.0, 0.2))
    if moved.lid_open < 1.25:
        crease = upper[3:-1] - np.array([0.0, 0.045 + 0.03 * (1.0 - min(1.0, moved.lid_open))])
        pen.stroke(crease, 0.014, shape.line, 0.55)
    if moved.lower_lid > 0.35:
        pen.stroke(lower[3:-2] + np.array([0.0, 0.045]), 0.016, shape.line, 0.5 * moved.lower_lid)


def draw_brows(pen: Pen, face: Face, shape: Proportions, moved: Muscles) -> None:
    """Draws both brows."""
    thickness = 0.068 * face.identity.brow_thickness * (1.0 - 0.35 * shape.childlike)
    opacity = 0.95 - 0.35 * shape.childlike
    for side in _SIDES:
        inner = (shape.eye_x - 0.185 - moved.brow_together, shape.brow_y - moved.brow_inner + 0.02)
        middle = (shape.eye_x + 0.04, shape.brow_y - face.identity.brow_arch - moved.brow_middle)
        outer = (shape.eye_x + 0.2, shape.brow_y - moved.brow_outer + 0.03)
        curve = through([inner, middle, outer]) * (side, 1.0)
        pen.stroke(curve, thickness, shape.brow, opacity, ends=(0.85, 0.35))


def draw_forehead_lines(pen: Pen, shape: Proportions, moved: Muscles) -> None:
    """Draws the lines that raised or knitted brows make."""
    if moved.brow_together > 0.03 and moved.brow_inner < 0:
        for side in _SIDES:
            x = side * 0.05
            foot = (x, shape.brow_y + 0.13)
            pen.stroke(arc((x * 1.2, shape.brow_y - 0.03), foot, side * -0.01), 0.022, shape.line, 0.7)
    raised = moved.brow_inner + moved.brow_middle
    if raised > 0.1:
        width = 0.3 if moved.brow_outer > 0.04 else 0.18
        for step in (0.13, 0.22):
            y = shape.brow_y - moved.brow_middle - step - 0.03
            pen.stroke(arc((-width, y), (width, y), 0.02), 0.018, shape.line, min(0.6, 2.2 * raised))


def draw_nose(pen: Pen, shape: Proportions, moved: Muscles) -> Point:
    """Draws the nose and returns its tip."""
    width, tip_y = shape.nose_width, shape.nose_y - 0.025 * moved.nose_wrinkle
    flare = width * (1.0 + 0.18 * moved.nose_wrinkle)
    shadow, light = darker(shape.skin, 0.8), mix(shape.skin, (255, 250, 240), 0.4)
    bridge = through([(0.05, shape.eye_y - 0.05), (0.055, shape.eye_y + 0.14), (flare * 0.9, tip_y - 0.02)])
    pen.stroke(bridge, 0.035, shadow, 0.7, ends=(0.2, 1.0))
    pen.glow((0.0, tip_y - 0.03), (width * 0.6, 0.08), light, 0.5)
    for side in _SIDES:
        wing = through(
            [
                (side * flare * 0.85, tip_y - 0.07),
                (side * flare * 1.12, tip_y),
                (side * flare * 0.7, tip_y + 0.04),
            ]
        )
        pen.stroke(wing, 0.022, shape.line, 0.75)
        pen.ellipse((side * width * 0.45, tip_y + 0.035), (width * 0.26, 0.02), shape.line, 0.85)
    pen.stroke(arc((-width * 0.5, tip_y + 0.05), (width * 0.5, tip_y + 0.05), -0.02), 0.02, shape.line, 0.6)
    if moved.nose_wrinkle > 0.15:
        _nose_wrinkles(pen, shape, moved, flare)
    return 0.0, tip_y


def _nose_wrinkles(pen: Pen, shape: Proportions, moved: Muscles, flare: float) -> None:
    opacity = 0.85 * moved.nose_wrinkle
    for step in (0.0, 0.07, 0.14):
        y = shape.eye_y + step
        pen.stroke(arc((-0.085, y + 0.02), (0.085, y + 0.02), 0.03), 0.024, shape.line, opacity)
    for side in _SIDES:
        start, end = (side * flare * 1.15, shape.nose_y - 0.12), (side * flare * 2.0, shape.nose_y + 0.1)
        pen.stroke(arc(start, end, side * 0.03), 0.03, shape.line, opacity * 0.8)


def draw_mouth(pen: Pen, shape: Proportions, moved: Muscles) -> list[Point]:
    """Draws the mouth and returns its corners, left one first."""
    half_width = shape.mouth_half_width * moved.mouth_width
    xs = _SPAN * half_width
    line = shape.mouth_y - moved.smile * (_SPAN**2 - 0.45) - moved.skew * _SPAN
    bow = 1.0 - _SPAN**2
    gape = (1.0 - np.abs(_SPAN) ** (2.0 + 4.0 * moved.square)) ** (0.5 + 0.2 * moved.square)
    sneer_side = 1.0 if moved.sneer > 0 else -1.0
    sneer = abs(moved.sneer) * np.exp(-(((_SPAN - 0.4 * sneer_side) / 0.35) ** 2)) * np.sqrt(bow)
    # Lips that part only where one side is raised leave the line of the mouth in the middle.
    top = line - max(0.0, moved.open_up) * gape - sneer
    bottom = line + max(0.0, moved.open_down) * gape

    thickness = shape.lip * (1.0 - 0.75 * max(0.0, moved.press))
    dip = 1.0 - 0.35 * np.exp(-((_SPAN / 0.16) ** 2))
    outer_top = top - thickness * 0.8 * np.sqrt(bow) * dip
    outer_bottom = bottom + thickness * 1.25 * bow
    _lips(pen, shape, xs, outer_top, outer_bottom)
    if float((bottom - top).max()) > 0.03:
        _opening(pen, moved, xs, top, bottom)
        pen.stroke(np.stack([xs, top], axis=1), 0.018, shape.line, 0.8)
    else:
        pen.stroke(
            np.stack([xs, (top + bottom) / 2], axis=1), 0.036, darker(shape.line, 0.8), ends=(0.7, 0.7)
        )
    _mouth_creases(pen, shape, moved, half_width, float(line[0]), float(line[-1]))
    return [(float(xs[0]), float(line[0])), (float(xs[-1]), float(line[-1]))]


def _band(xs: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.concatenate([np.stack([xs, top], axis=1), np.stack([xs, bottom], axis=1)[::-1]])


def _lips(pen: Pen, shape: Proportions, xs: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> None:
    shadow = np.stack([xs[6:-6], bottom[6:-6] + 0.05], axis=1)
    pen.stroke(shadow, 0.04, darker(shape.skin, 0.75), 0.6)
    pen.fill(_band(xs, top, bottom), shape.lips)
    pen.stroke(np.stack([xs, bottom], axis=1), 0.014, darker(shape.lips, 0.7), 0.6)


def _opening(pen: Pen, moved: Muscles, xs: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> None:
    pen.fill(_band(xs, top, bottom), _MOUTH_INSIDE)
    height = bottom - top
    if moved.open_down > 0.12:
        tongue = np.maximum(top + 0.68 * height, bottom - 0.1)[5:-5]
        pen.fill(_band(xs[5:-5], tongue, bottom[5:-5]), (178, 74, 82))
    upper, lower = top + moved.upper_teeth * height, bottom - moved.lower_teeth * height
    if moved.upper_teeth > 0.05:
        pen.fill(_band(xs, top, np.minimum(upper, top + 0.11)), _TEETH)
    if moved.lower_teeth > 0.05:
        pen.fill(_band(xs, np.maximum(lower, bottom - 0.09), bottom), darker(_TEETH, 0.94))
    if moved.upper_teeth + moved.lower_teeth > 0.7 and moved.lower_teeth > 0.05:
        _clenched(pen, xs, upper, top, bottom)


def _clenched(pen: Pen, xs: np.ndarray, middle: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> None:
    gap = (120, 92, 88)
    pen.stroke(np.stack([xs, middle], axis=1), 0.018, gap)
    for index in range(3, len(xs) - 3, 3):
        tooth = np.array([(xs[index], top[index]), (xs[index], bottom[index])])
        pen.stroke(tooth, 0.012, gap, ends=(1.0, 1.0))


def _mouth_creases(
    pen: Pen, shape: Proportions, moved: Muscles, half_width: float, left_y: float, right_y: float
) -> None:
    for side, y in ((-1.0, left_y), (1.0, right_y)):
        x = side * (half_width + 0.035)
        if moved.smile > 0.08:
            pen.stroke(arc((x, y - 0.07), (x, y + 0.06), -side * 0.03), 0.024, shape.line, 0.7)
        elif moved.smile < -0.06:
            end = (x + side * 0.03, y + 0.11)
            pen.stroke(arc((x - side * 0.02, y - 0.01), end, side * 0.01), 0.024, shape.line, 0.65)
