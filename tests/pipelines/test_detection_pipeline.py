"""The detection pipeline from scenes and faces with landmarks to a blessed, tracked, pushed model."""

import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import tensorflow as tf
from detection_runs import EPOCHS, POINTS, SCENES
from people_runs import PeopleRun
from typer.testing import CliRunner

from data_validation.ingestion import Ingestion
from pipelines.cli import app
from trainers.cascade import LONGEST_SIDE
from trainers.detection import CASCADE_FILE
from trainers.history import HISTORY_FILE, read_history

pytestmark = pytest.mark.e2e


def test_both_data_sets_are_read_in_three_splits(detection_run: PeopleRun) -> None:
    account = Ingestion.load(detection_run.output("FaceExampleGen", "examples"))
    assert account.total("records") == SCENES + POINTS
    assert {(split, source) for split, source, _ in account.records} == {
        (split, source) for split in ("train", "eval", "test") for source in ("wider_face", "face_points")
    }


def test_three_stages_have_one_history(detection_run: PeopleRun) -> None:
    rows = read_history(detection_run.output("Trainer", "model_run") / HISTORY_FILE)
    assert [row["stage"] for row in rows] == [stage for stage in (1, 2, 3) for _ in range(EPOCHS)]
    assert [row["epoch"] for row in rows] == list(range(1, 3 * EPOCHS + 1))
    client = mlflow.MlflowClient(detection_run.request.workspace.tracking_uri)
    sent = client.get_metric_history(detection_run.record.mlflow_run_id, "curve/val_average_precision")
    assert {point.step: point.value for point in sent} == pytest.approx(
        {row["epoch"]: row["val_average_precision"] for row in rows}
    )


def test_figures_say_by_what_settings_they_were_found(detection_run: PeopleRun) -> None:
    slices = pd.read_csv(detection_run.report / "tables" / "slices.csv", index_col=0)
    assert slices.loc[["split=eval", "split=test"], "ap_20"].between(0.0, 1.0).all()
    page = (detection_run.report / "report.html").read_text(encoding="utf-8")
    evaluation = detection_run.request.settings.evaluation
    assert f"min_face {evaluation.min_face:g}" in page and f"factor {evaluation.factor:g}" in page
    assert "IoU" in page


def test_the_pushed_model_has_its_settings_inside(detection_run: PeopleRun) -> None:
    assert detection_run.pushed.is_dir(), detection_run.record.error
    told = json.loads((detection_run.pushed / "assets.extra" / CASCADE_FILE).read_text(encoding="utf-8"))
    assert told["longest_side"] == LONGEST_SIDE
    assert told["min_face"] == detection_run.request.settings.model.min_face
    model = tf.saved_model.load(str(detection_run.pushed))
    assert set(model.signatures) == {"serving_default", "detect", "pixels", "examples"}
    picture = tf.io.encode_png(tf.zeros([60, 80, 3], tf.uint8))
    answer = model.signatures["serving_default"](image_bytes=tf.stack([picture]))
    assert answer["num_detections"].numpy().tolist() == [0]


def test_the_command_finds_faces_with_it(
    detection_run: PeopleRun, detection_samples: Path, tmp_path: Path
) -> None:
    scene = next((detection_samples / "images").rglob("*.jpg"))
    workspace = str(detection_run.request.workspace.root)
    file = tmp_path / "faces.json"
    found = CliRunner().invoke(
        app,
        # So short a training finds little; with these thresholds something passes in a scene of faces.
        ["detect", str(scene), "--workspace", workspace, "--json", str(file), "--thresholds", "0,0,0"],
    )
    assert found.exit_code == 0, found.output
    document = json.loads(file.read_text(encoding="utf-8"))
    faces = document["images"][0]["faces"]
    assert faces and all(len(face["landmarks"]) == 5 for face in faces)
