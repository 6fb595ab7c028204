"""A run that is killed while it trains goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.runs import latest
from pipelines.settings import Workspace
from trainers.history import HISTORY_FILE, read_history

pytestmark = pytest.mark.e2e

EPOCHS = 6


def test_killed_run_finishes_from_its_backup(tmp_path: Path, emotion_samples: Path) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "run", "emotion", "--data", str(emotion_samples)]
    command += ["--workspace", str(tmp_path), "--set", f"train.epochs={EPOCHS}"]
    # What follows the training is run by others.
    command += ["--until", "Trainer"]
    # Its own process group, so that the kill reaches whatever it started.
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        before = wait_for_epochs(tmp_path, 2, first)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert latest(Workspace.at(tmp_path), "emotion") is None

    second = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "going on after epoch" in second.stdout
    record = latest(Workspace.at(tmp_path), "emotion")
    assert record is not None
    states = {node.node: node.state for node in record.nodes}
    assert states["FaceExampleGen"] == states["Transform"] == "cached"
    model_run = next(node.outputs["model_run"] for node in record.nodes if node.node == "Trainer")
    history = read_history(Path(model_run) / HISTORY_FILE)
    assert [row["epoch"] for row in history] == list(range(1, EPOCHS + 1))
    # The epochs whose state was saved before the kill were not trained again.
    assert history[0] == before[0]
    assert not list((tmp_path / "pipelines" / "emotion" / "backups").iterdir())


def wait_for_epochs(workspace: Path, epochs: int, process: subprocess.Popen[bytes]) -> list[dict[str, float]]:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        for file in workspace.glob(f"pipelines/emotion/backups/*/{HISTORY_FILE}"):
            rows = read_history(file)
            if len(rows) >= epochs:
                return rows
        time.sleep(0.1)
    raise AssertionError(f"no {epochs} epochs in time")
