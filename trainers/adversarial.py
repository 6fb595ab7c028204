"""Generator and discriminator trained against each other (report section 4.5)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from trainers.networks.dcgan import LATENT

_LOSSES = ("generator_loss", "discriminator_loss")
_SCORES = ("real_score", "fake_score")
# The average begins with few steps behind it and forgets the weights that it began with sooner.
_WARM_UP = 10.0
# Noise from which an average's statistics are taken; other noise than any that is drawn from.
_SETTLING_BATCHES, _SETTLING_SIZE, _SETTLING_SEED = 16, 64, 2**31


def generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy between ones and what the discriminator says of drawn faces (report section 4.5).

    Args:
        fake_logits: float32 [N, 1].

    Returns:
        float32 [], nats.
    """
    return _cross_entropy(1.0, fake_logits)


def discriminator_loss(
    real_logits: tf.Tensor, fake_logits: tf.Tensor, label_smoothing: float = 0.0
) -> tf.Tensor:
    """Sum of two cross-entropies: ones and real faces, zeros and drawn ones (report section 4.5).

    Args:
        real_logits: float32 [N, 1].
        fake_logits: float32 [N, 1].
        label_smoothing: What the ones are lowered by; the zeros stay (one-sided: Salimans et al.,
            arXiv:1606.03498, section 3.4).

    Returns:
        float32 [], nats.
    """
    return _cross_entropy(1.0 - label_smoothing, real_logits) + _cross_entropy(0.0, fake_logits)


def _cross_entropy(label: float, logits: tf.Tensor) -> tf.Tensor:
    labels = tf.fill(tf.shape(logits), tf.cast(label, logits.dtype))
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))


def noise(seed: tf.Tensor | int, number: tf.Tensor | int, count: tf.Tensor | int) -> tf.Tensor:
    """Draws latent vectors, the same ones on every device.

    Args:
        seed: int64 [].
        number: int64 [], which noise of that seed.
        count: int32 [].

    Returns:
        float32 [count, 100], standard normal.
    """
    seeds = tf.stack([tf.cast(seed, tf.int64), tf.cast(number, tf.int64)])
    return tf.random.stateless_normal([count, LATENT], seeds, alg="philox")


def settle(generator: keras.Model) -> None:
    """Takes batch normalisation's statistics anew, from what the generator draws with the weights it has.

    Averaged weights make other activations than the weights that they are the average of, so that the average
    of those weights' statistics does not fit (as in stochastic weight averaging: Izmailov et al.,
    arXiv:1803.05407, section 3.1): on CelebA after 2,728 steps, the Frechet distance fell from 73 to 58.

    Args:
        generator: Changed in place.
    """
    layers = [layer for layer in generator.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for number in range(_SETTLING_BATCHES):
        for layer in layers:
            layer.momentum = number / (number + 1.0)  # the mean of all batches so far
        generator(noise(_SETTLING_SEED, number, _SETTLING_SIZE), training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _adam(rate: float, beta_1: float) -> keras.optimizers.Optimizer:
    adam = keras.optimizers.Adam(rate, beta_1)
    # Keras does so itself only for the optimiser that it is told of.
    half = keras.mixed_precision.global_policy().name == "mixed_float16"
    return keras.mixed_precision.LossScaleOptimizer(adam) if half else adam


class Networks(tf.Module):
    """The weights that a warm start goes on from: lists, because Keras would export its models with them."""

    def __init__(self, model: "AdversarialModel") -> None:
        """Lists the weights of both networks; the average begins with the generator's."""
        super().__init__(name="dcgan")
        self.generator = model.generator.variables
        self.discriminator = model.discriminator.variables


class AdversarialModel(keras.Model):
    """A generator and a discriminator; every step both learn from one batch.

    All that a training consists of hangs on it and is backed up with it: both networks, both optimisers, the
    average, and the number of steps, by which the noise of a step is drawn: a training that was killed goes
    on with the noise that it would have had.

    Attributes:
        generator: Learns.
        discriminator: Learns.
        average: The generator with a moving average of its weights.
    """

    def __init__(
        self,
        build_generator: Callable[[], keras.Model],
        discriminator: keras.Model,
        settings: Mapping[str, Any],
    ) -> None:
        """Puts the parts together.

        Args:
            build_generator: See `trainers.networks.dcgan`; called twice, for the average too.
            discriminator: See there.
            settings: The settings `train`.
        """
        super().__init__()
        self.generator, self.average = build_generator(), build_generator()
        self.discriminator = discriminator
        self.average.set_weights(self.generator.get_weights())
        self._decay = settings["average"]
        self._label_smoothing = settings["label_smoothing"]
        self._seed = settings["seed"]
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="steps")
        self._means = [keras.metrics.Mean(name) for name in (*_LOSSES, *_SCORES)]

    def compile(self, generator_rate: float, discriminator_rate: float, beta_1: float) -> None:
        """Sets up the two optimisers.

        Args:
            generator_rate: Learning rate.
            discriminator_rate: Learning rate.
            beta_1: Decay of the mean of gradients of both.
        """
        super().compile()
        self.generator_optimizer = _adam(generator_rate, beta_1)
        self.discriminator_optimizer = _adam(discriminator_rate, beta_1)
        # Now, and not in the first step: a backup is read into what exists.
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What is reset between epochs."""
        return self._means

    @property
    def rates(self) -> dict[str, float]:
        """The learning rates."""
        optimizers = {"generator": self.generator_optimizer, "discriminator": self.discriminator_optimizer}
        return {
            f"{name}_rate": float(keras.backend.get_value(optimizer.learning_rate))
            for name, optimizer in optimizers.items()
        }

    @property
    def networks(self) -> tf.Module:
        """The weights of both networks, without what only a training needs."""
        return Networks(self)

    @property
    def finite(self) -> bool:
        """Tells whether all weights are numbers; the losses of a step are those of the weights before it."""
        weights = (*self.generator.variables, *self.discriminator.variables, *self.average.variables)
        return all(bool(tf.reduce_all(tf.math.is_finite(weight))) for weight in weights)

    @property
    def steps(self) -> int:
        """Steps taken so far, those before a kill included."""
        return int(self._steps.numpy())

    def train_step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Both networks learn from one batch of real faces and as many drawn ones.

        Args:
            images: float32 [N, 76, 64, 3], values -1 to 1.
        """
        count = tf.shape(images)[0]
        latent = noise(self._replica_seed(), self._steps, count)
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            drawn = self.generator(latent, training=True)
            # In one batch: half as many operations, and the same chance of being dropped for both kinds.
            logits = self.discriminator(tf.concat([images, drawn], axis=0), training=True)
            real, fake = logits[:count], logits[count:]
            losses = generator_loss(fake), discriminator_loss(real, fake, self._label_smoothing)
        self.generator_optimizer.minimize(losses[0], self.generator.trainable_variables, tape=generator_tape)
        self.discriminator_optimizer.minimize(
            losses[1], self.discriminator.trainable_variables, tape=discriminator_tape
        )
        self._steps.assign_add(1)
        self._follow()
        for mean, value in zip(self._means, (*losses, *self._scores(real, fake)), strict=True):
            mean.update_state(value)
        return {mean.name: mean.result() for mean in self._means}

    def _replica_seed(self) -> tf.Tensor:
        """A seed for each device, or all would draw the same faces."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return self._seed + tf.cast(replica, tf.int64) * 2**32

    @staticmethod
    def _scores(real: tf.Tensor, fake: tf.Tensor) -> Iterator[tf.Tensor]:
        """Yields how real the discriminator thinks real and drawn faces are, 0 to 1."""
        yield from (tf.reduce_mean(tf.sigmoid(logits)) for logits in (real, fake))

    def _follow(self) -> None:
        """Moves the average a little towards the generator."""
        steps = tf.cast(self._steps, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + steps) / (_WARM_UP + steps)) if self._decay else 0.0
        for mean, weight in zip(self.average.variables, self.generator.variables, strict=True):
            mean.assign(decay * mean + (1.0 - decay) * weight)
