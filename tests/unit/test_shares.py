"""Shares, their intervals and their correction, against values worked out elsewhere."""

import math

import numpy as np
import pytest

from components.evaluation.shares import (
    Interval,
    Rates,
    classifier_rates,
    corrected_share,
    mean_interval,
    seen_share,
    standard_error,
    wilson_interval,
)


def test_mean_interval_is_students() -> None:
    # t of 9 degrees of freedom at 97.5 % is 2.262157 (any table); s of 1..10 is 3.027650.
    shares = [number / 20 for number in range(1, 11)]
    half = 2.262157 * 3.027650 / 20 / math.sqrt(10)
    assert mean_interval(shares) == pytest.approx((0.275 - half, 0.275 + half), abs=1e-6)
    assert standard_error(shares) == pytest.approx(3.027650 / 20 / math.sqrt(10), abs=1e-7)


def test_mean_interval_stays_within_shares() -> None:
    assert mean_interval([0.0, 1.0]) == (0.0, 1.0)
    assert mean_interval([0.4, 0.4, 0.4]) == (pytest.approx(0.4), pytest.approx(0.4))
    with pytest.raises(ValueError, match="two or more rounds, found 1"):
        mean_interval([0.5])


@pytest.mark.parametrize(
    ("hits", "count", "known"),
    [
        # Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_interval(hits: int, count: int, known: Interval) -> None:
    assert wilson_interval(hits, count) == pytest.approx(known, abs=5e-5)
    mirrored = wilson_interval(count - hits, count)
    assert mirrored == pytest.approx((1 - known[1], 1 - known[0]), abs=5e-5)


def test_classifier_rates() -> None:
    labels = ["male"] * 4 + ["female"] * 5
    answers = ["male", "male", "male", "female", "female", "female", "female", "male", "male"]
    assert classifier_rates(labels, answers, "male") == pytest.approx((0.75, 0.6, 4, 5))
    rates = classifier_rates(["male"], ["male"], "male")
    assert (rates.sensitivity, rates.negatives) == (1.0, 0)
    assert math.isnan(rates.specificity)


def rounds_of(share: float, spread: float = 0.01) -> list[float]:
    """Two rounds of a mean; the standard error is the spread."""
    return [share - spread, share + spread]


def variance_of(rate: float, count: int) -> float:
    expected = (rate * count + 1) / (count + 2)
    return expected * (1 - expected) / count


def test_correction_undoes_the_classifiers_errors() -> None:
    rates = Rates(0.9, 0.8, 500, 500)
    for true in (0.0, 0.25, 0.7, 1.0):
        corrected = corrected_share(rounds_of(seen_share(true, rates)), 1000, rates)
        assert corrected is not None
        assert corrected.share == pytest.approx(true)
    # Rogan and Gladen's estimate: (0.41 + 0.8 - 1) / 0.7.
    shares = [0.40, 0.41, 0.42]
    corrected = corrected_share(shares, 1_000_000, rates)
    assert corrected is not None
    assert corrected.share == corrected.estimate == pytest.approx(0.3)
    # t of 2 degrees of freedom at 97.5 % is 4.302653 (any table); s is 0.01.
    of_share = (4.302653 * 0.01) ** 2 / 3
    of_rates = 1.959964**2 * (0.3**2 * variance_of(0.9, 500) + 0.7**2 * variance_of(0.8, 500))
    half = math.sqrt(of_share + of_rates) / 0.7
    assert corrected.interval == pytest.approx((0.3 - half, 0.3 + half), abs=1e-6)


def test_correction_by_a_perfect_classifier_changes_the_share_by_nothing() -> None:
    shares = [0.38, 0.40, 0.42]
    corrected = corrected_share(shares, 1_000_000, Rates(1.0, 1.0, 10**9, 10**9))
    assert corrected is not None
    assert corrected.share == pytest.approx(0.4)
    assert corrected.interval == pytest.approx(mean_interval(shares), abs=1e-6)
    # That few were all called right does not make it perfect.
    few = corrected_share(shares, 1_000_000, Rates(1.0, 1.0, 10, 10))
    assert few is not None and few.interval is not None and corrected.interval is not None
    assert few.share == corrected.share
    assert few.interval.low < corrected.interval.low - 0.01


def test_rounds_that_agree_are_no_certainty() -> None:
    corrected = corrected_share([0.4, 0.4, 0.4], 180, Rates(1.0, 1.0, 10**9, 10**9))
    assert corrected is not None
    half = 1.959964 * math.sqrt(variance_of(0.4, 180))
    assert corrected.interval == pytest.approx((0.4 - half, 0.4 + half), abs=1e-6)


def test_correction_is_held_to_shares() -> None:
    rates = Rates(0.9, 0.8, 50, 50)
    corrected = corrected_share(rounds_of(0.17), 600, rates)
    assert corrected is not None and corrected.interval is not None
    assert corrected.estimate == pytest.approx(-0.03 / 0.7)
    assert corrected.share == corrected.interval.low == 0.0
    assert 0.05 < corrected.interval.high < 0.5


@pytest.mark.parametrize(("share", "estimate"), [(0.02, -0.18 / 0.7), (1.0, 0.8 / 0.7)])
def test_what_no_share_could_lead_to_is_no_point(share: float, estimate: float) -> None:
    """The classifier errs otherwise on these faces: the interval is not that of a share."""
    corrected = corrected_share([share] * 10, 600, Rates(0.9, 0.8, 500, 500))
    assert corrected is not None
    assert corrected.estimate == pytest.approx(estimate)
    assert corrected.interval is None


@pytest.mark.parametrize(
    "rates",
    [
        Rates(0.5, 0.5, 9, 9),
        Rates(0.2, 0.3, 9, 9),
        Rates(math.nan, 0.9, 0, 9),
        Rates(0.9, math.nan, 9, 0),
        # Better than chance, but by no more than its rates are unsure of.
        Rates(0.6, 0.6, 20, 20),
    ],
)
def test_no_correction_by_a_classifier_that_knows_nothing(rates: Rates) -> None:
    assert corrected_share(rounds_of(0.5), 600, rates) is None


def test_the_same_rates_of_more_faces_are_a_correction() -> None:
    assert corrected_share(rounds_of(0.5), 600, Rates(0.6, 0.6, 2000, 2000)) is not None


@pytest.mark.parametrize(
    ("true", "rounds", "measured"), [(0.3, 10, 500), (0.3, 3, 500), (0.05, 10, 100), (0.5, 10, 40)]
)
def test_corrected_interval_holds_the_share_as_often_as_it_says(
    true: float, rounds: int, measured: int
) -> None:
    random = np.random.default_rng(1)
    classifier = Rates(0.9, 0.8, measured, measured)
    held = []
    for _ in range(600):
        sensitivity, specificity = random.binomial(measured, [0.9, 0.8]) / measured
        shares = random.binomial(60, seen_share(true, classifier), rounds) / 60
        rates = Rates(sensitivity, specificity, measured, measured)
        corrected = corrected_share(shares.tolist(), 60 * rounds, rates)
        assert corrected is not None
        held.append(corrected.interval is not None and _holds(corrected.interval, true))
    # Not less than it says; with few rounds Student's t is on the safe side.
    assert 0.93 < np.mean(held) < (0.97 if rounds == 10 and true == 0.3 else 1.0)


def _holds(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def test_interval_holds_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    rounds = random.binomial(60, 0.35, [2000, 10]) / 60
    held = [low <= 0.35 <= high for low, high in map(mean_interval, rounds)]
    assert 0.93 < np.mean(held) < 0.97
