"""The `hexaface portal` command."""

from typing import Annotated

import typer

from data_validation.errors import InputError
from pipelines.cli_options import WorkspaceOption


def portal(
    port: Annotated[int, typer.Option(help="Port of the portal.", min=1, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address that the portal listens on.")] = "127.0.0.1",
    model_port: Annotated[
        int, typer.Option(help="Port of the model server, on 127.0.0.1.", min=1, max=65535)
    ] = 8500,
    model_server: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            envvar="PORTAL_MODEL_SERVER",
            help="gRPC API of a model server that runs already; grpcs://HOST:PORT to ask it by TLS. "
            "[default: one is started]",
        ),
    ] = "",
    workspace: WorkspaceOption = None,
) -> None:
    """Open the portal on the pushed models, until Ctrl-C."""
    from pipelines.settings import Workspace
    from serving.portal import launcher

    home = Workspace.at(workspace).root
    options = launcher.PortalOptions(home, host, port, model_port, model_server)
    try:
        code = launcher.run(options)
    except launcher.LaunchError as error:
        raise InputError(str(error)) from error
    raise typer.Exit(code)
