"""What distances between faces are worth: error rates, thresholds, and their table.

A pair is accepted, i.e. taken for one person, when its distance is at most the threshold. The false accept
rate (FAR) is the share of accepted pairs among those of two persons, the true accept rate (TAR) that among
those of one person; at the equal error rate (EER), FAR = 1 - TAR (ISO/IEC 19795-1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FOLDS = 10
"""Folds of LFW's protocol (Huang et al., technical report 07-49, section III)."""
# Rows of the table of all pairs that are computed at a time.
_BLOCK = 512
MOST_IMAGES = 6000
"""Images that are compared with each other at most: 18 million pairs, 72 MB."""


@dataclass(frozen=True, eq=False)
class PairDistances:
    """Distances of pairs by kind.

    Attributes:
        same: Of pairs of one person, sorted; float32 [n].
        different: Of pairs of two persons, sorted; float32 [m].
    """

    same: np.ndarray
    different: np.ndarray

    @classmethod
    def of(cls, distances: np.ndarray, same: np.ndarray) -> "PairDistances":
        """Sorts pairs by kind.

        Args:
            distances: float32 [n].
            same: Whether each pair shows one person, bool [n].
        """
        return cls(np.sort(distances[same]), np.sort(distances[~same]))

    @property
    def complete(self) -> bool:
        """Whether there are pairs of both kinds: without, there are no rates."""
        return bool(len(self.same) and len(self.different))

    def far(self, threshold: float) -> float:
        """Returns the false accept rate at a threshold, 0 to 1."""
        return _accepted(self.different, threshold) / len(self.different)

    def tar(self, threshold: float) -> float:
        """Returns the true accept rate at a threshold, 0 to 1."""
        return _accepted(self.same, threshold) / len(self.same)

    def accuracy(self, threshold: float) -> float:
        """Returns the share of pairs that a threshold decides rightly; both kinds count as they come."""
        right = _accepted(self.same, threshold) + len(self.different)
        return (right - _accepted(self.different, threshold)) / (len(self.same) + len(self.different))


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold for a wanted FAR, and what it was found to do.

    Attributes:
        far: The FAR that was asked for.
        threshold: Largest threshold that keeps to it on these pairs; -1, which accepts nothing, where pairs
            of two persons show the same picture.
        false_accepts: Accepted pairs of two persons.
        different_pairs: All pairs of two persons.
        tar: The true accept rate.
        same_pairs: All pairs of one person.
    """

    far: float
    threshold: float
    false_accepts: int
    different_pairs: int
    tar: float
    same_pairs: int


def cosine_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns 1 - cosine of rows of length 1 (report section 3.6.3).

    Half of the squared Euclidean distance is the same number, and exactly 0 for equal vectors.

    Args:
        first: float32 [n, D].
        second: float32 [n, D].

    Returns:
        float32 [n], 0 to 2.
    """
    return (np.square(first - second).sum(axis=1) / 2.0).astype(np.float32)


def euclidean(cosine: np.ndarray | float) -> np.ndarray:
    """Returns the Euclidean distances of vectors of length 1 whose cosine distances are given, 0 to 2.

    A threshold just below 0, which accepts nothing, becomes 0.
    """
    return np.sqrt(2.0 * np.maximum(cosine, 0.0))


def all_pairs(embeddings: np.ndarray, persons: np.ndarray) -> PairDistances:
    """Compares every image with every other.

    Args:
        embeddings: Rows of length 1, float32 [n, D].
        persons: Who is on each image, [n].

    Returns:
        Cosine distances of the n (n - 1) / 2 pairs; `within_bound` keeps n small enough for memory.
    """
    same, different = [], []
    for start in range(0, len(embeddings), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distances = np.maximum(1.0 - embeddings[rows] @ embeddings.T, 0.0).astype(np.float32)
        alike = persons[rows, None] == persons[None, :]
        later = np.arange(len(embeddings))[None, :] > np.arange(len(embeddings))[rows, None]
        same.append(distances[alike & later])
        different.append(distances[~alike & later])
    empty = np.zeros(0, np.float32)
    return PairDistances(
        np.sort(np.concatenate([empty, *same])), np.sort(np.concatenate([empty, *different]))
    )


def within_bound(persons: np.ndarray) -> np.ndarray:
    """Chooses the images that are compared with each other, where all would be too many.

    Args:
        persons: Pseudonyms, which are hashes: their order is as good as drawn. [n]

    Returns:
        bool [n]: the images of whole persons in their order, leaving out those with whom it would be more
        than MOST_IMAGES.
    """
    _, numbers, counts = np.unique(persons, return_inverse=True, return_counts=True)
    kept = np.zeros(len(counts), bool)
    total = 0
    for person, count in enumerate(counts):
        if total + count <= MOST_IMAGES:
            kept[person] = True
            total += count
    return kept[numbers]


def operating_point(pairs: PairDistances, far: float) -> OperatingPoint:
    """Chooses the threshold for a FAR.

    Args:
        pairs: Pairs of both kinds.
        far: Largest share of accepted pairs of two persons, 0 to 1.

    Returns:
        The point. With fewer than 1 / far pairs of two persons none of them is accepted: the FAR cannot be
        told from 0 on so few, which `different_pairs` shows.

    Raises:
        ValueError: A kind of pairs is missing, or the FAR is no share.
    """
    if not pairs.complete:
        raise ValueError("pairs: expected some of one person and some of two, found none of a kind")
    if not 0.0 <= far <= 1.0:
        raise ValueError(f"far: expected 0 to 1, found {far}")
    # Rounding must not turn 0.1 x 10 pairs into none.
    allowed = min(math.floor(far * len(pairs.different) + 1e-9), len(pairs.different))
    threshold = _below(pairs.different, allowed)
    return OperatingPoint(
        far,
        threshold,
        _accepted(pairs.different, threshold),
        len(pairs.different),
        pairs.tar(threshold),
        len(pairs.same),
    )


def _below(ordered: np.ndarray, count: int) -> float:
    """Returns the largest threshold that accepts at most the first `count` distances, -1 for none at all."""
    if count == len(ordered):
        return float(ordered[-1])
    # Below 0 lie only numbers that some processors take for 0.
    return float(np.nextafter(ordered[count], np.float32(-1.0))) if ordered[count] > 0.0 else -1.0


def equal_error_rate(pairs: PairDistances) -> float:
    """Returns the rate at which false accepts and false rejects are equally frequent, 0 to 1.

    Between two distances the rates jump; of the thresholds at which they are nearest, the mean of both.

    Args:
        pairs: Pairs of both kinds.
    """
    every = np.unique(np.concatenate([pairs.same, pairs.different]))
    far = np.searchsorted(pairs.different, every, side="right") / len(pairs.different)
    rejected = 1.0 - np.searchsorted(pairs.same, every, side="right") / len(pairs.same)
    nearest = int(np.argmin(np.abs(far - rejected)))
    return float((far[nearest] + rejected[nearest]) / 2.0)


def roc(pairs: PairDistances) -> tuple[np.ndarray, np.ndarray]:
    """Returns the receiver operating characteristic.

    Args:
        pairs: Pairs of both kinds.

    Returns:
        FAR and TAR at every distance of a pair of one person, and at 0 and 1; float64 [n + 2], rising.
    """
    far = np.searchsorted(pairs.different, pairs.same, side="right") / len(pairs.different)
    tar = np.searchsorted(pairs.same, pairs.same, side="right") / len(pairs.same)
    return np.concatenate([[0.0], far, [1.0]]), np.concatenate([[0.0], tar, [1.0]])


@dataclass(frozen=True)
class CrossValidation:
    """Accuracy over folds.

    Attributes:
        mean: Mean over the folds.
        deviation: Standard deviation over the folds.
        folds: How many.
        pairs: Pairs in all.
    """

    mean: float
    deviation: float
    folds: int
    pairs: int


def cross_validated(distances: np.ndarray, same: np.ndarray, folds: Sequence[int]) -> CrossValidation:
    """Measures accuracy as LFW's protocol has it: the threshold for each fold is chosen on the others.

    Args:
        distances: float32 [n].
        same: bool [n].
        folds: Number of the fold of each pair. Where all are in one, they are dealt out to 10: pairs of each
            kind in their order, the first tenth to the first fold. Fewer than 10 of a kind leave folds
            without it.

    Returns:
        Mean and deviation of the folds' accuracies.

    Raises:
        ValueError: All pairs would be in one fold.
    """
    numbers = np.asarray(folds)
    if len(np.unique(numbers)) < 2:
        numbers = _dealt(same)
    names = np.unique(numbers)
    if len(names) < 2:
        raise ValueError(f"pairs: expected two of a kind to make folds of, found {len(distances)} in all")
    accuracies = []
    for fold in names:
        inside = numbers == fold
        rest = PairDistances.of(distances[~inside], same[~inside])
        threshold = _best_threshold(rest)
        accuracies.append(np.mean((distances[inside] <= threshold) == same[inside]))
    return CrossValidation(float(np.mean(accuracies)), float(np.std(accuracies)), len(names), len(distances))


def _dealt(same: np.ndarray) -> np.ndarray:
    numbers = np.zeros(len(same), np.int64)
    for kind in (True, False):
        places = np.flatnonzero(same == kind)
        numbers[places] = np.arange(len(places)) * FOLDS // max(len(places), 1)
    return numbers


def _best_threshold(pairs: PairDistances) -> float:
    """Returns the threshold with the fewest errors, in the middle of a gap; of equal ones, the middle one."""
    every = np.unique(np.concatenate([pairs.same, pairs.different]))
    candidates = np.concatenate([[0.0], (every[1:] + every[:-1]) / 2.0, every[-1:]])
    right = np.searchsorted(pairs.same, candidates, side="right") - np.searchsorted(
        pairs.different, candidates, side="right"
    )
    best = np.flatnonzero(right == right.max())
    return float(candidates[best[len(best) // 2]])


def _accepted(ordered: np.ndarray, threshold: float) -> int:
    return int(np.searchsorted(ordered, np.float32(threshold), side="right"))
