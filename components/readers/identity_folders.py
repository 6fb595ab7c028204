"""Identity folders: `<person>/<image>`, the form of most face recognition sets.

The split goes by the person, never by the image: 10 % of the persons for selection, 10 % for test. The same
folder name is the same person in all data folders, and in no other format: the reader cannot know that
`Ann_Lee` here and `Ann_Lee` in LFW's pairs are one.

A person with a single image is kept: as the other side of pairs, and for training as one more class.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from components.readers.files import read_image
from components.readers.identity import LABEL, pseudonym, pseudonymous
from components.readers.record import FaceRecord, hash_split
from data_validation.errors import InputError

FOLDER_NAME = "identities"
SUFFIXES = (".jpg", ".jpeg", ".png")


class IdentityFoldersReader:
    """Reads folders of persons; image files are passed on as they are."""

    source = "identities"

    def __init__(self, root: Path) -> None:
        """Opens the data set.

        Args:
            root: The folder of the persons' folders.
        """
        self._root = root

    def items(self) -> Iterator[str]:
        """Lists the paths `<person>/<image>`, sorted by person, then by image.

        Raises:
            InputError: A person's folder cannot be read.
        """
        for person in _persons(self._root):
            yield from (f"{person}/{name}" for name in sorted(_images(self._root / person)))

    def name(self, item: str) -> str:
        """Returns the path without the person's name, as in the examples."""
        return pseudonymous(self.source, item)

    def load(self, item: str) -> FaceRecord:
        """Reads one image file; see `Reader.load`."""
        identity = pseudonym(self.source, item.split("/")[0])
        return FaceRecord(
            filename=self.name(item),
            image=read_image(self._root, item),
            split=hash_split(identity),
            source=self.source,
            labels={LABEL: identity},
        )


def holds_persons(folder: Path) -> bool:
    """Says whether a folder below this one has images directly in it.

    Args:
        folder: Any folder.

    Raises:
        InputError: A folder below this one cannot be read.
    """
    return any(_images(folder / person) for person in _persons(folder))


def _persons(root: Path) -> list[str]:
    return sorted(
        entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
    )


def _images(person: Path) -> list[str]:
    try:
        names = os.listdir(person)
    except OSError as error:
        raise InputError(f"{person}: folder cannot be read: {error.strerror}") from error
    return [name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
