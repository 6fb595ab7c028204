"""Small runs of the gender and age pipelines on drawn people, for several kinds of tests."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipelines import local, settings
from pipelines.local import RunRequest
from pipelines.runs import RunRecord
from pipelines.settings import Workspace
from pipelines.tasks import TASKS

# Enough that both models learn something, in well under a minute.
RECORDS = 300
EPOCHS: Mapping[str, int] = {"gender": 5, "age": 10}
OVERRIDES: Mapping[str, tuple[str, ...]] = {
    "gender": (
        "model.backbone=compact",
        f"train.epochs={EPOCHS['gender']}",
        "train.batch_size=16",
        "evaluation.min_accuracy=0.3",
    ),
    "age": (
        f"train.epochs={EPOCHS['age']}",
        "train.batch_size=16",
        "evaluation.max_mae=25.0",
    ),
}


@dataclass(frozen=True)
class PeopleRun:
    """A finished run: what was asked and what came of it."""

    request: RunRequest
    record: RunRecord

    def output(self, node: str, name: str) -> Path:
        """Folder of an artifact that a node made."""
        return Path(next(each for each in self.record.nodes if each.node == node).outputs[name])

    @property
    def report(self) -> Path:
        return Path(self.record.report)

    @property
    def pushed(self) -> Path:
        return Path(self.record.pushed_to)


def request(task: str, workspace: Workspace, samples: Path, *overrides: str) -> RunRequest:
    """A small run of a task, with further settings."""
    chosen = settings.load("demo", task, (*OVERRIDES[task], "run.backoff_seconds=0", *overrides))
    return RunRequest(TASKS[task], chosen, workspace, (samples,))


def run(asked: RunRequest) -> PeopleRun:
    return PeopleRun(asked, local.run(asked, lambda change: None))


def shrink_vgg(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Narrows the VGG networks, of some hundred million weights; returns their module."""
    import trainers  # noqa: F401  (first: it chooses Keras 2)
    from trainers.networks import vgg

    for build in ("vgg16_features", "vggface_descriptor", "vggface_ages"):
        monkeypatch.setattr(vgg, build, partial(getattr(vgg, build), scale=1 / 32))
    return vgg


def weights_of(file: Path, backbone: str) -> tuple[str, ...]:
    """The settings of a backbone whose weights are in a file."""
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return (f"model.backbone={backbone}", f"model.weights={file}", f"model.weights_sha256={sha256}")


def save_weights(network: Any, file: Path) -> None:
    """Writes a network's weights in the form in which users have them."""
    network.save_weights(str(file), save_format="h5")
