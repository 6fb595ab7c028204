"""Generated faces as files: single ones, a sheet, and a film from some faces to others.

Every file says inside that its faces were generated, and by what.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data_validation.errors import InputError
from serving import generated_faces
from trainers.face_grid import GAP, face_grid

SOFTWARE = "HexaFace generate"
MAX_PIXELS = 89_478_485
"""Pixels of a file, all frames of a film together: above it Pillow warns whoever opens the picture."""
# Hundredths of a second are what GIF counts in; the ends are held so that they can be looked at.
_FRAME_MS, _HOLD_MS = 80, 600


def columns_of(count: int, height: int, width: int) -> int:
    """Returns how many faces a row has so that a sheet comes out nearly square and nearly full.

    Args:
        count: Faces on the sheet, 1 or more.
        height: Of a face, pixels.
        width: Of a face, pixels.
    """
    square = math.sqrt(count * height / width)

    def flaw(columns: int) -> float:
        rows = math.ceil(count / columns)
        sides = (columns * width, rows * height)
        return max(sides) / min(sides) * columns * rows / count

    near = range(max(1, math.floor(square) - 1), min(count, math.ceil(square) + 1) + 1)
    return min(near, key=flaw)


def sheet(faces: np.ndarray, scale: int) -> Image.Image:
    """Arranges faces in a nearly square grid with small gaps, in reading order.

    Args:
        faces: RGB, uint8 [N, H, W, 3].
        scale: How many times larger each side is drawn.
    """
    columns = columns_of(*faces.shape[:3])
    drawn = np.stack([np.asarray(enlarged(face, scale)) for face in faces])
    return Image.fromarray(face_grid(drawn, columns, GAP * scale))


def sheet_size(count: int, height: int, width: int, scale: int) -> tuple[int, int]:
    """Returns the width and height of `sheet`, pixels."""
    columns = columns_of(count, height, width)
    rows = math.ceil(count / columns)
    return (columns * (width + GAP) + GAP) * scale, (rows * (height + GAP) + GAP) * scale


def enlarged(face: np.ndarray, scale: int) -> Image.Image:
    """Returns a face, uint8 [H, W, 3], larger by a whole number, smooth (Lanczos)."""
    picture = Image.fromarray(face)
    if scale == 1:
        return picture
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.LANCZOS)


def as_png(picture: Image.Image, note: str) -> bytes:
    """Encodes a picture, with a note of what made it."""
    return generated_faces.as_png(picture, SOFTWARE, note)


def as_gif(frames: Sequence[Image.Image], note: str) -> bytes:
    """Encodes a film that goes to its end and back, for ever.

    Args:
        frames: Two or more RGB pictures of one size.
        note: What made it.
    """
    there_and_back = [*frames, *frames[-2:0:-1]]
    durations = [_FRAME_MS] * len(there_and_back)
    durations[0] = durations[len(frames) - 1] = _HOLD_MS
    # One palette for all: with one a frame, what stands still would flicker; so would dithering.
    palette = _palette(frames)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in there_and_back]
    buffer = io.BytesIO()
    flat[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=flat[1:],
        duration=durations,
        loop=0,
        comment=f"{SOFTWARE}: {note}".encode(),
    )
    return buffer.getvalue()


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Returns a picture in the 256 colours that suit some of the frames."""
    chosen = [frames[0], frames[len(frames) // 2], frames[-1]]
    strip = np.concatenate([np.asarray(frame) for frame in chosen])
    return Image.fromarray(strip).quantize(256, method=Image.Quantize.MEDIANCUT)


def check_replaceable(file: Path, option: str) -> None:
    """Refuses a place where something lies that was not generated.

    Raises:
        InputError: There is a folder, or a file that is none of this module's.
    """
    if not file.exists():
        return
    if file.is_dir():
        raise InputError(f"{option} {file}: expected a file, found a folder")
    try:
        with Image.open(file) as picture:
            comment = picture.info.get("comment", b"")
            ours = picture.info.get("Software") == SOFTWARE or comment.startswith(SOFTWARE.encode())
    except Exception:  # no picture, a damaged one: in any case something else
        ours = False
    if not ours:
        raise InputError(f"{option}: expected a new file or one of generated faces, found {file}")
