"""Draws sample data with a progress bar."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.readers.att import PICTURES
from components.samples import celebrities, detection_set, emotion, identities, people_set
from components.samples.atomic import appearing_whole
from data_validation.errors import InputError

# The report's combined test set (section 5.1) is two thirds FERG; drawn characters are so easy that a quarter
# of them is enough to show the mix.
_FERG_SHARE = 0.25
# AT&T is for evaluation only; the report's pairs need seven persons.
_ATT_SHARE = 0.1
_FEWEST_ATT_PERSONS = 7
# Of the pictures with landmarks, which are small and have one face; the others are scenes.
_POINTS_SHARE = 0.6


def draw_sample(name: str, folder: Path, count: int, seed: int, console: Console) -> None:
    """Draws sample data in the formats of real data sets.

    Args:
        name: `celebrities` (CelebA), `expressions` (FER-2013 and FERG-DB), `identities` (identity folders and
            AT&T), `people` (IMDB-WIKI) or `scenes` (WIDER FACE and CNN_FacePoint), see `FaceTask.sample`.
        folder: Folder to make; it must not exist, so that no data is ever overwritten.
        count: How many images.
        seed: The same seed draws the same faces.
        console: Where to show the progress.

    Raises:
        InputError: The folder exists or cannot be written, or the count is too small.
    """
    if count < 1:
        raise InputError(f"--count {count}: expected at least 1")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with appearing_whole(folder) as unfinished, Progress(*columns, console=console) as progress:
        unfinished.mkdir()
        bar = progress.add_task(f"drawing {name}", total=count)
        _DRAW[name](unfinished, count, seed, lambda done: progress.advance(bar, done))
        # Whole persons are drawn: their pictures need not add up to the count.
        drawn = progress.tasks[bar].completed
        progress.update(bar, total=drawn)


def _draw_expressions(folder: Path, count: int, seed: int, progress: emotion.Progress) -> None:
    ferg = int(count * _FERG_SHARE)
    emotion.write_fer2013_csv(folder, count - ferg, seed, progress)
    if ferg:
        emotion.write_ferg(folder, ferg, seed, progress)


def _draw_people(folder: Path, count: int, seed: int, progress: emotion.Progress) -> None:
    people_set.write_imdb_wiki(folder, count, seed, progress)


def _draw_identities(folder: Path, count: int, seed: int, progress: emotion.Progress) -> None:
    att_persons = max(_FEWEST_ATT_PERSONS, round(count * _ATT_SHARE / PICTURES))
    identities.write_att(folder, seed, att_persons, progress)
    persons = round((count - att_persons * PICTURES) / identities.MEAN_PICTURES)
    identities.write_identities(folder, max(identities.FEWEST_PERSONS, persons), seed, progress)


def _draw_scenes(folder: Path, count: int, seed: int, progress: emotion.Progress) -> None:
    points = int(count * _POINTS_SHARE)
    detection_set.write_wider_face(folder, count - points, seed, progress)
    detection_set.write_face_points(folder, points, seed, progress)


def _draw_celebrities(folder: Path, count: int, seed: int, progress: emotion.Progress) -> None:
    celebrities.write_celeba(folder, count, seed, progress)


_DRAW: dict[str, Callable[[Path, int, int, emotion.Progress], None]] = {
    "celebrities": _draw_celebrities,
    "expressions": _draw_expressions,
    "identities": _draw_identities,
    "people": _draw_people,
    "scenes": _draw_scenes,
}
