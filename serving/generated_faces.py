"""What files of generated faces say of themselves: that nobody was photographed, and what drew them."""

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def as_png(picture: Image.Image, software: str, note: str) -> bytes:
    """Encodes a picture of generated faces as PNG.

    Args:
        picture: Of any size and mode that PNG has.
        software: What wrote the file, as its `Software`.
        note: What made the faces, as its `Description`.
    """
    text = PngInfo()
    text.add_text("Software", software)
    text.add_text("Description", note)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()
