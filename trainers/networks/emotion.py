"""The HexaFace report's network for facial expressions (section 3.5.2).

It takes pixels 0..1 and gives logits, as `trainers.networks.compact` does, and for the same reasons.
"""

import tf_keras as keras

from trainers.networks.parts import centred, check_shape, logits

layers = keras.layers

# HexaFace report, section 3.5.2: "64, 64, MaxPool, 128, 128, MaxPool, 256, 256, MaxPool", then "1024,1024".
REPORT_CONVOLUTIONS = ((64, 64), (128, 128), (256, 256))
REPORT_DENSE = (1024, 1024)
# The report says that it uses dropout, but neither where nor how much. One half after large dense layers is
# the rate of Srivastava et al. 2014 (and of VGG); after convolutions, whose neighbouring outputs are alike,
# half of that is usual.
REPORT_DENSE_DROPOUT = 0.5
REPORT_CONVOLUTION_DROPOUT = 0.25


def report_vgg(
    input_shape: tuple[int, int, int] = (48, 48, 1),
    num_classes: int = 7,
    dropout: float = REPORT_DENSE_DROPOUT,
    convolution_dropout: float = REPORT_CONVOLUTION_DROPOUT,
) -> keras.Model:
    """Builds the VGG-like network of the HexaFace report (section 3.5.2).

    11,639,239 parameters for 48x48 grey images and seven classes.

    Args:
        input_shape: height, width and channels. Height and width must be 8 or more, for the three poolings.
        num_classes: number of expressions.
        dropout: share of values dropped after each of the two dense layers, 0 <= dropout < 1.
        convolution_dropout: the same after each pooling.

    Returns:
        A model from float32 [N, H, W, C], values 0..1, to float32 logits [N, num_classes], layer "logits".

    Raises:
        ValueError: the input is too small, or there are fewer than two classes.
    """
    check_shape(input_shape, num_classes, halvings=len(REPORT_CONVOLUTIONS))
    inputs = keras.Input(input_shape, name="image")
    x = centred(inputs)
    for stage, widths in enumerate(REPORT_CONVOLUTIONS, start=1):
        for number, filters in enumerate(widths, start=1):
            name = f"conv{stage}_{number}"
            x = layers.Conv2D(
                filters, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=name
            )(x)
        x = layers.MaxPooling2D(2, name=f"pool{stage}")(x)
        x = layers.Dropout(convolution_dropout, name=f"pool{stage}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate(REPORT_DENSE, start=1):
        x = layers.Dense(units, activation="relu", kernel_initializer="he_normal", name=f"dense{number}")(x)
        x = layers.Dropout(dropout, name=f"dense{number}_dropout")(x)
    return keras.Model(inputs, logits(x, num_classes), name="emotion_report_vgg")
