"""Draws a task's sample data with a progress bar."""

import shutil
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.samples import emotion
from data_validation.errors import InputError
from pipelines.tasks import FaceTask

# FERG's characters are fewer and easier than FER's faces, as in the real sets; a third keeps the mix alike.
_FERG_SHARE = 0.25


def draw_sample(task: FaceTask, folder: Path, count: int, seed: int, console: Console) -> None:
    """Draws sample data in the formats of the task's real data sets.

    Args:
        task: The task.
        folder: Folder to make; it must not hold anything yet.
        count: How many images.
        seed: The same seed draws the same faces.
        console: Where to show the progress.

    Raises:
        InputError: The folder is not empty or cannot be written, or the count is too small.
    """
    if count < 1:
        raise InputError(f"--count {count}: expected at least 1")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: expected an empty or new folder, found files in it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Drawn beside its place and moved there whole, so that no next step reads half of it.
        with tempfile.TemporaryDirectory(prefix=".drawing-", dir=folder.parent) as scratch:
            drawn = Path(scratch) / "drawn"
            drawn.mkdir()
            _draw_emotion(drawn, count, seed, task, console)
            if folder.exists():
                folder.rmdir()
            shutil.move(drawn, folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from error


def _draw_emotion(folder: Path, count: int, seed: int, task: FaceTask, console: Console) -> None:
    ferg = int(count * _FERG_SHARE)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"drawing faces for {task.name}", total=count)
        emotion.write_fer2013_csv(
            folder, count - ferg, seed, progress=lambda done: progress.advance(bar, done)
        )
        if ferg:
            emotion.write_ferg(folder, ferg, seed, progress=lambda done: progress.advance(bar, done))
