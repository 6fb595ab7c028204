"""Learning curves in MLflow while the training runs."""

import logging
import os
from collections.abc import Callable, Mapping

import tf_keras as keras
from mlflow import MlflowClient

from data_validation.errors import one_line
from trainers.mlflow_curves import SERVER_ERRORS, log_history

logger = logging.getLogger("hexaface.trainer")


class LiveMetrics(keras.callbacks.Callback):
    """Logs each epoch to the MLflow run named by MLFLOW_TRACKING_URI and MLFLOW_RUN_ID, where both are set.

    These are MLflow's own variables; the node runner sets them. A tracking server that fails never fails a
    training: the callback says so once and falls silent, and the tracker sends the rest at the end.
    """

    def __init__(self, history: Callable[[], list[dict[str, float]]]) -> None:
        """Sets up the callback.

        Args:
            history: Returns the rows so far, those of an interrupted run included.
        """
        super().__init__()
        self._history = history
        self._run_id = os.environ.get("MLFLOW_RUN_ID", "")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Sends the rows that MLflow does not have yet."""
        del epoch, logs
        if not self._run_id:
            return
        try:
            log_history(MlflowClient(os.environ["MLFLOW_TRACKING_URI"]), self._run_id, self._history())
        except SERVER_ERRORS as error:
            logger.warning("MLflow does not answer, curves follow at the end: %s", one_line(error))
            self._run_id = ""
