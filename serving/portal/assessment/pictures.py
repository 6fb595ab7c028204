"""The door for pictures from outside: what comes in is decoded, bounded, turned upright and written anew.

Nothing of a file but its pixels goes further: no metadata, no second format behind the first, no name.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from serving.upright import upright

MAX_BYTES = 10 << 20
"""Of a file. Ten megabytes hold the photo of a phone."""
MAX_PIXELS = 40_000_000
"""Of a picture: 40 megapixels, 120 MB when decoded."""
MIN_SIDE = 16
"""As in data sets: below this nobody could tell what a face shows."""
LONGEST_SIDE = 1920
"""What is larger is made smaller; detection models look at no more."""
FORMATS = ("JPEG", "PNG", "WEBP")
CONTENT_TYPE = "image/jpeg"
"""Of what is kept."""

_QUALITY = 92
_WHITE = (255, 255, 255)


class BadImage(ValueError):
    """A file that cannot be taken for a picture; the message tells a person why, without naming the file."""


@dataclass(frozen=True)
class Picture:
    """A picture that came through the door.

    Attributes:
        rgb: 8-bit RGB, upright, without metadata, sides of 16 to 1920 pixels.
        jpeg: The same pixels, encoded.
    """

    rgb: Image.Image
    jpeg: bytes

    @property
    def width(self) -> int:
        """Columns, pixels."""
        return self.rgb.width

    @property
    def height(self) -> int:
        """Rows, pixels."""
        return self.rgb.height


def receive(encoded: bytes) -> Picture:
    """Lets a file from outside in.

    Args:
        encoded: What somebody sent.

    Returns:
        The picture, written anew.

    Raises:
        BadImage: It is empty, too large, no JPEG, PNG or WebP, an animation, damaged, or too small.
    """
    if not encoded:
        raise BadImage("The file is empty.")
    if len(encoded) > MAX_BYTES:
        raise BadImage(too_large())
    rgb = _decode(encoded)
    rgb.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    if min(rgb.size) < MIN_SIDE:
        raise BadImage(f"The picture is too small: a side has {min(rgb.size)} pixels, at least {MIN_SIDE}.")
    # Decoded again, so that what is shown, kept and asked about are the same pixels.
    return restore(_as_jpeg(rgb))


def pixels_to_decode(encoded: bytes) -> int:
    """Tells how many pixels a file says it has; 0 where it would be refused before they are decoded."""
    try:
        with _opened(encoded) as image:
            pixels = image.width * image.height
    except BadImage:
        return 0
    return pixels if pixels <= MAX_PIXELS else 0


def restore(jpeg: bytes) -> Picture:
    """Opens a picture that came through the door before; its file is trusted."""
    with Image.open(io.BytesIO(jpeg)) as image:
        return Picture(image.convert("RGB"), jpeg)


def too_large() -> str:
    """Tells that a file is larger than may come in."""
    return f"The file is too large: at most {MAX_BYTES >> 20} MB can be taken."


def _decode(encoded: bytes) -> Image.Image:
    with _opened(encoded) as image:
        if image.width * image.height > MAX_PIXELS:
            raise BadImage(
                f"The picture is too large: {image.width} x {image.height} pixels, at most "
                f"{MAX_PIXELS // 1_000_000} million."
            )
        if getattr(image, "is_animated", False):
            raise BadImage("Animations cannot be taken; please choose a single picture.")
        if image.format == "JPEG":
            # Reads a photo of many megapixels at an eighth to a half of its size, in as much less time.
            image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
        return _as_rgb(upright(image))


@contextmanager
def _opened(encoded: bytes) -> Iterator[Image.Image]:
    """Opens a picture; what goes wrong then or later, when its pixels are read, is a BadImage."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged EXIF data and of large pictures, which are for us to judge.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
                yield image
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise BadImage("This is no picture that can be read: please choose a JPEG, PNG or WebP.") from error
    except Image.DecompressionBombError as error:
        raise BadImage(
            f"The picture is too large: at most {MAX_PIXELS // 1_000_000} million pixels."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise BadImage("The picture is damaged or incomplete: it cannot be decoded.") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, (*_WHITE, 255))
        image.alpha_composite(layer)
    return image.convert("RGB")


def _as_jpeg(rgb: Image.Image) -> bytes:
    rgb.info = {}
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
