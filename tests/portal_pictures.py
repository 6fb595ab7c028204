"""Pictures for the portal, of which `portal_models` answers what can be told by hand."""

import io

from PIL import Image


def encoded(colour: tuple[int, int, int] = (90, 90, 90), size=(640, 480), kind="JPEG", **options) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, **options)
    return buffer.getvalue()
