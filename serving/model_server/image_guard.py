"""Looks at the size that an image claims before a graph makes room for its pixels."""

import io
from collections.abc import Iterable

from PIL import Image
from tensorflow.core.example.example_pb2 import Example

from serving.model_server.errors import invalid

# What TensorFlow's decoders take, by the first bytes; anything else fails in the graph without a large
# allocation.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF")
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
# The first byte of a serialised tf.Example: its one field, `features`.
_EXAMPLE = b"\n"


def check_images(values: Iterable[bytes], max_pixels: int) -> None:
    """Refuses images that are larger than allowed, also those inside serialised tf.Examples.

    Args:
        values: Strings of a request: images, tf.Examples, anything.
        max_pixels: Most pixels of one image.

    Raises:
        ServingError: INVALID_ARGUMENT, with the size that the image claims.
    """
    for value in values:
        if value.startswith(_SIGNATURES):
            _check_image(value, max_pixels)
        elif value.startswith(_EXAMPLE):
            check_images(_images_in_example(value), max_pixels)


def check_example(example: Example, max_pixels: int) -> None:
    """Refuses a tf.Example that holds an image larger than allowed; see `check_images`."""
    for feature in example.features.feature.values():
        check_images(
            (value for value in feature.bytes_list.value if value.startswith(_SIGNATURES)), max_pixels
        )


def _images_in_example(serialized: bytes) -> list[bytes]:
    try:
        example = Example.FromString(serialized)
    except ValueError:  # protobuf's DecodeError: some other text
        return []
    values = (value for feature in example.features.feature.values() for value in feature.bytes_list.value)
    return [value for value in values if value.startswith(_SIGNATURES)]


def _check_image(encoded: bytes, max_pixels: int) -> None:
    try:
        # Only the header is read; pixels are not.
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise invalid(f"image too large: {error}") from error
    except (OSError, ValueError, SyntaxError):
        # Not an image after all: the graph says so in its own words.
        return
    if width * height > max_pixels:
        raise invalid(
            f"image too large: {width} x {height} pixels; this server decodes at most {max_pixels} pixels"
        )
