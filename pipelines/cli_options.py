"""What several commands share: options and exit codes."""

from pathlib import Path
from typing import Annotated

import typer

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_NOT_BLESSED = 1, 2, 3

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace", help="Where runs leave their things. [default: $HEXAFACE_HOME or ./hexaface_runs]"
    ),
]
