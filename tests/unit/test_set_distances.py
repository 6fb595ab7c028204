"""Distances between sets, against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation.set_distances import (
    SUBSETS,
    Moments,
    frechet_distance,
    kernel_distance,
    mean_distance,
    nearest,
    nearest_others,
    squared_discrepancy,
)


def normal(seed: int, count: int = 60, size: int = 5, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (count, size)).astype(np.float32)


# The Frechet distance


def test_frechet_distance_of_diagonal_covariances() -> None:
    first = Moments(np.array([0.0, 1.0]), np.diag([4.0, 9.0]))
    second = Moments(np.array([3.0, 5.0]), np.diag([1.0, 25.0]))
    # 3^2 + 4^2, and (2 - 1)^2 + (3 - 5)^2
    assert frechet_distance(first, second) == pytest.approx(30.0)


def test_frechet_distance_of_turned_covariances() -> None:
    # In two dimensions tr((S1 S2)^(1/2)) = sqrt(tr(S1 S2) + 2 sqrt(det(S1 S2))).
    s1, s2 = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([[1.0, -0.5], [-0.5, 4.0]])
    product = s1 @ s2
    shared = np.sqrt(np.trace(product) + 2.0 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(s1 + s2) - 2.0 * shared
    zero = np.zeros(2)
    assert frechet_distance(Moments(zero, s1), Moments(zero, s2)) == pytest.approx(expected)
    assert frechet_distance(Moments(zero, s2), Moments(zero, s1)) == pytest.approx(expected)


def test_moments_are_numpys() -> None:
    features = normal(1)
    moments = Moments.of(features)
    np.testing.assert_allclose(moments.mean, features.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(moments.covariance, np.cov(features, rowvar=False), atol=1e-6)
    np.testing.assert_allclose(moments.root @ moments.root, moments.covariance, atol=1e-9)


def test_fewer_images_than_features() -> None:
    # Both covariances have rank 9 of 40.
    first, second = normal(1, count=10, size=40), normal(2, count=10, size=40)
    same = frechet_distance(Moments.of(first), Moments.of(first))
    other = frechet_distance(Moments.of(first), Moments.of(second))
    assert same == pytest.approx(0.0, abs=1e-4)
    # The nuclear norm of the product of the centred sets is the trace of the root.
    centred = [(each - each.mean(axis=0)).astype(np.float64) for each in (first, second)]
    shared = np.linalg.norm(centred[0] @ centred[1].T, "nuc") / 9
    apart = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    traces = sum(np.square(each).sum() / 9 for each in centred)
    assert other == pytest.approx(apart + traces - 2.0 * shared, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), shift=st.floats(0.5, 5.0), size=st.integers(1, 8))
def test_frechet_distance_of_moved_sets(seed: int, shift: float, size: int) -> None:
    features = np.random.default_rng(seed).normal(size=(30, size))
    moments, moved = Moments.of(features), Moments.of(features[::-1] + shift)
    assert frechet_distance(moments, Moments.of(features[::-1])) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(moments, moved) == pytest.approx(size * shift**2, rel=1e-6)
    assert frechet_distance(moved, moments) == pytest.approx(size * shift**2, rel=1e-6)


# The kernel distance


def test_squared_discrepancy_is_that_of_its_definition() -> None:
    x, y = normal(1, count=4, size=3), normal(2, count=5, size=3)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 3 + 1.0) ** 3

    within = [
        np.mean([kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]) for z in (x, y)
    ]
    between = np.mean([kernel(a, b) for a in x for b in y])
    assert squared_discrepancy(x, y) == pytest.approx(sum(within) - 2.0 * between, rel=1e-5)
    assert squared_discrepancy(x[::-1], y[::-1]) == pytest.approx(squared_discrepancy(x, y))


def test_kernel_distance_is_unbiased() -> None:
    # Of sets from one distribution it is 0 within its error, however few images there are.
    found = [kernel_distance(normal(2 * n, 20), normal(2 * n + 1, 20), seed=n).value for n in range(200)]
    assert abs(np.mean(found)) < 3.0 * np.std(found) / np.sqrt(200)
    assert np.std(found) > 0.0


def test_kernel_distance_of_sets_apart() -> None:
    near = kernel_distance(normal(1), normal(2), seed=3)
    apart = kernel_distance(normal(1), normal(2, shift=1.0), seed=3)
    assert apart.value > 3.0 * apart.error > 0.0
    assert apart.value > 20.0 * abs(near.value)
    assert abs(near.value) < 4.0 * near.error
    assert kernel_distance(normal(1), normal(2), seed=3) == near


def test_kernel_distance_is_the_mean_of_parts() -> None:
    x, y = normal(1, count=2 * SUBSETS), normal(2, count=2 * SUBSETS)
    found = kernel_distance(np.repeat(x[:1], len(x), axis=0), np.repeat(y[:1], len(y), axis=0), seed=1)
    # All parts are equal: two points.
    assert found.value == pytest.approx(squared_discrepancy(x[[0, 0]], y[[0, 0]]), rel=1e-6)
    assert found.error == pytest.approx(0.0, abs=1e-6)


# Distances between images


def test_mean_distance() -> None:
    corners = np.float32([[0, 0], [3, 0], [0, 4]])
    assert mean_distance(corners) == pytest.approx((3 + 4 + 5) / 3)
    assert mean_distance(np.ones((7, 3), np.float32)) == 0.0


def test_nearest_others() -> None:
    line = np.float32([[0], [1], [3], [3]])
    assert nearest_others(line).tolist() == [1.0, 1.0, 0.0, 0.0]


def test_more_rows_than_a_block() -> None:
    line = np.arange(1300, dtype=np.float32)[:, None] ** 1.0
    assert nearest_others(line).tolist() == [1.0] * 1300
    distances, places = nearest(line + 0.25, line[::-1])
    assert places.tolist() == list(range(1299, -1, -1))
    np.testing.assert_allclose(distances, 0.25, atol=1e-4)
    # The mean distance on a line of n points is (n + 1) / 3.
    assert mean_distance(line) == pytest.approx(1301 / 3)


def test_copies_have_no_distance_even_far_away() -> None:
    features = normal(1) + np.float32(1000.0)
    distances, places = nearest(features[5:9], features)
    assert distances.tolist() == [0.0] * 4
    assert places.tolist() == [5, 6, 7, 8]
