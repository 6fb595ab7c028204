"""One MLflow run a pipeline run: opening, filling and closing it.

Every call may meet a dead server; callers decide what that means, nothing here hides it.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunStatus, RunTag

from components.evaluation.page import PRIVATE_FOLDER
from components.infra_report import REPORT_FILE as INFRA_REPORT_FILE
from components.infra_report import InfraReport
from trainers.history import BACKBONE_FILE, HISTORY_FILE, SAMPLES_FOLDER, read_history
from trainers.mlflow_curves import log_history

PIPELINE_RUN_TAG = "hexaface.pipeline_run_id"
WORKSPACE_TAG = "hexaface.workspace"
PUSHED_TAG = "hexaface.pushed_to"
BACKBONE_TAG = "hexaface.backbone_fingerprint"
# MLflow refuses longer values.
_MAX_PARAM, _MAX_TAG = 6000, 5000


@dataclass(frozen=True)
class Submission:
    """All that the tracker sends, as plain values, so that it can be kept and sent later.

    Attributes:
        tracking_uri: MLflow's store or server.
        artifact_root: See `open_run`.
        experiment: Name of the experiment and of the registered model.
        pipeline_run_id: The pipeline run.
        settings: All settings.
        report: Folder of the EvaluationReport.
        examples: Folder of the examples.
        model_run: Folder of the training's history.
        anomalies: What ExampleValidator found, as lines.
        blessed: Whether the model was blessed, by the Evaluator and by InfraValidator.
        pushed_to: Folder of the pushed model; empty where it was not pushed.
        infra: Folder of InfraValidator's report; empty in what earlier versions of the project kept.
    """

    tracking_uri: str
    artifact_root: str
    experiment: str
    pipeline_run_id: str
    settings: Mapping[str, Any]
    report: str
    examples: str
    model_run: str
    anomalies: list[str]
    blessed: bool
    pushed_to: str
    infra: str = ""

    def save(self, file: Path) -> None:
        """Keeps the submission for a later `hexaface track`."""
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, file)

    @classmethod
    def load(cls, file: Path) -> "Submission":
        """Reads a submission that was kept."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))


def open_run(tracking_uri: str, artifact_root: str, experiment: str, pipeline_run_id: str) -> str:
    """Finds or makes the MLflow run of a pipeline run.

    Args:
        tracking_uri: MLflow's store or server.
        artifact_root: Absolute folder for the experiment's files; empty to let the server choose.
        experiment: Name of the experiment; made where missing.
        pipeline_run_id: The pipeline run.

    Returns:
        The MLflow run's id.

    Raises:
        mlflow.exceptions.MlflowException: The server refuses or does not answer.
    """
    client = mlflow.MlflowClient(tracking_uri)
    found = client.get_experiment_by_name(experiment)
    experiment_id = (
        found.experiment_id
        if found
        else client.create_experiment(
            experiment, artifact_location=f"{artifact_root}/{experiment}" if artifact_root else None
        )
    )
    runs = client.search_runs(
        [experiment_id], f"tags.`{PIPELINE_RUN_TAG}` = '{pipeline_run_id}'", max_results=1
    )
    if runs:
        return runs[0].info.run_id
    tags = {PIPELINE_RUN_TAG: pipeline_run_id}
    return client.create_run(experiment_id, tags=tags, run_name=pipeline_run_id).info.run_id


def end_abandoned(tracking_uri: str, run_id: str, workspace: str) -> None:
    """Ends the runs of earlier processes that were killed; MLflow would show them as running for ever.

    To be called by the only process that runs the task in the workspace.

    Args:
        tracking_uri: MLflow's store or server.
        run_id: The run that has just been opened.
        workspace: Name of the workspace; the run is marked as belonging to it.

    Raises:
        mlflow.exceptions.MlflowException: The server refuses or does not answer.
    """
    client = mlflow.MlflowClient(tracking_uri)
    experiment_id = client.get_run(run_id).info.experiment_id
    # A hash: a path may hold quotes, which MLflow's filter has no way to write.
    tag = hashlib.sha256(workspace.encode()).hexdigest()[:16]
    client.set_tag(run_id, WORKSPACE_TAG, tag)
    running = f"attributes.status = 'RUNNING' and tags.`{WORKSPACE_TAG}` = '{tag}'"
    for run in client.search_runs([experiment_id], running):
        if run.info.run_id != run_id:
            client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))


def close_run(
    tracking_uri: str, run_id: str, node_seconds: Mapping[str, float], gpus: int, error: str
) -> None:
    """Ends a run with the duration and cost of its nodes.

    Args:
        tracking_uri: MLflow's store or server.
        run_id: MLflow run.
        node_seconds: Seconds of each node that ran; none to leave cost out.
        gpus: GPUs that the Trainer had; its seconds times this are the GPU seconds.
        error: One line; empty for a run that went well.

    Raises:
        mlflow.exceptions.MlflowException: The server refuses or does not answer.
    """
    client = mlflow.MlflowClient(tracking_uri)
    if node_seconds:
        _log_costs(client, run_id, node_seconds, gpus)
    if error:
        client.set_tag(run_id, "hexaface.error", error[:_MAX_TAG])
    status = RunStatus.FAILED if error else RunStatus.FINISHED
    client.set_terminated(run_id, RunStatus.to_string(status))


def _log_costs(
    client: mlflow.MlflowClient, run_id: str, node_seconds: Mapping[str, float], gpus: int
) -> None:
    costs = {f"node_seconds/{node}": seconds for node, seconds in node_seconds.items()}
    costs["cost/node_seconds"] = sum(node_seconds.values())
    costs["cost/gpu_seconds"] = gpus * node_seconds.get("Trainer", 0.0)
    client.log_batch(run_id, metrics=[Metric(key, value, _now(), 0) for key, value in costs.items()])


def submit(submission: Submission) -> str:
    """Fills the MLflow run of a pipeline run; registers the model where it was pushed.

    Sending the same submission twice leaves one run with the same contents.

    Args:
        submission: What to send.

    Returns:
        The MLflow run's id.

    Raises:
        mlflow.exceptions.MlflowException: The server refuses or does not answer.
    """
    run_id = open_run(
        submission.tracking_uri, submission.artifact_root, submission.experiment, submission.pipeline_run_id
    )
    client = mlflow.MlflowClient(submission.tracking_uri)
    report, examples = Path(submission.report), Path(submission.examples)
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, _now(), 0) for key, value in _flat_metrics(metrics).items()],
        params=[Param(key, str(value)[:_MAX_PARAM]) for key, value in _flatten(submission.settings).items()],
        tags=[
            RunTag("hexaface.data_fingerprint", metrics["content_fingerprint"]),
            RunTag("hexaface.data_span", str(metrics["span"])),
            RunTag("hexaface.blessed", str(submission.blessed).lower()),
            RunTag(PUSHED_TAG, submission.pushed_to),
            *_backbone_tag(Path(submission.model_run)),
        ],
    )
    log_history(client, run_id, read_history(Path(submission.model_run) / HISTORY_FILE))
    _log_samples(client, run_id, Path(submission.model_run) / SAMPLES_FOLDER)
    log_report(client, run_id, report)
    for name in ("ingestion.json", "rejected.jsonl"):
        client.log_artifact(run_id, str(examples / name), "data")
    if submission.infra:
        _log_infra(client, run_id, Path(submission.infra))
    client.log_text(run_id, "\n".join(submission.anomalies) or "none", "data/anomalies.txt")
    if submission.pushed_to:
        _register(client, submission, run_id)
    return run_id


def log_study(
    tracking_uri: str,
    artifact_root: str,
    experiment: str,
    about: Mapping[str, Any],
    metrics: Mapping[str, float],
    files: Iterable[Path],
) -> str:
    """Keeps a study as an MLflow run of its own.

    Args:
        tracking_uri: MLflow's store or server.
        artifact_root: See `open_run`.
        experiment: Name of the experiment.
        about: How it was made: plain values, also nested; among them its `date`, by which the run is named.
        metrics: What was measured.
        files: Files and folders to keep.

    Returns:
        The MLflow run's id.

    Raises:
        mlflow.exceptions.MlflowException: The server refuses or does not answer.
    """
    run_id = open_run(tracking_uri, artifact_root, experiment, f"{experiment}-{about['date']}")
    error = "not all could be sent"
    try:
        client = mlflow.MlflowClient(tracking_uri)
        client.log_batch(
            run_id,
            metrics=[Metric(key, value, _now(), 0) for key, value in metrics.items()],
            params=[Param(key, str(value)[:_MAX_PARAM]) for key, value in _flatten(about).items()],
        )
        for file in files:
            if file.is_dir():
                client.log_artifacts(run_id, str(file), f"report/{file.name}")
            else:
                client.log_artifact(run_id, str(file), "report")
        error = ""
    finally:
        close_run(tracking_uri, run_id, node_seconds={}, gpus=0, error=error)
    return run_id


def log_report(client: mlflow.MlflowClient, run_id: str, report: Path) -> None:
    """Sends a report without its pictures of persons, which stay in the workspace.

    Args:
        client: MLflow's.
        run_id: The MLflow run.
        report: Folder of the EvaluationReport.
    """
    for item in sorted(report.iterdir()):
        if item.is_dir() and item.name != PRIVATE_FOLDER:
            client.log_artifacts(run_id, str(item), f"report/{item.name}")
        elif item.is_file():
            client.log_artifact(run_id, str(item), "report")


def _backbone_tag(model_run: Path) -> list[RunTag]:
    """Tells which trunk the model stands on, where it is another pipeline's."""
    file = model_run / BACKBONE_FILE
    if not file.is_file():
        return []
    return [RunTag(BACKBONE_TAG, json.loads(file.read_text(encoding="utf-8"))["fingerprint"])]


def _log_samples(client: mlflow.MlflowClient, run_id: str, folder: Path) -> None:
    """Sends those pictures of a generator's progress that were not sent while it was trained."""
    if folder.is_dir():
        sent = {item.path for item in client.list_artifacts(run_id, SAMPLES_FOLDER)}
        for file in sorted(folder.iterdir()):
            if f"{SAMPLES_FOLDER}/{file.name}" not in sent:
                client.log_artifact(run_id, str(file), SAMPLES_FOLDER)


def _log_infra(client: mlflow.MlflowClient, run_id: str, folder: Path) -> None:
    figures = InfraReport.load(folder).figures
    client.log_batch(
        run_id, metrics=[Metric(f"serving/{key}", value, _now(), 0) for key, value in figures.items()]
    )
    client.log_artifact(run_id, str(folder / INFRA_REPORT_FILE), "serving")


def _register(client: mlflow.MlflowClient, submission: Submission, run_id: str) -> None:
    """Registers the pushed model, a link and not the bytes, and makes it the champion.

    The link is a small file of the run: a server takes no version whose source lies outside of its run.
    """
    name, pushed_to = submission.experiment, submission.pushed_to
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    versions = client.search_model_versions(f"name = '{name}'")
    known = next((version for version in versions if version.tags.get(PUSHED_TAG) == pushed_to), None)
    if known is None:
        client.log_dict(run_id, {"pushed_to": pushed_to}, "model/pushed.json")
        source = f"{client.get_run(run_id).info.artifact_uri}/model"
        known = client.create_model_version(name, source, run_id=run_id, tags={PUSHED_TAG: pushed_to})
    # What is sent late must not take the place of what was pushed after it.
    newest = max((version.tags[PUSHED_TAG] for version in [*versions, known]), key=_version_number)
    if newest == pushed_to:
        client.set_registered_model_alias(name, "champion", known.version)


def _version_number(pushed_to: str) -> int:
    return int(Path(pushed_to).name)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _flat_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, values in metrics["slices"].items():
        # MLflow allows no '=' or ',' in a metric's name.
        where = name.replace(", ", "/").replace("=", "_")
        flat |= {f"evaluation/{where}/{key}": float(value) for key, value in values.items()}
    for key in ("epochs", "training_seconds", "records", "rejected", "dropped"):
        flat[key] = float(metrics[key])
    return flat


def _now() -> int:
    return int(time.time() * 1000)
