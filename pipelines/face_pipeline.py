"""The one DAG that all face tasks share."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import tensorflow_data_validation as tfdv
from tfx.types.channel_utils import external_pipeline_artifact_query

import data_validation
from components.anomaly_gate import AnomalyGate
from components.blessed_model import LatestOtherBlessedModelStrategy, LatestServableModelStrategy
from components.compat import beam_args, tfx
from components.curated_schema import CuratedSchema
from components.evaluation.assessments import assessment
from components.evaluation.evaluators import EvaluatorInputs
from components.evaluation.report import EvaluationReport
from components.face_example_gen import FaceExampleGen
from components.infra_validator import InfraValidator
from components.mlflow_tracker import MLflowTracker
from pipelines.code_fingerprint import code_fingerprint
from pipelines.settings import Workspace
from pipelines.sources import (
    DETECTION,
    EMBEDDING,
    GENDER,
    VERIFICATION,
    aligns,
    compares_embeddings,
    gender,
    reader_options,
)
from pipelines.task_settings import Settings
from pipelines.tasks import FaceTask

# Nodes on file systems that may be away for a moment, and the Trainer, which goes on from its backup.
RETRYABLE = frozenset({"FaceExampleGen", "Trainer", "Pusher"})
# A run that found all else in the cache still has an MLflow run to fill.
NEVER_CACHED = frozenset({"MLflowTracker"})
# TFX asks for one of whoever made an artifact elsewhere; there is one.
OWNER = "hexaface"


def build_pipeline(
    task: FaceTask, settings: Settings, workspace: Workspace, sources: list[Path]
) -> tfx.dsl.Pipeline:
    """Builds the pipeline of a task.

    Args:
        task: The task.
        settings: All settings.
        workspace: Where artifacts, models and metrics go.
        sources: Data folders.

    Returns:
        The pipeline; nothing has run yet.
    """
    trainer_code = code_fingerprint("trainers", "data_validation")
    report_code = code_fingerprint("components", "data_validation")
    thresholds = dataclasses.asdict(settings.evaluation)
    judge = assessment(task.assessment, task.label, task.classes)
    # What both the Transform's function and the Trainer's are told.
    trainer_config = {"model": settings.as_dict()["model"], "code_fingerprint": trainer_code}

    # Trained by another pipeline, on other data.
    detector_resolver = _servable_model(DETECTION, "DetectorResolver") if aligns(settings.data) else None

    # Reads the published format; counts and splits.
    example_gen = FaceExampleGen(
        sources=[str(source.resolve()) for source in sources],
        options=reader_options(task, settings.data),
        spans=settings.data.spans,
        max_rejected_fraction=settings.data.max_rejected_fraction,
        code_fingerprint=code_fingerprint(
            "components/readers",
            "components/pairs.py",
            "components/aligned_reading.py",
            "components/face_example_gen.py",
            "components/face_finder.py",
            "data_validation",
            "serving/alignment.py",
            "trainers/imaging.py",
        ),
        detector=detector_resolver.outputs["model"] if detector_resolver else None,
    )
    examples = example_gen.outputs["examples"]

    # Curated, not inferred: data that drifts must not redefine what is right.
    schema_file = Path(data_validation.__file__).parent / "schemas" / task.schema
    curated_schema = CuratedSchema(text=schema_file.read_text(encoding="utf-8"))
    schema = curated_schema.outputs["schema"]

    # With the schema it treats image bytes as bytes and computes real statistics of the scalar features.
    statistics_gen = tfx.components.StatisticsGen(
        examples=examples,
        schema=schema,
        stats_options=tfdv.StatsOptions(infer_type_from_schema=True, num_top_values=20),
    )
    validator = tfx.components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema
    )

    # ExampleValidator only reports; this stops.
    gate = AnomalyGate(
        anomalies=validator.outputs["anomalies"],
        code_fingerprint=code_fingerprint("components/anomaly_gate.py"),
    )

    # Not materialised: decoded pixels are many times the size of the files. The Trainer applies the graph.
    transform = tfx.components.Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn=f"{task.module}.preprocessing_fn",
        materialize=False,
        disable_statistics=True,
        custom_config=trainer_config,
    )
    transform.add_upstream_node(gate)

    nodes = [example_gen, curated_schema, statistics_gen, validator, gate, transform]
    if detector_resolver:
        nodes.insert(0, detector_resolver)

    # Only with warm start: its output changes with every blessed model, and the Trainer with it.
    base_model = None
    if settings.train.warm_start:
        base_resolver = tfx.dsl.Resolver(
            strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
            **_own_models(),
        ).with_id("BaseModelResolver")
        base_model = base_resolver.outputs["model"]
        nodes.append(base_resolver)

    # As the detector above.
    if getattr(settings.model, "backbone", "") == EMBEDDING:
        embedding_resolver = _servable_model(VERIFICATION, "EmbeddingResolver")
        base_model = embedding_resolver.outputs["model"]
        nodes.append(embedding_resolver)

    trainer = tfx.components.Trainer(
        run_fn=f"{task.module}.run_fn",
        examples=examples,
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        base_model=base_model,
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config={
            **trainer_config,
            "train": settings.as_dict()["train"],
            "backups": str(workspace.pipeline(task.name) / "backups"),
            "cache": str(workspace.cache),
        },
    )

    # The baseline of the comparison.
    blessed_resolver = tfx.dsl.Resolver(
        strategy_class=LatestOtherBlessedModelStrategy,
        candidate=trainer.outputs["model"],
        **_own_models(),
    ).with_id("LatestBlessedResolver")

    # Other pipelines' models that look at generated faces.
    witnesses = _witnesses(settings, workspace)

    evaluator = judge.evaluator(
        task.slices,
        thresholds,
        EvaluatorInputs(
            examples=examples,
            model=trainer.outputs["model"],
            baseline_model=blessed_resolver.outputs["model"],
            schema=schema,
            code_fingerprint=report_code,
            cache=str(workspace.cache),
            **{name: resolver.outputs["model"] for name, resolver in witnesses.items()},
        ),
    )

    report = EvaluationReport(
        evaluation=evaluator.outputs["evaluation"],
        examples=examples,
        model_run=trainer.outputs["model_run"],
        title=task.title,
        kind=task.assessment,
        label=task.label,
        classes=json.dumps(task.classes),
        thresholds=json.dumps(thresholds),
        code_fingerprint=report_code,
    )

    # The model as the model server answers with it. Code that only clients run is left out: a changed portal
    # must not push the same model again.
    infra_validator = InfraValidator(
        model=trainer.outputs["model"],
        examples=examples,
        model_blessing=evaluator.outputs["blessing"],
        code_fingerprint=code_fingerprint(
            "components/infra_validator.py",
            "components/infra_report.py",
            "components/candidate_server.py",
            "components/warmup_requests.py",
            "serving/model_server",
        ),
    )

    # Without `model`: it pushes the one in the blessing, which has the warm-up records.
    pusher = tfx.components.Pusher(
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=infra_validator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(workspace.serving / task.name))
        ),
    )

    tracker = MLflowTracker(
        report=report.outputs["report"],
        examples=examples,
        anomalies=validator.outputs["anomalies"],
        model_run=trainer.outputs["model_run"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=infra_validator.outputs["blessing"],
        pushed_model=pusher.outputs["pushed_model"],
        experiment=workspace.experiment(task.name),
        tracking_uri=workspace.tracking_uri,
        artifact_root=workspace.artifact_root,
        settings=json.dumps(settings.as_dict(), sort_keys=True),
        outbox=str(workspace.outbox),
        code_fingerprint=report_code,
    )

    return tfx.dsl.Pipeline(
        pipeline_name=task.name,
        pipeline_root=str(workspace.pipeline(task.name)),
        components=[
            *nodes,
            trainer,
            blessed_resolver,
            *witnesses.values(),
            evaluator,
            report,
            infra_validator,
            pusher,
            tracker,
        ],
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(workspace.metadata)
        ),
        beam_pipeline_args=beam_args(settings.run.beam_args),
    )


def _witnesses(settings: Settings, workspace: Workspace) -> dict[str, tfx.dsl.Resolver]:
    """Resolves the models by which others are judged, by their names in EvaluatorInputs."""
    witnesses = {}
    if compares_embeddings(settings.evaluation):
        witnesses["embedding_model"] = _servable_model(VERIFICATION, "EmbeddingResolver")
    if gender(settings.evaluation, workspace):
        witnesses["gender_model"] = _servable_model(GENDER, "GenderResolver")
    return witnesses


def _own_models() -> dict[str, tfx.dsl.Channel]:
    """Returns the models of this pipeline and their blessings: not those that it resolved from others."""
    standard = tfx.types.standard_artifacts
    # Without output keys: TFX would take the models of all runs for the Trainer's output in this one.
    return {
        "model": tfx.dsl.Channel(type=standard.Model, producer_component_id="Trainer"),
        "model_blessing": tfx.dsl.Channel(type=standard.ModelBlessing, producer_component_id="Evaluator"),
    }


def _servable_model(pipeline_name: str, node_id: str) -> tfx.dsl.Resolver:
    """Resolves the latest model of another pipeline, in the same store, that could be served."""
    query = partial(external_pipeline_artifact_query, owner=OWNER, pipeline_name=pipeline_name)
    standard = tfx.types.standard_artifacts
    return tfx.dsl.Resolver(
        strategy_class=LatestServableModelStrategy,
        model=query(standard.Model, producer_component_id="Trainer", output_key="model"),
        model_blessing=query(
            standard.ModelBlessing, producer_component_id="Evaluator", output_key="blessing"
        ),
        infra_blessing=query(
            standard.InfraBlessing, producer_component_id="InfraValidator", output_key="blessing"
        ),
    ).with_id(node_id)
