import io

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def encode():
    """Encodes an array or a Pillow image to bytes."""

    def to_bytes(image, file_format="PNG", **options):
        buffer = io.BytesIO()
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        picture.save(buffer, format=file_format, **options)
        return buffer.getvalue()

    return to_bytes


@pytest.fixture(scope="session")
def face():
    """Draws a 48x48 grey picture that differs by seed."""
    return lambda seed=0, side=48: np.random.default_rng(seed).integers(0, 256, (side, side)).astype(np.uint8)
