"""From encoded images to the tensors that networks take: one implementation for training and serving."""

import tensorflow as tf


def decode(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """Decodes one image.

    Args:
        encoded: string [], a JPEG, a PNG or a GIF without animation.
        channels: 1 for grey, 3 for RGB; the image is converted.

    Returns:
        uint8 [height, width, channels].
    """
    # decode_jpeg takes PNG and GIF as well. Its accurate DCT gives the values that other decoders give;
    # decode_image has no such choice and is up to five grey levels off.
    image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return _to_channels(image, channels)


def resize(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes images and scales them.

    Args:
        images: uint8 [..., H, W, C], values 0 to 255.
        height: Rows wanted.
        width: Columns wanted.

    Returns:
        float32 [..., height, width, C], values 0 to 1; bilinear with anti-aliasing.
    """
    # A product: TensorFlow makes one of a division in some places, in others not, and the last digit differs.
    scaled = tf.cast(images, tf.float32) * (1.0 / 255.0)
    shape = tf.shape(images)
    same = tf.logical_and(tf.equal(shape[-3], height), tf.equal(shape[-2], width))
    resized = tf.cond(
        same, lambda: scaled, lambda: tf.image.resize(scaled, [height, width], "bilinear", antialias=True)
    )
    return tf.ensure_shape(resized, [*images.shape[:-3], height, width, images.shape[-1]])


def decode_batch(encoded: tf.Tensor, height: int, width: int, channels: int) -> tf.Tensor:
    """Decodes and resizes a batch of images of any sizes.

    Args:
        encoded: string [N].
        height: Rows wanted.
        width: Columns wanted.
        channels: 1 or 3.

    Returns:
        float32 [N, height, width, channels], values 0 to 1.
    """
    return tf.map_fn(
        lambda item: resize(decode(item, channels), height, width),
        encoded,
        fn_output_signature=tf.TensorSpec([height, width, channels], tf.float32),
    )


def from_pixels(pixels: tf.Tensor, height: int, width: int, channels: int) -> tf.Tensor:
    """Takes raw pixels through the same steps as `decode_batch`.

    Args:
        pixels: uint8 [N, H, W, 1 or 3].
        height: Rows wanted.
        width: Columns wanted.
        channels: 1 or 3.

    Returns:
        float32 [N, height, width, channels], values 0 to 1.
    """
    rgb = tf.cond(
        tf.equal(tf.shape(pixels)[-1], 1), lambda: tf.repeat(pixels, 3, axis=-1), lambda: tf.identity(pixels)
    )
    rgb = tf.ensure_shape(rgb, [None, None, None, 3])
    return resize(_to_channels(rgb, channels), height, width)


def _to_channels(rgb: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts uint8 RGB [..., 3] to `channels`, rounding as image libraries do."""
    if channels == 3:
        return rgb
    # ITU-R BT.601 luma in 16-bit fixed point; the weights add up to 65536, so grey stays what it is.
    weights = tf.constant([19595, 38470, 7471], tf.int32)
    luma = tf.reduce_sum(tf.cast(rgb, tf.int32) * weights, axis=-1, keepdims=True)
    return tf.cast(tf.bitwise.right_shift(luma + 32768, 16), tf.uint8)
