"""Scalar features that describe an image, for statistics and validation.

Statistics over encoded image bytes say nothing; these few numbers show a camera that went dark, a resize
that blurred or an export that changed its compression.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

# Above this, decoding could exhaust a worker: 64 megapixels is more than any camera's face picture needs.
MAX_PIXELS = 64_000_000
# Larger files are not read: 64 MiB is more than an image of so many pixels takes as a JPEG.
MAX_FILE_BYTES = 64 << 20
# Below this, nobody could tell what a face shows; data sets have such pictures in the place of lost ones.
MIN_SIDE = 16
# What training and serving decode.
FORMATS = ("JPEG", "PNG", "GIF")


class UnreadableImageError(ValueError):
    """Bytes that do not decode to an image of an accepted size."""


@dataclass(frozen=True)
class ImageQuality:
    """What the validation sees of an image.

    Attributes:
        height: Rows of the decoded image, pixels.
        width: Columns of the decoded image, pixels.
        brightness: Mean of the luma, 0 (black) to 1 (white).
        contrast: Standard deviation of the luma, 0 (flat) to 0.5.
        sharpness: Variance of the luma's Laplacian, 0 upwards; the usual focus measure
            (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000).
        byte_size: Length of the encoded image, bytes.
    """

    height: int
    width: int
    brightness: float
    contrast: float
    sharpness: float
    byte_size: int


def read_size(encoded: bytes) -> tuple[int, int]:
    """Reads the size out of an image's header, without decoding its pixels.

    Args:
        encoded: A JPEG, PNG or GIF.

    Returns:
        Width and height in pixels.

    Raises:
        UnreadableImageError: The bytes are no such image, or it holds more than MAX_PIXELS.
    """
    with _opened(encoded) as image:
        return image.size


def read_luma(encoded: bytes) -> Image.Image:
    """Decodes an image fully, to its luma.

    Args:
        encoded: A JPEG, PNG or GIF.

    Returns:
        An 8-bit grey image.

    Raises:
        UnreadableImageError: The bytes are no such image, are truncated, or hold more than MAX_PIXELS.
    """
    with _opened(encoded) as image:
        if image.mode.startswith("I"):
            # Pillow would cut 16-bit values off at 255.
            return Image.fromarray((np.asarray(image, dtype=np.uint32) >> 8).astype(np.uint8))
        return image.convert("L")


@contextmanager
def _opened(encoded: bytes) -> Iterator[Image.Image]:
    """Opens an image; what goes wrong then or later, when its pixels are read, is an UnreadableImageError."""
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(
                    f"image of {image.width}x{image.height} exceeds {MAX_PIXELS} pixels"
                )
            yield image
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        # Its own message holds an address in memory, another one each time.
        raise UnreadableImageError("image cannot be decoded: no JPEG, PNG or GIF") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"image cannot be decoded: {error}") from error


def measure(encoded: bytes, min_side: int = 1) -> ImageQuality:
    """Decodes an image fully and measures it.

    Args:
        encoded: A JPEG, PNG or GIF, which are what training and serving decode.
        min_side: Least height and width, pixels.

    Returns:
        The measures of the image's luma.

    Raises:
        UnreadableImageError: The bytes are no image, are truncated, hold more than MAX_PIXELS or have a side
            below `min_side`.
    """
    luma = np.asarray(read_luma(encoded), dtype=np.float32) / 255.0
    if min(luma.shape) < min_side:
        raise UnreadableImageError(
            f"image of {luma.shape[1]}x{luma.shape[0]} is smaller than {min_side}x{min_side}"
        )
    return ImageQuality(
        height=luma.shape[0],
        width=luma.shape[1],
        brightness=float(luma.mean()),
        contrast=float(luma.std()),
        sharpness=_laplacian_variance(luma),
        byte_size=len(encoded),
    )


def _laplacian_variance(luma: np.ndarray) -> float:
    if min(luma.shape) < 3:
        return 0.0
    centre = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4.0 * centre
    return float(laplacian.var())
