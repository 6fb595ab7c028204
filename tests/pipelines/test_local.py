"""The runner's own rules, without TFX: retries, the lock, messages."""

import fcntl
from pathlib import Path

import pytest

from components import tracking
from data_validation.errors import InputError, one_line
from pipelines import local, settings
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
