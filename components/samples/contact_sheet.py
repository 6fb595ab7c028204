"""A sheet of captioned pictures, to look at many samples at once."""

import math
from collections.abc import Iterable

from PIL import Image, ImageDraw, ImageFont

from data_validation.errors import InputError

_GAP = 6
_CAPTION_HEIGHT = 16
_PAPER = (250, 250, 250)
_INK = (40, 40, 40)


def contact_sheet(
    images_with_captions: Iterable[tuple[Image.Image, str]], columns: int, cell: int
) -> Image.Image:
    """Arranges pictures in a grid, each with its caption below.

    Args:
        images_with_captions: The pictures, of any size and mode, in reading order.
        columns: Pictures in a row.
        cell: Largest side of a picture on the sheet, in pixels.
    """
    entries = list(images_with_captions)
    if not entries:
        raise InputError("contact sheet: expected at least one picture, found none")
    if columns < 1 or cell < 1:
        raise InputError(f"contact sheet: expected columns and cell from 1, found {columns} and {cell}")
    columns = min(columns, len(entries))
    rows = math.ceil(len(entries) / columns)
    pitch_x, pitch_y = cell + _GAP, cell + _CAPTION_HEIGHT + _GAP
    sheet = Image.new("RGB", (columns * pitch_x + _GAP, rows * pitch_y + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=11)
    for index, (image, caption) in enumerate(entries):
        row, column = divmod(index, columns)
        left, top = _GAP + column * pitch_x, _GAP + row * pitch_y
        sheet.paste(_fitted(image, cell), (left, top))
        text = _shortened(caption, font, cell)
        draw.text((left + (cell - font.getlength(text)) / 2, top + cell + 1), text, fill=_INK, font=font)
    return sheet


def _fitted(image: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Enlarged pixels stay visible: the sheet shows what the model sees.
    resample = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return image.convert("RGB").resize(size, resample)


def _shortened(caption: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    text = caption.splitlines()[0] if caption else ""
    while text and font.getlength(text) > width:
        text = text[:-2] + "\N{HORIZONTAL ELLIPSIS}" if len(text) > 2 else ""
    return text
