"""Takes the pictures of a request in: each through the door alone, all of them within a bound."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ninja import UploadedFile

from serving.portal.api.errors import TooLarge
from serving.portal.assessment.pictures import BadImage, Picture, pixels_to_decode, receive

MAX_IMAGES = 16
MAX_PIXELS = 200_000_000
"""Of a request: sixteen photos of a phone, but not sixteen of the largest that may come alone."""


@dataclass(frozen=True)
class Batch:
    """The pictures of a request.

    Attributes:
        entries: One for each file, in order: the picture, or why it is none.
        milliseconds: That decoding took.
    """

    entries: tuple[Picture | BadImage, ...]
    milliseconds: float

    @property
    def pictures(self) -> list[Picture]:
        """Those that are pictures, in order."""
        return [entry for entry in self.entries if isinstance(entry, Picture)]


def read(files: Sequence[UploadedFile]) -> Batch:
    """Decodes files.

    Raises:
        TooLarge: They have too many pixels together.
    """
    started = time.perf_counter()
    encoded = [file.read() for file in files]
    if sum(map(pixels_to_decode, encoded)) > MAX_PIXELS:
        millions = MAX_PIXELS // 1_000_000
        raise TooLarge(f"The pictures are too large together: at most {millions} million pixels a request.")
    entries = tuple(map(_receive, encoded))
    return Batch(entries, 1000.0 * (time.perf_counter() - started))


def _receive(encoded: bytes) -> Picture | BadImage:
    try:
        return receive(encoded)
    except BadImage as error:
        return error
