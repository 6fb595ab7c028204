"""What the preprocessing functions of the tasks share. Traced by the Transform node."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from trainers.imaging import decode_batch

IMAGE = "image/encoded"


def decoded(inputs: Mapping[str, tf.Tensor], side: int, channels: int) -> tf.Tensor:
    """Decodes, resizes and scales the images.

    Args:
        inputs: `image/encoded`, string [N, 1] or [N].
        side: Height and width wanted, pixels.
        channels: 1 for grey, 3 for RGB.

    Returns:
        float32 [N, side, side, channels] in 0..1.
    """
    return decode_batch(tf.reshape(inputs[IMAGE], [-1]), side, side, channels)


def numbered(names: tf.Tensor, classes: Sequence[str]) -> tf.Tensor:
    """Numbers class names.

    Args:
        names: string [N, 1] or [N].
        classes: Class names in the model's order.

    Returns:
        int64 [N]: the index in `classes`, -1 for a name that is not there.
    """
    numbers = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(list(classes), list(range(len(classes))), value_dtype=tf.int64),
        default_value=-1,
    )
    return numbers.lookup(tf.reshape(names, [-1]))
