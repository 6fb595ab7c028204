"""The `hexaface` command: parses, calls, prints.

Heavy modules are imported by the commands that need them, so that `hexaface --help` answers at once.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from data_validation.errors import InputError
from pipelines.cli_options import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_NOT_BLESSED, WorkspaceOption
from pipelines.detect_cli import detect
from pipelines.gallery_cli import gallery_app
from pipelines.generate_cli import generate
from pipelines.portal_cli import portal
from pipelines.shown_run import run_shown, sample_folder
from pipelines.study_cli import study_app
from pipelines.tasks import TASKS, get_task

if TYPE_CHECKING:
    from pipelines.local import RunRequest
    from pipelines.runs import RunRecord
    from serving.rollout import Site

app = typer.Typer(
    name="hexaface",
    help="Six facial applications as TFX pipelines: train, validate, track, serve.",
    epilog="Exit codes: 0 done, 1 a node, a rollout or a file of a folder failed, 2 bad input, "
    "3 the model was not blessed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Sample data, and a look at data.", no_args_is_help=True)
app.add_typer(data_app, name="data")
models_app = typer.Typer(
    help="Served models: which versions there are, and which one answers.", no_args_is_help=True
)
app.add_typer(models_app, name="models")
app.add_typer(gallery_app, name="gallery")
app.add_typer(study_app, name="study")
app.command()(detect)
app.command()(generate)
app.command()(portal)

console = Console()
errors = Console(stderr=True)

_TASK_NAMES = ", ".join(TASKS)
ModelArgument = Annotated[str, typer.Argument(help=f"The model: {_TASK_NAMES}.")]
ServerOption = Annotated[str, typer.Option("--server", metavar="HOST:PORT", help="The server's gRPC API.")]
LOCAL_SERVER = "127.0.0.1:8500"


@app.command()
def run(
    task: Annotated[str, typer.Argument(help=f"The task: {_TASK_NAMES}.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", help="A data folder; give it again to combine data sets. [default: drawn sample data]"
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="demo, cpu, paper, or a YAML file.")] = "demo",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. train.epochs=3."),
    ] = None,
    from_node: Annotated[
        str, typer.Option("--from", metavar="NODE", help="Run this node and all that depend on it anew.")
    ] = "",
    until_node: Annotated[
        str, typer.Option("--until", metavar="NODE", help="Run only this node and all that it depends on.")
    ] = "",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every node anew.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Run a task's pipeline: read, validate, train, evaluate, push, track.

    A run that was interrupted goes on where it was when it is started again.
    """
    from pipelines import progress, settings, sources
    from pipelines.local import RunRequest

    chosen = get_task(task)
    values = settings.load(profile, chosen.name, overrides or [])
    place = settings.Workspace.at(workspace)
    if not data:
        place = place.for_samples()
        # Before samples are drawn.
        sources.check_nodes(from_node, until_node)
        sources.other_models(values, place, until_node)
    folders = tuple(data) if data else (sample_folder(chosen, place, console),)
    request = RunRequest(chosen, values, place, folders, from_node, not no_cache, until_node)
    if until_node:
        raise typer.Exit(_run_until(request))
    record = _run(request)
    console.print(progress.summary([record]))
    raise typer.Exit(_exit_code([record]))


@app.command()
def demo(workspace: WorkspaceOption = None) -> None:
    """Run every pipeline on drawn sample data, in minutes."""
    from pipelines import progress, settings, sources
    from pipelines.local import RunRequest

    place = settings.Workspace.at(workspace).for_samples()
    records = []
    skipped = False
    for task in TASKS.values():
        values = settings.load("demo", task.name)
        try:
            sources.other_models(values, place)
        except InputError as error:  # a model that it needs was not blessed
            errors.print(f"{task.name} skipped: {error}", style="red", soft_wrap=True, markup=False)
            skipped = True
            continue
        records.append(_run(RunRequest(task, values, place, (sample_folder(task, place, console),))))
    console.print(progress.summary(records))
    console.print(
        "\nNext:\n"
        "  make dashboard                                     opens MLflow on these runs\n"
        "  make serve                                         answers requests with these models\n"
        "  make portal                                        opens the web app on these models\n"
        "  source .venv/bin/activate\n"
        + "".join(
            f"  hexaface run {task.name + ' --profile cpu --data DIR':<38}trains on {task.real_data}\n"
            for task in TASKS.values()
        )
        + "Tables and figures:",
        highlight=False,
        soft_wrap=True,
    )
    for record in records:
        console.print(f"  {record.report}/report.html", highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(EXIT_NOT_BLESSED if skipped else _exit_code(records))


@app.command()
def dashboard(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 5000,
    workspace: WorkspaceOption = None,
) -> None:
    """Open MLflow's pages on the runs of this workspace, until Ctrl-C."""
    import os
    import socket

    from pipelines.settings import Workspace

    uri = Workspace.at(workspace).tracking_uri
    if uri.startswith(("http://", "https://")):
        console.print(f"MLflow is at {uri}", highlight=False)
        return
    with socket.socket() as probe:
        # As the server does it: a port that was closed a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"--port {port}: cannot be opened: {error.strerror}") from error
    console.print(
        f"MLflow on http://127.0.0.1:{port}, ready in some seconds (Ctrl-C ends it)", highlight=False
    )
    # MLflow's job runners are for features that the project does not use.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--port", str(port)]
    # In this process's place, so that ending it ends MLflow.
    os.execv(sys.executable, [*command, "--workers", "1"])


@app.command()
def track(workspace: WorkspaceOption = None) -> None:
    """Send to MLflow what could not be sent while its server was down."""
    from pipelines.settings import Workspace

    waiting = sorted(Workspace.at(workspace).outbox.glob("*.json"))
    if not waiting:
        console.print("nothing is waiting to be sent")
        return
    from components.tracking import Submission, close_run, submit
    from data_validation.errors import one_line
    from trainers.mlflow_curves import SERVER_ERRORS

    failed = False
    for file in waiting:
        try:
            submission = Submission.load(file)
            run_id = submit(submission)
            close_run(submission.tracking_uri, run_id, node_seconds={}, gpus=0, error="")
        except (*SERVER_ERRORS, ValueError, TypeError) as error:
            failed = True
            errors.print(f"{file}: not sent: {one_line(error)}", style="red", soft_wrap=True, markup=False)
            continue
        file.unlink()
        console.print(f"{file.stem}: sent as MLflow run {run_id}", highlight=False)
    raise typer.Exit(EXIT_FAILED if failed else 0)


@app.command()
def doctor(workspace: WorkspaceOption = None) -> None:
    """Check this machine, the installation and the workspace."""
    from pipelines import doctor as checks

    results = list(checks.examine(workspace))
    console.print(checks.table(results))
    raise typer.Exit(0 if all(result.passed for result in results) else EXIT_FAILED)


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="Port of gRPC.", min=1, max=65535)] = 8500,
    rest_port: Annotated[int, typer.Option(help="Port of REST.", min=1, max=65535)] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    no_batching: Annotated[bool, typer.Option("--no-batching", help="Run each request alone.")] = False,
    files_only: Annotated[
        bool,
        typer.Option("--files-only", help="Write the server's files and end (for serving/compose.yaml)."),
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Serve the pushed models by gRPC and REST, until Ctrl-C."""
    from pipelines import serving_report
    from pipelines.settings import Workspace
    from serving import local_server, rollout
    from serving.rollout.overview import overview

    place = Workspace.at(workspace)
    site = rollout.Site(serving_report.roots(place))
    options = local_server.ServerOptions(host, port, rest_port, not no_batching)
    with _rollout_errors():
        models = overview(site, ask_server=False).models
        if not models:
            raise InputError(f"{place.root}: no model has been pushed yet; `hexaface demo` makes one")
        if not files_only:
            local_server.check_ports(options)
        config_file, notices = rollout.refresh(site.roots)
        local_server.write_files(config_file.parent)
    _say_lines(*notices)
    console.print(serving_report.served_table(models))
    _say_lines(f"configuration: {config_file}")
    if files_only:
        return
    _say_lines(*serving_report.addresses(models, options, serving_report.sample_image(place, models)))
    raise typer.Exit(local_server.run(config_file, options))


@models_app.command("list")
def list_models(server: ServerOption = LOCAL_SERVER, workspace: WorkspaceOption = None) -> None:
    """List the pushed versions, with their states if the server answers."""
    from pipelines import serving_report
    from serving.rollout.overview import overview

    with _rollout_errors():
        found = overview(_site(server, workspace))
    _say_lines(*found.notices)
    if not found.models:
        console.print("no model has been pushed yet; `hexaface demo` makes one")
        return
    console.print(serving_report.versions_table(found))
    if not found.running:
        _say_lines(f"no model server answers at {server}; `hexaface serve` starts one")


@models_app.command()
def promote(
    task: ModelArgument,
    version: Annotated[int | None, typer.Argument(help="Which version; without, the newest.", min=0)] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the version before loaded.")] = False,
    server: ServerOption = LOCAL_SERVER,
    workspace: WorkspaceOption = None,
) -> None:
    """Make a version the stable one, once it has answered as recorded."""
    from serving import rollout

    with _rollout_errors():
        chosen = rollout.promote(_site(server, workspace), task, version, keep=keep, say=_say_lines)
    _say_lines(f"{task} {chosen} is stable")


@models_app.command()
def rollback(
    task: ModelArgument, server: ServerOption = LOCAL_SERVER, workspace: WorkspaceOption = None
) -> None:
    """Make the version before the stable one the stable one again."""
    from serving import rollout

    with _rollout_errors():
        chosen = rollout.rollback(_site(server, workspace), task, say=_say_lines)
    _say_lines(f"{task} {chosen} is stable")


@models_app.command()
def label(
    task: ModelArgument,
    label: Annotated[str, typer.Argument(help="The label, such as canary.")],
    version: Annotated[int | None, typer.Argument(help="The version to put it on.", min=0)] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
    server: ServerOption = LOCAL_SERVER,
    workspace: WorkspaceOption = None,
) -> None:
    """Put a label on a version, or take it away."""
    from serving import rollout

    if (version is None) != remove:
        raise InputError("expected either a version, or --remove")
    with _rollout_errors():
        if version is None:
            rollout.remove_label(_site(server, workspace), task, label, say=_say_lines)
        else:
            rollout.set_label(_site(server, workspace), task, label, version, say=_say_lines)
    _say_lines(f"{task}: {label} is {'removed' if version is None else version}")


@data_app.command("sample")
def sample(
    task: Annotated[str, typer.Argument(help=f"The task: {_TASK_NAMES}.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write. [default: the workspace's samples]"),
    ] = None,
    count: Annotated[int | None, typer.Option(help="How many images.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same faces.")] = 1,
    workspace: WorkspaceOption = None,
) -> None:
    """Draw sample faces and write them in the real data sets' own formats."""
    from pipelines.samples import draw_sample
    from pipelines.settings import Workspace

    chosen = get_task(task)
    folder = out or Workspace.at(workspace).for_samples().sample(chosen.sample)
    draw_sample(chosen.sample, folder, chosen.sample_images if count is None else count, seed, console)
    console.print(f"sample data for {chosen.name} in {folder}", highlight=False, soft_wrap=True, markup=False)


@data_app.command("describe")
def describe(
    folder: Annotated[Path, typer.Argument(help="A data folder.")],
    sheet: Annotated[
        Path | None,
        typer.Option(help="Also draw some images of each label into this PNG."),
    ] = None,
) -> None:
    """Tell what a data folder holds: format, splits, labels, what cannot be read."""
    from pipelines.describe import describe_folder

    describe_folder(folder, sheet, console)


def _site(server: str, workspace: Path | None) -> "Site":
    from pipelines.serving_report import roots
    from pipelines.settings import Workspace
    from serving.rollout import Site

    return Site(roots(Workspace.at(workspace)), server)


@contextmanager
def _rollout_errors() -> Iterator[None]:
    """Tells what a rollout ended with: exit code 2 if nothing was done, 1 if it was taken back."""
    from serving.rollout import RolloutError, RolloutFailed

    try:
        yield
    except RolloutError as error:
        raise InputError(str(error)) from error
    except RolloutFailed as error:
        errors.print(f"failed: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
        raise typer.Exit(EXIT_FAILED) from error


def _say_lines(*lines: str) -> None:
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _run(request: "RunRequest") -> "RunRecord":
    """Runs a whole pipeline with its progress on screen, and tells its verdicts."""
    from pipelines import progress

    record = run_shown(request, console, errors)
    console.print(progress.verdict_table(record))
    if any(request.workspace.outbox.glob("*.json")):
        console.print("MLflow did not answer; `hexaface track` sends what is waiting.", style="yellow")
    return record


def _run_until(request: "RunRequest") -> int:
    """Runs a part of a pipeline with its progress on screen, and tells what its last node made.

    Returns:
        The exit code: whether a blessing was refused, if the run came to that.
    """
    from pipelines import progress

    record = run_shown(request, console, errors)
    if record.verdicts:
        console.print(progress.verdict_table(record))
    last = record.nodes[-1]
    _say_lines(f"{request.task.name}: ran until {last.node}")
    _say_lines(*(f"  {name}: {place}" for name, place in sorted(last.outputs.items())))
    if record.pushed_to:
        _say_lines(f"  pushed to: {record.pushed_to}")
    if record.refusal:
        _say_lines(f"  not blessed: {record.refusal}")
    return EXIT_NOT_BLESSED if record.refusal else 0


def _exit_code(records: "list[RunRecord]") -> int:
    return 0 if all(record.blessed for record in records) else EXIT_NOT_BLESSED


def main() -> None:
    """Runs the command; bad input ends with one line and exit code 2."""
    try:
        app()
    except InputError as error:
        message = str(error)
    except OSError as error:
        # A file without permission, a full disk: the system's words, and which file.
        message = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    else:
        return
    message = " ".join(message.splitlines())
    errors.print(f"error: {message}", style="red", highlight=False, soft_wrap=True, markup=False)
    sys.exit(EXIT_BAD_INPUT)


if __name__ == "__main__":
    main()
