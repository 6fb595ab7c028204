"""Sending learning curves to MLflow; needs no TensorFlow."""

import time

import mlflow
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

# What a tracking server that is away or refuses raises; requests' own errors are OSErrors.
SERVER_ERRORS = (MlflowException, OSError)
# MLflow takes at most 1,000 metrics a call.
_BATCH = 1000
_IN_EVERY_ROW = "seconds"


def log_history(client: mlflow.MlflowClient, run_id: str, rows: list[dict[str, float]]) -> None:
    """Logs those rows of a learning curve that a run does not have yet, one MLflow step an epoch.

    Args:
        client: Of the store or server of the run. Nothing in the project calls `mlflow.set_tracking_uri`: it
            would change the environment of all that comes after.
        run_id: MLflow run.
        rows: Rows with `epoch` and metrics.

    Raises:
        mlflow.exceptions.MlflowException: The server refuses or does not answer.
    """
    sent = {point.step for point in client.get_metric_history(run_id, f"curve/{_IN_EVERY_ROW}")}
    now = int(time.time() * 1000)
    metrics = [
        Metric(f"curve/{key}", value, now, int(row["epoch"]))
        for row in rows
        if int(row["epoch"]) not in sent
        for key, value in row.items()
        if key != "epoch"
    ]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
