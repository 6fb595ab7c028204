"""SavedModels in a session, as TensorFlow Serving runs them: TF1 and TF2 alike, no Python objects rebuilt."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving.model_server import batching
from serving.model_server.config import read_batching_parameters
from serving.model_server.errors import Code, ServingError
from serving.model_server.servable import LoadOptions

BATCHING_FILE = "batching_params.pbtxt"
# Each set of outputs that was ever asked for keeps a prepared call; beyond this many they are prepared anew.
_MOST_CALLS = 64
_Call = Callable[..., list[np.ndarray]]
# Set by the loader of TF2 models, no signature for clients.
_INTERNAL_SIGNATURES = frozenset({"__saved_model_init_op", "__saved_model_train_op"})


class SavedModel:
    """A SavedModel; see `Servable`."""

    def __init__(self, folder: Path, options: LoadOptions) -> None:
        """Loads it.

        Args:
            folder: The version's folder.
            options: How.

        Raises:
            ServingError: It cannot be loaded; with the loader's words.
        """
        self._graph = tf.Graph()
        config = tf.compat.v1.ConfigProto(
            inter_op_parallelism_threads=options.inter_op_threads,
            intra_op_parallelism_threads=options.intra_op_threads,
        )
        config.gpu_options.allow_growth = True
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        self._calls: dict[tuple[str, tuple[str, ...]], _Call] = {}
        self._lock = threading.Lock()
        self._batched: dict[str, batching.BatchedSignature] = {}
        try:
            self.signatures = self._load(folder, options)
            parameters = _batching_parameters(folder, options)
            if parameters:
                self._batched = batching.batch_signatures(self._graph, self.signatures, parameters)
        except Exception as error:
            self.close()
            raise as_serving_error(error, f"{folder}: ") from error

    def _load(self, folder: Path, options: LoadOptions) -> Mapping[str, SignatureDef]:
        with self._graph.as_default():
            meta_graph = tf.compat.v1.saved_model.loader.load(self._session, list(options.tags), str(folder))
        signatures = meta_graph.signature_def.items()
        return {name: signature for name, signature in signatures if name not in _INTERNAL_SIGNATURES}

    def run(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> list[np.ndarray]:
        """Runs a signature; see `Servable.run`."""
        values = [inputs[name] for name in sorted(inputs)]
        batched = self._batched.get(signature)
        if batched and batched.takes(inputs):
            try:
                answer = dict(
                    zip(batched.output_names, self._call_batched(signature, batched)(*values), strict=True)
                )
                return [answer[name] for name in outputs]
            except tf.errors.OpError as error:
                if error.code in batching.QUEUE_CODES:
                    raise as_serving_error(error) from error
                # One request's bad image fails the whole batch: alone, only the guilty one fails.
        try:
            return self._call(signature, tuple(outputs))(*values)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise as_serving_error(error) from error

    def _call_batched(self, signature: str, batched: "batching.BatchedSignature") -> _Call:
        names = [tensor.name for tensor in batched.outputs]
        return self._prepared((signature, ()), names, [tensor.name for tensor in batched.inputs])

    def _call(self, signature: str, outputs: tuple[str, ...]) -> _Call:
        definition = self.signatures[signature]
        fetches = [definition.outputs[name].name for name in outputs]
        feeds = [definition.inputs[name].name for name in sorted(definition.inputs)]
        return self._prepared((signature, outputs), fetches, feeds)

    def _prepared(
        self, key: tuple[str, tuple[str, ...]], fetches: Sequence[str], feeds: Sequence[str]
    ) -> _Call:
        call = self._calls.get(key)
        if call is None:
            with self._lock:
                call = self._calls.get(key)
                if call is None:
                    call = self._make_call(fetches, feeds)
                    if len(self._calls) < _MOST_CALLS:
                        self._calls[key] = call
        return call

    def _make_call(self, fetches: Sequence[str], feeds: Sequence[str]) -> _Call:
        # Issue: Session.make_callable compares each value's shape with the placeholder's on every call; the
        # binary does not, and clients rely on it (a vector for the column [N, 1] of half_plus_two).
        # Solution: the form of it that takes names and checks nothing, as Keras uses it; it is also faster.
        # Can go: when make_callable has a way to leave the check out.
        options = config_pb2.CallableOptions(fetch=fetches, feed=feeds)
        return self._session._make_callable_from_options(options)

    def close(self) -> None:
        """Frees its memory; see `Servable.close`."""
        self._calls.clear()
        self._batched.clear()
        self._session.close()


def _batching_parameters(folder: Path, options: LoadOptions) -> Any:
    file = folder / BATCHING_FILE
    if options.per_model_batching and options.batching and file.is_file():
        return read_batching_parameters(str(file))
    return options.batching


def as_serving_error(error: Exception, prefix: str = "") -> ServingError:
    """Returns an error of TensorFlow, or of Python around it, as one that transports can say."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        # Python puts a heading before the graph's own text, which a client of the binary would not see.
        text = error.message.removeprefix("Graph execution error:").strip()
        return ServingError(Code(error.error_code), prefix + text)
    code = Code.INVALID_ARGUMENT if isinstance(error, ValueError | TypeError) else Code.INTERNAL
    return ServingError(code, f"{prefix}{error}")
