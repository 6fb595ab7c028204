"""Distances between sets of images, given as features: how alike they are, how varied, how near to others."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_validation.face_sizes import LEAST_HELD_BACK

SUBSETS = LEAST_HELD_BACK // 2
"""Parts of the kernel distance's estimate; it needs two images of each set in every part."""

# Rows of a table of distances that are computed at a time.
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of features.

    Attributes:
        mean: float64 [D].
        covariance: Unbiased (divided by n - 1), float64 [D, D].
    """

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "Moments":
        """Estimates them.

        Args:
            features: [n, D], n from 2.
        """
        values = features.astype(np.float64)
        mean = values.mean(axis=0)
        centred = values - mean
        return cls(mean, centred.T @ centred / (len(values) - 1))

    @cached_property
    def root(self) -> np.ndarray:
        """The covariance's symmetric square root, float64 [D, D]."""
        values, vectors = np.linalg.eigh(self.covariance)
        return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def frechet_distance(first: Moments, second: Moments) -> float:
    """Returns the Frechet distance of two normal distributions (Heusel et al. 2017, arXiv:1706.08500).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)). S1 S2 has the eigenvalues of S1^(1/2) S2 S1^(1/2), which is
    symmetric, so that they are real and found without the trouble that a general matrix's root has with
    covariances of less than full rank; those that rounding made negative count as 0.

    Args:
        first: Moments of D features; its root is kept, so the set that many are compared with comes first.
        second: Of as many features.

    Returns:
        0 or more; a squared distance.
    """
    product = first.root @ second.covariance @ first.root
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2.0)
    shared = np.sqrt(np.maximum(eigenvalues, 0.0)).sum()
    apart = np.square(first.mean - second.mean).sum()
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return max(0.0, float(apart + traces - 2.0 * shared))


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error."""

    value: float
    error: float


def kernel_distance(first: np.ndarray, second: np.ndarray, seed: int) -> Estimate:
    """Estimates the kernel distance, KID (Binkowski et al. 2018, arXiv:1801.01401).

    The unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3: its expectation is 0 for
    sets from one distribution, whatever their size, and an estimate may be below. It is the mean over
    SUBSETS parts that have no image in common, so that the standard error is what it says; the paper's parts
    overlap.

    Args:
        first: Features [n, D], n from LEAST_HELD_BACK.
        second: Features [n, D].
        seed: Of the division into parts.

    Returns:
        Mean and standard error over the parts.
    """
    random = np.random.default_rng(seed)
    size = min(len(first), len(second)) // SUBSETS
    rows = [
        random.permutation(len(each))[: SUBSETS * size].reshape(SUBSETS, size) for each in (first, second)
    ]
    parts = [squared_discrepancy(first[ours], second[theirs]) for ours, theirs in zip(*rows, strict=True)]
    return Estimate(float(np.mean(parts)), float(np.std(parts, ddof=1) / np.sqrt(SUBSETS)))


def squared_discrepancy(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3.

    Args:
        first: Features [n, D], n from 2.
        second: Features [m, D], m from 2.
    """
    x, y = first.astype(np.float64), second.astype(np.float64)
    within = sum(_mean_without_diagonal(_kernel(each, each)) for each in (x, y))
    return float(within - 2.0 * _kernel(x, y).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def _mean_without_diagonal(table: np.ndarray) -> float:
    count = len(table)
    return float((table.sum() - np.trace(table)) / (count * (count - 1)))


def mean_distance(features: np.ndarray) -> float:
    """Returns the mean Euclidean distance of all pairs.

    Args:
        features: [n, D], n from 2.
    """
    values = _centred(features, features)[0]
    total = sum(
        np.sqrt(_squared_distances(values[start : start + _BLOCK], values)).sum()
        for start in range(0, len(values), _BLOCK)
    )
    return float(total / (len(values) * (len(values) - 1)))


def nearest_others(features: np.ndarray) -> np.ndarray:
    """Returns the Euclidean distance of each row to the nearest other, float64 [n].

    Args:
        features: [n, D], n from 2.
    """
    return _nearest(features, features, others=True)[0]


def nearest(features: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds each row's nearest candidate.

    Args:
        features: [n, D].
        candidates: [m, D], m from 1.

    Returns:
        Euclidean distances float64 [n], and which candidates they are, int64 [n].
    """
    return _nearest(features, candidates, others=False)


def _nearest(features: np.ndarray, candidates: np.ndarray, others: bool) -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = _centred(features, candidates)
    found = []
    for start in range(0, len(ours), _BLOCK):
        squared = _squared_distances(ours[start : start + _BLOCK], theirs)
        if others:
            rows = np.arange(len(squared))
            squared[rows, start + rows] = np.inf
        found.append(squared.argmin(axis=1))
    places = np.concatenate(found)
    # Anew, without the rounding of the table: a copy's distance is 0.
    return np.linalg.norm(ours - theirs[places], axis=1), places


def _centred(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves both sets so that the second's mean is 0: long vectors would lose digits of short distances."""
    mean = second.mean(axis=0, dtype=np.float64)
    return first - mean, second - mean


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns squared Euclidean distances, float64 [n, m], 0 or more."""
    squared = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2.0 * (x @ y.T)
    return np.maximum(squared, 0.0)
