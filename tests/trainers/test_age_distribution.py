import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trainers.age_distribution import SoftLabelCrossEntropy, ages, expectation, mae, quantile, soft_labels

AGES = np.arange(101)
# Edges of the bins over which each year's probability is spread.
EDGES = np.arange(102) - 0.5


def drawn(count: int, concentration: float = 1.0, seed: int = 1) -> np.ndarray:
    """Distributions float32 [count, 101]; the lower the concentration, the fewer ages have a share."""
    rows = np.random.default_rng(seed).dirichlet([concentration] * 101, count)
    return rows.astype(np.float32)


def distributions(least: float = 0.0) -> st.SearchStrategy[np.ndarray]:
    weights = arrays.arrays(np.float64, 101, elements=st.floats(least, 1.0))
    return weights.filter(lambda row: row.sum() > 0.01).map(lambda row: (row / row.sum()).astype(np.float32))


def quantiles(distribution: np.ndarray, *shares: float) -> list[float]:
    return [float(quantile(tf.constant(distribution[np.newaxis]), share)[0]) for share in shares]


def reference(distribution: np.ndarray, share: float) -> float:
    cumulative = np.concatenate([[0.0], np.cumsum(distribution.astype(np.float64))])
    return float(np.clip(np.interp(share, cumulative, EDGES), 0, 100))


# Estimate


def test_ages_are_those_of_the_classes() -> None:
    np.testing.assert_array_equal(ages(), AGES)


def test_expectation_is_the_mean() -> None:
    rows = drawn(20)
    found = expectation(tf.constant(rows))
    assert (found.shape, found.dtype) == ((20,), tf.float32)
    np.testing.assert_allclose(found, rows.astype(np.float64) @ AGES, atol=1e-4)


def test_expectation_does_not_depend_on_the_batch() -> None:
    rows = tf.constant(drawn(20))
    single = np.concatenate([expectation(rows[index : index + 1]) for index in range(20)])
    np.testing.assert_array_equal(expectation(rows), single)


@pytest.mark.parametrize("age", [0, 37, 100])
def test_expectation_of_certainty(age: int) -> None:
    assert expectation(tf.one_hot([age], 101)).numpy().tolist() == [age]


# Interval


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_quantile_is_where_the_cumulative_distribution_crosses(share: float) -> None:
    rows = drawn(40)
    found = quantile(tf.constant(rows), share)
    assert (found.shape, found.dtype) == ((40,), tf.float32)
    np.testing.assert_allclose(found, [reference(row, share) for row in rows], atol=0.02)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_so_much_probability_lies_below_the_quantile(share: float) -> None:
    """Also where most ages have next to none, so that the quantile itself is ill-conditioned."""
    for row in drawn(40, concentration=0.05):
        (found,) = quantiles(row, share)
        below = np.interp(found, EDGES, np.concatenate([[0.0], np.cumsum(row.astype(np.float64))]))
        if 0 < found < 100:
            assert below == pytest.approx(share, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(distributions(), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_grow_with_the_share_within_the_ages(
    distribution: np.ndarray, first: float, second: float
) -> None:
    low, high = quantiles(distribution, *sorted((first, second)))
    assert 0 <= low <= high <= 100


@settings(max_examples=50, deadline=None)
@given(distributions(least=0.01), st.integers(0, 100))
def test_symmetric_distributions_are_centred(distribution: np.ndarray, centre: int) -> None:
    reach = min(centre, 100 - centre)
    side = distribution[: reach + 1]
    symmetric = np.zeros(101)
    symmetric[centre - reach : centre + 1] = side
    symmetric[centre : centre + reach + 1] = side[::-1]
    symmetric = (symmetric / symmetric.sum()).astype(np.float32)
    low, median, high = quantiles(symmetric, 0.1, 0.5, 0.9)
    assert median == pytest.approx(centre, abs=0.01)
    if low > 0 and high < 100:
        assert (low + high) / 2 == pytest.approx(centre, abs=0.01)
    assert float(expectation(tf.constant(symmetric[np.newaxis]))[0]) == pytest.approx(centre, abs=1e-3)


@pytest.mark.parametrize("age", [1, 50, 99])
def test_certainty_fills_its_year(age: int) -> None:
    found = quantiles(tf.one_hot(age, 101).numpy(), 0.1, 0.5, 0.9, 1.0)
    np.testing.assert_allclose(found, [age - 0.4, age, age + 0.4, age + 0.5], atol=1e-5)


def test_certainty_at_the_ends_stays_within_the_ages() -> None:
    np.testing.assert_allclose(quantiles(tf.one_hot(0, 101).numpy(), 0.1, 0.5, 0.9), [0, 0, 0.4], atol=1e-5)
    np.testing.assert_allclose(
        quantiles(tf.one_hot(100, 101).numpy(), 0.1, 0.5, 0.9), [99.6, 100, 100], atol=1e-5
    )


def test_rounding_below_the_whole_leaves_the_last_age() -> None:
    """Rows that add up to a little less than 1 have quantiles too."""
    row = np.full(101, 1 / 101, np.float32) * np.float32(0.99999)
    assert quantiles(row, 1.0) == [100.0]


# Labels


@pytest.mark.parametrize("sigma", [0.0, 0.5, 2.0, 10.0])
def test_soft_labels_are_distributions_with_their_peak_at_the_age(sigma: float) -> None:
    years = np.array([0, 1, 33, 99, 100])
    labels = soft_labels(tf.constant(years), sigma).numpy()
    assert (labels.shape, labels.dtype) == ((5, 101), np.float32)
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, atol=1e-5)
    assert labels.argmax(axis=1).tolist() == years.tolist()
    assert (labels >= 0).all()


def test_without_deviation_labels_are_one_hot() -> None:
    np.testing.assert_array_equal(soft_labels(tf.constant([0, 42, 100]), 0.0), np.eye(101)[[0, 42, 100]])


def test_soft_labels_are_gaussians() -> None:
    (label,) = soft_labels(tf.constant([50]), 2.0).numpy()
    np.testing.assert_allclose(label, label[::-1], atol=1e-7)
    gaussian = np.exp(-0.5 * ((AGES - 50) / 2.0) ** 2)
    np.testing.assert_allclose(label, gaussian / gaussian.sum(), atol=1e-6)


# Loss and metric


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("sigma", [0.0, 2.0])
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_loss_is_the_cross_entropy(sigma: float, shape: tuple[int, ...]) -> None:
    logits = 5 * np.random.default_rng(3).normal(size=(6, 101))
    years = np.array([0, 5, 20, 50, 99, 100])
    targets = soft_labels(tf.constant(years), sigma).numpy().astype(np.float64)
    expected = -(targets * log_softmax(logits)).sum(axis=1).mean()
    found = SoftLabelCrossEntropy(sigma)(years.reshape(shape), tf.constant(logits, tf.float32))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_loss_is_least_at_its_own_labels() -> None:
    years = tf.constant([30, 70])
    loss = SoftLabelCrossEntropy(2.0)
    best = tf.math.log(soft_labels(years, 2.0) + 1e-12)
    assert float(loss(years, best)) < float(loss(years, tf.roll(best, 1, axis=1)))
    assert float(loss(years, best)) < float(loss(years, tf.zeros([2, 101])))


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_mae_is_computed_in_float32_whatever_the_logits_are(dtype: tf.DType, shape: tuple[int, ...]) -> None:
    logits = tf.cast(5 * np.random.default_rng(3).normal(size=(6, 101)), dtype)
    years = np.array([0, 5, 20, 50, 99, 100])
    probabilities = np.exp(log_softmax(tf.cast(logits, tf.float64).numpy()))
    found = mae(years.reshape(shape), logits)
    assert (found.shape, found.dtype) == ((6,), tf.float32)
    np.testing.assert_allclose(found, np.abs(probabilities @ AGES - years), atol=1e-3)
