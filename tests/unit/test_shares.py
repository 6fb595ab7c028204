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

PERFECT = Rates(1.0, 1.0, 100, 100)


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


def test_correction_undoes_the_classifiers_errors() -> None:
    rates = Rates(0.9, 0.8, 500, 500)
    for true in (0.0, 0.25, 0.7, 1.0):
        corrected = corrected_share(seen_share(true, rates), 0.01, rates)
        assert corrected is not None
        assert corrected.share == pytest.approx(true)
    # Rogan and Gladen's estimate: (0.41 + 0.8 - 1) / 0.7.
    corrected = corrected_share(0.41, 0.01, rates)
    assert corrected is not None
    assert corrected.share == pytest.approx(0.3)
    variance = 0.01**2 + 0.3**2 * 0.9 * 0.1 / 500 + 0.7**2 * 0.8 * 0.2 / 500
    half = 1.959964 * math.sqrt(variance) / 0.7
    assert corrected.interval == pytest.approx((0.3 - half, 0.3 + half), abs=1e-6)


def test_correction_by_a_perfect_classifier_changes_nothing() -> None:
    corrected = corrected_share(0.4, 0.02, PERFECT)
    assert corrected is not None
    assert corrected.share == pytest.approx(0.4)
    assert corrected.interval == pytest.approx((0.4 - 0.039199, 0.4 + 0.039199), abs=1e-6)


def test_correction_is_held_to_shares() -> None:
    corrected = corrected_share(0.1, 0.01, Rates(0.9, 0.8, 50, 50))
    assert corrected is not None
    assert corrected.share == corrected.interval.low == 0.0


@pytest.mark.parametrize(
    "rates",
    [Rates(0.5, 0.5, 9, 9), Rates(0.2, 0.3, 9, 9), Rates(math.nan, 0.9, 0, 9), Rates(0.9, math.nan, 9, 0)],
)
def test_no_correction_by_a_classifier_that_knows_nothing(rates: Rates) -> None:
    assert corrected_share(0.5, 0.01, rates) is None


def test_interval_holds_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    rounds = random.binomial(60, 0.35, [2000, 10]) / 60
    held = [low <= 0.35 <= high for low, high in map(mean_interval, rounds)]
    assert 0.93 < np.mean(held) < 0.97
