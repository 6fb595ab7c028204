"""What every reader yields, whatever the format of its data set."""

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from data_validation.labels import MAX_AGE

SPLITS = ("train", "eval", "test")
# The reason for leaving out a record that no age class is for.
TOO_OLD = f"age above {MAX_AGE}"
# The reason for leaving out a record of which a task cannot learn the gender.
NO_GENDER = "gender unknown"


class RecordRejected(Exception):
    """A record that cannot be read. It counts against `data.max_rejected_fraction`."""


class RecordDropped(Exception):
    """A readable record that a cleaning rule leaves out. Counted by reason, free of the rejected budget."""


class Uncut(NamedTuple):
    """A picture out of which a reader cuts the face.

    Attributes:
        image: The encoded picture.
        box: Left, top, width and height of the face in pixels; empty where the data set does not tell.
    """

    image: bytes
    box: tuple[int, ...] = ()


@dataclass(frozen=True)
class FaceRecord:
    """One labelled image.

    Attributes:
        filename: Where it comes from, relative to the data set: `Training/happy/7.jpg`, `fer2013.csv:12`.
        image: The encoded image.
        split: `train`, `eval` or `test`.
        source: Name of the data set.
        labels: The task's labels and attributes by feature name.
        ragged: Features of any length by name, int64 or float32 [N]; the type says the kind where N is 0.
            Those of integers are flags, whose values the account of what was read counts.
        uncut: The picture that a reader has cut the image out of, for alignment; it is not written.
    """

    filename: str
    image: bytes
    split: str
    source: str
    labels: Mapping[str, str | int | float]
    ragged: Mapping[str, np.ndarray] = field(default_factory=dict)
    uncut: Uncut | None = None


class Reader(Protocol):
    """A data set in its own published format."""

    source: str

    def items(self) -> Iterator[Any]:
        """Lists the data set's records cheaply, in a stable order; each item can be pickled."""

    def name(self, item: Any) -> str:
        """Returns the file (and line) of an item, for messages."""

    def load(self, item: Any) -> FaceRecord:
        """Reads one item.

        Raises:
            RecordRejected: The item cannot be read.
            RecordDropped: A cleaning rule leaves the item out.
        """


def person_key(name: str) -> str:
    """Returns a person's name for `hash_split`, the same for all ways in which a data set writes it."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def hash_split(identity: str, eval_percent: int = 10, test_percent: int = 10) -> str:
    """Assigns an identity to a split, always the same one, so that no person is on both sides.

    Args:
        identity: Name of the person (never of the image).
        eval_percent: Share of identities for selection, percent.
        test_percent: Share of identities for the final figures, percent.

    Returns:
        `train`, `eval` or `test`.
    """
    bucket = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") % 100
    if bucket < test_percent:
        return "test"
    return "eval" if bucket < test_percent + eval_percent else "train"
