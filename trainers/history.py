"""Learning curves on disk: one JSON line an epoch."""

import json
import os
from pathlib import Path

HISTORY_FILE = "history.jsonl"
SAMPLES_FOLDER = "samples"
"""Pictures of a generator's progress, beside the history, and among the artifacts of the MLflow run."""
BACKBONE_FILE = "backbone.json"
"""Beside the history of a model that stands on another pipeline's trunk: `fingerprint`."""


def read_history(file: Path) -> list[dict[str, float]]:
    """Reads the epochs of a history file; none where it does not exist."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_history(file: Path, rows: list[dict[str, float]]) -> None:
    """Writes a history file at once, so that a kill leaves the old or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    os.replace(temporary, file)
