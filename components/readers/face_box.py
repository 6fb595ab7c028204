"""Cuts the face out of the pictures of data sets whose faces all lie at one place."""

import io

from PIL import Image

from components.readers.record import RecordRejected
from data_validation.image_quality import UnreadableImageError, read_luma
from serving.alignment import crop

Box = tuple[int, ...]
"""Left, top, width and height in pixels; empty to leave pictures as they are."""


def cut_face(encoded: bytes, box: Box) -> bytes:
    """Cuts a box out of a picture and scales it to the size of aligned faces.

    Args:
        encoded: A JPEG or PNG.
        box: Where the face is.

    Returns:
        A PNG of 112x112; the picture itself where the box is empty.

    Raises:
        RecordRejected: The picture does not decode, or the box is not inside of it.
    """
    if not box:
        return encoded
    try:
        luma = read_luma(encoded)  # makes all checks of size and form
    except UnreadableImageError as error:
        raise RecordRejected(str(error)) from error
    with Image.open(io.BytesIO(encoded)) as image:
        left, top, width, height = box
        if left + width > image.width or top + height > image.height:
            raise RecordRejected(
                f"expected a picture that holds the box {list(box)}, found {image.width}x{image.height}"
            )
        # Pillow would cut 16-bit values off at 255; the luma is scaled.
        grey = image.mode == "L" or image.mode.startswith("I")
        face = crop(luma if grey else image.convert("RGB"), box)
    buffer = io.BytesIO()
    face.save(buffer, format="PNG")
    return buffer.getvalue()
