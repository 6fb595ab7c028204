"""Writes drawn samples of persons at different ages in the format of IMDB-WIKI's `wiki_crop`."""

import io
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components.readers.record import hash_split, person_key
from components.samples.atomic import appearing_whole
from components.samples.emotion import Progress
from components.samples.faces import Face, draw_face, random_face, random_identity
from data_validation.errors import InputError
from data_validation.labels import GENDERS

WIKI_FOLDER = "wiki_crop"
WIKI_FILE = "wiki.mat"
WIKI_SIDE = 96

FAULTS = ("no face", "low score", "second face", "no gender", "before year 1", "above 100")
"""What cleaning leaves out: one kind of faulty record each."""

_PICTURES_PER_PERSON = 4
_FAULTY_SHARE = 0.06
_FEWEST_PERSONS_TO_SPLIT = 6
# Each picture of a person is from another quarter of this span, so that ages are spread over life.
_USUAL_SPAN = 90
_VERY_OLD_SHARE = 0.12  # of the pictures from the last quarter
_OLDEST = 100
# Drawn small children look much the same whatever their gender.
_TODDLER_BELOW = 4
_TODDLER_SHARE = 0.06
_EXPRESSION_WEIGHTS = {
    "neutral": 40,
    "happy": 35,
    "surprise": 7,
    "sad": 6,
    "angry": 5,
    "fear": 4,
    "disgust": 3,
}
_CLOSE_UP = (0.84, 0.97)
_NEWEST_PHOTO = 2015  # wiki.mat has none later
_MATLAB_DAYS = 366  # that MATLAB's date numbers are ahead of Python's ordinals
_HEADER = b"MATLAB 5.0 MAT-file, Platform: drawn sample".ljust(116)


@dataclass(frozen=True)
class PersonPicture:
    """One record before it is drawn.

    Attributes:
        person: Number of the person.
        born: The person's date of birth.
        age: In the photo, whole years as the reader computes them.
        face: What is drawn.
        fault: One of `FAULTS`, empty for a good record.
    """

    person: int
    born: date
    age: int
    face: Face
    fault: str = ""

    @property
    def name(self) -> str:
        """Name of the person, which decides the split."""
        return _name(self.person)

    @property
    def photo_taken(self) -> int:
        """Year of the photo: taken in its middle, so who is born later is a year younger."""
        return self.born.year + self.age + (self.born.month >= 7)

    @property
    def path(self) -> str:
        """Path of the image, relative to the folder of `wiki.mat`."""
        return f"{self.person % 100:02d}/{self.person}_{self.born}_{self.photo_taken}.jpg"


def person_pictures(count: int, seed: int) -> Iterator[PersonPicture]:
    """The records that `write_imdb_wiki` draws, in its order.

    Args:
        count: Number of records, the faulty ones too.
        seed: The same seed gives the same records.
    """
    if count < 1:
        raise InputError(f"count: expected at least 1 picture, found {count}")
    persons = _persons(math.ceil(count / _PICTURES_PER_PERSON))
    rng = random.Random(f"{seed}/faults")
    # One faulty record a person at most, so that cleaning takes nobody away.
    faulty = rng.sample(range(len(persons)), round(count * _FAULTY_SHARE))
    faults = {index: FAULTS[position % len(FAULTS)] for position, index in enumerate(faulty)}
    toddlers = int(count * _TODDLER_SHARE)
    left = count
    for index, (person, gender) in enumerate(persons):
        for picture in _life(seed, person, gender, faults.get(index, ""), toddlers)[:left]:
            toddlers -= picture.age < _TODDLER_BELOW
            yield picture
        left -= _PICTURES_PER_PERSON


def write_imdb_wiki(folder: Path, count: int, seed: int, progress: Progress | None = None) -> Path:
    """Writes `wiki_crop` as it unpacks: `wiki.mat` and the images beside it.

    About 6 % of the records are such as cleaning leaves out. From 60 records on, each split holds both
    genders.

    Args:
        folder: Where `wiki_crop` is made.
        count: Number of records, the faulty ones too.
        seed: The same seed gives the same bytes.
        progress: Called with the number of pictures done since the last call.

    Returns:
        The folder `wiki_crop`.

    Raises:
        InputError: The count is below 1, the folder `wiki_crop` exists, or it cannot be made.
    """
    pictures = list(person_pictures(count, seed))
    target = Path(folder) / WIKI_FOLDER
    with appearing_whole(target) as unfinished:
        for picture in pictures:
            path = unfinished / picture.path
            path.parent.mkdir(parents=True, exist_ok=True)
            _drawn(picture).save(path, format="JPEG", quality=92)
            if progress is not None:
                progress(1)
        (unfinished / WIKI_FILE).write_bytes(_matlab(pictures, random.Random(f"{seed}/scores")))
    return target


def _persons(count: int) -> list[tuple[int, str]]:
    """Numbers and genders of persons: 10 % for each test, but two at least, and both genders everywhere."""
    held_out = max(2, round(count / 10)) if count >= _FEWEST_PERSONS_TO_SPLIT else 0
    sizes = {"eval": held_out, "test": held_out, "train": count - 2 * held_out}
    # The hash of the name decides the split, so the names are chosen by it.
    numbers: dict[str, list[int]] = {split: [] for split in sizes}
    number = 0
    while any(len(numbers[split]) < size for split, size in sizes.items()):
        number += 1
        split = hash_split(person_key(_name(number)))
        if len(numbers[split]) < sizes[split]:
            numbers[split].append(number)
    ordered = [number for split in sizes for number in numbers[split]]
    return [(number, GENDERS[index % len(GENDERS)]) for index, number in enumerate(ordered)]


def _name(person: int) -> str:
    return f"Person {person}"


def _life(seed: int, person: int, gender: str, fault: str, toddlers: int) -> list[PersonPicture]:
    """The pictures of one person in any order; the first is the faulty one."""
    rng = random.Random(f"{seed}/person {person}")
    identity = random_identity(rng, gender)
    ages = _ages(rng, toddlers)
    if fault == "above 100":
        ages[0] = rng.randint(_OLDEST + 1, _OLDEST + 50)
    born = _birthday(rng, max(ages))
    pictures = []
    for index, age in enumerate(ages):
        (expression,) = rng.choices([*_EXPRESSION_WEIGHTS], [*_EXPRESSION_WEIGHTS.values()])
        exact = min(float(_OLDEST), age + rng.random())
        face = random_face(rng, identity, exact, expression, scale=_CLOSE_UP)
        pictures.append(PersonPicture(person, born, age, face, fault if index == 0 else ""))
    return pictures


def _ages(rng: random.Random, toddlers: int) -> list[int]:
    """One age of each quarter of life, shuffled."""
    bounds = [_USUAL_SPAN * index // _PICTURES_PER_PERSON for index in range(_PICTURES_PER_PERSON + 1)]
    youngest = _TODDLER_BELOW if toddlers < 1 else 0
    ages = [rng.randrange(max(low, youngest), high) for low, high in itertools.pairwise(bounds)]
    if rng.random() < _VERY_OLD_SHARE:
        ages[-1] = rng.randint(_USUAL_SPAN, _OLDEST)
    rng.shuffle(ages)
    return ages


def _birthday(rng: random.Random, oldest: int) -> date:
    year = _NEWEST_PHOTO - 1 - oldest - rng.randrange(10)
    return date(year, 1, 1) + timedelta(days=rng.randrange(365))


def _drawn(picture: PersonPicture) -> Image.Image:
    if picture.fault == "no face":
        return Image.new("RGB", (WIKI_SIDE, WIKI_SIDE), picture.face.background)
    return draw_face(picture.face, WIKI_SIDE)[0]


def _matlab(pictures: list[PersonPicture], rng: random.Random) -> bytes:
    """The metadata with the shapes and kinds of the original: rows of numbers, cells of texts and boxes."""
    from scipy.io import savemat  # here: slow to import

    scores = [_scores(picture, rng) for picture in pictures]
    struct = {
        "dob": _row([_dob(picture) for picture in pictures], np.int32),
        "photo_taken": _row([picture.photo_taken for picture in pictures], np.uint16),
        "full_path": _cells([picture.path for picture in pictures]),
        "gender": _row([_gender(picture) for picture in pictures], np.float64),
        "name": _cells([picture.name for picture in pictures]),
        "face_location": _cells([_box(picture) for picture in pictures]),
        "face_score": _row([first for first, _ in scores], np.float64),
        "second_face_score": _row([second for _, second in scores], np.float64),
    }
    buffer = io.BytesIO()
    savemat(buffer, {"wiki": struct}, do_compression=True)
    # SciPy writes the time into the header, which would make every file another one.
    return _HEADER + buffer.getvalue()[len(_HEADER) :]


def _dob(picture: PersonPicture) -> int:
    number = picture.born.toordinal() + _MATLAB_DAYS
    # A date whose year was lost keeps its day within the year 0.
    return picture.born.timetuple().tm_yday if picture.fault == "before year 1" else number


def _gender(picture: PersonPicture) -> float:
    return math.nan if picture.fault == "no gender" else GENDERS.index(picture.face.identity.gender)


def _scores(picture: PersonPicture, rng: random.Random) -> tuple[float, float]:
    """Scores of the first and the second face."""
    good, low, second = rng.uniform(1.5, 6.5), rng.uniform(0.7, 0.95), rng.uniform(1.0, 4.0)
    if picture.fault == "no face":
        return -math.inf, math.nan
    if picture.fault == "low score":
        return low, math.nan
    return good, second if picture.fault == "second face" else math.nan


def _box(picture: PersonPicture) -> np.ndarray:
    """Left, top, right and bottom of the head, counted from 1; float64 [1, 4]."""
    if picture.fault == "no face":
        return np.array([[1.0, 1.0, WIKI_SIDE, WIKI_SIDE]])
    half = picture.face.scale / 2.0
    right, down = picture.face.shift
    edges = (0.5 + right - half, 0.5 + down - half, 0.5 + right + half, 0.5 + down + half)
    return np.array([[min(1.0 + max(0.0, edge) * WIKI_SIDE, float(WIKI_SIDE)) for edge in edges]])


def _row(values: list[Any], kind: type) -> np.ndarray:
    return np.array([values], dtype=kind)


def _cells(values: list[Any]) -> np.ndarray:
    cells = np.empty((1, len(values)), dtype=object)
    for index, value in enumerate(values):
        cells[0, index] = value
    return cells
