"""The runner's own rules, without TFX: retries, the lock, messages."""

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from components import tracking
from components.infra_report import InfraReport
from data_validation.errors import InputError, one_line
from pipelines import local, runs, settings
from pipelines.runs import NodeRecord, RunRecord
from pipelines.tasks import TASKS


class Flaky:
    """Fails some times, then answers."""

    def __init__(self, failures: int, error: type[Exception] = OSError) -> None:
        self.calls = 0
        self._failures, self._error = failures, error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error("not now")
        return "done"


def test_retries_with_doubled_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(local.time, "sleep", waits.append)
    action = Flaky(3)
    assert local._with_retries(action, 3, 2.0, lambda: None) == "done"
    assert waits == [2.0, 4.0, 8.0]


def test_gives_up_after_the_last_retry() -> None:
    action = Flaky(3)
    with pytest.raises(OSError, match="not now"):
        local._with_retries(action, 2, 0.0, lambda: None)
    assert action.calls == 3


def test_bad_input_is_never_retried() -> None:
    action = Flaky(1, InputError)
    with pytest.raises(InputError):
        local._with_retries(action, 5, 0.0, lambda: None)
    assert action.calls == 1


def test_one_run_at_a_time(tmp_path: Path, emotion_samples: Path) -> None:
    workspace = settings.Workspace.at(tmp_path)
    request = local.RunRequest(
        TASKS["emotion"], settings.load("demo", "emotion"), workspace, (emotion_samples,)
    )
    workspace.runs("emotion").mkdir(parents=True)
    with (workspace.runs("emotion") / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another run of emotion is going on"):
            local.run(request, lambda node: None)


def test_errors_are_one_line_with_their_type() -> None:
    assert one_line(RuntimeError("a\n  b")) == "RuntimeError: a b"
    assert one_line(InputError("file.csv: bad")) == "file.csv: bad"


def test_abandoned_mlflow_runs_are_ended(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    killed = tracking.open_run(uri, str(tmp_path), "emotion", "first")
    tracking.end_abandoned(uri, killed, "here")
    elsewhere = tracking.open_run(uri, str(tmp_path), "emotion", "second")
    tracking.end_abandoned(uri, elsewhere, "there")
    current = tracking.open_run(uri, str(tmp_path), "emotion", "third")
    tracking.end_abandoned(uri, current, "here")
    client = tracking.mlflow.MlflowClient(uri)
    status = {run: client.get_run(run).info.status for run in (killed, elsewhere, current)}
    assert status == {killed: "KILLED", elsewhere: "RUNNING", current: "RUNNING"}


def test_workspaces_do_not_mix_their_tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own way to choose a store would change the environment of all that comes after."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("one", "two"):
        workspace = settings.Workspace.at(tmp_path / name)
        tracking.open_run(workspace.tracking_uri, workspace.artifact_root, "emotion", name)
    for name in ("one", "two"):
        uri = settings.Workspace.at(tmp_path / name).tracking_uri
        assert name in uri
        client = tracking.mlflow.MlflowClient(uri)
        (run,) = client.search_runs([client.get_experiment_by_name("emotion").experiment_id])
        assert run.info.run_name == name


# ---- records of parts of a run


VERDICT = {"metric": "accuracy", "slice": "split eval", "rule": ">= 0.5", "found": "0.9", "passed": True}


@pytest.fixture(autouse=True)
def evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the Evaluator measured, in place of TFMA's files; the emotion pipeline's tests have real ones."""

    def verdicts(request: local.RunRequest, evaluation: str) -> tuple[dict[str, Any], ...]:
        assert evaluation == "measured"
        return (VERDICT,)

    monkeypatch.setattr(local, "_verdicts", verdicts)


def judged(folder: Path, blessed: bool, infra: InfraReport) -> dict[str, NodeRecord]:
    """What the nodes of a run leave, from the Evaluator on."""
    for name in ("evaluator", "report", "infra"):
        (folder / name).mkdir()
    (folder / "evaluator" / ("BLESSED" if blessed else "NOT_BLESSED")).touch()
    metrics = {"selection": {"accuracy": 0.9}, "test": {"accuracy": 0.8}, "verdicts": [VERDICT]}
    (folder / "report" / "metrics.json").write_text(json.dumps(metrics))
    infra.save(folder / "infra")
    pushed = {local.PUSHED_TO: "models/emotion/7"} if blessed and infra.blessed else {}
    nodes = (
        NodeRecord("Trainer", "ran", 1.0, {"model": "model"}),
        NodeRecord(
            "Evaluator", "ran", 1.0, {"evaluation": "measured", "blessing": str(folder / "evaluator")}
        ),
        NodeRecord("EvaluationReport", "ran", 1.0, {"report": str(folder / "report")}),
        NodeRecord("InfraValidator", "ran", 1.0, {"blessing": str(folder / "infra")}),
        NodeRecord("Pusher", "ran", 1.0, {"pushed_model": "pushed"}, pushed),
    )
    return {node.node: node for node in nodes}


def record_of(
    folder: Path, nodes: dict[str, NodeRecord], until: str, error: Exception | None = None
) -> RunRecord:
    request = local.RunRequest(
        TASKS["emotion"],
        settings.load("demo", "emotion"),
        settings.Workspace.at(folder),
        (folder,),
        until_node=until,
    )
    return local._record(request, "emotion-1", "key", tuple(nodes.values()), error, 1.0)


def only(nodes: dict[str, NodeRecord], *names: str) -> dict[str, NodeRecord]:
    return {name: nodes[name] for name in names}


def test_a_part_that_pushes_is_found_by_other_pipelines(tmp_path: Path) -> None:
    nodes = judged(tmp_path, True, InfraReport())
    record = record_of(tmp_path, only(nodes, "Trainer", "Evaluator", "InfraValidator", "Pusher"), "Pusher")
    assert (record.blessed, record.refusal, record.report) == (True, "", "")
    assert [verdict["metric"] for verdict in record.verdicts] == ["accuracy", "answers of the model server"]
    place = settings.Workspace.at(tmp_path)
    record.save(place)
    assert runs.last_pushed(place, "emotion") == "models/emotion/7"
    # Also where the tracker failed after it.
    late = record_of(tmp_path, nodes, "", RuntimeError("no room"))
    assert (late.status, late.pushed_to) == ("failed", "models/emotion/7")


def test_a_whole_run_has_all_verdicts(tmp_path: Path) -> None:
    record = record_of(tmp_path, judged(tmp_path, True, InfraReport()), "")
    assert [verdict["metric"] for verdict in record.verdicts] == ["accuracy", "answers of the model server"]
    assert (record.selection, record.test) == ({"accuracy": 0.9}, {"accuracy": 0.8})
    assert (record.blessed, record.pushed_to, record.report) == (
        True,
        "models/emotion/7",
        str(tmp_path / "report"),
    )


@pytest.mark.parametrize(
    "names",
    [
        ("Trainer", "Evaluator"),
        ("Trainer", "Evaluator", "EvaluationReport"),
        ("Trainer", "Evaluator", "InfraValidator"),
        ("Trainer", "Evaluator", "InfraValidator", "Pusher"),
        ("Trainer", "Evaluator", "EvaluationReport", "InfraValidator", "Pusher"),
    ],
)
def test_a_part_does_not_hide_that_the_blessing_was_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    nodes = judged(tmp_path, False, InfraReport(not_tried="not tried"))
    record = record_of(tmp_path, only(nodes, *names), names[-1])
    assert (record.blessed, record.refusal, record.pushed_to) == (False, "the blessing was refused", "")
    assert record.verdicts == (VERDICT,)


def test_a_part_does_not_hide_what_the_model_server_found(tmp_path: Path) -> None:
    infra = InfraReport()
    infra.note("answers by REST", "expected 1, found 2")
    nodes = judged(tmp_path, True, infra)
    record = record_of(tmp_path, only(nodes, "Trainer", "Evaluator", "InfraValidator"), "InfraValidator")
    assert not record.blessed
    assert record.refusal.endswith("answers by REST: expected 1, found 2")
    assert [verdict["passed"] for verdict in record.verdicts] == [True, False]


def test_a_part_that_did_not_come_to_a_verdict(tmp_path: Path) -> None:
    nodes = judged(tmp_path, True, InfraReport())
    for names, verdicts in ((("Trainer",), ()), (("Trainer", "Evaluator"), (VERDICT,))):
        record = record_of(tmp_path, only(nodes, *names), names[-1])
        assert (record.blessed, record.refusal, record.verdicts) == (False, "", verdicts)
