import os
import shutil
from dataclasses import replace

import pytest

from pipelines import runs
from pipelines.runs import NodeRecord, RunRecord, latest, run_key, unchanged
from pipelines.settings import Workspace, load


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = Workspace.at(tmp_path / "home")
    place.metadata.touch()
    return place


@pytest.fixture
def record(workspace):
    outputs = {}
    for name in ("examples", "model"):
        folder = workspace.pipeline("emotion") / name
        folder.mkdir(parents=True)
        outputs[name] = str(folder)
    pushed = workspace.serving / "emotion" / "1700000000"
    pushed.mkdir(parents=True)
    return RunRecord(
        task="emotion",
        run_id="emotion-20240131T235959-000001",
        key="k" * 64,
        status="finished",
        seconds=12.5,
        nodes=(
            NodeRecord("FaceExampleGen", "cached", 0.5, {"examples": outputs["examples"]}),
            NodeRecord("Trainer", "ran", 11.0, {"model": outputs["model"]}, {"model.note": "nötig"}),
        ),
        selection={"accuracy": 0.625},
        test={"accuracy": 0.6},
        verdicts=({"metric": "accuracy", "value": None, "passed": True},),
        blessed=True,
        pushed_to=str(pushed),
        report="report",
        mlflow_run_id="abc",
    )


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    return folder


def test_a_record_comes_back_as_it_was(workspace, record):
    assert latest(workspace, "emotion") is None
    record.save(workspace)
    assert latest(workspace, "emotion") == record
    assert [file.name for file in workspace.runs("emotion").iterdir()] == [f"{record.run_id}.json"]


def test_latest_is_the_newest_of_its_task(workspace, record):
    stamps = [
        "20240131T235959-000001",
        "20240201T000000-000000",
        "20231231T235959-999999",
        "20240131T235959-000002",
    ]
    for stamp in stamps:
        replace(record, run_id=f"emotion-{stamp}", seconds=float(len(stamp))).save(workspace)
    replace(record, task="gender", run_id="gender-20300101T000000-000000").save(workspace)
    (workspace.runs("emotion") / "zzz.log").write_text("a log")
    (workspace.runs("emotion") / ".emotion-2040.tmp").write_text("{half")
    assert latest(workspace, "emotion").run_id == "emotion-20240201T000000-000000"
    assert latest(workspace, "gender").task == "gender"
    assert latest(workspace, "age") is None


def test_saving_again_replaces_the_record(workspace, record):
    record.save(workspace)
    replace(record, status="failed", error="Trainer: out of memory").save(workspace)
    assert latest(workspace, "emotion").error == "Trainer: out of memory"


# The key


def test_key_is_stable_and_changes_with_settings(workspace, data):
    values = load("demo", "emotion")
    key = run_key(values, workspace, [data])
    assert len(key) == 64
    assert run_key(load("demo", "emotion"), workspace, [data]) == key
    keys = {
        run_key(load("demo", "emotion", [override]), workspace, [data])
        for override in (
            "train.epochs=3",
            "train.augmentation.shift=0.3",
            "evaluation.min_accuracy=0.1",
            "data.drop_test_duplicates=true",
            "run.beam_args=[]",
        )
    }
    assert len(keys - {key}) == 5


def test_key_changes_with_the_data(workspace, data, tmp_path):
    values = load("demo", "emotion")
    keys = [run_key(values, workspace, [data])]
    (data / "fer2013.csv").write_text("emotion,pixels,Usage\n3,1,Training\n")
    keys.append(run_key(values, workspace, [data]))
    os.utime(data / "fer2013.csv", ns=(10**18, 10**18))
    keys.append(run_key(values, workspace, [data]))
    (data / "more.txt").touch()
    keys.append(run_key(values, workspace, [data]))
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    keys.append(run_key(values, workspace, [copy]))
    keys.append(run_key(values, workspace, [data, copy]))
    assert len(set(keys)) == len(keys)
    shutil.rmtree(copy)
    assert run_key(values, workspace, [data]) == keys[3]


def test_key_changes_with_a_new_span_only_inside_the_window(workspace, tmp_path):
    spans = tmp_path / "spans"
    for number in (1, 2):
        (spans / f"span-{number}").mkdir(parents=True)
        (spans / f"span-{number}" / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    one, two = load("demo", "emotion"), load("demo", "emotion", ["data.spans=2"])
    before = run_key(one, workspace, [spans]), run_key(two, workspace, [spans])
    (spans / "span-1" / "fer2013.csv").write_text("emotion,pixels,Usage\n1,1,1\n")
    assert run_key(one, workspace, [spans]) == before[0]
    assert run_key(two, workspace, [spans]) != before[1]
    (spans / "span-3").mkdir()
    assert run_key(one, workspace, [spans]) != before[0]


def test_key_changes_with_tracking_code_and_versions(workspace, data, monkeypatch):
    values = load("demo", "emotion")
    keys = [run_key(values, workspace, [data])]
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
        keys.append(run_key(values, workspace, [data]))
    with monkeypatch.context() as patch:
        patch.setattr(runs, "code_fingerprint", lambda *rooms: "other code")
        keys.append(run_key(values, workspace, [data]))
    with monkeypatch.context() as patch:
        patch.setattr(runs, "code_fingerprint", lambda *rooms: "other versions")
        keys.append(run_key(values, workspace, [data]))
    assert len(set(keys)) == 4


# Whether anything changed


def test_nothing_changed(workspace, record):
    assert unchanged(record, record.key, workspace)
    assert unchanged(replace(record, pushed_to="", blessed=False), record.key, workspace)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: None,
        lambda record: replace(record, status="failed"),
        lambda record: replace(record, key="j" * 64),
        lambda record: replace(record, pushed_to=record.pushed_to + "0"),
        lambda record: replace(
            record, nodes=(*record.nodes, NodeRecord("Pusher", "ran", 1.0, {"pushed": "/no/such/folder"}))
        ),
    ],
)
def test_another_record_counts_as_changed(workspace, record, change):
    assert not unchanged(change(record), record.key, workspace)


@pytest.mark.parametrize(
    "lost",
    [
        lambda place: place.pipeline("emotion") / "examples",
        lambda place: place.pipeline("emotion") / "model",
        lambda place: place.serving / "emotion" / "1700000000",
    ],
)
def test_a_deleted_output_counts_as_changed(workspace, record, lost):
    lost(workspace).rmdir()
    assert not unchanged(record, record.key, workspace)


def test_a_deleted_metadata_store_counts_as_changed(workspace, record):
    workspace.metadata.unlink()
    assert not unchanged(record, record.key, workspace)
