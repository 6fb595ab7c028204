"""The report's own backbones, with weights of a file, through a whole pipeline; narrow ones, to be quick."""

import hashlib
import json
from functools import partial
from pathlib import Path

import pytest
import tensorflow as tf

from components.samples.people_set import write_imdb_wiki
from pipelines import local, settings
from pipelines.local import RunRequest
from pipelines.runs import RunRecord
from pipelines.tasks import TASKS
from trainers.networks import vgg

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCALE = 1 / 32
OVERRIDES = {
    "gender": ("data.min_face_score=1.0", "evaluation.min_accuracy=0.0", "evaluation.min_images=1"),
    "age": (
        "train.epochs=2",
        "train.batch_size=8",
        "train.images_per_epoch=24",
        "evaluation.max_mae=100.0",
        "evaluation.min_images=1",
    ),
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vgg16_features", "vggface_descriptor", "vggface_ages"):
        monkeypatch.setattr(vgg, name, partial(getattr(vgg, name), scale=SCALE))


def run(task: str, backbone: str, tmp_path: Path) -> tuple[RunRecord, Path]:
    """Runs the report's profile on a few drawn faces; returns the record and the file of weights."""
    write_imdb_wiki(tmp_path / "data", 80, seed=1)
    network = {"vgg16": vgg.vgg16_features, "vggface": vgg.vggface_descriptor}[backbone]()
    weights = tmp_path / "weights.h5"
    network.save_weights(weights)
    values = settings.load(
        "paper",
        task,
        (
            *OVERRIDES[task],
            f"model.backbone={backbone}",
            f"model.weights={weights}",
            f"model.weights_sha256={hashlib.sha256(weights.read_bytes()).hexdigest()}",
        ),
    )
    workspace = settings.Workspace.at(tmp_path / "workspace")
    record = local.run(RunRequest(TASKS[task], values, workspace, (tmp_path / "data",)), lambda node: None)
    assert record.status == "finished", record.error
    return record, weights


@pytest.mark.parametrize("backbone", ["vgg16", "vggface"])
def test_gender_on_frozen_features(tmp_path: Path, backbone: str) -> None:
    record, _ = run("gender", backbone, tmp_path)
    assert record.pushed_to
    about = json.loads((Path(record.pushed_to) / "assets.extra" / "about.json").read_text())
    assert about["classifier"] in ("logistic regression", "MLP")
    assert about["chosen_epoch"] is None
    report = (Path(record.report) / "report.html").read_text()
    assert "No network was trained" in report
    # Features of a network that is not trained here are kept for the next run.
    assert list((tmp_path / "workspace" / "cache" / "features").rglob("*.npy"))


def test_age_trains_the_last_seven_layers_only(tmp_path: Path) -> None:
    record, weights = run("age", "vggface", tmp_path)
    assert record.pushed_to
    before = vgg.vggface_descriptor()
    before.load_weights(weights)
    after = tf.saved_model.load(record.pushed_to).trained
    kernels = {variable.name: variable.numpy() for variable in after.variables}
    for layer in ("conv1_1", "conv5_3", "fc6", "fc7"):
        kept = (before.get_layer(layer).kernel.numpy() == kernels[f"{layer}/kernel:0"]).all()
        assert kept == layer.startswith("conv"), layer
