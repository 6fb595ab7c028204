import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import auc, roc_curve

from trainers import pair_metrics
from trainers.pair_metrics import (
    FOLDS,
    PairDistances,
    all_pairs,
    cosine_distances,
    cross_validated,
    equal_error_rate,
    euclidean,
    operating_point,
    roc,
    within_bound,
)

# Few values, so that ties are frequent.
TIED = st.integers(0, 12).map(lambda number: number / 8)
SPREAD = st.floats(0.0, 2.0, width=32)
RATES = st.one_of(st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 1.0]), st.floats(0.0, 1.0))


def unit_vectors(count: int, dimensions: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def distances(most: int = 40) -> st.SearchStrategy[np.ndarray]:
    """Distances of one kind of pairs, at least one, with and without ties."""
    return st.one_of(
        *(arrays.arrays(np.float32, st.integers(1, most), elements=elements) for elements in (TIED, SPREAD))
    ).map(np.sort)


def pair_distances() -> st.SearchStrategy[PairDistances]:
    return st.builds(PairDistances, distances(), distances())


def pairs_of(same: list[float], different: list[float]) -> PairDistances:
    return PairDistances(np.array(same, np.float32), np.array(different, np.float32))


NONE: list[float] = []


# Distances


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(1, 5), st.integers(1, 40), st.integers(0, 99))
def test_every_image_is_compared_with_every_other(count: int, persons: int, block: int, seed: int) -> None:
    embeddings = unit_vectors(count, 4, seed)
    names = np.random.default_rng(seed).integers(0, persons, count).astype(str)
    expected: dict[bool, list[float]] = {True: [], False: []}
    for first, second in itertools.combinations(range(count), 2):
        distance = 1.0 - float(embeddings[first].astype(np.float64) @ embeddings[second])
        expected[bool(names[first] == names[second])].append(distance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_metrics, "_BLOCK", block)
        found = all_pairs(embeddings, names)
    for kind, values in ((found.same, expected[True]), (found.different, expected[False])):
        assert kind.dtype == np.float32
        np.testing.assert_allclose(kind, sorted(values), atol=1e-6)
    assert found.complete == bool(expected[True] and expected[False])


def test_equal_images_have_no_negative_distance() -> None:
    """Rounding puts the product of a vector with itself above 1 now and then."""
    rows = unit_vectors(200, 256, seed=1)
    found = all_pairs(np.repeat(rows, 2, axis=0), np.repeat(np.arange(200), 2))
    assert len(found.same) == 200
    assert 0.0 <= found.same.min() <= found.same.max() < 1e-6


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(2, 64), st.integers(0, 99))
def test_cosine_distance_is_1_minus_the_cosine(count: int, dimensions: int, seed: int) -> None:
    first, second = unit_vectors(count, dimensions, seed), unit_vectors(count, dimensions, seed + 100)
    found = cosine_distances(first, second)
    assert (found.shape, found.dtype) == ((count,), np.float32)
    cosines = (first.astype(np.float64) * second).sum(axis=1)
    np.testing.assert_allclose(found, 1.0 - cosines, atol=1e-6)
    np.testing.assert_array_equal(cosine_distances(second, first), found)
    assert not cosine_distances(first, first).any()
    np.testing.assert_allclose(cosine_distances(first, -first), 2.0, atol=1e-6)


def test_euclidean_distance_belongs_to_the_cosine_distance() -> None:
    first, second = unit_vectors(50, 8, seed=1), unit_vectors(50, 8, seed=2)
    expected = np.linalg.norm(first - second, axis=1)
    np.testing.assert_allclose(euclidean(cosine_distances(first, second)), expected, atol=1e-6)
    assert [float(euclidean(cosine)) for cosine in (0.0, 0.5, 2.0)] == [0.0, 1.0, 2.0]


def test_pairs_are_sorted_by_kind() -> None:
    found = PairDistances.of(np.array([0.5, 0.1, 0.9, 0.3], np.float32), np.array([True, False, False, True]))
    np.testing.assert_array_equal(found.same, np.float32([0.3, 0.5]))
    np.testing.assert_array_equal(found.different, np.float32([0.1, 0.9]))


# Rates at a threshold


@settings(max_examples=100, deadline=None)
@given(pair_distances(), st.one_of(TIED, SPREAD))
def test_rates_are_shares_of_the_accepted(pairs: PairDistances, threshold: float) -> None:
    same, different = (kind <= np.float32(threshold) for kind in (pairs.same, pairs.different))
    assert pairs.tar(threshold) == same.mean()
    assert pairs.far(threshold) == different.mean()
    assert pairs.accuracy(threshold) == np.mean([*same, *~different])


# Threshold for a rate


@settings(max_examples=300, deadline=None)
@given(pair_distances(), RATES)
def test_threshold_keeps_to_the_rate_and_is_the_largest_that_does(pairs: PairDistances, far: float) -> None:
    point = operating_point(pairs, far)
    accepted = pairs.different <= np.float32(point.threshold)
    assert point.false_accepts == accepted.sum() <= far * len(accepted) + 1e-6
    next_distance = pairs.different[~accepted]
    if len(next_distance):
        with_one_more = (pairs.different <= next_distance[0]).sum()
        assert with_one_more > far * len(accepted)
    assert point.tar == np.mean(pairs.same <= np.float32(point.threshold))
    assert (point.far, point.different_pairs, point.same_pairs) == (
        far,
        len(pairs.different),
        len(pairs.same),
    )


@settings(max_examples=100, deadline=None)
@given(pair_distances())
def test_too_few_pairs_for_a_rate_are_all_refused(pairs: PairDistances) -> None:
    far = 0.9 / len(pairs.different)
    assert operating_point(pairs, far).false_accepts == 0


@settings(max_examples=100, deadline=None)
@given(pair_distances(), RATES, RATES)
def test_threshold_grows_with_the_rate(pairs: PairDistances, first: float, second: float) -> None:
    strict, loose = (operating_point(pairs, far) for far in sorted((first, second)))
    assert strict.threshold <= loose.threshold
    assert strict.tar <= loose.tar


def test_rounding_loses_no_pair() -> None:
    """0.1 x 30 and 0.07 x 100 are not whole in binary."""
    for far, count, allowed in ((0.1, 30, 3), (0.07, 100, 7), (0.29, 100, 29)):
        pairs = pairs_of([0.0], [(number + 1) / count for number in range(count)])
        assert operating_point(pairs, far).false_accepts == allowed


def test_threshold_is_just_below_the_first_pair_that_is_refused() -> None:
    pairs = pairs_of([0.1, 0.2], [0.25, 0.75, 0.875, 1.0])
    assert 0.7499 < operating_point(pairs, 0.25).threshold < 0.75
    assert 0.2499 < operating_point(pairs, 0.0).threshold < 0.25
    assert operating_point(pairs, 1.0).threshold == 1.0


def test_whole_persons_are_kept_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    persons = np.array(["c", "a", "b", "b", "a", "c", "c"])
    assert within_bound(persons).all()
    monkeypatch.setattr(pair_metrics, "MOST_IMAGES", 5)
    assert within_bound(persons).tolist() == [False, True, True, True, True, False, False]


def test_ties_are_not_torn() -> None:
    pairs = pairs_of([0.1], [0.25, 0.5, 0.5, 0.5])
    point = operating_point(pairs, 0.5)
    assert point.false_accepts == 1
    assert point.threshold < 0.5


def test_pairs_of_two_persons_at_0_are_refused_too() -> None:
    """The same picture under two names: no distance is left that accepts anything."""
    point = operating_point(pairs_of([0.0, 0.1], [0.0, 0.5]), 0.1)
    assert point.false_accepts == 0
    assert point.threshold < 0.0
    assert point.tar == 0.0


@pytest.mark.parametrize("pairs", [pairs_of(NONE, [0.5]), pairs_of([0.5], NONE), pairs_of(NONE, NONE)])
def test_a_kind_that_is_missing_is_told(pairs: PairDistances) -> None:
    assert not pairs.complete
    with pytest.raises(ValueError, match="pairs: expected some of one person and some of two"):
        operating_point(pairs, 0.1)


@pytest.mark.parametrize("far", [-0.01, 1.01, math.nan])
def test_rates_that_are_none_are_refused(far: float) -> None:
    with pytest.raises(ValueError, match="far: expected 0 to 1, found"):
        operating_point(pairs_of([0.1], [0.5]), far)


# Curve


@settings(max_examples=100, deadline=None)
@given(pair_distances())
def test_curve_is_that_of_scikit_learn(pairs: PairDistances) -> None:
    labels = np.concatenate([np.ones(len(pairs.same)), np.zeros(len(pairs.different))])
    scores = -np.concatenate([pairs.same, pairs.different])
    far, tar, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    for distance in np.unique(pairs.same):
        (at,) = np.flatnonzero(-thresholds == distance)
        assert pairs.far(distance) == pytest.approx(far[at])
        assert pairs.tar(distance) == pytest.approx(tar[at])
    found_far, found_tar = roc(pairs)
    assert len(found_far) == len(found_tar) == len(pairs.same) + 2
    assert (found_far[0], found_tar[0], found_far[-1], found_tar[-1]) == (0, 0, 1, 1)
    assert (np.diff(found_far) >= 0).all() and (np.diff(found_tar) >= 0).all()
    known = set(zip(far.round(9), tar.round(9), strict=True))
    assert set(zip(found_far.round(9), found_tar.round(9), strict=True)) <= known


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 99))
def test_area_is_that_of_scikit_learn(same: int, different: int, seed: int) -> None:
    """Without ties every rise of the curve is at a pair of one person: a step."""
    rng = np.random.default_rng(seed)
    values = rng.permutation(same + different).astype(np.float32) / 1000
    pairs = PairDistances(np.sort(values[:same]), np.sort(values[same:]))
    far, tar = roc(pairs)
    area = np.sum(np.diff(tar) * (1.0 - far[1:]))
    labels = np.concatenate([np.ones(same), np.zeros(different)])
    expected = auc(*roc_curve(labels, -np.concatenate([pairs.same, pairs.different]))[:2])
    assert area == pytest.approx(expected)


# Equal error rate


def test_separable_pairs_have_no_error() -> None:
    pairs = pairs_of([0.1, 0.2, 0.3], [0.4, 0.5])
    assert equal_error_rate(pairs) == 0.0


def test_equal_distributions_are_a_coin() -> None:
    values = np.sort(np.random.default_rng(1).random(2000)).astype(np.float32)
    assert equal_error_rate(PairDistances(values, values)) == pytest.approx(0.5, abs=1e-3)


def test_reversed_pairs_are_all_wrong() -> None:
    assert equal_error_rate(pairs_of([0.8, 0.9], [0.1, 0.2, 0.3])) == 1.0


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 3.0), st.integers(0, 99))
def test_rate_is_that_of_two_normal_distributions(apart: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = PairDistances(*(np.sort(rng.normal(mean, 1.0, 4000)).astype(np.float32) for mean in (0, apart)))
    expected = 0.5 * math.erfc(apart / 2 / math.sqrt(2))
    assert equal_error_rate(pairs) == pytest.approx(expected, abs=0.03)


@settings(max_examples=100, deadline=None)
@given(pair_distances())
def test_at_the_equal_error_rate_both_errors_are_as_near_as_can_be(pairs: PairDistances) -> None:
    rate = equal_error_rate(pairs)
    assert 0.0 <= rate <= 1.0
    thresholds = [-1.0, *pairs.same, *pairs.different]
    errors = np.array([[pairs.far(each), 1.0 - pairs.tar(each)] for each in thresholds])
    apart = np.abs(errors[:, 0] - errors[:, 1])
    assert np.isclose(errors.mean(axis=1)[np.isclose(apart, apart.min())], rate).any()


# Cross-validation


def folded(count: int, folds: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances that overlap, kinds and fold of pairs."""
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.5
    distances = np.where(same, rng.normal(0.4, 0.2, count), rng.normal(0.7, 0.2, count))
    return np.clip(distances, 0, 2).astype(np.float32), same, np.arange(count) * folds // count


def test_perfect_pairs_are_all_decided_rightly() -> None:
    same = np.tile([True, False], 50)
    distances = np.where(same, 0.2, 0.8).astype(np.float32)
    found = cross_validated(distances, same, [0] * 100)
    assert (found.mean, found.deviation, found.folds, found.pairs) == (1.0, 0.0, FOLDS, 100)


@settings(max_examples=50, deadline=None)
@given(st.integers(FOLDS, 70), st.integers(FOLDS, 70), st.randoms())
def test_dealt_folds_are_balanced_by_kind(same: int, different: int, random) -> None:
    kinds = [True] * same + [False] * different
    random.shuffle(kinds)
    dealt = pair_metrics._dealt(np.array(kinds))
    for kind in (True, False):
        sizes = np.bincount(dealt[np.array(kinds) == kind], minlength=FOLDS)
        assert len(sizes) == FOLDS
        assert sizes.max() - sizes.min() <= 1
        # In their order.
        assert (np.diff(dealt[np.array(kinds) == kind]) >= 0).all()


def test_listed_folds_are_used_as_they_are() -> None:
    distances, same, folds = folded(60, folds=3)
    found = cross_validated(distances, same, folds)
    accuracies = []
    for fold in range(3):
        rest = PairDistances.of(distances[folds != fold], same[folds != fold])
        threshold = pair_metrics._best_threshold(rest)
        accuracies.append(np.mean((distances[folds == fold] <= threshold) == same[folds == fold]))
    assert (found.folds, found.pairs) == (3, 60)
    assert found.mean == pytest.approx(np.mean(accuracies))
    assert found.deviation == pytest.approx(np.std(accuracies))
    assert 0.5 < found.mean < 1.0
    assert cross_validated(distances, same, folds * 7 + 3) == found


def test_threshold_of_a_fold_does_not_depend_on_its_own_pairs() -> None:
    """In the first fold distances are turned round: thresholds of the others know nothing of it."""
    same = np.tile([True, False], 50)
    distances = np.where(same, 0.2, 0.8).astype(np.float32)
    folds = np.arange(100) // 10
    distances[folds == 0] = 1.0 - distances[folds == 0]
    found = cross_validated(distances, same, folds)
    assert found.mean == pytest.approx(0.9)
    assert found.deviation == pytest.approx(np.std([0.0] + [1.0] * 9))


@settings(max_examples=100, deadline=None)
@given(pair_distances())
def test_best_threshold_makes_the_fewest_errors(pairs: PairDistances) -> None:
    candidates = [-1.0, *pairs.same, *pairs.different]
    best = max(pairs.accuracy(threshold) for threshold in candidates)
    # Nothing is nearer than equal pictures, so no threshold below 0 is tried.
    assume(pairs.different[0] > 0)
    assert pairs.accuracy(pair_metrics._best_threshold(pairs)) == pytest.approx(best)


@pytest.mark.parametrize(("same", "different"), [(2, 1), (3, 3), (40, 3), (1, FOLDS)])
def test_fewer_pairs_than_folds_are_dealt_as_far_as_they_go(same: int, different: int) -> None:
    kinds = np.array([True] * same + [False] * different)
    found = cross_validated(np.where(kinds, 0.2, 0.8).astype(np.float32), kinds, [0] * len(kinds))
    assert (found.folds, found.pairs) == (min(max(same, different), FOLDS), len(kinds))
    assert 0.5 <= found.mean <= 1.0


def test_pairs_that_make_one_fold_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs: expected two of a kind to make folds of, found 2 in all"):
        cross_validated(np.array([0.2, 0.8], np.float32), np.array([True, False]), [0, 0])
