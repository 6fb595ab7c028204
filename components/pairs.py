"""Pairs that a data set lists, kept beside the examples by the names that the examples have."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from components.readers.identity import Pair, pseudonymous
from components.readers.record import Reader

PAIRS_FILE = "pairs.jsonl"


@runtime_checkable
class ListsPairs(Protocol):
    """A reader of a data set whose images are to be compared in certain pairs, and no others."""

    source: str

    def pairs(self) -> list[Pair]:
        """Returns the pairs; none to compare every image with every other."""


@dataclass(frozen=True)
class ListedPair:
    """Two images by their `image/filename`.

    Attributes:
        source: Name of the data set.
        first: One image.
        second: The other.
        same: Whether both show one person.
        fold: Number of the part for cross-validation.
    """

    source: str
    first: str
    second: str
    same: bool
    fold: int


def save_pairs(readers: Iterable[Reader], examples: Path) -> None:
    """Writes the pairs of those readers that list some.

    Args:
        readers: The readers of the examples.
        examples: Folder of the Examples artifact.
    """
    with (examples / PAIRS_FILE).open("w", encoding="utf-8") as file:
        for reader in readers:
            if isinstance(reader, ListsPairs):
                file.writelines(_line(reader.source, pair) for pair in reader.pairs())


def load_pairs(examples: Path) -> list[ListedPair]:
    """Reads the pairs beside some examples.

    Args:
        examples: Folder of the Examples artifact.
    """
    lines = (examples / PAIRS_FILE).read_text(encoding="utf-8").splitlines()
    return [ListedPair(**json.loads(line)) for line in lines]


def _line(source: str, pair: Pair) -> str:
    first, second = (pseudonymous(source, path) for path in (pair.first, pair.second))
    listed = ListedPair(source, first, second, pair.same, pair.fold)
    return json.dumps(dataclasses.asdict(listed)) + "\n"
