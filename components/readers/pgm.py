"""Portable grey maps, which TensorFlow does not decode, turned into PNG without loss.

Source: the `pgm` manual page of Netpbm. Not left to Pillow: it shows 16-bit maps as another mode, and its
messages do not tell what is wrong with a file.
"""

import io
import re

import numpy as np
from PIL import Image

from components.readers.record import RecordRejected
from data_validation.image_quality import MAX_PIXELS

# Between the numbers of the header stand white space and comments; after the last, one white space.
_GAP = rb"(?:[ \t\r\n\v\f]|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P([25])" + (_GAP + rb"([0-9]{1,9})") * 3 + rb"[ \t\r\n\v\f]")
_COMMENT = re.compile(rb"#[^\r\n]*")
_MOST = 65535
_DIGITS = len(str(_MOST))


def to_png(pgm: bytes) -> bytes:
    """Converts an image, binary (P5) or plain (P2), with or without comments.

    Values are scaled to 0 to 255 where the header has another maximum. Of 16-bit images the finer steps are
    lost, as training and serving would lose them too.

    Args:
        pgm: The file; what follows the first image in it is left alone.

    Returns:
        An 8-bit grey PNG of the same size.

    Raises:
        RecordRejected: It is no PGM, too large, truncated, or holds values above its maximum.
    """
    pixels, most = _pixels(pgm)
    if pixels.max() > most:
        raise RecordRejected(f"PGM: expected values from 0 to {most}, found {pixels.max()}")
    if most != 255:
        pixels = (pixels.astype(np.uint32) * 255 + most // 2) // most
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def _pixels(pgm: bytes) -> tuple[np.ndarray, int]:
    """Returns the values as they are, integers [height, width], and the maximum of the header."""
    header = _HEADER.match(pgm)
    if header is None:
        raise RecordRejected(
            f"PGM: expected P5 or P2, width, height and maximum, found {bytes(pgm[:20])!r}"
            if pgm
            else "PGM: expected an image, found an empty file"
        )
    kind, *numbers = header.groups()
    width, height, most = (int(number) for number in numbers)
    if not 0 < width * height <= MAX_PIXELS:
        raise RecordRejected(f"PGM: expected 1 to {MAX_PIXELS} pixels, found {width}x{height}")
    if not 0 < most <= _MOST:
        raise RecordRejected(f"PGM: expected a maximum from 1 to {_MOST}, found {most}")
    # With the white space after the header, where comments of the plain form may begin.
    rest = pgm[header.end() - 1 :]
    values = _binary(rest, width * height, most) if kind == b"5" else _plain(rest, width * height)
    return values.reshape(height, width), most


def _binary(rest: bytes, count: int, most: int) -> np.ndarray:
    kind = np.dtype(">u2" if most > 255 else "u1")
    expected, found = count * kind.itemsize, len(rest) - 1
    if found < expected:
        raise RecordRejected(f"PGM: truncated: expected {expected} bytes of pixels, found {found}")
    return np.frombuffer(rest, kind, count, offset=1)


def _plain(rest: bytes, count: int) -> np.ndarray:
    values = _COMMENT.sub(b"", rest).split(maxsplit=count)[:count]
    for value in values:
        if not (value.isdigit() and len(value) <= _DIGITS):
            raise RecordRejected(f"PGM: expected numbers as pixels, found {value[:20]!r}")
    if len(values) < count:
        raise RecordRejected(f"PGM: truncated: expected {count} pixels, found {len(values)}")
    return np.array([int(value) for value in values], dtype=np.uint32)
