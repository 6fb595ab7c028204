"""Picture files that commands are given: which there are, their pixels, and a bar of progress."""

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import serving.upright
from data_validation.errors import InputError
from data_validation.image_quality import MAX_FILE_BYTES, UnreadableImageError, read_luma

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif")
"""What files are taken for pictures in folders."""
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def pictures_in(folder: Path) -> list[Path]:
    """Lists the pictures of a folder and of all folders in it, without hidden ones, by name.

    Raises:
        OSError: A folder cannot be read.
    """
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = (name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith("."))
        found.extend(Path(place, name) for name in sorted(names))
    return found


def _raise(error: OSError) -> NoReturn:
    raise error


def read_file(file: Path) -> bytes:
    """Reads a picture file as it is.

    Raises:
        InputError: It is no regular file, is too large, or cannot be read; the message names it.
    """
    # A pipe would be waited for.
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: expected an image file, found something else")
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(f"{file}: expected at most {MAX_FILE_BYTES} bytes, found {size}")
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error


def upright(encoded: bytes, name: str) -> Image.Image:
    """Decodes a picture as a person sees it: turned as its EXIF data says.

    Transparency is left out and 16 bits become 8 as where models decode; of an animation, the first frame is
    taken.

    Args:
        encoded: A JPEG, PNG or GIF in any mode.
        name: What messages call it.

    Returns:
        8-bit RGB without metadata.

    Raises:
        InputError: It cannot be decoded, or has more than MAX_PIXELS.
    """
    with warnings.catch_warnings():
        # Pillow warns of damaged EXIF data and of large pictures, which are for us to judge.
        warnings.simplefilter("ignore")
        try:
            read_luma(encoded)  # makes all checks of size and form
        except UnreadableImageError as error:
            raise InputError(f"{name}: {error}") from error
        with Image.open(io.BytesIO(encoded)) as image:
            rgb = serving.upright.upright(image).convert("RGB")
    # Where it was taken is nobody's business, but formats would write it again.
    rgb.info = {}
    return rgb


def as_png(image: Image.Image) -> bytes:
    """Encodes pixels without loss and without taking time for compression."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


@contextmanager
def progress(total: int, screen: Console | None = None) -> Iterator[Callable[[float], None]]:
    """Shows a bar on a terminal; on stderr, so that it is not among what a script reads.

    Args:
        total: How many pictures.
        screen: A console on stderr, where there are also other lines to show meanwhile.

    Yields:
        What to tell how many more are done.
    """
    screen = screen or Console(stderr=True)
    bar = Progress(*_COLUMNS, console=screen, transient=True, disable=not screen.is_terminal)
    with bar:
        task = bar.add_task("images", total=total)
        yield lambda count: bar.advance(task, count)
