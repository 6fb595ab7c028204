"""A small run of the verification pipeline on drawn persons, for several kinds of tests."""

from pathlib import Path

from components.samples.identities import write_att, write_identities
from pipelines import settings
from pipelines.local import RunRequest
from pipelines.settings import Workspace
from pipelines.tasks import TASKS

# Two persons each for selection and test, the fewest that make pairs of both kinds.
PERSONS = 14
# The fewest that the report's pairs can be drawn of.
ATT_PERSONS = 7
EPOCHS = 4
OVERRIDES = (
    f"train.epochs={EPOCHS}",
    "train.batch_size=16",
    "evaluation.max_eer=0.5",
    "evaluation.min_images=10",
    "run.backoff_seconds=0",
)


def write_samples(folder: Path) -> Path:
    """Writes both kinds of drawn persons; returns the folder."""
    write_identities(folder, PERSONS, seed=1)
    write_att(folder, seed=1, persons=ATT_PERSONS)
    return folder


def request(workspace: Workspace, samples: Path, *overrides: str) -> RunRequest:
    """A small run, with further settings."""
    chosen = settings.load("demo", "verification", (*OVERRIDES, *overrides))
    return RunRequest(TASKS["verification"], chosen, workspace, (samples,))
