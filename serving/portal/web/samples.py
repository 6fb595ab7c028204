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
    Sample("group", "Four drawn people in front of a wall"),
    Sample("pair", "Two drawn people"),
    Sample("ann-1", "A drawn woman"),
    Sample("ann-2", "The same drawn woman, another time"),
    Sample("bob", "A drawn man"),
    Sample("room", "A drawn room without people"),
)
BY_NAME = {sample.name: sample for sample in SAMPLES}
