"""DCGAN: a generator that makes faces of noise, and a discriminator that tells them from real ones.

Source: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks" (arXiv:1511.06434); report section 4.5, which has LeakyReLU in both networks.
Both follow the global dtype policy except for what they answer, which is float32 under every policy.
"""

import tensorflow as tf
import tf_keras as keras

from data_validation.face_sizes import SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH
from trainers.networks.compact import NORMALISATION_MOMENTUM

layers = keras.layers

LATENT = 100
"""Length of the noise vector (DCGAN, section 4; the tutorial that report section 3.1.2 names)."""
CHANNELS = 3
# Height and width after each of the discriminator's layers; the generator goes the same way back.
_SIZES = ((38, 32), (19, 16), (10, 8), (5, 4))
# A multiple of the stride: other kernels cover some pixels more often than others, which shows as a
# chequerboard (Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016).
_KERNEL = 4
_SLOPE = 0.2  # of LeakyReLU (DCGAN, section 4)
_DEVIATION = 0.02  # of initial weights (DCGAN, section 4)
# Of the search for the largest singular value, which begins anew at every step.
_POWER_ITERATIONS = 10


class UnitSpectralNorm(keras.constraints.Constraint):
    """Divides weights by their largest singular value after every update (Miyato et al., arXiv:1802.05957).

    Keras's layer SpectralNormalization needs AutoGraph, which the training loop does without, and would
    write weights back in half precision under a mixed policy.
    """

    def __call__(self, kernel: tf.Tensor) -> tf.Tensor:
        """Returns the weights divided; float32 [..., outputs], taken as a matrix of inputs and outputs."""
        matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
        gram = tf.matmul(matrix, matrix, transpose_a=True)
        vector = tf.ones([gram.shape[0], 1])
        for _ in range(_POWER_ITERATIONS):
            vector = tf.math.l2_normalize(tf.matmul(gram, vector))
        largest = tf.norm(tf.matmul(matrix, vector))
        return tf.math.divide_no_nan(kernel, largest)


def generator(width: int) -> keras.Model:
    """Builds the generator: strided transposed convolutions, batch normalisation, LeakyReLU.

    Args:
        width: Channels of the last hidden layer; each layer before it has twice as many.

    Returns:
        A model from latent vectors float32 [N, 100] to images float32 [N, 76, 64, 3], values -1 to 1.
    """
    inputs = keras.Input([LATENT], name="latent")
    height, length = _SIZES[-1]
    channels = width * 2 ** (len(_SIZES) - 1)
    x = layers.Dense(
        height * length * channels, use_bias=False, kernel_initializer=_normal(), name="projection"
    )(inputs)
    x = layers.Reshape([height, length, channels])(x)
    x = _normalised(x, "projection")
    for number, size in enumerate(reversed(_SIZES[:-1]), start=1):
        channels //= 2
        x = _doubled(x, channels, size, f"up{number}")
        x = _normalised(x, f"up{number}")
    x = _doubled(x, CHANNELS, (SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH), "image")
    images = layers.Activation("tanh", dtype="float32", name="pixels")(x)
    return keras.Model(inputs, images, name="generator")


def discriminator(width: int, dropout: float, spectral_norm: bool) -> keras.Model:
    """Builds the discriminator: strided convolutions, LeakyReLU, dropout.

    It has no batch normalisation, which the report has: real and drawn faces can then go through it in one
    batch.

    Args:
        width: Channels of the first layer; each layer after it has twice as many.
        dropout: Share of activations dropped after each layer.
        spectral_norm: Divide each layer's weights by their largest singular value (Miyato et al.,
            arXiv:1802.05957).

    Returns:
        A model from images float32 [N, 76, 64, 3], values -1 to 1, to float32 logits [N, 1]: above 0 for
        real.
    """
    inputs = keras.Input([SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH, CHANNELS], name="image")
    constraint = UnitSpectralNorm() if spectral_norm else None
    x = inputs
    for number in range(len(_SIZES)):
        x = layers.Conv2D(
            width * 2**number,
            _KERNEL,
            2,
            "same",
            kernel_initializer=_normal(),
            kernel_constraint=constraint,
            name=f"down{number + 1}",
        )(x)
        x = layers.LeakyReLU(_SLOPE)(x)
        x = layers.Dropout(dropout)(x)
    x = layers.Flatten()(x)
    logits = layers.Dense(
        1, kernel_initializer=_normal(), kernel_constraint=constraint, dtype="float32", name="logits"
    )(x)
    return keras.Model(inputs, logits, name="discriminator")


def _normal() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=_DEVIATION)


def _normalised(x: tf.Tensor, name: str) -> tf.Tensor:
    x = layers.BatchNormalization(momentum=NORMALISATION_MOMENTUM, name=f"{name}_norm")(x)
    return layers.LeakyReLU(_SLOPE, name=f"{name}_relu")(x)


def _doubled(x: tf.Tensor, channels: int, size: tuple[int, int], name: str) -> tf.Tensor:
    """Doubles height and width, and leaves off the last row where an odd number is wanted."""
    x = layers.Conv2DTranspose(
        channels, _KERNEL, 2, "same", use_bias=False, kernel_initializer=_normal(), name=name
    )(x)
    surplus = x.shape[1] - size[0], x.shape[2] - size[1]
    if any(surplus):
        x = layers.Cropping2D([(0, surplus[0]), (0, surplus[1])], name=f"{name}_crop")(x)
    return x
