"""Runs a pipeline's nodes here, one after another, with retries, resume and a record of the run."""

import datetime
import fcntl
import json
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from components.infra_report import InfraReport
from data_validation.errors import InputError, one_line
from pipelines import sources
from pipelines.runs import NodeRecord, RunRecord, last_pushed, latest, run_key, unchanged
from pipelines.settings import Workspace
from pipelines.task_settings import Settings
from pipelines.tasks import FaceTask

logger = logging.getLogger("hexaface.run")

T = TypeVar("T")
# Where the Pusher notes the folder in the serving root.
PUSHED_TO = "pushed_model.pushed_destination"
# What the Evaluator's blessing holds if it is one.
BLESSED_FILE = "BLESSED"
REFUSED = "the blessing was refused"

# Told of a node whenever its state changes; the states are listed at NodeRecord.
OnChange = Callable[[NodeRecord], None]


@dataclass(frozen=True)
class RunRequest:
    """What to run.

    Attributes:
        task: The task.
        settings: All settings.
        workspace: Where everything goes.
        sources: Data folders.
        from_node: Run this node and all that depend on it anew; empty for none.
        use_cache: Take unchanged nodes from cache.
        until_node: Run only this node and those that it depends on; empty for all.
    """

    task: FaceTask
    settings: Settings
    workspace: Workspace
    sources: tuple[Path, ...]
    from_node: str = ""
    use_cache: bool = True
    until_node: str = ""


def run(request: RunRequest, on_change: OnChange) -> RunRecord:
    """Runs a pipeline to its end, or to the node that is asked for.

    Args:
        request: What to run.
        on_change: Told of every change of a node's state.

    Returns:
        The record of the run, also kept in the workspace. A failed run has a record too: look at `status`.

    Raises:
        InputError: The request itself cannot be run: no such node, no data.
    """
    start = time.monotonic()
    workspace, task = request.workspace, request.task
    sources.check_nodes(request.from_node, request.until_node)
    sources.check(request.sources, task, request.settings.data)
    sources.check_weights(request.settings)
    others = sources.other_models(request.settings, workspace, request.until_node)
    key = run_key(request.settings, workspace, request.sources, others, request.until_node)
    previous = latest(workspace, task.name)
    # A warm start is never unchanged: it would begin with the model that the last run made.
    may_skip = request.use_cache and not request.from_node and not request.settings.train.warm_start
    if may_skip and previous and unchanged(previous, key, workspace):
        nodes = tuple(replace(node, state="cached", seconds=0.0) for node in previous.nodes)
        for node in nodes:
            on_change(node)
        return replace(previous, nodes=nodes, seconds=time.monotonic() - start)
    run_id = f"{task.name}-{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%S-%f}"
    with (
        _alone(workspace, task.name),
        _log_file(workspace.runs(task.name) / f"{run_id}.log"),
        _tracking(request, run_id) as tracked,
    ):
        nodes, error = _run_nodes(request, run_id, on_change)
        record = _record(request, run_id, key, nodes, error, time.monotonic() - start)
        record = replace(record, mlflow_run_id=tracked.close(nodes, record.error))
        record.save(workspace)
    if isinstance(error, InputError):
        raise error
    return record


def _run_nodes(
    request: RunRequest, run_id: str, on_change: OnChange
) -> tuple[tuple[NodeRecord, ...], Exception | None]:
    """Runs all nodes; returns what they did and the error of the one that failed."""
    # Imported here: a request that cannot run should not wait for TensorFlow.
    from pipelines import node as nodes
    from pipelines.face_pipeline import NEVER_CACHED, RETRYABLE, build_pipeline

    pipeline = build_pipeline(request.task, request.settings, request.workspace, list(request.sources))
    representation = nodes.compile_pipeline(pipeline, run_id)
    names = _wanted(
        request, nodes.node_ids(representation), lambda name: nodes.upstream(representation, name)
    )
    anew = NEVER_CACHED | _anew(request, names, lambda name: nodes.downstream(representation, name))
    pushed_to = last_pushed(request.workspace, request.task.name)
    if pushed_to and not os.path.exists(pushed_to):
        # TFX looks for its own copy of a pushed model only, not for the one in the serving root.
        anew |= nodes.downstream(representation, "Pusher")
    for name in names:
        on_change(NodeRecord(name, "waiting", 0.0))
    done: list[NodeRecord] = []
    for name in names:
        retries = request.settings.run.retries if name in RETRYABLE else 0
        start = time.monotonic()
        on_change(NodeRecord(name, "running", 0.0))
        try:
            outcome = _with_retries(
                partial(nodes.run_node, representation, name, use_cache=name not in anew),
                retries,
                request.settings.run.backoff_seconds,
                partial(on_change, NodeRecord(name, "retrying", 0.0)),
            )
        except Exception as error:
            logger.exception("%s failed", name)
            failed = NodeRecord(name, "failed", time.monotonic() - start)
            on_change(failed)
            return (*done, failed), error
        state = "cached" if outcome.cached else "ran"
        done.append(NodeRecord(name, state, outcome.seconds, outcome.outputs, outcome.properties))
        on_change(done[-1])
    return tuple(done), None


def _wanted(request: RunRequest, names: list[str], upstream: Callable[[str], set[str]]) -> list[str]:
    """Returns the nodes to run, in their order."""
    if not request.until_node:
        return names
    if request.until_node not in names:
        raise InputError(f"--until {request.until_node}: expected one of {', '.join(names)}")
    needed = upstream(request.until_node)
    return [name for name in names if name in needed]


def _anew(request: RunRequest, names: list[str], downstream: Callable[[str], set[str]]) -> set[str]:
    """Returns the nodes that must not be taken from cache."""
    if not request.use_cache:
        return set(names)
    if not request.from_node:
        return set()
    if request.from_node not in names:
        raise InputError(f"--from {request.from_node}: expected one of {', '.join(names)}")
    return downstream(request.from_node)


def _with_retries(
    action: Callable[[], T], retries: int, backoff_seconds: float, on_retry: Callable[[], object]
) -> T:
    for attempt in range(retries + 1):
        try:
            return action()
        except InputError:
            raise
        except Exception:
            if attempt == retries:
                raise
            logger.exception("trying again (%d of %d)", attempt + 1, retries)
            on_retry()
            time.sleep(backoff_seconds * 2**attempt)
    raise AssertionError("unreachable")


def _record(
    request: RunRequest,
    run_id: str,
    key: str,
    nodes: tuple[NodeRecord, ...],
    error: Exception | None,
    seconds: float,
) -> RunRecord:
    record = RunRecord(
        task=request.task.name,
        run_id=run_id,
        key=key,
        status="failed" if error else "finished",
        seconds=seconds,
        nodes=nodes,
        until=request.until_node,
    )
    # Also of a run that failed later: the model lies where servers and other pipelines look.
    pushed_to = next((node.properties.get(PUSHED_TO, "") for node in nodes if node.node == "Pusher"), "")
    record = replace(record, pushed_to=pushed_to)
    if error:
        where = f"{nodes[-1].node}: " if nodes else ""
        return replace(record, error=where + one_line(error))
    outputs = {node.node: node.outputs for node in nodes}
    if "EvaluationReport" in outputs:
        record = _with_report(record, outputs["EvaluationReport"]["report"])
    elif "Evaluator" in outputs:
        record = replace(record, verdicts=_verdicts(request, outputs["Evaluator"]["evaluation"]))
    if "Evaluator" in outputs:
        record = _with_blessing(record, Path(outputs["Evaluator"]["blessing"]))
    if "InfraValidator" in outputs:
        record = _with_infra_blessing(record, Path(outputs["InfraValidator"]["blessing"]))
    return record


def _with_report(record: RunRecord, report: str) -> RunRecord:
    metrics = json.loads((Path(report) / "metrics.json").read_text(encoding="utf-8"))
    return replace(
        record,
        selection=metrics["selection"],
        test=metrics["test"],
        verdicts=tuple(metrics["verdicts"]),
        report=report,
    )


def _verdicts(request: RunRequest, evaluation: str) -> tuple[dict[str, Any], ...]:
    """Explains the Evaluator's blessing, where no report has done so."""
    from components.evaluation.assessments import assessment

    task = request.task
    judge = assessment(task.assessment, task.label, task.classes)
    judged = judge.verdicts(evaluation, asdict(request.settings.evaluation))
    return tuple(verdict.as_dict() for verdict in judged)


def _with_blessing(record: RunRecord, blessing: Path) -> RunRecord:
    """Adds the Evaluator's refusal; its blessing alone is half of one."""
    return record if (blessing / BLESSED_FILE).exists() else replace(record, refusal=REFUSED)


def _with_infra_blessing(record: RunRecord, blessing: Path) -> RunRecord:
    infra = InfraReport.load(blessing)
    if infra.not_tried:
        return replace(record, refusal=REFUSED)
    refusal = f"the model server does not serve it right: {infra.reason}" if infra.reason else ""
    verdicts = (*record.verdicts, infra.verdict())
    return replace(record, verdicts=verdicts, blessed=not refusal, refusal=refusal)


class _TrackedRun:
    """The MLflow run of a pipeline run, or the absence of one."""

    def __init__(self, tracking_uri: str, run_id: str, problem: str) -> None:
        self._tracking_uri = tracking_uri
        self.run_id = run_id
        self._problem = problem

    def close(self, nodes: tuple[NodeRecord, ...], error: str) -> str:
        """Ends the MLflow run; returns its id, empty where there is none."""
        if not self.run_id:
            logger.warning("MLflow does not answer, this run is not tracked yet: %s", self._problem)
            return ""
        from components import tracking
        from trainers.devices import gpu_count
        from trainers.mlflow_curves import SERVER_ERRORS

        ran = {node.node: node.seconds for node in nodes if node.state == "ran"}
        try:
            tracking.close_run(self._tracking_uri, self.run_id, ran, gpu_count(), error)
        except SERVER_ERRORS as problem:  # a dead server never fails a run
            logger.warning("MLflow run %s was not closed: %s", self.run_id, one_line(problem))
        return self.run_id


@contextmanager
def _tracking(request: RunRequest, run_id: str) -> Iterator[_TrackedRun]:
    """Opens the MLflow run and names it to the nodes by MLflow's own environment variables."""
    from components import tracking
    from trainers.mlflow_curves import SERVER_ERRORS

    workspace = request.workspace
    uri = workspace.tracking_uri
    try:
        opened = tracking.open_run(
            uri, workspace.artifact_root, workspace.experiment(request.task.name), run_id
        )
        tracking.end_abandoned(uri, opened, f"{platform.node()}:{workspace.root}")
        tracked = _TrackedRun(uri, opened, "")
    except SERVER_ERRORS as problem:  # a dead server never fails a run
        tracked = _TrackedRun(uri, "", one_line(problem))
    names = {
        "HEXAFACE_PIPELINE_RUN_ID": run_id,
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_RUN_ID": tracked.run_id,
    }
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield tracked
    except BaseException as error:
        tracked.close((), one_line(error))
        raise
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _alone(workspace: Workspace, task: str) -> Iterator[None]:
    """Holds the task's lock: two runs at once would train from one backup and push over each other.

    Raises:
        InputError: Another process runs the task in this workspace.
    """
    folder = workspace.runs(task)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            # The system frees it when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{workspace.root}: another run of {task} is going on here") from error
        yield


@contextmanager
def _log_file(file: Path) -> Iterator[None]:
    """Sends all log records to a file while the run lasts."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
