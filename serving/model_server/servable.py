"""What the repository loads and the data plane runs: one version of one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving.model_server.config import BatchingParameters
from serving.model_server.errors import Code, ServingError

DEFAULT_SIGNATURE = "serving_default"
SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
TFLITE_FILE = "model.tflite"


class Servable(Protocol):
    """A loaded version.

    Attributes:
        signatures: Signatures by name.
    """

    signatures: Mapping[str, SignatureDef]

    def run(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> list[np.ndarray]:
        """Runs a signature; called from many threads at once.

        Args:
            signature: Its name.
            inputs: One array for each input; strings are object arrays of bytes.
            outputs: Names of the outputs wanted.

        Returns:
            The outputs in the order asked for.

        Raises:
            ServingError: The graph failed, with the graph's code and text.
        """

    def close(self) -> None:
        """Frees its memory; nothing may run any more."""


@dataclass(frozen=True)
class LoadOptions:
    """How versions are loaded; each from the flag of that name where there is one.

    Attributes:
        tags: Tags of the graph in a SavedModel.
        batching: Coalesce requests, with these parameters; None runs each alone.
        per_model_batching: Take `batching_params.pbtxt` of the version instead, where there is one.
        prefer_tflite: Load `model.tflite` where there is one.
        tflite_pools: Pools of TensorFlow Lite interpreters.
        tflite_interpreters: Interpreters in each pool.
        timeout_ms: Longest run of a graph; it is stopped then, between two operations. 0 for any.
        inter_op_threads: TensorFlow's threads between operations; 0 lets it choose.
        intra_op_threads: TensorFlow's threads inside an operation; 0 lets it choose.
    """

    tags: tuple[str, ...] = ("serve",)
    batching: BatchingParameters | None = None
    per_model_batching: bool = False
    prefer_tflite: bool = False
    tflite_pools: int = 1
    tflite_interpreters: int = 1
    timeout_ms: int = 0
    inter_op_threads: int = 0
    intra_op_threads: int = 0


def complete(folder: Path) -> bool:
    """Tells whether a version's folder holds a model file, which careful tools copy last."""
    return any((folder / name).is_file() for name in (*SAVED_MODEL_FILES, TFLITE_FILE))


def load(folder: Path, options: LoadOptions) -> Servable:
    """Loads a version.

    Args:
        folder: The version's folder.
        options: How.

    Returns:
        What can be run.

    Raises:
        ServingError: The folder holds no model that can be loaded.
    """
    has_tflite = (folder / TFLITE_FILE).is_file()
    has_saved_model = any((folder / name).is_file() for name in SAVED_MODEL_FILES)
    if has_tflite and (options.prefer_tflite or not has_saved_model):
        from serving.model_server.tflite_model import TfliteModel

        return TfliteModel(folder / TFLITE_FILE, options.tflite_pools * options.tflite_interpreters)
    if not has_saved_model:
        names = " or ".join((*SAVED_MODEL_FILES, TFLITE_FILE))
        raise ServingError(Code.NOT_FOUND, f"{folder}: expected {names}")
    from serving.model_server.saved_model import SavedModel

    return SavedModel(folder, options)
