"""Turns pictures as their EXIF data says, so that models see them as people do."""

from collections.abc import Mapping

import numpy as np
from PIL import ExifTags, Image

# By EXIF's orientation. ImageOps.exif_transpose also writes EXIF data anew, which fails where it is damaged.
_UPRIGHT: Mapping[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """Copies a picture, turned as its EXIF data says, with 8 bits where it has 16.

    Args:
        image: An opened picture of any mode; it is decoded.

    Returns:
        A picture in the same mode, or in grey (L) where it had 16 bits; `info` is as it was.

    Raises:
        OSError, SyntaxError, ValueError: Whatever Pillow raises for a damaged file.
    """
    turn = _UPRIGHT.get(_orientation(image))
    turned = image.transpose(turn) if turn is not None else image.copy()
    if turned.mode.startswith("I"):
        # Pillow would cut 16-bit values off at 255.
        return Image.fromarray((np.asarray(turned, dtype=np.uint32) >> 8).astype(np.uint8))
    return turned


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # whatever Pillow meets in damaged EXIF data, the picture can be seen
        return None
