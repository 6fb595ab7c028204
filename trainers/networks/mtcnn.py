"""The three networks of MTCNN, which find faces and five points of each.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks",
IEEE Signal Processing Letters 23(10), 2016, figure 2. All take RGB pixels 0..1 and give a dictionary:

- `face`: logits, of no face and of a face;
- `box`: offsets of the face's edges from the window's, see `trainers.boxes.decode_offsets`;
- `landmarks`: five points y x in the window, see `trainers.boxes.decode_landmarks`.

All outputs are float32 under every policy: scores, offsets and what is compared with them need the bits.
"""

from collections.abc import Callable

import tensorflow as tf
import tf_keras as keras

from trainers.networks.parts import centred

layers = keras.layers

PROPOSAL_SIDE, REFINEMENT_SIDE, OUTPUT_SIDE = 12, 24, 48
"""Height and width of the windows that P-Net, R-Net and O-Net look at, in pixels."""
PROPOSAL_STRIDE = 2
"""Distance between neighbouring windows of P-Net, in pixels."""
FACE, BOX, LANDMARKS = "face", "box", "landmarks"
"""Names of the outputs."""
OUTPUTS = {FACE: 2, BOX: 4, LANDMARKS: 10}
"""Number of values of each output."""

# He et al., "Delving Deep into Rectifiers", ICCV 2015; Keras begins with 0, a ReLU.
_SLOPE = 0.25


def proposal_network() -> keras.Model:
    """Builds P-Net, which is convolutional throughout: 6,962 parameters, 330 of them for the landmarks.

    Returns:
        A model from float32 [N, H, W, 3] in 0..1, H and W of 12 or more, to maps float32 [N, h, w, values]
        of each output, h = (H - 10) // 2: place (i, j) is the window that begins at row 2 i and column 2 j
        and is 12 pixels high and wide. Images of 12x12 give maps of 1x1.
    """
    inputs = keras.Input((None, None, 3), name="image")
    x = _convolution(centred(inputs), 10, 3, "conv1")
    x = layers.MaxPooling2D(PROPOSAL_STRIDE, name="pool1")(x)
    x = _convolution(x, 16, 3, "conv2")
    x = _convolution(x, 32, 3, "conv3")
    return _with_outputs(
        inputs,
        x,
        lambda values, name: layers.Conv2D(
            values, 1, kernel_initializer=_small(), dtype="float32", name=name
        ),
        name="p_net",
    )


def refinement_network(dropout: float = 0.0) -> keras.Model:
    """Builds R-Net: 101,468 parameters, 1,290 of them for the landmarks.

    Args:
        dropout: Share of the last layer's inputs dropped in training; the paper has none.

    Returns:
        A model from float32 [N, 24, 24, 3] in 0..1 to float32 [N, values] of each output.
    """
    inputs = keras.Input((REFINEMENT_SIDE, REFINEMENT_SIDE, 3), name="image")
    x = _convolution(centred(inputs), 28, 3, "conv1")
    # The paper's sizes of maps (11 of 22) need the poolings that do not divide to reach over the edge.
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    x = _convolution(x, 48, 3, "conv2")
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    x = _convolution(x, 64, 2, "conv3")
    return _with_hidden(inputs, x, 128, dropout, name="r_net")


def output_network(dropout: float = 0.0) -> keras.Model:
    """Builds O-Net: 389,040 parameters.

    Args:
        dropout: See `refinement_network`.

    Returns:
        A model from float32 [N, 48, 48, 3] in 0..1 to float32 [N, values] of each output.
    """
    inputs = keras.Input((OUTPUT_SIDE, OUTPUT_SIDE, 3), name="image")
    x = _convolution(centred(inputs), 32, 3, "conv1")
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    x = _convolution(x, 64, 3, "conv2")
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)
    x = _convolution(x, 64, 3, "conv3")
    x = layers.MaxPooling2D(2, name="pool3")(x)
    x = _convolution(x, 128, 2, "conv4")
    return _with_hidden(inputs, x, 256, dropout, name="o_net")


def _with_hidden(inputs: tf.Tensor, x: tf.Tensor, units: int, dropout: float, name: str) -> keras.Model:
    x = layers.Dense(units, kernel_initializer="he_normal", name="hidden")(layers.Flatten(name="flat")(x))
    x = layers.Dropout(dropout, name="dropout")(_prelu("hidden_prelu")(x))
    return _with_outputs(
        inputs,
        x,
        lambda values, output: layers.Dense(
            values, kernel_initializer=_small(), dtype="float32", name=output
        ),
        name,
    )


def _small() -> keras.initializers.Initializer:
    """Weights of the last layers: without normalisation, first answers are large, and unlearnt for long."""
    return keras.initializers.RandomNormal(stddev=0.01)


def _with_outputs(
    inputs: tf.Tensor, x: tf.Tensor, layer: Callable[[int, str], keras.layers.Layer], name: str
) -> keras.Model:
    outputs = {output: layer(values, output)(x) for output, values in OUTPUTS.items()}
    return keras.Model(inputs, outputs, name=name)


def _convolution(x: tf.Tensor, filters: int, size: int, name: str) -> tf.Tensor:
    x = layers.Conv2D(filters, size, kernel_initializer="he_normal", name=name)(x)
    return _prelu(f"{name}_prelu", shared_axes=[1, 2])(x)


def _prelu(name: str, shared_axes: list[int] | None = None) -> keras.layers.Layer:
    """A ReLU with a slope below 0 that is learnt, one a filter."""
    slope = keras.initializers.Constant(_SLOPE)
    return layers.PReLU(alpha_initializer=slope, shared_axes=shared_axes, name=name)
