"""The project's own network from a face to a vector, small enough to be trained on two CPU cores.

A residual network (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016) in the form that
face recognition gives it: the last feature map is summed up by a depthwise convolution over all of it, which
learns how much each place counts, where an average would take corners for as telling as eyes (Chen et al.,
"MobileFaceNets", CCBR 2018, section 3.2).
"""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

from trainers.networks.compact import NORMALISATION_MOMENTUM
from trainers.networks.parts import centred, check_shape, logits

layers = keras.layers

SIDE = 112
# The first is halved twice from the image, without a residual block: it takes the most time a filter.
WIDTHS = (32, 64, 128, 256)
DIMENSIONS = 256
DROPOUT = 0.2
# Of the layer between trunk and answer in other tasks.
_HIDDEN = 256
FEATURES = "features"
"""Layer that sums a face up, [N, WIDTHS[-1]]: what other tasks learn from."""


def face_embedding(
    side: int = SIDE,
    widths: Sequence[int] = WIDTHS,
    dimensions: int = DIMENSIONS,
    dropout: float = DROPOUT,
) -> keras.Model:
    """Builds the network: 1.3 million parameters, 138 million multiply-adds for the default sizes.

    Args:
        side: Height and width of the images.
        widths: Filters of the first convolution, and of the residual block of each halving after it.
        dimensions: Length of the embedding.
        dropout: Share of values dropped before the last layer, 0 <= dropout < 1.

    Returns:
        A model from float32 [N, side, side, 3] in 0..1 to float32 [N, dimensions], each row of length 1.

    Raises:
        ValueError: The image is too small, or there are no widths.
    """
    if not widths:
        raise ValueError("widths: expected at least one number of filters, found none")
    check_shape((side, side, 3), dimensions, halvings=len(widths))
    inputs = keras.Input((side, side, 3), name="image")
    x = _convolution(centred(inputs), widths[0], strides=2, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    for number, filters in enumerate(widths[1:], start=1):
        x = _residual(x, filters, name=f"block{number}")
    x = layers.DepthwiseConv2D(x.shape[1:3], use_bias=False, name="places")(x)
    x = _normalised(layers.Flatten(name="flat")(x), name=FEATURES)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(dimensions, use_bias=False, name="embedding")(x)
    # Without scale: the length is taken away by the next layer.
    x = layers.BatchNormalization(
        momentum=NORMALISATION_MOMENTUM, scale=False, dtype="float32", name="embedding_norm"
    )(x)
    return keras.Model(inputs, of_length_one(x), name="face_embedding")


def on_trunk(trunk: keras.Model, num_classes: int, dropout: float) -> keras.Model:
    """Puts new layers on a trunk, for another task: one hidden layer and the linear one.

    The features are normalised over the new task's images first: what the trunk was trained on says nothing
    of their size here, and large ones leave no hidden unit alive after a few steps.

    Args:
        trunk: float32 [N, H, W, 3] in 0..1 to features [N, D].
        num_classes: Number of classes.
        dropout: Share of values dropped before each of both layers, 0 <= dropout < 1.

    Returns:
        A model from images to float32 logits [N, num_classes]; it shares the trunk's layers.
    """
    x = layers.Dropout(dropout, name="features_dropout")(_normalised(trunk.output, "features_norm"))
    x = layers.Dense(_HIDDEN, activation="relu", kernel_initializer="he_normal", name="hidden")(x)
    x = layers.Dropout(dropout, name="hidden_dropout")(x)
    return keras.Model(trunk.input, logits(x, num_classes), name=f"{trunk.name}_head")


def of_length_one(vectors: tf.Tensor) -> tf.Tensor:
    """Divides rows by their length, in float32; rows of nothing but 0 stay so."""
    return layers.UnitNormalization(dtype="float32", name="length_one")(vectors)


def _residual(x: tf.Tensor, filters: int, name: str) -> tf.Tensor:
    """Halves the image: two convolutions, added to what averaging and a 1x1 convolution make of it."""
    main = layers.ReLU(name=f"{name}_relu1")(_convolution(x, filters, strides=2, name=f"{name}_conv1"))
    main = _convolution(main, filters, name=f"{name}_conv2")
    shortcut = layers.AveragePooling2D(2, padding="same", name=f"{name}_pool")(x)
    shortcut = _convolution(shortcut, filters, size=1, name=f"{name}_shortcut")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=name)([main, shortcut]))


def _convolution(x: tf.Tensor, filters: int, name: str, size: int = 3, strides: int = 1) -> tf.Tensor:
    x = layers.Conv2D(
        filters,
        size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return _normalised(x, f"{name}_norm")


def _normalised(x: tf.Tensor, name: str) -> tf.Tensor:
    return layers.BatchNormalization(momentum=NORMALISATION_MOMENTUM, name=name)(x)
