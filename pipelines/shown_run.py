"""Runs pipelines with their progress on screen: what the commands that train share."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from pipelines.cli_options import EXIT_FAILED
from pipelines.tasks import FaceTask

if TYPE_CHECKING:
    from pipelines.local import RunRequest
    from pipelines.runs import RunRecord
    from pipelines.settings import Workspace


def sample_folder(task: FaceTask, workspace: "Workspace", console: Console) -> Path:
    """Returns the workspace's sample data of a task, drawn where missing.

    Args:
        task: The task.
        workspace: Its part for sample data.
        console: Where to show the progress.
    """
    from pipelines.samples import draw_sample

    folder = workspace.sample(task.sample)
    if not folder.exists():
        draw_sample(task.sample, folder, task.sample_images, seed=1, console=console)
    return folder


def run_shown(request: "RunRequest", console: Console, errors: Console) -> "RunRecord":
    """Runs a pipeline with its progress on screen.

    Args:
        request: What to run.
        console: Where to show it.
        errors: Where to tell what failed.

    Returns:
        The record of a finished run.

    Raises:
        InputError: The request cannot be run.
        typer.Exit: A node failed, which was told.
    """
    from pipelines import local, progress

    title = f"{request.task.title} ({request.task.name})"
    with progress.show_run(console, title, request.workspace.root) as on_change:
        record = local.run(request, on_change)
    if record.status == "failed":
        log = request.workspace.runs(request.task.name) / f"{record.run_id}.log"
        errors.print(
            f"{record.error} (log: {log})", style="red", highlight=False, soft_wrap=True, markup=False
        )
        raise typer.Exit(EXIT_FAILED)
    rejected = progress.rejections(record)
    if rejected:
        console.print(rejected, style="yellow", highlight=False, soft_wrap=True, markup=False)
    return record
