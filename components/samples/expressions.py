"""The seven expressions of FER-2013 as movements of the parts of a face."""

import random
from dataclasses import dataclass, fields

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The class names in the order of FER-2013's codes 0 to 6."""


@dataclass(frozen=True)
class Muscles:
    """How far each part of the face is moved; a face at rest has the values given here.

    Lengths are in head coordinates (the head is 2 high).

    Attributes:
        brow_inner: Inner ends of the brows raised (negative: lowered).
        brow_middle: Arch of the brows raised.
        brow_outer: Outer ends of the brows raised.
        brow_together: Inner ends of the brows drawn towards each other.
        lid_open: Opening of the upper lids, as a factor.
        lid_slope: Upper lids lowered towards the outer corner (negative: towards the inner corner).
        lower_lid: Share by which the lower lids are raised.
        iris: Size of the iris, as a factor.
        nose_wrinkle: Depth of the wrinkles on the nose, 0 to 1.
        cheeks: Cheeks pushed up, 0 to 1.
        mouth_width: Width of the mouth, as a factor.
        smile: Corners of the mouth above its middle (negative: below).
        skew: Right corner of the mouth above the left one.
        open_up: Upper lip above the line of the mouth.
        open_down: Lower lip below the line of the mouth.
        square: How square an open mouth is, 0 to 1.
        sneer: One side of the upper lip raised.
        press: Lips pressed together, 0 to 1.
        upper_teeth: How much of the opening the upper teeth fill, 0 to 1.
        lower_teeth: How much of the opening the lower teeth fill, 0 to 1.
    """

    brow_inner: float = 0.0
    brow_middle: float = 0.0
    brow_outer: float = 0.0
    brow_together: float = 0.0
    lid_open: float = 1.0
    lid_slope: float = 0.0
    lower_lid: float = 0.0
    iris: float = 1.0
    nose_wrinkle: float = 0.0
    cheeks: float = 0.0
    mouth_width: float = 1.0
    smile: float = 0.0
    skew: float = 0.0
    open_up: float = 0.0
    open_down: float = 0.0
    square: float = 0.0
    sneer: float = 0.0
    press: float = 0.0
    upper_teeth: float = 0.0
    lower_teeth: float = 0.0


AT_REST = Muscles()

# People show one emotion in several ways, so each expression has a few forms.
_FORMS: dict[str, tuple[Muscles, ...]] = {
    "angry": (
        Muscles(
            brow_inner=-0.12, brow_middle=-0.05, brow_outer=0.05, brow_together=0.06, lid_open=0.78,
            lid_slope=-0.05, lower_lid=0.25, nose_wrinkle=0.2, mouth_width=0.92, smile=-0.09, press=1.0,
        ),
        Muscles(
            brow_inner=-0.12, brow_middle=-0.05, brow_outer=0.06, brow_together=0.06, lid_open=0.9,
            lid_slope=-0.06, lower_lid=0.2, nose_wrinkle=0.25, mouth_width=1.1, smile=-0.05, open_up=0.07,
            open_down=0.09, square=1.0, upper_teeth=0.5, lower_teeth=0.5,
        ),
        Muscles(
            brow_inner=-0.13, brow_middle=-0.05, brow_outer=0.06, brow_together=0.06, lid_open=0.95,
            lid_slope=-0.06, lower_lid=0.15, nose_wrinkle=0.3, mouth_width=1.05, smile=-0.06, open_up=0.07,
            open_down=0.2, square=0.9, upper_teeth=0.25, lower_teeth=0.2,
        ),
    ),
    "disgust": (
        Muscles(
            brow_inner=-0.06, brow_middle=-0.05, brow_outer=-0.02, brow_together=0.03, lid_open=0.5,
            lower_lid=0.5, nose_wrinkle=1.0, cheeks=0.5, mouth_width=0.95, smile=-0.08, skew=0.07,
            open_up=0.02, open_down=0.01, sneer=0.14, upper_teeth=0.9,
        ),
        Muscles(
            brow_inner=-0.06, brow_middle=-0.04, brow_outer=0.0, brow_together=0.03, lid_open=0.45,
            lower_lid=0.6, nose_wrinkle=1.0, cheeks=0.4, mouth_width=0.9, smile=-0.13, skew=0.08, sneer=0.05,
            press=0.3,
        ),
        Muscles(
            brow_inner=-0.05, brow_middle=-0.05, brow_outer=-0.03, brow_together=0.03, lid_open=0.4,
            lower_lid=0.6, nose_wrinkle=1.0, cheeks=0.6, mouth_width=1.0, smile=-0.1, skew=0.05,
            open_up=0.05, open_down=0.09, square=0.3, sneer=0.1, upper_teeth=0.45,
        ),
    ),
    "fear": (
        Muscles(
            brow_inner=0.13, brow_middle=0.05, brow_outer=-0.01, brow_together=0.05, lid_open=1.4,
            lower_lid=-0.25, iris=0.78, mouth_width=1.25, smile=-0.09, open_up=0.03, open_down=0.1,
            square=0.7, lower_teeth=0.35,
        ),
        Muscles(
            brow_inner=0.14, brow_middle=0.06, brow_outer=0.0, brow_together=0.06, lid_open=1.4,
            lower_lid=-0.25, iris=0.75, mouth_width=1.3, smile=-0.08, open_up=0.05, open_down=0.07,
            square=0.9, upper_teeth=0.5, lower_teeth=0.5,
        ),
        Muscles(
            brow_inner=0.14, brow_middle=0.06, brow_outer=0.0, brow_together=0.06, lid_open=1.45,
            lower_lid=-0.3, iris=0.75, mouth_width=1.1, smile=-0.12, open_up=0.06, open_down=0.18,
            square=0.6, upper_teeth=0.2, lower_teeth=0.15,
        ),
    ),
    "happy": (
        Muscles(
            brow_middle=0.02, lid_open=0.88, lower_lid=0.5, cheeks=1.0, mouth_width=1.35, smile=0.2,
            open_down=0.14, upper_teeth=0.95,
        ),
        Muscles(
            brow_middle=0.02, lid_open=0.9, lower_lid=0.45, cheeks=0.8, mouth_width=1.28, smile=0.2,
        ),
        Muscles(
            brow_middle=0.04, brow_outer=0.02, lid_open=0.6, lower_lid=0.75, cheeks=1.0, mouth_width=1.3,
            smile=0.17, open_up=0.01, open_down=0.26, upper_teeth=0.4,
        ),
    ),
    "sad": (
        Muscles(
            brow_inner=0.13, brow_middle=0.01, brow_outer=-0.07, brow_together=0.03, lid_open=0.68,
            lid_slope=0.06, mouth_width=0.92, smile=-0.17,
        ),
        Muscles(
            brow_inner=0.14, brow_middle=0.02, brow_outer=-0.08, brow_together=0.04, lid_open=0.45,
            lid_slope=0.05, lower_lid=0.1, mouth_width=0.85, smile=-0.15, press=0.3,
        ),
        Muscles(
            brow_inner=0.14, brow_middle=0.02, brow_outer=-0.07, brow_together=0.04, lid_open=0.6,
            lid_slope=0.07, lower_lid=0.25, mouth_width=1.1, smile=-0.18, open_down=0.06, square=0.3,
            lower_teeth=0.5,
        ),
    ),
    "surprise": (
        Muscles(
            brow_inner=0.12, brow_middle=0.16, brow_outer=0.11, lid_open=1.4, lower_lid=-0.15, iris=0.85,
            mouth_width=0.62, open_up=0.08, open_down=0.19,
        ),
        Muscles(
            brow_inner=0.13, brow_middle=0.17, brow_outer=0.11, lid_open=1.35, lower_lid=-0.1, iris=0.9,
            mouth_width=0.48, open_up=0.06, open_down=0.11,
        ),
        Muscles(
            brow_inner=0.12, brow_middle=0.17, brow_outer=0.12, lid_open=1.45, lower_lid=-0.15, iris=0.85,
            mouth_width=0.75, smile=0.03, open_up=0.09, open_down=0.26, upper_teeth=0.15,
        ),
    ),
    "neutral": (
        Muscles(),
        Muscles(smile=0.02, lid_open=0.92),
        Muscles(smile=-0.025, lid_open=0.95, press=0.3),
    ),
}  # fmt: skip

# Nobody holds quite still: how far a part moves beside the expression (one standard deviation).
_RESTLESSNESS = {
    "brow_inner": 0.018, "brow_middle": 0.012, "brow_outer": 0.018, "lid_open": 0.07, "lid_slope": 0.008,
    "lower_lid": 0.06, "mouth_width": 0.05, "smile": 0.02, "skew": 0.006, "open_down": 0.008,
}  # fmt: skip


def muscles(expression: str, intensity: float, rng: random.Random) -> Muscles:
    """One way of showing an expression.

    Args:
        expression: One of `EXPRESSIONS`.
        intensity: 0 (a face at rest) to 1 (the whole expression).
        rng: Chooses the form, the side of what is lopsided, and small movements.
    """
    form = rng.choice(_FORMS[expression])
    moved = {}
    for field in fields(Muscles):
        rest, full = getattr(AT_REST, field.name), getattr(form, field.name)
        restless = rng.gauss(0.0, _RESTLESSNESS.get(field.name, 0.0))
        moved[field.name] = rest + (full - rest) * intensity + restless
    side = rng.choice((-1.0, 1.0))
    moved["skew"] *= side
    moved["sneer"] *= side
    # A closed mouth stays closed: restless lips alone do not part.
    if form.open_down == 0.0:
        moved["open_down"] = 0.0
    return Muscles(**moved)
