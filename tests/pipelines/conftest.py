"""The command as a person calls it, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pipelines import cli


class Answer(NamedTuple):
    """What a command ended with."""

    code: int
    out: str
    err: str


@pytest.fixture
def hexaface(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Answer]:
    """Runs `hexaface` with some arguments, in a workspace of the test's own."""

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr("sys.argv", ["hexaface", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Answer(int(ended.value.code or 0), *capsys.readouterr())

    monkeypatch.setenv("HEXAFACE_HOME", str(tmp_path / "workspace"))
    return call
