"""Learning curves in MLflow while the training runs."""

import logging
import os
import time
from collections.abc import Callable, Mapping

import tf_keras as keras

logger = logging.getLogger("hexaface.trainer")


class LiveMetrics(keras.callbacks.Callback):
    """Logs each epoch to the MLflow run named by MLFLOW_TRACKING_URI and MLFLOW_RUN_ID, where both are set.

    These are MLflow's own variables; the node runner sets them. A tracking server that fails never fails a
    training: the callback says so once and falls silent, and the tracker sends the curve at the end.
    """

    def __init__(self, history: Callable[[], list[dict[str, float]]]) -> None:
        """Sets up the callback.

        Args:
            history: Returns the rows so far; rows of an interrupted run are logged first.
        """
        super().__init__()
        self._history = history
        self._run_id = os.environ.get("MLFLOW_RUN_ID", "")
        self._sent = 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Sends the rows that were not sent yet."""
        del epoch, logs
        if not self._run_id:
            return
        rows = self._history()
        try:
            log_history(self._run_id, rows[self._sent :])
        except Exception as error:  # any failure of the server or its client: training goes on
            logger.warning("MLflow does not answer, curves follow at the end: %s", str(error).splitlines()[0])
            self._run_id = ""
        self._sent = len(rows)


def log_history(run_id: str, rows: list[dict[str, float]]) -> None:
    """Logs learning curves, one MLflow step an epoch.

    Args:
        run_id: MLflow run.
        rows: Rows with `epoch` and metrics.

    Raises:
        mlflow.exceptions.MlflowException: The server refuses or does not answer.
    """
    import mlflow
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [
        Metric(f"curve/{key}", value, now, int(row["epoch"]))
        for row in rows
        for key, value in row.items()
        if key != "epoch"
    ]
    # MLflow takes at most 1,000 metrics a call.
    for start in range(0, len(metrics), 1000):
        mlflow.MlflowClient().log_batch(run_id, metrics=metrics[start : start + 1000])
