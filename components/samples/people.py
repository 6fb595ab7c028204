"""Who a drawn face shows, and how: every parameter of a face, and random ones."""

import math
import random
from dataclasses import dataclass

from components.samples.expressions import EXPRESSIONS
from components.samples.pen import Colour, mix
from data_validation.errors import InputError

GENDERS = ("male", "female")
"""The labels that the real data sets know."""

OLDEST = 100
"""The highest age that is drawn, in years."""

HAIR_STYLES = {
    "male": ("short", "crew", "side_part", "curly", "receding", "bald", "shoulder"),
    "female": ("long", "bob", "fringe", "ponytail", "bun", "curly", "pixie"),
}
BEARDS = ("none", "stubble", "moustache", "goatee", "full")

_SKINS: tuple[Colour, ...] = (
    (250, 222, 200),
    (241, 202, 172),
    (226, 178, 142),
    (203, 148, 108),
    (164, 110, 76),
    (118, 76, 54),
)
_HAIR_COLOURS: tuple[Colour, ...] = (
    (32, 26, 26),
    (62, 42, 32),
    (98, 62, 38),
    (140, 92, 52),
    (204, 164, 96),
    (160, 74, 38),
)
_EYE_COLOURS: tuple[Colour, ...] = ((70, 44, 28), (96, 64, 36), (66, 104, 70), (62, 108, 150), (96, 112, 124))
_DARK_SKINNED = 4  # from this skin on, eyes and hair are dark as a rule


@dataclass(frozen=True)
class Identity:
    """What stays the same when a person ages, moves or smiles.

    Factors are relative to an average face; lengths are in head coordinates (the head is 2 high).

    Attributes:
        gender: 'male' or 'female'.
        skin: Skin tone.
        head_width: Half the width of the head.
        jaw: From 1.8 (pointed chin) to 3 (square jaw).
        eye_spacing: From the middle of the face to the middle of an eye.
        eye_size: Factor.
        eye_tilt: Outer corners of the eyes above the inner ones.
        eye_colour: Colour of the iris.
        brow_thickness: Factor.
        brow_arch: Height of the arch.
        brow_height: Factor of the distance from eye to brow.
        nose_length: Factor.
        nose_width: Factor.
        mouth_width: Factor.
        lip_fullness: Factor.
        ear_size: Factor.
        hair_style: One of `HAIR_STYLES` of the gender, as worn when grown up.
        hair_colour: Before it turns grey.
        hair_side: -1 or 1: the side of the parting or pony tail.
        grey_from: Age in years at which the hair begins to turn grey.
        beard: One of `BEARDS`, as worn when grown up; 'none' for women.
        glasses: Wears glasses.
        freckles: Has freckles.
    """

    gender: str
    skin: Colour
    head_width: float
    jaw: float
    eye_spacing: float
    eye_size: float
    eye_tilt: float
    eye_colour: Colour
    brow_thickness: float
    brow_arch: float
    brow_height: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lip_fullness: float
    ear_size: float
    hair_style: str
    hair_colour: Colour
    hair_side: float
    grey_from: float
    beard: str
    glasses: bool
    freckles: bool


@dataclass(frozen=True)
class Face:
    """One picture of a person: all that decides how it is drawn.

    Attributes:
        identity: The person.
        age: In years, 0 to 100.
        expression: One of `EXPRESSIONS`.
        intensity: Strength of the expression, 0 to 1.
        roll: Head tilted clockwise, in degrees.
        turn: Features moved to the right on the head, as when it turns; about -0.1 to 0.1.
        shift: Middle of the head right of and below the middle of the picture, as shares of its side.
        scale: Height of the head as a share of the side of the picture.
        brightness: Factor of the light on all; 1 is full.
        side_light: Light from the right (positive) or the left (negative), -1 to 1.
        grain: Noise of the picture, standard deviation in grey levels of 255.
        background: Colour behind the head.
        clothes: Colour of the clothes.
        seed: Decides the form of the expression, small movements and the noise.
    """

    identity: Identity
    age: float = 30.0
    expression: str = "neutral"
    intensity: float = 1.0
    roll: float = 0.0
    turn: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 0.8
    brightness: float = 1.0
    side_light: float = 0.0
    grain: float = 0.0
    background: Colour = (176, 190, 200)
    clothes: Colour = (70, 90, 130)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.expression not in EXPRESSIONS:
            raise InputError(
                f"expression: expected one of {', '.join(EXPRESSIONS)}, found {self.expression!r}"
            )
        _check_range("age", self.age, 0.0, OLDEST)
        _check_range("intensity", self.intensity, 0.0, 1.0)
        _check_range("scale", self.scale, 0.05, 2.0)


def random_identity(rng: random.Random, gender: str | None = None) -> Identity:
    """A person who has not been seen before.

    Args:
        rng: Source of all randomness.
        gender: 'male' or 'female'; either with the same chance when it is not given.
    """
    chosen = rng.choice(GENDERS)
    if gender is not None:
        if gender not in GENDERS:
            raise InputError(f"gender: expected one of {', '.join(GENDERS)}, found {gender!r}")
        chosen = gender
    male = chosen == "male"
    tone = rng.random() * (len(_SKINS) - 1)
    skin = mix(_SKINS[int(tone)], _SKINS[int(tone) + 1], tone % 1.0)
    dark = tone > _DARK_SKINNED - 1
    return Identity(
        gender=chosen,
        skin=skin,
        head_width=_around(rng, 0.76 if male else 0.72, 0.03),
        jaw=_around(rng, 2.55 if male else 2.05, 0.2),
        eye_spacing=_around(rng, 0.335, 0.018),
        eye_size=_around(rng, 0.98 if male else 1.12, 0.08),
        eye_tilt=_around(rng, 0.0 if male else 0.012, 0.016),
        eye_colour=rng.choice(_EYE_COLOURS[:2] if dark else _EYE_COLOURS),
        brow_thickness=_around(rng, 1.3 if male else 0.85, 0.17),
        brow_arch=_around(rng, 0.025 if male else 0.05, 0.012),
        brow_height=_around(rng, 0.95 if male else 1.05, 0.07),
        nose_length=_around(rng, 1.0, 0.09),
        nose_width=_around(rng, 1.1 if male else 0.9, 0.13),
        mouth_width=_around(rng, 1.0, 0.08),
        lip_fullness=_around(rng, 0.8 if male else 1.25, 0.18),
        ear_size=_around(rng, 1.0, 0.12),
        hair_style=rng.choice(HAIR_STYLES[chosen]),
        hair_colour=mix(
            rng.choice(_HAIR_COLOURS[:2] if dark else _HAIR_COLOURS), (90, 70, 60), 0.25 * rng.random()
        ),
        hair_side=rng.choice((-1.0, 1.0)),
        grey_from=_around(rng, 42.0, 5.0),
        beard=rng.choices(BEARDS, (55, 15, 8, 8, 14))[0] if male else "none",
        glasses=rng.random() < 0.12,
        freckles=not dark and rng.random() < 0.15,
    )


def random_face(
    rng: random.Random,
    identity: Identity | None = None,
    age: float | None = None,
    expression: str | None = None,
    intensity: float | None = None,
    scale: tuple[float, float] = (0.74, 0.88),
) -> Face:
    """A picture of a person; what is not given is chosen at random.

    Args:
        rng: Source of all randomness.
        identity: The person.
        age: In years, 0 to 100.
        expression: One of `EXPRESSIONS`.
        intensity: Strength of the expression, 0 to 1.
        scale: Smallest and largest height of the head as a share of the side of the picture.
    """
    return Face(
        identity=identity or random_identity(rng),
        age=rng.triangular(1.0, 90.0, 28.0) if age is None else age,
        expression=expression or rng.choice(EXPRESSIONS),
        intensity=rng.triangular(0.55, 1.0, 0.9) if intensity is None else intensity,
        roll=_around(rng, 0.0, 5.0),
        turn=_around(rng, 0.0, 0.035),
        shift=(_around(rng, 0.0, 0.018), _around(rng, 0.035, 0.015)),
        scale=rng.uniform(*scale),
        brightness=rng.uniform(0.75, 1.08),
        side_light=rng.uniform(-0.6, 0.6),
        grain=rng.uniform(1.0, 6.0),
        background=_soft_colour(rng),
        clothes=_soft_colour(rng),
        seed=rng.getrandbits(32),
    )


def _around(rng: random.Random, middle: float, spread: float) -> float:
    """A value near the middle, never further than 2.2 spreads: caricatures are not wanted."""
    return middle + spread * max(-2.2, min(2.2, rng.gauss(0.0, 1.0)))


def _soft_colour(rng: random.Random) -> Colour:
    grey = rng.randint(60, 215)
    tint = (rng.randint(30, 230), rng.randint(30, 230), rng.randint(30, 230))
    return mix((grey, grey, grey), tint, 0.3)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError(f"{name}: expected a number from {low:g} to {high:g}, found {value!r}")
