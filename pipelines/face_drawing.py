"""Draws what was found into pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from components.face_finder import Face

_BOX, _POINT, _RIM = (64, 255, 64), (255, 64, 64), (0, 0, 0)
# A line is this share of the longer side of the picture, a letter this many lines high.
_LINE = 1 / 400
_LETTER = 7
# A point's radius is one and a half lines, or this share of a small face's height.
_POINT_OF_FACE = 1 / 30


def draw_faces(image: Image.Image, faces: Sequence["Face"]) -> Image.Image:
    """Draws the box, the score and the five points of each face.

    Args:
        image: 8-bit RGB, from `pipelines.pictures.upright`; it stays as it is.
        faces: What was found in it.

    Returns:
        A picture of the same size, like the image without metadata.
    """
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    line = max(1, round(_LINE * max(image.size)))
    font = ImageFont.load_default(max(8, _LETTER * line))
    for face in faces:
        left, top, right, bottom = face.box
        # A box's edges lie between pixels, a pen's on them.
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=_BOX, width=line)
        radius = min(1.5 * line, max(1.0, _POINT_OF_FACE * (bottom - top)))
        for x, y in face.points.tolist():
            pen.circle((x - 0.5, y - 0.5), radius, fill=_POINT)
        words = f"{face.score:.2f}"
        height = font.getbbox(words)[3] + 2 * line
        # Above the box, or inside where the picture ends.
        place = (left + line, top - height if top >= height else top + line)
        pen.text(place, words, fill=_BOX, font=font, stroke_width=line, stroke_fill=_RIM)
    return drawn
