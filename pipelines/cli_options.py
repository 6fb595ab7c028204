"""Options that several groups of commands have."""

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace", help="Where runs leave their things. [default: $HEXAFACE_HOME or ./hexaface_runs]"
    ),
]
