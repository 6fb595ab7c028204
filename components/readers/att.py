"""AT&T (ORL) faces: ten grey pictures each of 40 persons, 92x112.

Source: Samaria, Harter, "Parameterisation of a stochastic model for human face identification", WACV 1994.
Layout: `s<person>/<picture>.pgm`, in the data folder or in `att_faces` or `orl_faces` below it.

All persons are in the split `test`: the set is for evaluation, and nobody in it is trained on.
"""

import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path

from components.readers.face_box import Box, cut_face
from components.readers.files import read_image
from components.readers.identity import LABEL, Pair, pseudonym, pseudonymous
from components.readers.pgm import to_png
from components.readers.record import FaceRecord, Uncut

MARK = "s1/1.pgm"
FOLDERS = ("att_faces", "orl_faces")
PERSONS = 40
PICTURES = 10

_PATH = re.compile(r"s([0-9]+)/([0-9]+)\.pgm", re.ASCII)
# Of a person, in pairs of one kind: 40 persons have 120 pairs of themselves and 120 with others.
_PAIRS_PER_PERSON = 3
_FEWEST_PERSONS = 2 * _PAIRS_PER_PERSON + 1
# The report does not list its pairs; these are drawn once and for all.
_SEED = 1


class AttReader:
    """Reads the pictures and turns them into PNG, once, since TensorFlow does not decode PGM."""

    source = "att"

    def __init__(self, root: Path, box: Box = ()) -> None:
        """Opens the data set.

        Args:
            root: The folder that holds `s1`, `s2` and so on.
            box: Where the face is in every picture.
        """
        self._root = root
        self._box = box

    def items(self) -> Iterator[str]:
        """Lists the paths `s<person>/<picture>.pgm` by the numbers in them."""
        paths = (file.relative_to(self._root).as_posix() for file in self._root.glob("s*/*.pgm"))
        matches = (match for match in map(_PATH.fullmatch, paths) if match)
        for match in sorted(matches, key=lambda match: (int(match[1]), int(match[2]))):
            yield match.string

    def name(self, item: str) -> str:
        """Returns the path; persons are numbers in it."""
        return item

    def load(self, item: str) -> FaceRecord:
        """Reads and converts one picture; see `Reader.load`."""
        picture = to_png(read_image(self._root, item))
        return FaceRecord(
            filename=pseudonymous(self.source, item),
            image=cut_face(picture, self._box),
            split="test",
            source=self.source,
            labels={LABEL: pseudonym(self.source, item.split("/")[0])},
            uncut=Uncut(picture, self._box),
        )

    def pairs(self) -> list[Pair]:
        """Returns the report's pairs; none where there are too few persons for them."""
        persons = len({item.split("/")[0] for item in self.items()})
        return att_pairs(_SEED, persons) if persons >= _FEWEST_PERSONS else []


def att_pairs(seed: int, persons: int = PERSONS) -> list[Pair]:
    """Draws the pairs of the report's verification test (section 4.4): 240 of all 40 persons, half same.

    Each person is in three pairs of the same person and in six with others, no two pairs have the same
    images, and two persons meet in one pair at most.

    Args:
        seed: The same seed draws the same pairs.
        persons: Number of persons `s1`, `s2` and so on, 7 or more; six pairs for each.

    Returns:
        The pairs, those of the same person first.

    Raises:
        ValueError: There are too few persons.
    """
    # Neighbours at three distances on a ring: each person has two at each, and no couple comes twice.
    distances = range(1, (persons - 1) // 2 + 1)
    if len(distances) < _PAIRS_PER_PERSON:
        raise ValueError(f"persons: expected at least {_FEWEST_PERSONS}, found {persons}")
    rng = random.Random(f"att/{seed}")
    couples = list(itertools.combinations(range(1, PICTURES + 1), 2))
    pairs = [
        Pair(_path(person, first), _path(person, second), same=True)
        for person in range(1, persons + 1)
        for first, second in sorted(rng.sample(couples, _PAIRS_PER_PERSON))
    ]
    ring = rng.sample(range(1, persons + 1), persons)
    for distance in sorted(rng.sample(distances, _PAIRS_PER_PERSON)):
        for place, person in enumerate(ring):
            ends = (person, ring[(place + distance) % persons])
            first, second = (_path(each, rng.randint(1, PICTURES)) for each in ends)
            pairs.append(Pair(first, second, same=False))
    return pairs


def _path(person: int, picture: int) -> str:
    return f"s{person}/{picture}.pgm"
