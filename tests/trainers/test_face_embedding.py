import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from trainers.networks.face_embedding import (
    FEATURES,
    SIDE,
    WIDTHS,
    face_embedding,
    of_length_one,
    on_trunk,
)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).random(shape).astype(np.float32)


@pytest.fixture(scope="module")
def default() -> keras.Model:
    return face_embedding()


@pytest.fixture(scope="module")
def small() -> keras.Model:
    return face_embedding(side=24, widths=(4, 8), dimensions=6)


def trunk_of(network: keras.Model) -> keras.Model:
    return keras.Model(network.input, network.get_layer(FEATURES).output, name="trunk")


def multiply_adds(network: keras.Model) -> int:
    """Those of convolutions and dense layers: each weight is used once at each place of the output."""
    counted = (keras.layers.Conv2D, keras.layers.Dense)
    return sum(
        math.prod(layer.output_shape[1:-1]) * math.prod(layer.kernel.shape)
        for layer in network.layers
        if isinstance(layer, counted)
    ) + sum(
        math.prod(layer.output_shape[1:-1]) * math.prod(layer.depthwise_kernel.shape)
        for layer in network.layers
        if isinstance(layer, keras.layers.DepthwiseConv2D)
    )


def test_default_network_has_the_size_that_its_docstring_tells(default: keras.Model) -> None:
    parameters, operations = default.count_params(), multiply_adds(default)
    assert (parameters, operations) == (1_290_464, 137_660_672)
    assert face_embedding.__doc__ is not None
    assert f"{parameters / 1e6:.1f} million parameters" in face_embedding.__doc__
    assert f"{operations / 1e6:.0f} million multiply-adds" in face_embedding.__doc__


def test_default_network_sums_up_the_last_feature_map(default: keras.Model) -> None:
    assert default.input_shape == (None, SIDE, SIDE, 3)
    assert default.get_layer("places").kernel_size == (7, 7)
    assert default.get_layer(FEATURES).output_shape == (None, WIDTHS[-1])


@pytest.mark.parametrize("training", [False, True])
def test_gives_float32_vectors_of_length_one(small: keras.Model, training: bool) -> None:
    vectors = small(pixels(5, 24, 24, 3), training=training)
    assert (vectors.shape, vectors.dtype) == ((5, 6), tf.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert np.abs(np.diff(vectors, axis=0)).max() > 0.01, "images are not told apart"


def test_gives_each_image_the_same_answer_alone_and_in_a_batch(small: keras.Model) -> None:
    images = pixels(4, 24, 24, 3)
    together = small(images, training=False).numpy()
    alone = np.concatenate([small(images[i : i + 1], training=False).numpy() for i in range(4)])
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize(
    ("side", "widths", "dimensions"), [(8, (4, 4, 4), 2), (9, (4, 4), 2), (31, (4, 4), 5), (16, (4,), 3)]
)
def test_other_sizes(side: int, widths: tuple[int, ...], dimensions: int) -> None:
    network = face_embedding(side, widths, dimensions, dropout=0.0)
    assert network.output_shape == (None, dimensions)
    np.testing.assert_allclose(
        np.linalg.norm(network(pixels(2, side, side, 3), training=False), axis=1), 1.0, atol=1e-5
    )


def test_impossible_sizes_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"input_shape.*: expected .* found"):
        face_embedding(side=15)
    with pytest.raises(ValueError, match="widths: expected at least one number of filters, found none"):
        face_embedding(widths=())


def test_embeddings_stay_float32_under_mixed_precision() -> None:
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = face_embedding(side=16, widths=(4, 8), dimensions=6)
    finally:
        keras.mixed_precision.set_global_policy(before)
    assert mixed.get_layer("stem").compute_dtype == "bfloat16"
    images = pixels(3, 16, 16, 3)
    assert mixed(images).dtype == "float32"
    # What is exported: the same weights in a float32 model.
    exact = face_embedding(side=16, widths=(4, 8), dimensions=6)
    exact.set_weights(mixed.get_weights())
    np.testing.assert_allclose(exact(images), mixed(images), atol=0.05)


# Length


def test_rows_are_divided_by_their_length() -> None:
    found = of_length_one(tf.constant([[3.0, 4.0], [1e-3, 0.0], [-5e8, 0.0]])).numpy()
    np.testing.assert_allclose(found, [[0.6, 0.8], [1.0, 0.0], [-1.0, 0.0]], atol=1e-6)


def test_a_row_of_zeros_stays_so() -> None:
    found = of_length_one(tf.constant([[0.0, 0.0], [0.0, 2.0]])).numpy()
    np.testing.assert_array_equal(found, [[0.0, 0.0], [0.0, 1.0]])


# Other tasks


def test_new_layers_share_the_trunk(small: keras.Model) -> None:
    trunk = trunk_of(small)
    network = on_trunk(trunk, 7, dropout=0.2)
    logits = network(pixels(3, 24, 24, 3), training=False)
    assert (logits.shape, logits.dtype) == ((3, 7), tf.float32)
    assert {weight.ref() for weight in trunk.weights} < {weight.ref() for weight in network.weights}


def test_only_the_new_layers_of_a_frozen_trunk_are_trained(small: keras.Model) -> None:
    trunk = trunk_of(small)
    trunk.trainable = False
    try:
        network = on_trunk(trunk, 7, dropout=0.0)
        # Scale and shift of the features; kernels and biases of both layers.
        assert [weight.shape.rank for weight in network.trainable_weights] == [1, 1, 2, 1, 2, 1]
    finally:
        trunk.trainable = True


def test_learns_whatever_the_size_of_the_features_is() -> None:
    """A trunk's features may be much larger on other images than on those that it was trained on."""
    keras.utils.set_random_seed(3)
    vectors = keras.Input((8,))
    trunk = keras.Model(vectors, keras.layers.Rescaling(100.0, offset=50.0)(vectors))
    network = on_trunk(trunk, 3, dropout=0.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
    network.train_step = tf.autograph.experimental.do_not_convert(network.train_step)
    network.test_step = tf.autograph.experimental.do_not_convert(network.test_step)
    numbers = np.arange(30) % 3
    inputs = pixels(30, 8) * 0.2 + np.eye(8)[numbers]
    network.fit(inputs, numbers, batch_size=30, epochs=40, verbose=0)
    assert network.evaluate(inputs, numbers, verbose=0)[1] == 1.0
