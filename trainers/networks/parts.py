"""What networks of different tasks share: scaling of pixels, the last layer, checks of sizes."""

import tensorflow as tf
import tf_keras as keras

layers = keras.layers

# Mean and standard deviation of the pixels of FER-2013's training split (0.508 and 0.255), rounded; those of
# UTKFace's are nearly the same.
PIXEL_MEAN = 0.5
PIXEL_DEVIATION = 0.25


def check_shape(input_shape: tuple[int, int, int], num_classes: int, halvings: int) -> None:
    """Refuses sizes for which Keras would fail with a message that names neither argument nor cause."""
    least = 2**halvings
    if len(input_shape) != 3 or min(input_shape[:2]) < least or input_shape[2] < 1:
        raise ValueError(
            f"input_shape: expected (height, width, channels), sides of {least} or more, found {input_shape}"
        )
    if num_classes < 2:
        raise ValueError(f"num_classes: expected 2 or more, found {num_classes}")


def centred(images: tf.Tensor) -> tf.Tensor:
    """Brings pixels 0..1 to a mean near 0 and a deviation near 1, so that no caller needs to know how."""
    scale = 1.0 / PIXEL_DEVIATION
    return layers.Rescaling(scale, offset=-PIXEL_MEAN * scale, name="centred")(images)


def logits(x: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Applies the last linear layer, in float32 under every policy: the softmax after it needs the bits."""
    return layers.Dense(num_classes, dtype="float32", name="logits")(x)
