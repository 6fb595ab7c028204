"""Pictures of how far a generator is: the faces of the same noise after every epoch."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tf_keras as keras
from mlflow import MlflowClient
from PIL import Image

from data_validation.errors import one_line
from trainers.face_grid import face_grid
from trainers.history import SAMPLES_FOLDER

logger = logging.getLogger("hexaface.trainer")

COLUMNS, ROWS = 8, 8
_JPEG_QUALITY = 92


class SampleGrids(keras.callbacks.Callback):
    """Keeps a grid of faces of every epoch, and sends it to the MLflow run of the environment.

    As for `live_metrics.LiveMetrics`, a tracking server that fails never fails a training.
    """

    def __init__(self, draw: Callable[[], np.ndarray], folder: Path) -> None:
        """Sets up the callback.

        Args:
            draw: Draws the faces, uint8 [N, height, width, 3].
            folder: Where the grids are kept.
        """
        super().__init__()
        self._draw = draw
        self._folder = folder
        self._run_id = os.environ.get("MLFLOW_RUN_ID", "")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Draws, keeps and sends a grid."""
        del logs
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"epoch-{epoch + 1:04d}.jpg"
        Image.fromarray(face_grid(self._draw(), COLUMNS)).save(file, quality=_JPEG_QUALITY)
        if not self._run_id:
            return
        try:
            client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
            client.log_artifact(self._run_id, str(file), SAMPLES_FOLDER)
        except (
            Exception
        ) as error:  # stores of files, unlike the server itself, raise errors of their own kinds
            logger.warning("MLflow does not answer, pictures follow at the end: %s", one_line(error))
            self._run_id = ""
