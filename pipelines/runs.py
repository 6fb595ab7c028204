"""Records of runs: what ran, what came of it, and whether a new run would change anything.

Needs neither TensorFlow nor TFX, so that the answer "nothing changed" comes at once.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.readers.catalog import fingerprint, select_spans
from pipelines.code_fingerprint import code_fingerprint
from pipelines.settings import Workspace
from pipelines.task_settings import Settings

_ROOMS = (
    "pipelines",
    "components",
    "trainers",
    "data_validation",
    "serving/alignment.py",
    "serving/model_server",
)


@dataclass(frozen=True)
class NodeRecord:
    """A node's part in a run.

    Attributes:
        node: The node's id.
        state: `ran`, `cached` or `failed`; while it runs also `waiting`, `running` and `retrying`.
        seconds: Wall time.
        outputs: Location of each output by name.
        properties: Texts that executors noted on outputs, by `<output>.<property>`.
    """

    node: str
    state: str
    seconds: float
    outputs: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes:
        task: Name of the task.
        run_id: Id of the pipeline run.
        key: Hash of all that the run depends on, see `run_key`.
        status: `finished` or `failed`.
        seconds: Wall time.
        nodes: What each node did.
        selection: Metrics on the split that the model was chosen by.
        test: Metrics on the split that is only reported.
        verdicts: The thresholds of the blessing, as the report has them.
        blessed: Whether the model was blessed, by the Evaluator and by InfraValidator.
        refusal: Why it was not, in words; empty where it was, or where a part of a run did not come to that.
        pushed_to: Folder of the pushed model; empty where it was not pushed.
        report: Folder of the report.
        mlflow_run_id: MLflow run; empty where none could be opened.
        error: One line; empty for a finished run.
        until: The last node that was asked for; empty where all were. Without EvaluationReport there are
            no metrics and report.
    """

    task: str
    run_id: str
    key: str
    status: str
    seconds: float
    nodes: tuple[NodeRecord, ...]
    selection: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    verdicts: tuple[dict[str, Any], ...] = ()
    blessed: bool = False
    refusal: str = ""
    pushed_to: str = ""
    report: str = ""
    mlflow_run_id: str = ""
    error: str = ""
    until: str = ""

    def save(self, workspace: Workspace) -> None:
        """Writes the record as the task's latest, at once."""
        folder = workspace.runs(self.task)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{self.run_id}.tmp"
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, folder / f"{self.run_id}.json")


def latest(workspace: Workspace, task: str) -> RunRecord | None:
    """Reads the record of a task's last run, None where there is none that can be read."""
    files = sorted(workspace.runs(task).glob("*.json"))
    return _read(files[-1]) if files else None


def last_pushed(workspace: Workspace, task: str) -> str:
    """Returns the folder of the model that a task pushed last, empty where it pushed none."""
    for file in sorted(workspace.runs(task).glob("*.json"), reverse=True):
        record = _read(file)
        if record and record.pushed_to:
            return record.pushed_to
    return ""


def _read(file: Path) -> RunRecord | None:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        values["nodes"] = tuple(NodeRecord(**node) for node in values["nodes"])
        values["verdicts"] = tuple(values["verdicts"])
        return RunRecord(**values)
    except (ValueError, TypeError, KeyError):
        return None  # damaged, or of another version of the project: as good as no record


def run_key(
    settings: Settings,
    workspace: Workspace,
    sources: Iterable[Path],
    other_models: Iterable[str] = (),
    until_node: str = "",
) -> str:
    """Hashes all that a run depends on: settings, data, code and installed versions.

    Args:
        settings: All settings.
        workspace: The workspace, for the tracking server's address.
        sources: Data folders.
        other_models: Folders of the pushed models of other tasks that the run needs.
        until_node: The last node to run; empty for all.

    Returns:
        64 hexadecimal digits.
    """
    folders = [folder for source in sources for folder in select_spans(source, settings.data.spans)[0]]
    parts = {
        "settings": settings.as_dict(),
        "tracking": workspace.tracking_uri,
        "folders": [str(folder.resolve()) for folder in folders],
        "data": fingerprint(folders),
        "code": code_fingerprint(*_ROOMS),
        "other_models": list(other_models),
        "until": until_node,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def unchanged(record: RunRecord | None, key: str, workspace: Workspace) -> bool:
    """Tells whether a run would find every node in the cache.

    Args:
        record: The task's last run.
        key: Key of the run asked for.
        workspace: The workspace.

    Returns:
        True if the last run finished with the same key and all it made still lies there.
    """
    return (
        record is not None
        and record.status == "finished"
        and record.key == key
        and workspace.metadata.is_file()
        and all(os.path.exists(uri) for node in record.nodes for uri in node.outputs.values())
        and (not record.pushed_to or os.path.exists(record.pushed_to))
    )
