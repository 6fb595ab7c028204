"""SavedModels in a session, as TensorFlow Serving runs them: TF1 and TF2 alike, no Python objects rebuilt."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
# After this long without a second request at the same time, requests are taken to come one by one.
_COMPANY_SECONDS = 0.2
_Call = Callable[..., list[np.ndarray]]
# Set by the loader of TF2 models, no signature for clients.
_INTERNAL_SIGNATURES = frozenset({"__saved_model_init_op", "__saved_model_train_op"})


class _Unbatched(Exception):
    """A batch failed in the graph: its requests are to be tried one by one."""


class _Company:
    """Tells whether requests of a version come alone or together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._last_seen = -math.inf

    @contextlib.contextmanager
    def join(self) -> Iterator[bool]:
        """Counts a request while it runs.

        Yields:
            Whether others run too, or did a moment ago. One that comes alone would only wait for a batch.
        """
        with self._lock:
            self._count += 1
            now = time.monotonic()
            if self._count > 1:
                self._last_seen = now
            together = now - self._last_seen < _COMPANY_SECONDS
        try:
            yield together
        finally:
            with self._lock:
                self._count -= 1


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
        # Idle threads that spin take the time of those that read the next requests.
        config.experimental.disable_thread_spinning = True
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        self._calls: dict[tuple[str, tuple[str, ...]], _Call] = {}
        self._timeout_ms = options.timeout_ms
        self._lock = threading.Lock()
        self._company = _Company()
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
        with self._company.join() as together:
            batched = self._batched.get(signature) if together else None
            try:
                if batched and batched.takes(inputs):
                    with contextlib.suppress(_Unbatched):
                        return self._run_batched(signature, batched, values, outputs)
                return self._call(signature, tuple(outputs))(*values)
            except (tf.errors.OpError, ValueError, TypeError) as error:
                raise as_serving_error(error) from error

    def _run_batched(
        self,
        signature: str,
        batched: batching.BatchedSignature,
        values: list[np.ndarray],
        outputs: Sequence[str],
    ) -> list[np.ndarray]:
        try:
            answer = self._call_batched(signature, batched)(*values)
        except tf.errors.OpError as error:
            if error.error_code in batching.QUEUE_CODES:
                raise
            # One request's bad image fails the whole batch; one by one, only the guilty request fails.
            raise _Unbatched from error
        by_name = dict(zip(batched.output_names, answer, strict=True))
        return [by_name[name] for name in outputs]

    def _call_batched(self, signature: str, batched: "batching.BatchedSignature") -> _Call:
        names = [tensor.name for tensor in batched.outputs]
        return self._prepared((signature, ()), names, [tensor.name for tensor in batched.inputs])

    def _call(self, signature: str, outputs: tuple[str, ...]) -> _Call:
        definition = self.signatures[signature]
        fetches = [definition.outputs[name].name for name in outputs]
        feeds = [definition.inputs[name].name for name in sorted(definition.inputs)]
        return self._prepared((signature, outputs), fetches, feeds)

    def _prepared(
        self,
        key: tuple[str, tuple[str, ...]],
        fetches: Sequence[str],
        feeds: Sequence[str],
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
        options.run_options.timeout_in_ms = self._timeout_ms
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
