"""Faces side by side."""

import numpy as np

GAP = 2
_PAPER = 250


def face_grid(faces: np.ndarray, columns: int, gap: int = GAP) -> np.ndarray:
    """Arranges faces in reading order on nearly white paper.

    Args:
        faces: uint8 [N, height, width, 3].
        columns: Faces in a row.
        gap: Pixels around each.

    Returns:
        uint8 [rows * (height + gap) + gap, columns * (width + gap) + gap, 3].
    """
    count, height, width, channels = faces.shape
    rows = -(-count // columns)
    shape = rows * (height + gap) + gap, columns * (width + gap) + gap, channels
    sheet = np.full(shape, _PAPER, np.uint8)
    for number, face in enumerate(faces):
        row, column = divmod(number, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        sheet[top : top + height, left : left + width] = face
    return sheet
