"""The emotion pipeline from fer2013.csv and FERG folders to a blessed, tracked, pushed model."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import tensorflow as tf
from emotion_runs import EPOCHS, EmotionRun, run
from model_servers import free_port, wait_until
from rich.console import Console

from components.infra_report import InfraReport
from components.tracking import PIPELINE_RUN_TAG, Submission, submit
from data_validation.errors import InputError
from pipelines import local, progress, settings
from pipelines.settings import Workspace
from serving.model_server.warmup import RECORDS_FILE
from trainers.history import HISTORY_FILE, read_history

pytestmark = pytest.mark.e2e

NODES = [
    "CuratedSchema",
    "FaceExampleGen",
    "StatisticsGen",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer",
    "LatestBlessedResolver",
    "Evaluator",
    "EvaluationReport",
    "InfraValidator",
    "Pusher",
    "MLflowTracker",
]


def states(outcome: EmotionRun) -> dict[str, str]:
    return {node.node: node.state for node in outcome.record.nodes}


def client(workspace: Workspace) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(workspace.tracking_uri)


def test_runs_every_node_once(emotion_run: EmotionRun) -> None:
    assert emotion_run.record.status == "finished"
    assert [node.node for node in emotion_run.record.nodes] == NODES
    assert set(states(emotion_run).values()) == {"ran"}


def test_tells_of_every_change_of_state(emotion_run: EmotionRun) -> None:
    trainer = [node.state for node in emotion_run.changes if node.node == "Trainer"]
    assert trainer == ["waiting", "running", "ran"]


def test_pushes_the_blessed_model(emotion_run: EmotionRun) -> None:
    record = emotion_run.record
    assert record.blessed
    pushed = Path(record.pushed_to)
    assert pushed.parent == emotion_run.request.workspace.serving / "emotion"
    assert pushed.name.isdigit()
    assert (pushed / "saved_model.pb").is_file()


def test_pushed_model_was_tried_and_has_warmup_records(emotion_run: EmotionRun) -> None:
    report = InfraReport.load(Path(output(emotion_run, "InfraValidator", "blessing")))
    assert report.blessed
    assert report.recorded == ["serving_default", "examples", "pixels", "serve_examples"]
    assert set(report.skipped) == {"transform_label"}
    records = Path(emotion_run.record.pushed_to) / RECORDS_FILE
    assert len(list(tf.data.TFRecordDataset(str(records)))) == len(report.recorded)
    assert emotion_run.record.verdicts[-1]["found"] == f"{len(report.checks)} checks passed"


def test_model_is_better_than_chance(emotion_run: EmotionRun) -> None:
    assert emotion_run.record.test["accuracy"] > 0.3


def test_examples_carry_the_account_of_what_was_read(emotion_run: EmotionRun) -> None:
    examples = Path(output(emotion_run, "FaceExampleGen", "examples"))
    account = json.loads((examples / "ingestion.json").read_text())
    records = {tuple(key[1:3]): 0 for key, _ in account["counts"] if key[0] == "records"}
    for key, count in account["counts"]:
        records[tuple(key[1:3])] += count
    assert sum(records.values()) == 420
    assert {source for _, source in records} == {"fer2013", "ferg"}
    assert {split for split, _ in records} == {"train", "eval", "test"}
    assert (examples / "rejected.jsonl").read_text() == ""


def test_report_has_tables_and_figures(emotion_run: EmotionRun) -> None:
    report = Path(emotion_run.record.report)
    page = (report / "report.html").read_text()
    table = pd.read_csv(report / "tables" / "per_class_test.csv", index_col="class")
    assert list(table.columns) == ["precision", "recall", "f1", "support"]
    assert table["support"].sum() == emotion_run.record.test["support"]
    assert (report / "tables" / "per_class_test.html").is_file()
    for figure in ("confusion_test", "confusion_test_normalised", "learning_curves", "class_distribution"):
        assert (report / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert f"figures/{figure}.png" in page


def test_mlflow_run_is_complete(emotion_run: EmotionRun) -> None:
    workspace, record = emotion_run.request.workspace, emotion_run.record
    tracked = client(workspace).get_run(record.mlflow_run_id)
    assert tracked.info.status == "FINISHED"
    assert tracked.data.tags[PIPELINE_RUN_TAG] == record.run_id
    assert tracked.data.tags["hexaface.pushed_to"] == record.pushed_to
    assert len(tracked.data.tags["hexaface.data_fingerprint"]) == 64
    assert tracked.data.params["train.epochs"] == str(EPOCHS)
    metrics = tracked.data.metrics
    assert metrics["evaluation/split_test/accuracy"] == pytest.approx(record.test["accuracy"])
    assert "evaluation/split_test/source_ferg/accuracy" in metrics
    assert metrics["node_seconds/Trainer"] > 0
    assert metrics["serving/grpc_p50_ms"] > 0
    assert metrics["cost/gpu_seconds"] == 0
    curve = client(workspace).get_metric_history(record.mlflow_run_id, "curve/val_accuracy")
    assert [point.step for point in curve] == list(range(1, len(curve) + 1))
    artifacts = {
        artifact.path
        for folder in ("report", "report/figures", "data", "serving")
        for artifact in client(workspace).list_artifacts(record.mlflow_run_id, folder)
    }
    assert {"report/report.html", "report/figures/confusion_test.png", "data/rejected.jsonl"} <= artifacts
    assert "serving/report.json" in artifacts


def test_pushed_model_is_the_champion(emotion_run: EmotionRun) -> None:
    version = client(emotion_run.request.workspace).get_model_version_by_alias("emotion", "champion")
    assert version.tags["hexaface.pushed_to"] == emotion_run.record.pushed_to
    assert version.run_id == emotion_run.record.mlflow_run_id


def test_second_run_takes_every_node_from_cache(emotion_run: EmotionRun) -> None:
    run(emotion_run.request)  # whatever other tests ran in between
    # Processor time, so that other work on the machine does not count.
    start = time.process_time()
    again = run(emotion_run.request)
    assert time.process_time() - start < 5
    assert set(states(again).values()) == {"cached"}
    assert again.record.pushed_to == emotion_run.record.pushed_to


def test_launcher_takes_every_node_from_cache(emotion_run: EmotionRun, tmp_path: Path) -> None:
    """Without the record of the run, TFX itself finds all in ML Metadata."""
    records = emotion_run.request.workspace.runs("emotion")
    shutil.move(records, tmp_path / "records")
    try:
        again = run(emotion_run.request)
    finally:
        shutil.rmtree(records)
        shutil.move(tmp_path / "records", records)
    # A resolver looks anew each time, and the new MLflow run is to be filled.
    anew = {"LatestBlessedResolver", "MLflowTracker"}
    assert {state for node, state in states(again).items() if node not in anew} == {"cached"}
    tracked = client(emotion_run.request.workspace).get_run(again.record.mlflow_run_id)
    assert tracked.data.metrics["evaluation/split_test/accuracy"] == pytest.approx(
        again.record.test["accuracy"]
    )
    assert again.record.mlflow_run_id != emotion_run.record.mlflow_run_id


def test_from_node_runs_it_and_what_depends_on_it(emotion_run: EmotionRun) -> None:
    again = run(emotion_run.request, from_node="EvaluationReport")
    ran = {node for node, state in states(again).items() if state == "ran"}
    assert ran - {"LatestBlessedResolver"} == {"EvaluationReport", "MLflowTracker"}


def test_worse_model_is_refused(emotion_run: EmotionRun) -> None:
    """A model that is worse than the blessed one by more than the tolerance is not pushed."""
    versions = os.listdir(emotion_run.request.workspace.serving / "emotion")
    worst = (
        "evaluation.min_accuracy=0",
        "evaluation.max_accuracy_drop=0.05",
        "train.learning_rate=0.0000001",
        "train.epochs=1",
    )
    worse = run(emotion_run.request, *worst)
    assert worse.record.status == "finished"
    assert not worse.record.blessed
    assert worse.record.refusal == "the blessing was refused"
    assert worse.record.pushed_to == ""
    assert [verdict["passed"] for verdict in worse.record.verdicts] == [True, False, True]
    # Where no report explains it, the thresholds are named all the same.
    part = run(replace(emotion_run.request, until_node="Evaluator"), *worst).record
    assert (part.report, part.refusal, part.verdicts) == ("", worse.record.refusal, worse.record.verdicts)
    assert os.listdir(emotion_run.request.workspace.serving / "emotion") == versions
    champion = client(emotion_run.request.workspace).get_model_version_by_alias("emotion", "champion")
    assert champion.tags["hexaface.pushed_to"] == emotion_run.record.pushed_to


def test_model_that_the_server_refuses_is_not_blessed(emotion_run: EmotionRun, tmp_path: Path) -> None:
    """The Evaluator's blessing is not enough; the record has the failed check in words."""
    report = InfraReport()
    report.note("serving_default, 4 at once: answer by REST", "expected 0.25, found 0.5")
    report.save(tmp_path)
    nodes = tuple(
        replace(node, outputs={"blessing": str(tmp_path)})
        if node.node == "InfraValidator"
        else replace(node, properties={})
        for node in emotion_run.record.nodes
    )
    record = local._record(emotion_run.request, "run", "key", nodes, None, 1.0)
    assert not record.blessed
    assert record.refusal == f"the model server does not serve it right: {report.reason}"
    assert [verdict["passed"] for verdict in record.verdicts] == [True, True, True, False]
    console = Console(file=io.StringIO(), width=200)
    console.print(progress.verdict_table(record), progress.summary([record]))
    assert "expected 0.25, found 0.5" in console.file.getvalue()
    assert f"emotion: not pushed: {record.refusal}" in console.file.getvalue()


def test_vanished_model_is_pushed_again(emotion_run: EmotionRun, tmp_path: Path) -> None:
    """TFX's cache knows only its own copy; the serving root is looked at too."""
    pushed = Path(emotion_run.record.pushed_to)
    shutil.move(pushed, tmp_path / "away")
    again = run(emotion_run.request)
    try:
        assert states(again)["Pusher"] == "ran"
        assert states(again)["Trainer"] == "cached"
        assert (Path(again.record.pushed_to) / "saved_model.pb").is_file()
    finally:
        shutil.rmtree(again.record.pushed_to)
        shutil.move(tmp_path / "away", pushed)


def test_edited_schema_is_not_answered_from_cache(
    emotion_run: EmotionRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import data_validation

    room = shutil.copytree(Path(data_validation.__file__).parent, tmp_path / "data_validation")
    schema = room / "schemas" / "emotion.pbtxt"
    schema.write_text(schema.read_text().replace('value: "surprise"', ""))
    monkeypatch.setattr(data_validation, "__file__", str(room / "__init__.py"))
    # Another setting that no node depends on, so that the nodes are asked at all.
    with pytest.raises(InputError, match=r"emotion: .*surprise"):
        run(emotion_run.request, "run.retries=0")


def test_paper_profile_trains_the_report_s_network(emotion_run: EmotionRun, tmp_path: Path) -> None:
    # One step.
    small = (
        "train.epochs=1",
        "train.batch_size=32",
        "train.images_per_epoch=32",
        "evaluation.min_accuracy=0",
    )
    request = replace(
        emotion_run.request,
        settings=settings.load("paper", "emotion", small),
        workspace=settings.Workspace.at(tmp_path),
    )
    paper = run(request)
    assert paper.record.status == "finished"
    weights = Path(paper.record.pushed_to) / "variables" / "variables.data-00000-of-00001"
    # 11.6 million parameters of four bytes.
    assert weights.stat().st_size > 46_000_000


def test_warm_start_begins_with_the_blessed_weights(emotion_run: EmotionRun) -> None:
    """An epoch that changes nothing has the loss that the blessed model ended with, not a new one's."""
    settled = ("train.warm_start=true", "train.learning_rate=0.0000001", "train.epochs=1")
    warm = run(emotion_run.request, *settled, until_node="Trainer")
    assert states(warm)["BaseModelResolver"] == "ran"
    new, trained = history(emotion_run)[0]["loss"], min(row["loss"] for row in history(emotion_run))
    assert trained < new - 0.4, "too little was learned to tell a warm start from a new model"
    assert history(warm)[0]["loss"] < (new + trained) / 2


def history(outcome: EmotionRun) -> list[dict[str, float]]:
    return read_history(Path(output(outcome, "Trainer", "model_run")) / HISTORY_FILE)


@pytest.fixture
def closed_port() -> int:
    return free_port()


@pytest.fixture
def server(closed_port: int, tmp_path: Path) -> Iterator[list[str]]:
    """Yields the command that starts a tracking server on the closed port; ends what was started."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(closed_port), "--workers", "1"]
        store = f"sqlite:///{tmp_path / 'server.db'}"
        command += ["--backend-store-uri", store, "--artifacts-destination", str(tmp_path / "artifacts")]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_until(lambda: _is_healthy(closed_port), 300, lambda: "the tracking server did not start")

    yield start  # type: ignore[misc]
    for process in started:
        process.terminate()
        process.wait(timeout=120)


def _is_healthy(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10).close()
    except OSError:
        return False
    return True


def test_dead_tracking_server_fails_nothing_and_is_sent_later(
    emotion_run: EmotionRun, closed_port: int, server, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"http://127.0.0.1:{closed_port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    untracked = run(emotion_run.request)
    assert untracked.record.status == "finished"
    assert untracked.record.mlflow_run_id == ""
    waiting = list(emotion_run.request.workspace.outbox.glob("*.json"))
    assert [file.stem for file in waiting] == [untracked.record.run_id]
    server()
    submission = Submission.load(waiting[0])
    run_id = submit(submission)
    assert submit(submission) == run_id, "sending twice must not make a second run"
    tracked = mlflow.MlflowClient(uri).get_run(run_id)
    assert tracked.data.metrics["evaluation/split_test/accuracy"] == pytest.approx(
        untracked.record.test["accuracy"]
    )
    curve = mlflow.MlflowClient(uri).get_metric_history(run_id, "curve/loss")
    assert len(curve) == len({point.step for point in curve}) > 0
    # A model pushed before the champion does not take its place when it is sent late.
    earlier = str(Path(submission.pushed_to).with_name("1"))
    submit(replace(submission, pipeline_run_id="late", pushed_to=earlier))
    champion = mlflow.MlflowClient(uri).get_model_version_by_alias("emotion", "champion")
    assert champion.tags["hexaface.pushed_to"] == submission.pushed_to
    waiting[0].unlink()


def test_failing_node_ends_the_run_with_one_line(emotion_run: EmotionRun, tmp_path: Path) -> None:
    """The Pusher cannot write where a file stands in the place of the serving root."""
    workspace = emotion_run.request.workspace
    shutil.move(workspace.serving, tmp_path / "away")
    workspace.serving.write_text("in the way")
    try:
        failed = run(emotion_run.request)
    finally:
        workspace.serving.unlink()
        shutil.move(tmp_path / "away", workspace.serving)
    assert failed.record.status == "failed"
    assert failed.record.nodes[-1].node == "Pusher"
    assert failed.record.error.startswith("Pusher: ")
    assert "\n" not in failed.record.error
    retried = [node.state for node in failed.changes if node.node == "Pusher"]
    assert retried == ["waiting", "running", "retrying", "failed"]
    tracked = client(workspace).get_run(failed.record.mlflow_run_id)
    assert tracked.info.status == "FAILED"


def output(outcome: EmotionRun, node: str, name: str) -> str:
    return next(record for record in outcome.record.nodes if record.node == node).outputs[name]
