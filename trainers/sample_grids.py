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
from trainers.mlflow_curves import SERVER_ERRORS

logger = logging.getLogger("hexaface.trainer")

SAMPLES_FOLDER = "samples"
"""In the folder of the model run, and among the artifacts of the MLflow run."""
COLUMNS, ROWS = 8, 8
_GAP = 2
_JPEG_QUALITY = 92


def grid(faces: np.ndarray, columns: int) -> Image.Image:
    """Puts faces side by side, row after row.

    Args:
        faces: uint8 [N, height, width, 3].
        columns: Faces in a row.

    Returns:
        A picture on white.
    """
    count, height, width, _ = faces.shape
    rows = -(-count // columns)
    size = columns * (width + _GAP) + _GAP, rows * (height + _GAP) + _GAP
    sheet = Image.new("RGB", size, "white")
    for number, face in enumerate(faces):
        row, column = divmod(number, columns)
        sheet.paste(Image.fromarray(face), (_GAP + column * (width + _GAP), _GAP + row * (height + _GAP)))
    return sheet


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
        grid(self._draw(), COLUMNS).save(file, quality=_JPEG_QUALITY)
        if not self._run_id:
            return
        try:
            client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
            client.log_artifact(self._run_id, str(file), SAMPLES_FOLDER)
        except SERVER_ERRORS as error:
            logger.warning("MLflow does not answer, pictures follow at the end: %s", one_line(error))
            self._run_id = ""
