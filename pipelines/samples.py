"""Draws a task's sample data with a progress bar."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.samples import emotion
from components.samples.atomic import appearing_whole
from data_validation.errors import InputError
from pipelines.tasks import FaceTask

# The report's combined test set (section 5.1) is two thirds FERG; drawn characters are so easy that a quarter
# of them is enough to show the mix.
_FERG_SHARE = 0.25


def draw_sample(task: FaceTask, folder: Path, count: int, seed: int, console: Console) -> None:
    """Draws sample data in the formats of the task's real data sets.

    Args:
        task: The task.
        folder: Folder to make; it must not exist, so that no data is ever overwritten.
        count: How many images.
        seed: The same seed draws the same faces.
        console: Where to show the progress.

    Raises:
        InputError: The folder exists or cannot be written, or the count is too small.
    """
    if count < 1:
        raise InputError(f"--count {count}: expected at least 1")
    with appearing_whole(folder) as unfinished:
        unfinished.mkdir()
        _draw_emotion(unfinished, count, seed, task, console)


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
