"""Looks at the size that an image claims before a graph makes room for its pixels."""

import io
import re
import struct
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
# Start of frame: marker, length, precision, then height and width (ITU-T T.81, B.2.2).
_FRAME_HEADER = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]..\x08(....)", re.DOTALL)
# A batch of photos is decoded image by image, but ten at once.
_WHOLE_REQUEST = 8


def check_images(values: Iterable[bytes], max_pixels: int) -> None:
    """Refuses images that are larger than allowed, also those inside serialised tf.Examples.

    Args:
        values: Strings of a request: images, tf.Examples, anything.
        max_pixels: Most pixels of one image; all images of a request may have eight times as many.

    Raises:
        ServingError: INVALID_ARGUMENT, with the size that the image claims.
    """
    total = 0
    for value in values:
        images = [value] if value.startswith(_SIGNATURES) else _images_in_example(value)
        for image in images:
            total += _pixels(image, max_pixels)
            if total > _WHOLE_REQUEST * max_pixels:
                raise invalid(f"images too large: together more than {_WHOLE_REQUEST * max_pixels} pixels")


def check_example(example: Example, max_pixels: int) -> None:
    """Refuses a tf.Example that holds an image larger than allowed; see `check_images`."""
    check_images(_strings_in(example), max_pixels)


def _images_in_example(serialized: bytes) -> list[bytes]:
    if not serialized.startswith(_EXAMPLE):
        return []
    try:
        example = Example.FromString(serialized)
    except ValueError:  # protobuf's DecodeError: some other text
        return []
    return [value for value in _strings_in(example) if value.startswith(_SIGNATURES)]


def _strings_in(example: Example) -> list[bytes]:
    return [value for feature in example.features.feature.values() for value in feature.bytes_list.value]


def _pixels(encoded: bytes, max_pixels: int) -> int:
    """Returns how many pixels a decoder makes room for."""
    try:
        # Only headers are read; pixels are not.
        with Image.open(io.BytesIO(encoded), formats=_FORMATS) as image:
            width, height = image.size
            # A decoder unpacks every picture of an animation, even if it then refuses it.
            frames = getattr(image, "n_frames", 1) if image.format == "GIF" else 1
    except Image.DecompressionBombError as error:
        raise invalid(f"image too large: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError):
        # Text that begins as an image does, or an image that TensorFlow may take though Pillow does not.
        width, height = _claimed_size(encoded)
        frames = 1
    if width * height * frames > max_pixels:
        several = f" in {frames} pictures" if frames > 1 else ""
        raise invalid(
            f"image too large: {width} x {height} pixels{several}; this server decodes at most {max_pixels}"
        )
    return width * height * frames


def _claimed_size(encoded: bytes) -> tuple[int, int]:
    """Returns the largest size that stands where decoders of PNG and JPEG look for it; 0 x 0 for none."""
    if encoded.startswith(b"\x89PNG") and len(encoded) >= 24:
        width, height = struct.unpack(">II", encoded[16:24])
        return width, height
    if not encoded.startswith(b"\xff\xd8\xff"):
        return 0, 0
    sizes = (struct.unpack(">HH", match[1]) for match in _FRAME_HEADER.finditer(encoded))
    height, width = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    return width, height
