"""Writes drawn samples of aligned faces with attributes in the format of CelebA."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from components.readers.celeba import ATTRIBUTES, FOLDER_NAME, MALE, PARTITION
from components.samples.atomic import appearing_whole
from components.samples.emotion import Progress
from components.samples.expressions import AT_REST, muscles
from components.samples.faces import Face, draw_face, random_face, random_identity
from components.samples.hair import hair_style
from components.samples.pen import Colour
from components.samples.proportions import proportions
from data_validation.errors import InputError

WIDTH, HEIGHT = 89, 109
"""Half the size of CelebA's aligned pictures."""
FEWEST = 3
"""Pictures of which each split gets one."""
ATTRIBUTE_NAMES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips",
    "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby",
    "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", MALE,
    "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose",
    "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair",
    "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip
"""In the order of the published list."""

_FEMALE_SHARE = 0.58
_YOUNGEST, _OLDEST, _USUAL_AGE = 18.0, 60.0, 22.0
_YOUNG_BELOW = 40.0
_EXPRESSION_WEIGHTS = {"neutral": 47, "happy": 47, "surprise": 6}
# Aligned pictures have the eyes at these places: means of the published landmarks, (69, 111) and (107, 111)
# in 178x218.
_EYES_DOWN = 111.0 / 218.0
_EYES_APART = 38.0 / 178.0
# In head coordinates, where half a head is 1: drawn eyes of grown-ups, on average.
_DRAWN_EYES_DOWN = -0.08
_DRAWN_EYES_APART = 2.0 * 0.335
# Half the height of the head, pixels.
_UNIT = WIDTH * _EYES_APART / _DRAWN_EYES_APART
_SIZES = (0.96, 1.04)
_CALM = 0.6  # aligned heads tilt less than others
_GRAIN = (0.5, 2.0)
_MOUTH_OPEN_FROM = 0.04
_HAIR_COLOURS: dict[str, Colour] = {
    "Black_Hair": (44, 34, 33),
    "Brown_Hair": (112, 73, 47),
    "Blond_Hair": (204, 164, 96),
    "Gray_Hair": (190, 188, 188),
}


@dataclass(frozen=True)
class CelebrityPicture:
    """One picture before it is drawn.

    Attributes:
        name: Name of the file.
        part: Code of CelebA's partition: 0 train, 1 eval, 2 test.
        face: What is drawn.
    """

    name: str
    part: int
    face: Face


def celebrity_pictures(count: int, seed: int) -> Iterator[CelebrityPicture]:
    """The pictures that `write_celeba` draws, in its order: of 58 % women, as CelebA; each another person.

    Args:
        count: Number of pictures; a tenth, but one at least, is in each of `eval` and `test`.
        seed: The same seed gives the same pictures.

    Raises:
        InputError: There are fewer than FEWEST pictures.
    """
    if count < FEWEST:
        raise InputError(f"count: expected at least {FEWEST} pictures, found {count}")
    held_out = max(1, count // 10)
    parts = [0] * (count - 2 * held_out) + [1] * held_out + [2] * held_out
    women = round(count * _FEMALE_SHARE)
    genders = ["female"] * women + ["male"] * (count - women)
    random.Random(f"{seed}/celebrities").shuffle(genders)
    for number, (part, gender) in enumerate(zip(parts, genders, strict=True), start=1):
        face = _face(random.Random(f"{seed}/celebrities/{number}"), gender)
        yield CelebrityPicture(f"{number:06d}.jpg", part, face)


def write_celeba(folder: Path, count: int, seed: int, progress: Progress | None = None) -> Path:
    """Writes `img_align_celeba`, `list_attr_celeba.txt` and `list_eval_partition.txt`.

    Args:
        folder: Where they are made.
        count: Number of pictures, see `celebrity_pictures`.
        seed: The same seed gives the same bytes.
        progress: Called with the number of pictures done since the last call.

    Returns:
        The folder.

    Raises:
        InputError: There are fewer than FEWEST pictures, one of the three exists, or they cannot be made.
    """
    pictures = list(celebrity_pictures(count, seed))
    with ExitStack() as stack:
        # The images appear last: their folder is what the data set is known by.
        images = stack.enter_context(appearing_whole(folder / FOLDER_NAME))
        attributes = stack.enter_context(appearing_whole(folder / ATTRIBUTES))
        partition = stack.enter_context(appearing_whole(folder / PARTITION))
        images.mkdir()
        for picture in pictures:
            draw_celebrity(picture.face).save(images / picture.name, format="JPEG", quality=92)
            if progress is not None:
                progress(1)
        lines = [str(count), " ".join(ATTRIBUTE_NAMES), *map(_line, pictures), ""]
        attributes.write_text("\n".join(lines), encoding="ascii")
        parts = "".join(f"{picture.name} {picture.part}\n" for picture in pictures)
        partition.write_text(parts, encoding="ascii")
    return folder


def draw_celebrity(face: Face) -> Image.Image:
    """Draws a face of `celebrity_pictures`.

    Args:
        face: What to draw.

    Returns:
        An RGB picture of WIDTH x HEIGHT.
    """
    left = (HEIGHT - WIDTH) // 2
    return draw_face(face, HEIGHT)[0].crop((left, 0, left + WIDTH, HEIGHT))


def known_attributes(face: Face) -> set[str]:
    """Names the attributes that a drawn face has, of those that can be told from what is drawn.

    Args:
        face: A grown-up.

    Returns:
        Some of ATTRIBUTE_NAMES.
    """
    identity, style = face.identity, hair_style(face)
    moved = muscles(face.expression, face.intensity, random.Random(face.seed))
    beard = identity.beard
    told = {
        "5_o_Clock_Shadow": beard == "stubble",
        "Bald": style == "bald",
        "Bangs": style == "fringe",
        "Eyeglasses": identity.glasses,
        "Goatee": beard == "goatee",
        MALE: identity.gender == "male",
        "Mouth_Slightly_Open": moved.open_up + moved.open_down > _MOUTH_OPEN_FROM,
        "Mustache": beard in ("moustache", "goatee", "full"),
        "No_Beard": beard in ("none", "moustache"),
        "Receding_Hairline": style == "receding",
        "Sideburns": beard == "full",
        "Smiling": face.expression == "happy",
        "Wavy_Hair": style == "curly",
        "Young": face.age < _YOUNG_BELOW,
        _hair_colour(face): style != "bald",
    }
    return {name for name, true in told.items() if true}


def _hair_colour(face: Face) -> str:
    """Returns the attribute whose colour the hair is nearest to."""
    hair = proportions(face, AT_REST).hair

    def distance(name: str) -> int:
        return sum((drawn - named) ** 2 for drawn, named in zip(hair, _HAIR_COLOURS[name], strict=True))

    return min(_HAIR_COLOURS, key=distance)


def _line(picture: CelebrityPicture) -> str:
    true = known_attributes(picture.face)
    # In columns, as the published list.
    return picture.name + "".join(f"{1 if name in true else -1:3d}" for name in ATTRIBUTE_NAMES)


def _face(rng: random.Random, gender: str) -> Face:
    """A new person with the eyes where aligned pictures have them, before a plain wall."""
    (expression,) = rng.choices([*_EXPRESSION_WEIGHTS], [*_EXPRESSION_WEIGHTS.values()])
    age = rng.triangular(_YOUNGEST, _OLDEST, _USUAL_AGE)
    face = random_face(rng, random_identity(rng, gender), age, expression)
    unit = _UNIT * rng.uniform(*_SIZES)
    down = HEIGHT * (_EYES_DOWN - 0.5) - unit * _DRAWN_EYES_DOWN
    # A head that turns is moved back, until the eyes are in the middle again.
    return replace(
        face,
        roll=face.roll * _CALM,
        shift=(-face.turn * unit / HEIGHT, down / HEIGHT),
        scale=2.0 * unit / HEIGHT,
        brightness=rng.uniform(0.85, 1.05),
        grain=rng.uniform(*_GRAIN),
    )
