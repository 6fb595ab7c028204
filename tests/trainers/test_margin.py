import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.margin import EmbeddingTrainer, MarginSoftmax, PairErrorRate, PersonCosines
from trainers.networks.face_embedding import face_embedding
from trainers.pair_metrics import all_pairs, equal_error_rate

PERSONS = 4


def unit_vectors(count: int, dimensions: int, seed: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# Loss


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@settings(max_examples=30, deadline=None)
@given(st.floats(1.0, 64.0), st.floats(0.0, 0.9), st.integers(0, 99))
def test_loss_is_the_cross_entropy_with_a_margin(scale: float, margin: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cosines = rng.uniform(-1, 1, (6, PERSONS))
    numbers = rng.integers(0, PERSONS, 6)
    rows = np.arange(6)
    with_margin = cosines.copy()
    with_margin[rows, numbers] -= margin
    expected = -log_softmax(scale * with_margin)[rows, numbers].mean()
    found = MarginSoftmax(scale, margin)(tf.constant(numbers), tf.constant(cosines, tf.float32))
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_without_margin_it_is_the_softmax_of_scaled_cosines(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    cosines = tf.constant(rng.uniform(-1, 1, (6, PERSONS)), tf.float32)
    numbers = rng.integers(0, PERSONS, 6)
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(numbers, 16.0 * cosines)
    assert float(MarginSoftmax(16.0, 0.0)(numbers.reshape(shape), cosines)) == pytest.approx(float(plain))


def test_margin_asks_for_more() -> None:
    cosines = tf.constant([[0.9, 0.1], [0.2, 0.8]])
    losses = [float(MarginSoftmax(8.0, margin)([0, 1], cosines)) for margin in (0.0, 0.2, 0.4)]
    assert losses == sorted(losses) and losses[0] < 0.5 * losses[-1]


# Cosines


def test_cosines_are_those_of_the_persons_vectors() -> None:
    keras.utils.set_random_seed(1)
    layer = PersonCosines(PERSONS)
    embeddings = unit_vectors(20, 8)
    found = layer(embeddings).numpy()
    vectors = layer.vectors.numpy()
    assert vectors.shape == (8, PERSONS)
    np.testing.assert_allclose(found, embeddings @ (vectors / np.linalg.norm(vectors, axis=0)), atol=1e-6)
    assert (np.abs(found) <= 1 + 1e-6).all()


def test_cosines_do_not_depend_on_the_length_of_the_persons_vectors() -> None:
    layer = PersonCosines(PERSONS)
    embeddings = unit_vectors(20, 8)
    before = layer(embeddings).numpy()
    layer.vectors.assign(layer.vectors * tf.constant([0.1, 1.0, 3.0, 100.0]))
    np.testing.assert_allclose(layer(embeddings), before, atol=1e-6)


def test_cosines_are_float32_whatever_the_embeddings_are() -> None:
    found = PersonCosines(PERSONS)(tf.cast(unit_vectors(3, 8), tf.bfloat16))
    assert found.dtype == tf.float32


# Error rate of pairs


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 60), st.integers(2, 6), st.floats(0.0, 2.0), st.integers(0, 99))
def test_rate_is_that_of_all_pairs_of_a_batch(count: int, persons: int, spread: float, seed: int) -> None:
    names = np.arange(count) % persons
    vectors = unit_vectors(persons, 16, seed)[names] + spread * unit_vectors(count, 16, seed + 100)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = all_pairs(vectors, names)
    metric = PairErrorRate()
    metric.update_state(tf.constant([f"person {name}" for name in names]), tf.constant(vectors))
    # Pairs in one bin of the histogram are not told apart.
    resolution = 3 / min(len(pairs.same), len(pairs.different))
    assert float(metric.result()) == pytest.approx(equal_error_rate(pairs), abs=resolution)


def test_rate_at_both_ends() -> None:
    metric = PairErrorRate()
    metric.update_state(tf.constant(["a", "a", "b", "b"]), tf.constant([[1.0, 0], [1, 0], [0, 1], [0, 1]]))
    assert float(metric.result()) == 0.0
    metric.reset_state()
    # Nobody is less like a person than that person.
    metric.update_state(tf.constant(["a", "a", "b", "b"]), tf.constant([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))
    assert float(metric.result()) == 1.0


def test_rate_is_taken_over_batches() -> None:
    metric = PairErrorRate()
    names = tf.constant(["a", "a", "b", "b"])
    metric.update_state(names, tf.constant([[1.0, 0], [1, 0], [0, 1], [0, 1]]))
    metric.update_state(tf.reverse(names, [0]), tf.constant([[1.0, 0], [0, 1], [1, 0], [0, 1]]))
    # Two of four pairs of one person are as far apart as six of eight of two persons.
    assert float(metric.result()) == pytest.approx(0.375)


@pytest.mark.parametrize("names", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_rate_is_a_coins_while_a_kind_of_pairs_is_missing(names: list[str]) -> None:
    metric = PairErrorRate()
    assert float(metric.result()) == 0.5
    metric.update_state(tf.constant(names), tf.constant(unit_vectors(len(names), 4)))
    assert float(metric.result()) == 0.5


def test_reset_forgets_all_pairs() -> None:
    metric = PairErrorRate()
    metric.update_state(tf.constant([1, 1, 2, 2]), tf.constant(np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]))
    assert float(metric.result()) == 0.0
    metric.reset_state()
    assert float(metric.result()) == 0.5
    assert not any(weight.numpy().any() for weight in metric.weights)


# Training


def tower() -> keras.Model:
    return face_embedding(side=16, widths=(4, 8), dimensions=8)


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray]:
    """Noise around one picture a person."""
    rng = np.random.default_rng(1)
    persons = np.arange(24) % PERSONS
    images = rng.random((PERSONS, 16, 16, 3))[persons] + 0.1 * rng.normal(size=(24, 16, 16, 3))
    return np.clip(images, 0, 1).astype(np.float32), persons


@pytest.fixture(scope="module")
def fitted(faces: tuple[np.ndarray, np.ndarray]) -> tuple[EmbeddingTrainer, dict[str, list[float]]]:
    images, persons = faces
    keras.utils.set_random_seed(1)
    network = EmbeddingTrainer(tower(), PERSONS)
    network.compile(keras.optimizers.SGD(0.05, momentum=0.9), MarginSoftmax(16.0, 0.2), ["accuracy"])
    # Keras' own code holds nothing for AutoGraph to convert, and looking through it takes seconds.
    network.train_step = tf.autograph.experimental.do_not_convert(network.train_step)
    network.test_step = tf.autograph.experimental.do_not_convert(network.test_step)
    names = np.array([f"person {number}" for number in persons])
    validation = tf.data.Dataset.from_tensor_slices((images, names)).batch(12)
    history = network.fit(images, persons, batch_size=8, epochs=3, validation_data=validation, verbose=0)
    return network, history.history


def test_training_measures_persons_and_validation_pairs(
    fitted: tuple[EmbeddingTrainer, dict[str, list[float]]],
) -> None:
    _, history = fitted
    assert set(history) == {"loss", "accuracy", "val_eer"}
    assert history["loss"][-1] < history["loss"][0]
    assert all(0 <= rate <= 1 for rate in history["val_eer"])


def test_validation_is_the_rate_of_the_towers_pairs(
    fitted: tuple[EmbeddingTrainer, dict[str, list[float]]], faces: tuple[np.ndarray, np.ndarray]
) -> None:
    network, history = fitted
    images, persons = faces
    metric = PairErrorRate()
    for part in (slice(0, 12), slice(12, 24)):
        metric.update_state(tf.constant(persons[part]), network.tower(images[part], training=False))
    assert history["val_eer"][-1] == pytest.approx(float(metric.result()), abs=0.02)


def test_tower_gives_the_embeddings_behind_the_cosines(
    fitted: tuple[EmbeddingTrainer, dict[str, list[float]]], faces: tuple[np.ndarray, np.ndarray]
) -> None:
    network, _ = fitted
    images, _ = faces
    embeddings = network.tower(images, training=False)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)
    cosines = network.get_layer("persons")(embeddings)
    np.testing.assert_allclose(network(images, training=False), cosines, atol=1e-6)


def test_weights_make_another_network_the_same(
    fitted: tuple[EmbeddingTrainer, dict[str, list[float]]], faces: tuple[np.ndarray, np.ndarray]
) -> None:
    network, _ = fitted
    images, _ = faces
    other = EmbeddingTrainer(tower(), PERSONS)
    assert not np.allclose(other(images), network(images), atol=0.01)
    other.set_weights(network.get_weights())
    np.testing.assert_allclose(other(images), network(images), atol=1e-6)
    np.testing.assert_allclose(other.tower(images), network.tower(images), atol=1e-6)
