"""VGG16 and VGG-Face: the two pretrained networks of the HexaFace report, for features and for fine-tuning.

All take float32 pixels 0..1 and do their own centring inside, so no caller needs to know the channel order or
the average image of the weights. Weights are random until `trainers.weights.load` fills them: by Keras's
default (Glorot), which loses about half the variance at each ReLU layer, so that pixels of about 100 become
logits of less than 1.
"""

from collections.abc import Sequence

import tensorflow as tf
import tf_keras as keras

layers = keras.layers

# Simonyan and Zisserman 2015, table 1, column D: filters of the 3x3 convolutions between two poolings.
CONVOLUTIONS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
DENSE = 4096
SIDE = 224
# Average pixel of ImageNet's training images, blue, green, red: the "caffe" mode of
# keras.applications.imagenet_utils, for which the published VGG16 weights were trained.
IMAGENET_AVERAGE_BGR = (103.939, 116.779, 123.68)

# Parkhi, Vedaldi and Zisserman, "Deep Face Recognition", BMVC 2015: table 3 (layers, dropout) and the average
# image (red, green, blue) of the MatConvNet release.
VGGFACE_AVERAGE_RGB = (129.1863, 104.7624, 93.5940)
VGGFACE_IDENTITIES = 2622
VGGFACE_DROPOUT = 0.5
# HexaFace report, section 3.2.2: "froze all layers except for the last seven layers of the model, which
# contains three convolutional layers". Counted from the end in the layout the report used: softmax, flatten,
# fc8, dropout, fc7, dropout, fc6.
LAST_LAYERS = 7
# The layer that a new one takes the place of.
LAST = "fc8"


def vgg16_features(scale: float = 1.0) -> keras.Model:
    """Builds VGG16 up to and with its first dense layer (report, section 3.3.2).

    The report "excludes the top two dense layers": 13 convolutions and one dense layer remain, 117,479,232
    parameters. Layers have the names of `keras.applications.VGG16`.

    Args:
        scale: for tests: multiplies the width of every layer.

    Returns:
        A model from float32 [N, 224, 224, 3], RGB 0..1, to the features [N, 4096], 0 or more, layer "fc1".
    """
    inputs = keras.Input((SIDE, SIDE, 3), name="image")
    x = _centred(tf.reverse(inputs, [-1]), IMAGENET_AVERAGE_BGR)
    x = _convolutions(x, scale, name="block{}_conv{}", pool="block{}_pool")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(_width(DENSE, scale), activation="relu", name="fc1")(x)
    return keras.Model(inputs, x, name="vgg16_features")


def vggface_descriptor(scale: float = 1.0) -> keras.Model:
    """Builds VGG-Face without its softmax (report, section 3.6.2).

    145,002,878 parameters. The channel order is RGB, as in the MatConvNet release; weights converted from the
    Caffe release expect BGR, and their first layer's input channels must be reversed.

    Args:
        scale: for tests: multiplies the width of every layer.

    Returns:
        A model from float32 [N, 224, 224, 3], RGB 0..1, to float32 [N, 2622], layer "flatten": the scores of
        the identities before the softmax.
    """
    return _vggface(_width(VGGFACE_IDENTITIES, scale), scale, name="vggface_descriptor")


def vggface_ages(
    classes: int,
    trainable_layers: int | None = LAST_LAYERS,
    scale: float = 1.0,
    dropout: float = VGGFACE_DROPOUT,
) -> keras.Model:
    """Builds VGG-Face with a new last layer for ages, and freezes the others (report, section 3.2.2).

    134,674,341 parameters for 101 ages, of which 119,959,653 are trained: fc6, fc7 and fc8.

    Args:
        classes: number of ages, 2 or more.
        trainable_layers: how many of the last layers are trained, 3 or more; None for all. As in the report's
            layout, the flattening counts, and the softmax, which is not in this model: 7 is fc6 and after.
        scale: for tests: multiplies the width of every layer but the last.
        dropout: share of values dropped after fc6 and fc7, 0 <= dropout < 1.

    Returns:
        A model from float32 [N, 224, 224, 3], RGB 0..1, to float32 logits [N, classes], layer "flatten".

    Raises:
        ValueError: fewer than two classes, or too few layers to train the new one.
    """
    if classes < 2:
        raise ValueError(f"classes: expected 2 or more, found {classes}")
    if trainable_layers is not None and trainable_layers < 3:
        raise ValueError(
            f"trainable_layers: expected 3 (fc8, flatten, softmax) or more, found {trainable_layers}"
        )
    network = _vggface(classes, scale, name="vggface_ages", dropout=dropout)
    frozen = [] if trainable_layers is None else network.layers[: 1 - trainable_layers]
    for layer in frozen:
        layer.trainable = False
    return network


def _vggface(outputs: int, scale: float, name: str, dropout: float = VGGFACE_DROPOUT) -> keras.Model:
    """Builds VGG-Face: fully connected layers are convolutions, which changes nothing at this image size."""
    inputs = keras.Input((SIDE, SIDE, 3), name="image")
    x = _centred(inputs, VGGFACE_AVERAGE_RGB)
    x = _convolutions(x, scale, name="conv{}_{}", pool="pool{}")
    for layer, kernel in (("fc6", SIDE // 2 ** len(CONVOLUTIONS)), ("fc7", 1)):
        x = layers.Conv2D(_width(DENSE, scale), kernel, activation="relu", name=layer)(x)
        x = layers.Dropout(dropout, name=f"{layer}_dropout")(x)
    # In float32 under every policy: softmax and distances after it need the bits.
    x = layers.Conv2D(outputs, 1, dtype="float32", name=LAST)(x)
    x = layers.Flatten(dtype="float32", name="flatten")(x)
    return keras.Model(inputs, x, name=name)


def _centred(images: tf.Tensor, average: Sequence[float]) -> tf.Tensor:
    """Brings pixels 0..1 to 0..255 less the average pixel, in float32: bfloat16 would round the levels."""
    offset = [-value for value in average]
    return layers.Rescaling(255.0, offset=offset, dtype="float32", name="centred")(images)


def _convolutions(x: tf.Tensor, scale: float, name: str, pool: str) -> tf.Tensor:
    """Applies the thirteen 3x3 convolutions with ReLU and the five poolings."""
    for block, widths in enumerate(CONVOLUTIONS, start=1):
        for number, filters in enumerate(widths, start=1):
            layer = layers.Conv2D(
                _width(filters, scale), 3, padding="same", activation="relu", name=name.format(block, number)
            )
            x = layer(x)
        x = layers.MaxPooling2D(2, name=pool.format(block))(x)
    return x


def _width(units: int, scale: float) -> int:
    return max(1, round(units * scale))
