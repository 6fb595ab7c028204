"""A small run of the detection pipeline on drawn scenes, for several kinds of tests."""

from pathlib import Path

from components.samples.detection_set import write_face_points, write_wider_face
from pipelines import settings
from pipelines.local import RunRequest
from pipelines.settings import Workspace
from pipelines.tasks import TASKS

# Two scenes each for selection and test; with this seed each split has faces to judge by.
SCENES, POINTS, SEED = 20, 20, 2
EPOCHS = 2
OVERRIDES = (
    f"train.epochs={EPOCHS}",
    "train.batch_size=64",
    "train.images_per_epoch=640",
    "evaluation.min_ap=0.0",
    "evaluation.min_images=2",
    "run.backoff_seconds=0",
)


def write_samples(folder: Path) -> Path:
    """Writes both kinds of drawn pictures; returns the folder."""
    write_wider_face(folder, SCENES, SEED)
    write_face_points(folder, POINTS, SEED)
    return folder


def request(workspace: Workspace, samples: Path, *overrides: str) -> RunRequest:
    """A small run, with further settings."""
    chosen = settings.load("demo", "detection", (*OVERRIDES, *overrides))
    return RunRequest(TASKS["detection"], chosen, workspace, (samples,))
