"""Writes drawn samples of persons in the formats of AT&T and of identity folders."""

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from components.readers.att import PICTURES
from components.readers.identity import pseudonym
from components.readers.identity_folders import FOLDER_NAME, IdentityFoldersReader
from components.readers.record import hash_split
from components.samples.atomic import appearing_whole
from components.samples.emotion import Progress
from components.samples.faces import Face, draw_face, random_face, random_identity
from data_validation.errors import InputError
from serving.alignment import align

ATT_FOLDER = "att_faces"
ATT_PERSONS = 12
ATT_WIDTH, ATT_HEIGHT = 92, 112
FEWEST_PERSONS = 6

_PICTURES = (6, 12)
MEAN_PICTURES = 9
"""Of a person in identity folders, on average."""
_HELD_OUT_SHARE = 0.15
_FEWEST_HELD_OUT = 2
_YOUNGEST, _OLDEST = 16.0, 75.0
_YEARS_APART, _ATT_YEARS_APART = 6.0, 2.0
_EXPRESSION_WEIGHTS = {
    "neutral": 40,
    "happy": 35,
    "surprise": 7,
    "sad": 6,
    "angry": 5,
    "fear": 4,
    "disgust": 3,
}
# Aligned faces of this height keep about the size in which they are drawn.
_DRAWN_SIDE = 144
_SCALE = (0.72, 0.84)
_ATT_SCALE = (0.8, 0.92)


@dataclass(frozen=True)
class IdentityPicture:
    """One picture before it is drawn.

    Attributes:
        path: Relative to the folder of the persons.
        face: What is drawn.
    """

    path: str
    face: Face


def att_pictures(seed: int, persons: int = ATT_PERSONS) -> Iterator[IdentityPicture]:
    """The pictures that `write_att` draws, in its order.

    Args:
        seed: The same seed gives the same pictures.
        persons: Number of persons, with ten pictures each.
    """
    if persons < 1:
        raise InputError(f"persons: expected at least 1, found {persons}")
    for person in range(1, persons + 1):
        rng = random.Random(f"{seed}/att/{person}")
        for number, face in enumerate(_faces(rng, PICTURES, _ATT_YEARS_APART, _ATT_SCALE), start=1):
            yield IdentityPicture(f"s{person}/{number}.pgm", face)


def identity_pictures(persons: int, seed: int) -> Iterator[IdentityPicture]:
    """The pictures that `write_identities` draws, in its order: 6 to 12 of each person.

    Args:
        persons: Number of persons; the reader puts 15 % into each of `eval` and `test`, but two at least.
        seed: The same seed gives the same pictures.
    """
    if persons < FEWEST_PERSONS:
        raise InputError(f"persons: expected at least {FEWEST_PERSONS}, found {persons}")
    for person in _persons(persons):
        rng = random.Random(f"{seed}/identities/{person}")
        faces = _faces(rng, rng.randint(*_PICTURES), _YEARS_APART, _SCALE)
        for number, face in enumerate(faces, start=1):
            yield IdentityPicture(f"{person}/{number:03d}.jpg", face)


def write_att(folder: Path, seed: int, persons: int = ATT_PERSONS, progress: Progress | None = None) -> Path:
    """Writes `att_faces`: ten pictures of each person as binary PGM, 92x112 grey.

    Args:
        folder: Where `att_faces` is made.
        seed: The same seed gives the same bytes.
        persons: Number of persons; those of `write_identities` are others.
        progress: Called with the number of pictures done since the last call.

    Returns:
        The folder `att_faces`.

    Raises:
        InputError: There is no person, the folder `att_faces` exists, or it cannot be made.
    """
    pictures = ((picture.path, _pgm(picture.face)) for picture in att_pictures(seed, persons))
    return _write(Path(folder) / ATT_FOLDER, pictures, progress)


def write_identities(folder: Path, persons: int, seed: int, progress: Progress | None = None) -> Path:
    """Writes `identities`: folders of persons with aligned JPEG pictures of 112x112.

    Args:
        folder: Where `identities` is made.
        persons: Number of persons, 6 or more.
        seed: The same seed gives the same bytes.
        progress: Called with the number of pictures done since the last call.

    Returns:
        The folder `identities`.

    Raises:
        InputError: There are too few persons, the folder `identities` exists, or it cannot be made.
    """
    pictures = ((picture.path, _jpeg(picture.face)) for picture in identity_pictures(persons, seed))
    return _write(Path(folder) / FOLDER_NAME, pictures, progress)


def aligned_face(face: Face) -> Image.Image:
    """Draws a face and aligns it as a detector's five points would, 112x112 RGB.

    Args:
        face: What to draw.
    """
    picture, landmarks = draw_face(face, _DRAWN_SIDE)
    # Drawn places count from the edge of the picture, those of `align` from the middle of a pixel.
    return align(picture, np.asarray(landmarks) - 0.5)


def _faces(rng: random.Random, count: int, years_apart: float, scale: tuple[float, float]) -> Iterator[Face]:
    """Faces of one new person within some years, in all poses and lights that `random_face` has."""
    identity = random_identity(rng)
    youngest = rng.uniform(_YOUNGEST, _OLDEST)
    for _ in range(count):
        (expression,) = rng.choices([*_EXPRESSION_WEIGHTS], [*_EXPRESSION_WEIGHTS.values()])
        yield random_face(rng, identity, youngest + rng.uniform(0.0, years_apart), expression, scale=scale)


def _persons(count: int) -> list[str]:
    """Names of persons; their pseudonyms decide the split, so the names are chosen by them."""
    held_out = max(_FEWEST_HELD_OUT, round(count * _HELD_OUT_SHARE))
    left = {"eval": held_out, "test": held_out, "train": count - 2 * held_out}
    names = []
    number = 0
    while any(left.values()):
        number += 1
        name = f"Person_{number:04d}"
        split = hash_split(pseudonym(IdentityFoldersReader.source, name))
        if left[split]:
            left[split] -= 1
            names.append(name)
    return names


def _write(target: Path, pictures: Iterator[tuple[str, bytes]], progress: Progress | None) -> Path:
    with appearing_whole(target) as unfinished:
        for path, image in pictures:
            file = unfinished / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image)
            if progress is not None:
                progress(1)
    return target


def _pgm(face: Face) -> bytes:
    margin = (ATT_HEIGHT - ATT_WIDTH) // 2
    picture = draw_face(face, ATT_HEIGHT)[0].convert("L")
    pixels = picture.crop((margin, 0, margin + ATT_WIDTH, ATT_HEIGHT)).tobytes()
    return f"P5\n{ATT_WIDTH} {ATT_HEIGHT}\n255\n".encode() + pixels


def _jpeg(face: Face) -> bytes:
    buffer = io.BytesIO()
    aligned_face(face).save(buffer, format="JPEG", quality=92)
    return buffer.getvalue()
