import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from trainers.adversarial import AdversarialModel, discriminator_loss, generator_loss
from trainers.networks import dcgan

WIDTH = 4
SETTINGS = {"average": 0.9, "label_smoothing": 0.0, "seed": 1}


def logits(*values):
    return tf.constant(values, tf.float32)[:, tf.newaxis]


# Losses


def test_an_undecided_discriminator_costs_what_a_coin_does():
    assert float(generator_loss(logits(0, 0))) == pytest.approx(math.log(2))
    assert float(discriminator_loss(logits(0, 0), logits(0, 0))) == pytest.approx(2 * math.log(2))


def test_losses_are_those_of_probabilities():
    real, fake = logits(2.0, -1.0), logits(0.5, -3.0)
    of_real, of_fake = (tf.sigmoid(values).numpy() for values in (real, fake))
    assert float(generator_loss(fake)) == pytest.approx(-np.log(of_fake).mean(), rel=1e-5)
    expected = -np.log(of_real).mean() - np.log(1 - of_fake).mean()
    assert float(discriminator_loss(real, fake)) == pytest.approx(expected, rel=1e-5)


def test_only_real_labels_are_smoothed():
    """With 0.1 the discriminator does best to call a real face real with probability 0.9."""
    fake = logits(-100.0)
    losses = {
        p: float(discriminator_loss(logits(math.log(p / (1 - p))), fake, 0.1)) for p in (0.8, 0.9, 0.99)
    }
    assert min(losses, key=losses.get) == 0.9
    without = discriminator_loss(logits(0.0), logits(3.0)) - discriminator_loss(logits(0.0), logits(-3.0))
    smoothed = [discriminator_loss(logits(0.0), logits(value), 0.1) for value in (3.0, -3.0)]
    assert float(smoothed[0] - smoothed[1]) == pytest.approx(float(without), rel=1e-5)


# Networks


def test_the_generator_draws_faces_of_the_reports_size():
    network = dcgan.generator(WIDTH)
    images = network(tf.random.normal([3, dcgan.LATENT]))
    assert images.shape == (3, 76, 64, 3) and images.dtype == tf.float32
    assert float(tf.reduce_max(tf.abs(images))) <= 1.0
    kinds = {type(layer) for layer in network.layers}
    assert {keras.layers.Conv2DTranspose, keras.layers.BatchNormalization, keras.layers.LeakyReLU} <= kinds


def test_the_discriminator_answers_with_one_logit():
    network = dcgan.discriminator(WIDTH, 0.3, spectral_norm=False)
    assert network(tf.zeros([2, 76, 64, 3])).shape == (2, 1)
    kinds = {type(layer) for layer in network.layers}
    assert {keras.layers.Conv2D, keras.layers.LeakyReLU, keras.layers.Dropout} <= kinds
    assert all(layer.strides == (2, 2) for layer in network.layers if isinstance(layer, keras.layers.Conv2D))


@pytest.mark.parametrize("shape", [(4, 4, 3, 16), (4, 4, 64, 128), (640, 1)])
def test_a_spectral_norm_of_one(shape):
    kernel = tf.random.stateless_normal(shape, [1, 2]) * 0.02
    divided = dcgan.UnitSpectralNorm()(kernel).numpy().reshape(-1, shape[-1])
    # Ten iterations find the largest singular value of a random matrix to a few percent, never above it.
    assert 1.0 <= np.linalg.svd(divided, compute_uv=False)[0] * (1 + 1e-5) < 1.15


def test_weights_of_nothing_stay_nothing():
    assert not dcgan.UnitSpectralNorm()(tf.zeros([4, 4, 3, 8])).numpy().any()


# Steps


def model(**changed):
    keras.utils.set_random_seed(1)
    settings = {**SETTINGS, **changed}
    built = AdversarialModel(
        lambda: dcgan.generator(WIDTH), dcgan.discriminator(WIDTH, 0.0, spectral_norm=True), settings
    )
    built.compile(0.001, 0.002, 0.5)
    return built


def faces(count):
    return tf.tanh(tf.random.stateless_normal([count, 76, 64, 3], [5, 5]))


def test_a_step_moves_both_networks_and_their_average():
    built = model()
    parts = (built.generator, built.discriminator, built.average)
    before = [part.get_weights() for part in parts]
    results = built.train_step(faces(4))
    after = [part.get_weights() for part in parts]
    for old, new in zip(before, after, strict=True):
        assert any(not np.array_equal(one, other) for one, other in zip(old, new, strict=True))
    assert set(results) == {"generator_loss", "discriminator_loss", "real_score", "fake_score"}
    assert built.steps == 1
    assert built.rates == pytest.approx({"generator_rate": 0.001, "discriminator_rate": 0.002})


def test_the_average_lies_between_old_and_new_weights():
    built = model(average=0.999)
    old = built.generator.get_weights()
    built.train_step(faces(4))
    new, mean = built.generator.get_weights(), built.average.get_weights()
    decay = 2.0 / 11.0  # of the first step
    for before, after, between in zip(old, new, mean, strict=True):
        np.testing.assert_allclose(between, decay * before + (1 - decay) * after, atol=1e-6)


def test_without_an_average_the_generator_itself_is_kept():
    built = model(average=0.0)
    built.train_step(faces(4))
    for kept, weights in zip(built.average.get_weights(), built.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weights)


def test_the_generator_learns_from_the_discriminator_alone():
    """Its gradient is that of its own loss: the discriminator's weights are not moved by it."""
    built = model()
    built.discriminator_optimizer.learning_rate = 0.0
    before = built.discriminator.get_weights()
    losses = [float(built.train_step(faces(8))["generator_loss"]) for _ in range(3)]
    after = built.discriminator.get_weights()
    # Only the constraint touches them, and only once.
    built.train_step(faces(8))
    for one, other in zip(after, built.discriminator.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0.05, atol=1e-6)
    assert any(not np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    assert losses[-1] < losses[0]


def test_the_noise_of_a_step_depends_on_the_seed_and_the_step_alone():
    runs = []
    for seed in (1, 1, 2):
        built = model(seed=seed)
        runs.append([float(built.train_step(faces(4))["generator_loss"]) for _ in range(2)])
    assert runs[0] == pytest.approx(runs[1], rel=1e-5)
    assert runs[0] != pytest.approx(runs[2], rel=1e-5)
