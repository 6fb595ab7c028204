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
        estimate: The formula's, which may lie outside of 0 to 1.
        interval: With the uncertainty of the share and of the rates, held to 0 to 1; None where all of it
            lies outside, which chance alone does not explain: the classifier errs otherwise on these cases.
    """

    estimate: float
    interval: Interval | None

    @property
    def share(self) -> float:
        """The estimate, held to 0 to 1."""
        return min(max(self.estimate, 0.0), 1.0)


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
    return _held(float(np.mean(shares)), _students_half(shares, level))


def standard_error(shares: Sequence[float]) -> float:
    """Returns the standard error of the mean of two or more values: s / sqrt(n)."""
    return float(np.std(shares, ddof=1) / math.sqrt(len(shares)))


def _students_half(shares: Sequence[float], level: float) -> float:
    return float(stats.t.ppf((1.0 + level) / 2.0, len(shares) - 1) * standard_error(shares))


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


def corrected_share(
    shares: Sequence[float], count: int, rates: Rates, level: float = LEVEL
) -> Corrected | None:
    """Corrects a share for the errors of the classifier that counted it.

    (share + specificity - 1) / (sensitivity + specificity - 1), with its variance, of Rogan and Gladen,
    "Estimating prevalence from the results of a screening test", American Journal of Epidemiology 107, 1978.
    It holds as far as the classifier errs on these faces as on those that the rates come from.

    The share's own half-width is that of `mean_interval`, since a few rounds tell little of how they vary,
    and not less than that of independent cases; the rates' is added in squares. Rates count as
    (hits + 1) / (cases + 2) in variances, or one without an error would be taken for certain.

    Args:
        shares: What was counted in each round, 0 to 1, two or more.
        count: Cases of all rounds together.
        rates: The classifier's.
        level: How sure the interval is to be, above 0 and below 1.

    Returns:
        The estimate; None where it is undefined: the classifier was not measured on both classes, or is not
        better than chance by more than the uncertainty of its rates.
    """
    slope = rates.sensitivity + rates.specificity - 1.0
    if not rates.positives or not rates.negatives:
        return None
    z = float(stats.norm.ppf((1.0 + level) / 2.0))
    variances = (
        _binomial_variance(rates.sensitivity, rates.positives),
        _binomial_variance(rates.specificity, rates.negatives),
    )
    if slope <= z * math.sqrt(sum(variances)):
        return None
    share = float(np.mean(shares))
    estimate = (share + rates.specificity - 1.0) / slope
    held = min(max(estimate, 0.0), 1.0)
    of_share = max(_students_half(shares, level), z * math.sqrt(_binomial_variance(share, count)))
    of_rates = z * math.hypot(held * math.sqrt(variances[0]), (1.0 - held) * math.sqrt(variances[1]))
    half = math.hypot(of_share, of_rates) / slope
    outside = estimate + half < 0.0 or estimate - half > 1.0
    return Corrected(estimate, None if outside else _held(estimate, half))


def _binomial_variance(share: float, count: int) -> float:
    """Returns the variance of a share of so many cases; not 0 where all of them agree."""
    expected = (share * count + 1.0) / (count + 2.0)
    return expected * (1.0 - expected) / count


def _held(centre: float, half: float) -> Interval:
    """Returns an interval around a value, as far as it lies within 0 to 1."""
    low, high = (min(max(end, 0.0), 1.0) for end in (centre - half, centre + half))
    return Interval(low, high)
