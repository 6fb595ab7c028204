"""Drawn pictures to try the applications with, by somebody who has none at hand."""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "static" / "portal" / "samples"


@dataclass(frozen=True)
class Sample:
    """A picture.

    Attributes:
        name: In forms; the file is `<name>.jpg`.
        title: What it shows, for those who cannot see it.
    """

    name: str
    title: str

    @property
    def static(self) -> str:
        """Its path among static files."""
        return f"portal/samples/{self.name}.jpg"

    def read(self) -> bytes:
        """Reads the file."""
        return (_FOLDER / f"{self.name}.jpg").read_bytes()


SAMPLES = (
    Sample("group", "Four drawn people before a wall with a window"),
    Sample("pair", "A drawn man who smiles and a drawn woman who looks sad"),
    Sample("ann-1", "A drawn woman with long dark hair, looking calm"),
    Sample("ann-2", "The same drawn woman at another time, smiling"),
    Sample("bob", "A drawn man of middle age, looking angry"),
    Sample("room", "A drawn room with a lamp and a table, without people"),
)
BY_NAME = {sample.name: sample for sample in SAMPLES}
