"""Backbones that a run does not train, through a whole pipeline; the report's own are narrow, to be quick."""

import hashlib
import json
from functools import partial
from pathlib import Path

import people_runs
import pytest
import tensorflow as tf
import verification_runs

from components.samples.identities import FEWEST_PERSONS, write_identities
from components.samples.people_set import write_imdb_wiki
from data_validation.errors import InputError
from pipelines import local, settings
from pipelines.local import RunRequest
from pipelines.runs import RunRecord
from pipelines.tasks import TASKS
from trainers import embedding
from trainers.networks import vgg
from trainers.weights import fingerprint

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCALE = 1 / 32
OVERRIDES = {
    "verification": ("evaluation.max_eer=1.0", "evaluation.min_images=1"),
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
    if task == "verification":
        write_identities(tmp_path / "data", FEWEST_PERSONS, seed=1)
    else:
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


def test_verification_with_a_frozen_descriptor(tmp_path: Path) -> None:
    record, weights = run("verification", "vggface", tmp_path)
    assert record.pushed_to
    about = json.loads((Path(record.pushed_to) / "assets.extra" / "about.json").read_text())
    assert about["chosen_epoch"] is None
    assert "No network was trained" in (Path(record.report) / "report.html").read_text()
    expected = vgg.vggface_descriptor()
    expected.load_weights(weights)
    model = tf.saved_model.load(record.pushed_to)
    kernels = {variable.name: variable.numpy() for variable in model.trained.variables}
    assert len(kernels) == len(expected.weights)
    assert all((kernels[weight.name] == weight.numpy()).all() for weight in expected.weights)
    image = next((tmp_path / "data").rglob("*.jpg")).read_bytes()
    pair = {"image_bytes_a": tf.constant([image]), "image_bytes_b": tf.constant([image])}
    answer = model.signatures["serving_default"](**pair)
    assert answer["cosine_distance"].numpy().tolist() == [0.0]
    # The report's descriptor, which no other task can stand on.
    with pytest.raises(InputError, match="embedding needs a verification model"):
        embedding.load_features(record.pushed_to)


def test_gender_on_the_trunk_of_a_verification_model(tmp_path: Path, verification_samples: Path) -> None:
    workspace = settings.Workspace.at(tmp_path / "workspace")
    below = people_runs.run(verification_runs.request(workspace, verification_samples))
    assert below.record.pushed_to, below.record.error
    write_imdb_wiki(tmp_path / "data", 80, seed=1)
    chosen = ("model.backbone=embedding", "evaluation.min_images=1")
    above = people_runs.run(people_runs.request("gender", workspace, tmp_path / "data", *chosen))
    assert above.record.pushed_to, above.record.error
    about = json.loads((above.pushed / "assets.extra" / "about.json").read_text())
    trunk = embedding.load_features(below.record.pushed_to)
    assert about["backbone_fingerprint"] == fingerprint(trunk)
    assert about["chosen_epoch"] is None
    assert "trunk of the latest blessed verification model" in (above.report / "report.html").read_text()
