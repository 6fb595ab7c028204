"""The door for pictures from outside: what comes in is decoded, bounded, turned upright and written anew.

Nothing of a file but its pixels goes further: no metadata, no second format behind the first, no name.
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from PIL import Image, UnidentifiedImageError

from serving.client import Code, ResourceExhausted
from serving.portal.assessment.file_parts import has_too_many
from serving.upright import upright

MAX_BYTES = 10 << 20
"""Of a file. Ten megabytes hold the photo of a phone."""
MAX_PIXELS = 40_000_000
"""Of a picture: 40 megapixels, 120 MB when decoded."""
MAX_WEBP_PIXELS = 16_000_000
"""Of a WebP, whose decoder holds all of it several times: 280 MB, and 660 MB of 40 megapixels."""
MIN_SIDE = 16
"""As in data sets: below this nobody could tell what a face shows."""
LONGEST_SIDE = 1920
"""What is larger is made smaller; detection models look at no more."""
FORMATS = ("JPEG", "PNG", "WEBP")
CONTENT_TYPE = "image/jpeg"
"""Of what is kept."""

_QUALITY = 92
_WHITE = (255, 255, 255)
_DAMAGED = "The picture is damaged or incomplete: it cannot be decoded."
# Decoding keeps a core busy and may take hundreds of megabytes: more at once would not be done any sooner.
_places = threading.BoundedSemaphore(2)
# Seconds: the largest pictures take one each. Who waits longer would only keep a thread from others.
_PATIENCE = 5.0
# Of damaged metadata and of large pictures, which are for us to judge.
warnings.filterwarnings("ignore", module=r"PIL\.")


class BadImage(ValueError):
    """A file that cannot be taken for a picture; the message tells a person why, without naming the file."""


@dataclass(frozen=True)
class Picture:
    """A picture that came through the door: 8-bit RGB, upright, without metadata, sides of 16 to 1920 pixels.

    Attributes:
        jpeg: The picture, encoded.
        width: Columns, pixels.
        height: Rows, pixels.
    """

    jpeg: bytes
    width: int
    height: int

    @cached_property
    def rgb(self) -> Image.Image:
        """Its pixels, decoded when they are first asked for."""
        with Image.open(io.BytesIO(self.jpeg)) as image:
            return image.convert("RGB")


def receive(encoded: bytes) -> Picture:
    """Lets a file from outside in.

    Args:
        encoded: What somebody sent.

    Returns:
        The picture, written anew.

    Raises:
        BadImage: It is empty, too large, no JPEG, PNG or WebP, an animation, damaged, or too small.
        ResourceExhausted: Too many others are being decoded.
    """
    if not encoded:
        raise BadImage("The file is empty.")
    if len(encoded) > MAX_BYTES:
        raise BadImage(too_large())
    if has_too_many(encoded):
        raise BadImage(_DAMAGED)
    with _place():
        rgb = _decode(encoded)
        if min(rgb.size) < MIN_SIDE:
            raise BadImage(
                f"The picture is too small: a side has {min(rgb.size)} pixels, at least {MIN_SIDE}."
            )
        return Picture(_as_jpeg(rgb), rgb.width, rgb.height)


@contextmanager
def _place() -> Iterator[None]:
    if not _places.acquire(timeout=_PATIENCE):
        raise ResourceExhausted(Code.RESOURCE_EXHAUSTED, "too many pictures are being decoded")
    try:
        yield
    finally:
        _places.release()


def pixels_to_decode(encoded: bytes) -> int:
    """Tells how many pixels a file says it has; 0 where it would be refused before they are decoded."""
    if len(encoded) > MAX_BYTES or has_too_many(encoded):
        # Opening it alone would take seconds.
        return 0
    try:
        with _opened(encoded) as image:
            pixels = image.width * image.height
            return pixels if pixels <= _most_pixels(image) else 0
    except BadImage:
        return 0


def restore(jpeg: bytes) -> Picture:
    """Opens a picture that came through the door before; its file is trusted."""
    with Image.open(io.BytesIO(jpeg)) as image:
        return Picture(jpeg, image.width, image.height)


def too_large() -> str:
    """Tells that a file is larger than may come in."""
    return f"The file is too large: at most {MAX_BYTES >> 20} MB can be taken."


def _decode(encoded: bytes) -> Image.Image:
    with _opened(encoded) as image:
        most = _most_pixels(image)
        if image.width * image.height > most:
            raise BadImage(
                f"The picture is too large: {image.width} x {image.height} pixels, at most "
                f"{most // 1_000_000} million{' of a WebP' if image.format == 'WEBP' else ''}."
            )
        # Photos of phones have a map of their lights, or a second view, behind the photo.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            raise BadImage("Animations cannot be taken; please choose a single picture.")
        if image.format in ("JPEG", "MPO"):
            # Reads a photo of many megapixels at an eighth to a half of its size, in as much less time.
            image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
        return _on_white(upright(_small(image)))


def _most_pixels(image: Image.Image) -> int:
    return MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS


@contextmanager
def _opened(encoded: bytes) -> Iterator[Image.Image]:
    """Opens a picture; what goes wrong then or later, when its pixels are read, is a BadImage."""
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            yield image
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise BadImage("This is no picture that can be read: please choose a JPEG, PNG or WebP.") from error
    except Image.DecompressionBombError as error:
        raise BadImage(
            f"The picture is too large: at most {MAX_PIXELS // 1_000_000} million pixels, "
            f"{MAX_WEBP_PIXELS // 1_000_000} million of a WebP."
        ) from error
    except Exception as error:  # whatever Pillow meets in a damaged file, TypeError and AssertionError too
        raise BadImage(_DAMAGED) from error


def _small(image: Image.Image) -> Image.Image:
    """Makes a picture as small as is kept, first of all: copies of one with 40 million pixels are large."""
    mode = "RGBA" if image.has_transparency_data else "RGB"
    # Numbers of colours cannot be averaged.
    if image.mode != mode and (mode == "RGBA" or image.mode in ("1", "P")):
        image = image.convert(mode)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        page = Image.new("RGBA", image.size, (*_WHITE, 255))
        page.alpha_composite(image)
        image = page
    return image.convert("RGB")


def _as_jpeg(rgb: Image.Image) -> bytes:
    rgb.info = {}
    buffer = io.BytesIO()
    rgb.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
