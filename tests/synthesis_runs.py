"""A small run of the synthesis pipeline on drawn faces, for several kinds of tests."""

from pathlib import Path

from components.samples.celebrities import write_celeba
from pipelines import settings
from pipelines.local import RunRequest
from pipelines.settings import Workspace
from pipelines.tasks import TASKS

# The tenth part, which models are judged on, must be twenty or more.
IMAGES = 220
EPOCHS = 3
OVERRIDES = (
    "model.generator_width=4",
    "model.discriminator_width=4",
    f"train.epochs={EPOCHS}",
    "train.batch_size=16",
    # Three epochs draw nothing like a face: what is tested is that all is measured and pushed.
    "evaluation.images=20",
    "evaluation.max_position=100.0",
    "evaluation.min_diversity=0.0",
    "evaluation.max_similar=1.0",
    "evaluation.max_copies=1.0",
    "evaluation.min_images=10",
    "run.backoff_seconds=0",
)


def write_samples(folder: Path) -> Path:
    """Writes drawn faces in CelebA's form; returns the folder."""
    write_celeba(folder, IMAGES, seed=1)
    return folder


def request(workspace: Workspace, samples: Path, *overrides: str) -> RunRequest:
    """A small run, with further settings."""
    chosen = settings.load("demo", "synthesis", (*OVERRIDES, *overrides))
    return RunRequest(TASKS["synthesis"], chosen, workspace, (samples,))
