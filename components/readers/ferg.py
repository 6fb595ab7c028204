"""FERG-DB: stylised characters with annotated expressions, 256x256.

Source: Aneja et al., "Modeling Stylized Character Expressions via Deep Learning", ACCV 2016. Layout:
`FERG_DB_256/<character>/<character>_<emotion>/<file>.png`.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from components.readers.fer2013 import COPY_FEATURE
from components.readers.record import FaceRecord, RecordRejected, hash_split
from data_validation.image_quality import UnreadableImageError, read_luma

FOLDER_NAME = "FERG_DB_256"
SIDE = 48
EMOTION_NAMES = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happy",
    "sadness": "sad",
    "surprise": "surprise",
    "neutral": "neutral",
}
# Six characters are too few to spread by hash, so the split is written down. No character is on two sides;
# the report (section 3.5) does not say how it split them.
CHARACTER_SPLITS = {
    "aia": "train",
    "bonnie": "train",
    "jules": "train",
    "malcolm": "train",
    "mery": "eval",
    "ray": "test",
}


class FergImage(NamedTuple):
    """An image file of the data set, its path relative to `FERG_DB_256`."""

    character: str
    emotion: str
    path: str


class FergReader:
    """Reads the folders of FERG-DB and reduces the images to 48x48 grey, as report section 3.5.1 does."""

    source = "ferg"

    def __init__(self, folder: Path) -> None:
        """Opens the data set.

        Args:
            folder: Folder that holds `FERG_DB_256`.
        """
        self._root = folder / FOLDER_NAME

    def items(self) -> Iterator[FergImage]:
        """Lists the PNG files by path."""
        for file in sorted(self._root.glob("*/*/*.png")):
            folder = file.parent.name
            character = file.parent.parent.name
            yield FergImage(
                character, folder.removeprefix(f"{character}_"), str(file.relative_to(self._root))
            )

    def name(self, item: FergImage) -> str:
        """Returns the path of the image."""
        return f"{FOLDER_NAME}/{item.path}"

    def load(self, item: FergImage) -> FaceRecord:
        """Reads, greys and reduces one image; see `Reader.load`."""
        if item.emotion not in EMOTION_NAMES:
            raise RecordRejected(f"emotion: expected {', '.join(EMOTION_NAMES)}, found {item.emotion[:20]!r}")
        return FaceRecord(
            filename=self.name(item),
            image=_reduce(self._root / item.path),
            split=CHARACTER_SPLITS.get(item.character) or hash_split(item.character),
            source=self.source,
            # No character is on two sides, so no picture is.
            labels={"emotion": EMOTION_NAMES[item.emotion], COPY_FEATURE: "no"},
        )


def _reduce(file: Path) -> bytes:
    try:
        grey = read_luma(file.read_bytes())
    except OSError as error:
        raise RecordRejected(f"file cannot be read: {error.strerror}") from error
    except UnreadableImageError as error:
        raise RecordRejected(str(error)) from error
    buffer = io.BytesIO()
    grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
