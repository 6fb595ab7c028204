"""Shares of faces of one kind: how sure they are, and what they would be if the classifier never erred."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Rates(NamedTuple):
    """How often a classifier of two classes is right, measured on faces whose labels are known.

    Attributes:
        sensitivity: Share of the positive faces that it calls positive, 0 to 1; NaN without such faces.
        specificity: Share of the negative faces that it calls negative, 0 to 1; NaN without such faces.
        positives: How many faces the first was measured on.
        negatives: How many faces the second was measured on.
    """

    sensitivity: float
    specificity: float
    positives: int
    negatives: int


class Corrected(NamedTuple):
    """A share corrected for a classifier's errors.

    Attributes:
        share: The estimate, held to 0 to 1.
        interval: With the uncertainty of the share and of the rates, held to 0 to 1.
    """

    share: float
    interval: Interval


def mean_interval(shares: Sequence[float], level: float = LEVEL) -> Interval:
    """Returns the confidence interval of the mean over rounds (Student's t).

    Args:
        shares: One a round, two or more; 0 to 1.
        level: How sure, above 0 and below 1.

    Returns:
        mean -/+ t * s / sqrt(n) with n - 1 degrees of freedom, held to 0 to 1.

    Raises:
        ValueError: There are fewer than two.
    """
    count = len(shares)
    if count < 2:
        raise ValueError(f"expected two or more rounds, found {count}")
    half = stats.t.ppf((1.0 + level) / 2.0, count - 1) * standard_error(shares)
    return _held(float(np.mean(shares)), float(half))


def standard_error(shares: Sequence[float]) -> float:
    """Returns the standard error of the mean of two or more values: s / sqrt(n)."""
    return float(np.std(shares, ddof=1) / math.sqrt(len(shares)))


def wilson_interval(hits: int, count: int, level: float = LEVEL) -> Interval:
    """Returns the confidence interval of a share of independent cases.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    Args:
        hits: How many of them, 0 to `count`.
        count: All cases, 1 or more.
        level: How sure, above 0 and below 1.
    """
    z = stats.norm.ppf((1.0 + level) / 2.0)
    share = hits / count
    denominator = 1.0 + z**2 / count
    centre = (share + z**2 / (2 * count)) / denominator
    half = z * math.sqrt(share * (1.0 - share) / count + z**2 / (4 * count**2)) / denominator
    return _held(centre, float(half))


def classifier_rates(labels: Sequence[str], answers: Sequence[str], positive: str) -> Rates:
    """Measures a classifier of two classes.

    Args:
        labels: What faces are.
        answers: What it says of them, in the same order.
        positive: The class whose share is asked for.
    """
    hits = [answer for label, answer in zip(labels, answers, strict=True) if label == positive]
    others = [answer for label, answer in zip(labels, answers, strict=True) if label != positive]
    return Rates(
        sensitivity=share_of(hits, positive),
        specificity=1.0 - share_of(others, positive),
        positives=len(hits),
        negatives=len(others),
    )


def share_of(names: Sequence[str], wanted: str) -> float:
    """Returns the share of names that are the wanted one; NaN for none at all."""
    return sum(name == wanted for name in names) / len(names) if names else math.nan


def seen_share(share: float, rates: Rates) -> float:
    """Returns the share that a classifier would see where the true one is known; NaN without rates."""
    return share * rates.sensitivity + (1.0 - share) * (1.0 - rates.specificity)


def corrected_share(share: float, error: float, rates: Rates, level: float = LEVEL) -> Corrected | None:
    """Corrects a share for the errors of the classifier that counted it.

    (share + specificity - 1) / (sensitivity + specificity - 1), with its variance, of Rogan and Gladen,
    "Estimating prevalence from the results of a screening test", American Journal of Epidemiology 107, 1978.
    It holds as far as the classifier errs on these faces as on those that the rates come from.

    Args:
        share: What was counted, 0 to 1.
        error: Its standard error.
        rates: The classifier's.
        level: How sure the interval is to be, above 0 and below 1.

    Returns:
        The estimate; None where it is undefined, because the classifier is no better than chance or was not
        measured on both classes.
    """
    slope = rates.sensitivity + rates.specificity - 1.0
    # Also false for NaN.
    if not slope > 0.0:
        return None
    estimate = (share + rates.specificity - 1.0) / slope
    held = min(max(estimate, 0.0), 1.0)
    variance = (
        error**2
        + held**2 * _binomial_variance(rates.sensitivity, rates.positives)
        + (1.0 - held) ** 2 * _binomial_variance(rates.specificity, rates.negatives)
    )
    half = stats.norm.ppf((1.0 + level) / 2.0) * math.sqrt(variance) / slope
    return Corrected(held, _held(estimate, float(half)))


def _binomial_variance(share: float, count: int) -> float:
    return share * (1.0 - share) / count


def _held(centre: float, half: float) -> Interval:
    """Returns an interval around a value, as far as it lies within 0 to 1."""
    low, high = (min(max(end, 0.0), 1.0) for end in (centre - half, centre + half))
    return Interval(low, high)
