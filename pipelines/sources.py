"""What a run is given, data folders and weights: how it is read, and whether it can be."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from components.readers.catalog import ReaderOptions, open_readers, select_spans
from data_validation.errors import InputError, hint
from pipelines.runs import last_pushed
from pipelines.settings import Workspace
from pipelines.task_settings import (
    BackboneSettings,
    BalanceSettings,
    DataSettings,
    EvaluationSettings,
    ModelSettings,
    Settings,
    SynthesisEvaluationSettings,
)
from pipelines.tasks import FaceTask
from trainers import weight_files

EMBEDDING = "embedding"
"""The backbone that is the trunk of a model of the task VERIFICATION."""
VERIFICATION = "verification"
GENDER = "gender"
"""The task whose model is asked about generated faces, where there is one."""
DETECTION = "detection"
"""The task whose model finds the faces that are aligned with `data.align`."""
BEFORE_TRAINING = frozenset(
    {
        "DetectorResolver",
        "FaceExampleGen",
        "CuratedSchema",
        "StatisticsGen",
        "ExampleValidator",
        "AnomalyGate",
        "Transform",
        "BaseModelResolver",
    }
)
"""Nodes that need no trunk: a run that ends with one of them asks for none."""
BEFORE_EVALUATION = BEFORE_TRAINING | {"Trainer", "LatestBlessedResolver"}
"""Nodes that need nothing by which models are judged. EmbeddingResolver may be what finds it."""
NODES = (
    "DetectorResolver",
    "FaceExampleGen",
    "CuratedSchema",
    "StatisticsGen",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "BaseModelResolver",
    "EmbeddingResolver",
    "Trainer",
    "LatestBlessedResolver",
    "GenderResolver",
    "Evaluator",
    "EvaluationReport",
    "InfraValidator",
    "Pusher",
    "MLflowTracker",
)
"""All nodes that pipelines have, known before one is compiled; resolvers are where they are needed."""


def reader_options(task: FaceTask, settings: DataSettings) -> ReaderOptions:
    """Returns the cleaning rules of a task: those of its settings that readers know.

    Args:
        task: The task; only data sets with its label are read.
        settings: Its data settings.
    """
    known = {field.name for field in dataclasses.fields(ReaderOptions)}
    chosen = {name: value for name, value in dataclasses.asdict(settings).items() if name in known}
    balance = getattr(settings, "balance", BalanceSettings())
    return ReaderOptions(label=task.label, male_share=balance.male, **chosen)


def check_nodes(from_node: str, until_node: str) -> None:
    """Refuses names that no pipeline has a node of; whether this one has it, is known when it is compiled.

    Args:
        from_node: The node to begin with anew; empty for none.
        until_node: The last node to run; empty for all.

    Raises:
        InputError: See there.
    """
    for option, name in (("--from", from_node), ("--until", until_node)):
        if name and name not in NODES:
            raise InputError(f"{option} {name}: expected one of {', '.join(NODES)}{hint(name, NODES)}")


def check(sources: Sequence[Path], task: FaceTask, settings: DataSettings) -> None:
    """Refuses data that no reader knows, before anything heavy is loaded.

    Args:
        sources: Data folders.
        task: The task.
        settings: Its data settings.

    Raises:
        InputError: A folder is missing or given twice, holds no data set with the task's label, or a data set
            lacks a column.
    """
    resolved = [source.resolve() for source in sources]
    twice = next((source for source in resolved if resolved.count(source) > 1), None)
    if twice:
        raise InputError(f"{twice}: given twice; its images would count double")
    for source in sources:
        folders, _ = select_spans(source, settings.spans)
        for folder in folders:
            open_readers(folder, reader_options(task, settings))


def embedding(settings: ModelSettings, workspace: Workspace) -> str:
    """Finds the verification model on whose trunk a model is to stand.

    Args:
        settings: A task's model settings.
        workspace: The workspace.

    Returns:
        Folder of the pushed model; empty for models that stand on no other.

    Raises:
        InputError: There is none in the workspace.
    """
    if getattr(settings, "backbone", "") != EMBEDDING:
        return ""
    pushed = _pushed(workspace, VERIFICATION, f"model.backbone={EMBEDDING}", "model.backbone=compact")
    about = json.loads((Path(pushed) / "assets.extra" / "about.json").read_text(encoding="utf-8"))
    backbone = about["settings"]["model"]["backbone"]
    if backbone != "compact":
        raise InputError(
            f"model.backbone={EMBEDDING}: expected a verification model with model.backbone=compact, found "
            f"{backbone} in {pushed}"
        )
    return pushed


def aligns(settings: DataSettings) -> bool:
    """Tells whether a task's data settings want faces aligned; detection and synthesis cannot."""
    return getattr(settings, "align", False)


def detector(settings: DataSettings, workspace: Workspace) -> str:
    """Finds the detection model by which faces are to be aligned.

    Args:
        settings: A task's data settings.
        workspace: The workspace.

    Returns:
        Folder of the pushed model; empty where no face is to be aligned.

    Raises:
        InputError: There is none in the workspace.
    """
    if not aligns(settings):
        return ""
    return _pushed(workspace, DETECTION, "data.align=true", "data.align=false")


def compares_embeddings(settings: EvaluationSettings) -> bool:
    """Tells whether a task's models are judged by embeddings of a verification model."""
    return isinstance(settings, SynthesisEvaluationSettings) and settings.extractor == EMBEDDING


def extractor(settings: EvaluationSettings, workspace: Workspace) -> str:
    """Finds the verification model by whose embeddings images are to be compared.

    Args:
        settings: A task's evaluation settings.
        workspace: The workspace.

    Returns:
        Folder of the pushed model; empty where none is needed.

    Raises:
        InputError: There is none in the workspace.
    """
    if not compares_embeddings(settings):
        return ""
    return _pushed(
        workspace,
        VERIFICATION,
        f"evaluation.extractor={EMBEDDING}",
        "evaluation.extractor=inception with evaluation.extractor_weights and "
        "evaluation.extractor_weights_sha256",
    )


def gender(settings: EvaluationSettings, workspace: Workspace) -> str:
    """Finds the gender model that is asked about generated faces.

    Args:
        settings: A task's evaluation settings.
        workspace: The workspace.

    Returns:
        Folder of the pushed model; empty where there is none, or the task generates no faces.
    """
    if not isinstance(settings, SynthesisEvaluationSettings):
        return ""
    pushed = last_pushed(workspace, GENDER)
    return pushed if pushed and Path(pushed).is_dir() else ""


def other_models(settings: Settings, workspace: Workspace, until_node: str = "") -> tuple[str, ...]:
    """Finds the models of other tasks that a run takes: `detector`, `embedding`, `extractor` and `gender`.

    Args:
        settings: A task's settings.
        workspace: The workspace.
        until_node: The last node to run, empty for all; what only later nodes need is not looked for.

    Returns:
        Folders of the pushed models, empty for those that are not taken.

    Raises:
        InputError: One that is needed is not in the workspace.
    """
    trained = until_node not in BEFORE_TRAINING
    judged = until_node not in BEFORE_EVALUATION
    return (
        detector(settings.data, workspace),
        embedding(settings.model, workspace) if trained else "",
        extractor(settings.evaluation, workspace) if judged else "",
        gender(settings.evaluation, workspace) if judged else "",
    )


def _pushed(workspace: Workspace, task: str, setting: str, instead: str) -> str:
    """Returns the folder of the model that a task pushed last; a setting needs it, another one does not."""
    pushed = last_pushed(workspace, task)
    if not pushed or not Path(pushed).is_dir():
        # Without --data it would run in the workspace of the drawn samples.
        data = "" if workspace.demo else " --data DIR"
        raise InputError(
            f"{workspace.root}: no blessed {task} model for {setting}; run "
            f"`hexaface run {task}{data}` first, or set {instead}"
        )
    return pushed


def check_weights(settings: Settings) -> None:
    """Refuses a file of weights that is not there or not the one that the settings say.

    Weights at a URL are fetched and checked by the node that needs them.

    Args:
        settings: A task's settings.

    Raises:
        InputError: See there.
    """
    model, evaluation = settings.model, settings.evaluation
    if isinstance(model, BackboneSettings):
        _check_weights(model.weights, model.weights_sha256, weight_files.WEIGHTS_SETTING)
    if isinstance(evaluation, SynthesisEvaluationSettings):
        _check_weights(
            evaluation.extractor_weights, evaluation.extractor_weights_sha256, weight_files.EXTRACTOR_SETTING
        )


def _check_weights(location: str, sha256: str, setting: str) -> None:
    if "://" in location:
        weight_files.check_url(location, setting)
    elif location:
        weight_files.obtain(location, sha256, Path(), setting)
