"""Writes drawn emotion samples in the formats of FER-2013 and FERG-DB."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components.samples.atomic import appearing_whole
from components.samples.faces import EXPRESSIONS, Face, Identity, draw_face, random_face, random_identity
from data_validation.errors import InputError

Progress = Callable[[int], None]

FER2013_FILE = "fer2013.csv"
FER2013_SIDE = 48
USAGES = ("Training", "PublicTest", "PrivateTest")

FERG_FOLDER = "FERG_DB_256"
FERG_SIDE = 256
FERG_EMOTIONS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprise",
}
"""FERG-DB's names of the expressions, and FER-2013's."""

# Unbalanced as in FER-2013, but less: there, disgust is 1.5 % of all, too rare for a small sample.
_CLASS_WEIGHTS = {
    "angry": 14,
    "disgust": 7,
    "fear": 14,
    "happy": 20,
    "sad": 16,
    "surprise": 13,
    "neutral": 16,
}
_PICTURES_PER_PERSON = 8
_ENOUGH_FOR_ALL_CLASSES = 5 * len(EXPRESSIONS)
_CLOSE_UP = (0.84, 0.97)  # FER-2013's faces fill the picture


@dataclass(frozen=True)
class EmotionSample:
    """One picture of the FER-2013 form before it is drawn.

    Attributes:
        person: Number of the person; each belongs to one usage only.
        usage: One of `USAGES`.
        face: What is drawn.
    """

    person: int
    usage: str
    face: Face


def emotion_samples(count: int, seed: int) -> Iterator[EmotionSample]:
    """The pictures that `write_fer2013_csv` draws, in the order of its lines.

    Args:
        count: Number of pictures.
        seed: The same seed gives the same pictures.
    """
    _check_count(count)
    next_person = 0
    for usage, pictures in zip(USAGES, _usage_sizes(count), strict=True):
        persons = math.ceil(pictures / _PICTURES_PER_PERSON)
        rng = random.Random(f"{seed}/{usage}")
        for index, expression in enumerate(_shuffled_classes(pictures, rng)):
            person = next_person + index % persons
            identity, age = _person(seed, person)
            yield EmotionSample(person, usage, random_face(rng, identity, age, expression, scale=_CLOSE_UP))
        next_person += persons


def write_fer2013_csv(folder: Path, count: int, seed: int, progress: Progress | None = None) -> Path:
    """Writes `fer2013.csv` in the form in which Kaggle gave it out.

    Of the pictures, 80 % are for training and 10 % for each test; small samples give the tests a larger
    share, so that from 35 pictures on every class is in every part.

    Args:
        folder: Where to write; made when it is not there.
        count: Number of pictures.
        seed: The same seed gives the same bytes.
        progress: Called with the number of pictures done since the last call.

    Returns:
        The file.

    Raises:
        InputError: The count is below 1, the file exists, or the folder cannot be made.
    """
    _check_count(count)
    target = Path(folder) / FER2013_FILE
    with (
        appearing_whole(target) as unfinished,
        unfinished.open("w", encoding="ascii", newline="\n") as lines,
    ):
        lines.write("emotion,pixels,Usage\n")
        for sample in emotion_samples(count, seed):
            lines.write(_fer2013_line(sample))
            if progress is not None:
                progress(1)
    return target


def write_ferg(folder: Path, count: int, seed: int, progress: Progress | None = None) -> Path:
    """Writes the folders of FERG-DB: six characters, each with seven expressions.

    Args:
        folder: Where `FERG_DB_256` is made.
        count: Number of pictures of all characters together.
        seed: The same seed gives the same bytes.
        progress: Called with the number of pictures done since the last call.

    Returns:
        The folder `FERG_DB_256`.

    Raises:
        InputError: The count is below 1, the folder `FERG_DB_256` exists, or it cannot be made.
    """
    _check_count(count)
    target = Path(folder) / FERG_FOLDER
    with appearing_whole(target) as unfinished:
        for place, face in _ferg_faces(count, seed):
            path = unfinished / place
            path.parent.mkdir(parents=True, exist_ok=True)
            picture, _ = draw_face(face, FERG_SIDE)
            picture.save(path, format="PNG")
            if progress is not None:
                progress(1)
    return target


def _check_count(count: int) -> None:
    if count < 1:
        raise InputError(f"count: expected at least 1 picture, found {count}")


def _usage_sizes(count: int) -> tuple[int, int, int]:
    held_out = round(count / 10)
    if count >= _ENOUGH_FOR_ALL_CLASSES:
        held_out = max(held_out, len(EXPRESSIONS))
    return count - 2 * held_out, held_out, held_out


def _shuffled_classes(count: int, rng: random.Random) -> list[str]:
    shares = _shared_out(count, [_CLASS_WEIGHTS[name] for name in EXPRESSIONS])
    classes = [name for name, share in zip(EXPRESSIONS, shares, strict=True) for _ in range(share)]
    rng.shuffle(classes)
    return classes


def _shared_out(count: int, weights: Sequence[float]) -> list[int]:
    """Shares a count out by weights; nobody goes without when there is enough for all."""
    least = 1 if count >= len(weights) else 0
    rest = count - least * len(weights)
    exact = [rest * weight / sum(weights) for weight in weights]
    shares = [least + int(share) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda index: int(exact[index]) - exact[index])
    for index in by_remainder[: count - sum(shares)]:
        shares[index] += 1
    return shares


def _person(seed: int, person: int) -> tuple[Identity, float]:
    rng = random.Random(f"{seed}/person {person}")
    return random_identity(rng), rng.triangular(2.0, 85.0, 28.0)


def _fer2013_line(sample: EmotionSample) -> str:
    picture, _ = draw_face(sample.face, FER2013_SIDE)
    pixels = " ".join(map(str, picture.convert("L").tobytes()))
    return f"{EXPRESSIONS.index(sample.face.expression)},{pixels},{sample.usage}\n"


def ferg_characters() -> dict[str, Face]:
    """The six characters by name, each as a face at rest."""
    black, brown, blond, red = (30, 26, 28), (88, 56, 36), (206, 166, 98), (164, 78, 40)
    pale, light, tan, dark = (248, 218, 196), (236, 194, 160), (200, 146, 106), (128, 84, 60)
    return {
        "aia": _character("aia", "female", 22, "bob", black, tan),
        "bonnie": _character("bonnie", "female", 27, "ponytail", red, pale),
        "jules": _character("jules", "male", 19, "side_part", brown, light),
        "malcolm": _character("malcolm", "male", 38, "crew", black, dark, beard="goatee"),
        "mery": _character("mery", "female", 24, "long", blond, light),
        "ray": _character("ray", "male", 52, "receding", brown, pale, beard="moustache"),
    }


def _character(
    name: str,
    gender: str,
    age: float,
    hair_style: str,
    hair_colour: tuple[int, int, int],
    skin: tuple[int, int, int],
    beard: str = "none",
) -> Face:
    # The name decides the rest of the looks: the same in every sample, whatever its seed.
    identity = replace(
        random_identity(random.Random(name), gender),
        hair_style=hair_style,
        hair_colour=hair_colour,
        skin=skin,
        beard=beard,
        glasses=False,
    )
    return random_face(random.Random(name), identity, age, "neutral")


def _ferg_faces(count: int, seed: int) -> Iterator[tuple[Path, Face]]:
    """Paths below `FERG_DB_256`, and what is drawn there."""
    characters = ferg_characters()
    weights = [_CLASS_WEIGHTS[expression] for expression in FERG_EMOTIONS.values()]
    portions = _shared_out(count, [1] * len(characters))
    for (name, character), portion in zip(characters.items(), portions, strict=True):
        rng = random.Random(f"{seed}/{name}")
        for emotion, pictures in zip(FERG_EMOTIONS, _shared_out(portion, weights), strict=True):
            stem = f"{name}_{emotion}"
            for number in range(1, pictures + 1):
                face = _rendered(rng, character, FERG_EMOTIONS[emotion])
                yield Path(name, stem, f"{stem}_{number}.png"), face


def _rendered(rng: random.Random, character: Face, expression: str) -> Face:
    """The character in another pose, under the even light and before the plain wall of a renderer."""
    pose = random_face(rng, character.identity, character.age, expression)
    return replace(
        pose,
        brightness=1.0,
        side_light=0.15,
        grain=0.0,
        background=(198, 200, 204),
        clothes=character.clothes,
    )
