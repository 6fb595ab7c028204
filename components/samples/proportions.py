"""How age and identity shape a head: where its parts lie and what colour they have."""

import math
from dataclasses import dataclass

import numpy as np

from components.samples.expressions import Muscles
from components.samples.pen import Colour, darker, mix
from components.samples.people import Face

GROWN_UP = 16.0
_WRINKLES_FROM, _WRINKLES_FULL = 28.0, 92.0
_GREY: Colour = (206, 206, 208)


@dataclass(frozen=True)
class Proportions:
    """Places and sizes in head coordinates, and the colours that follow from age.

    Attributes:
        childlike: 1 for the newborn, 0 for the grown-up.
        wrinkled: 0 for the young, 1 for the very old.
        chin: How far the chin lies below the middle of the head.
    """

    childlike: float
    wrinkled: float
    head_width: float
    jaw: float
    chin: float
    eye_x: float
    eye_y: float
    eye_width: float
    eye_height: float
    brow_y: float
    nose_y: float
    nose_width: float
    mouth_y: float
    mouth_half_width: float
    lip: float
    skin: Colour
    line: Colour
    hair: Colour
    brow: Colour
    lips: Colour

    def half_width(self, y: float) -> float:
        """Half the width of the head at a height."""
        height, power = (self.chin, self.jaw) if y > 0 else (1.0, 2.3)
        share = min(abs(y) / height, 1.0)
        return float(self.head_width * (1.0 - share**power) ** (1.0 / 2.2))

    def outline(self, start: float, end: float, steps: int = 24) -> np.ndarray:
        """The right edge of the head from one height to another."""
        # Even steps of the angle, not of the height, keep the crown and the chin round.
        angles = np.linspace(self._angle(start), self._angle(end), steps)
        heights = np.where(angles > 0, self.chin, 1.0) * np.sin(angles)
        return np.array([(self.half_width(y), y) for y in heights])

    def _angle(self, y: float) -> float:
        return math.asin(max(-1.0, min(1.0, y / (self.chin if y > 0 else 1.0))))


def proportions(face: Face, moved: Muscles) -> Proportions:
    """The proportions of a person at an age, with the jaw dropped as far as the mouth is open."""
    identity = face.identity
    child = max(0.0, 1.0 - face.age / GROWN_UP)
    old = _share(face.age, _WRINKLES_FROM, _WRINKLES_FULL)
    eye_y = -0.08 + 0.2 * child
    nose_y = eye_y + 0.4 * identity.nose_length * (1.0 - 0.32 * child)
    skin = mix(identity.skin, (214, 196, 182), 0.12 * old)
    hair = mix(
        identity.hair_colour, _GREY, 0.95 * _share(face.age, identity.grey_from, identity.grey_from + 34.0)
    )
    redness = 0.42 if identity.gender == "female" else 0.24
    return Proportions(
        childlike=child,
        wrinkled=old,
        head_width=identity.head_width * (1.0 + 0.14 * child),
        jaw=identity.jaw + (2.3 - identity.jaw) * child,
        chin=1.0 + 0.35 * max(0.0, moved.open_down),
        eye_x=identity.eye_spacing * (1.0 + 0.05 * child),
        eye_y=eye_y,
        eye_width=0.168 * identity.eye_size * (1.0 + 0.12 * child),
        eye_height=0.1 * identity.eye_size * (1.0 + 0.3 * child - 0.12 * old),
        brow_y=eye_y - 0.255 * identity.brow_height,
        nose_y=nose_y,
        nose_width=0.125 * identity.nose_width * (1.0 - 0.22 * child + 0.12 * old),
        mouth_y=nose_y + 0.27 - 0.05 * child,
        mouth_half_width=0.275 * identity.mouth_width * (1.0 - 0.2 * child),
        lip=0.055 * identity.lip_fullness * (1.0 - 0.4 * old),
        skin=skin,
        line=mix(darker(skin, 0.42), (60, 24, 20), 0.3),
        hair=hair,
        brow=mix(hair, darker(skin, 0.3), 0.6),
        lips=mix(darker(skin, 0.82), (186, 52, 62), redness * (1.0 - 0.4 * child) * (1.0 - 0.5 * old)),
    )


def _share(value: float, start: float, end: float) -> float:
    return max(0.0, min(1.0, (value - start) / (end - start)))
