"""The last node: sends what a run measured to MLflow."""

import json
import logging
import os
from pathlib import Path

from components.anomaly_gate import describe_anomalies
from components.artifacts import EvaluationReport
from components.compat import tfx
from components.tracking import Submission, submit
from data_validation.errors import one_line
from trainers.mlflow_curves import SERVER_ERRORS

logger = logging.getLogger("hexaface.tracker")


@tfx.dsl.components.component
def MLflowTracker(
    report: tfx.dsl.components.InputArtifact[EvaluationReport],
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    anomalies: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleAnomalies],
    model_run: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelRun],
    model_blessing: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    infra_blessing: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.InfraBlessing],
    pushed_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.PushedModel],
    experiment: tfx.dsl.components.Parameter[str],
    tracking_uri: tfx.dsl.components.Parameter[str],
    artifact_root: tfx.dsl.components.Parameter[str],
    settings: tfx.dsl.components.Parameter[str],
    outbox: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
) -> None:
    """Fills the run's MLflow run. A dead tracking server does not fail the pipeline.

    What could not be sent is kept in the outbox, is reported at the end of the run and can be sent by
    `hexaface track`.

    Args:
        report: Tables, figures and metrics.
        examples: For the accounts of what was read and rejected.
        anomalies: What ExampleValidator found.
        model_run: For the learning curves.
        model_blessing: The Evaluator's verdict.
        infra_blessing: What the model server was found to do with the model.
        pushed_model: Where the model was pushed to.
        experiment: MLflow experiment and registered model, the task's name.
        tracking_uri: MLflow's store or server.
        artifact_root: Folder for MLflow's files; empty where a server keeps them.
        settings: JSON of all settings.
        outbox: Folder for what could not be sent.
        code_fingerprint: Only for the cache.
    """
    del code_fingerprint
    pipeline_run_id = os.environ["HEXAFACE_PIPELINE_RUN_ID"]
    submission = Submission(
        tracking_uri=tracking_uri,
        artifact_root=artifact_root,
        experiment=experiment,
        pipeline_run_id=pipeline_run_id,
        settings=json.loads(settings),
        report=report.uri,
        examples=examples.uri,
        model_run=model_run.uri,
        anomalies=describe_anomalies(anomalies),
        blessed=all(
            verdict.get_int_custom_property("blessed") == 1 for verdict in (model_blessing, infra_blessing)
        ),
        infra=infra_blessing.uri,
        pushed_to=pushed_model.get_string_custom_property("pushed_destination"),
    )
    try:
        submit(submission)
    except SERVER_ERRORS as error:
        file = Path(outbox) / f"{pipeline_run_id}.json"
        submission.save(file)
        logger.warning("MLflow does not answer, kept for `hexaface track`: %s", one_line(error))
