"""TensorFlow Lite models in a pool of interpreters."""

import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from serving.model_server.errors import Code, ServingError, invalid
from serving.model_server.servable import DEFAULT_SIGNATURE

PREDICT_METHOD = "tensorflow/serving/predict"


@dataclass(frozen=True)
class _Definition:
    """A signature and where its tensors are in an interpreter."""

    signature_def: SignatureDef
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


class TfliteModel:
    """A TensorFlow Lite model; see `Servable`. An interpreter serves one request at a time."""

    def __init__(self, file: Path, interpreters: int) -> None:
        """Loads it.

        Args:
            file: The flat buffer.
            interpreters: How many requests run at once.

        Raises:
            ServingError: The file cannot be read as a model.
        """
        try:
            content = file.read_bytes()
            made = [tf.lite.Interpreter(model_content=content) for _ in range(max(1, interpreters))]
            self._definitions = _definitions(made[0])
        except (OSError, ValueError, RuntimeError) as error:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"{file}: not a model that TensorFlow Lite reads: {error}"
            ) from error
        self._pool: queue.SimpleQueue[tf.lite.Interpreter] = queue.SimpleQueue()
        for interpreter in made:
            self._pool.put(interpreter)
        self.signatures: Mapping[str, SignatureDef] = {
            name: definition.signature_def for name, definition in self._definitions.items()
        }

    def run(
        self, signature: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> list[np.ndarray]:
        """Runs a signature; see `Servable.run`."""
        definition = self._definitions[signature]
        interpreter = self._pool.get()
        try:
            shapes = {detail["index"]: tuple(detail["shape"]) for detail in interpreter.get_input_details()}
            for name, value in inputs.items():
                index = definition.inputs[name]
                if shapes.get(index) != value.shape:
                    interpreter.resize_tensor_input(index, value.shape)
            interpreter.allocate_tensors()
            for name, value in inputs.items():
                interpreter.set_tensor(definition.inputs[name], value)
            interpreter.invoke()
            return [interpreter.get_tensor(definition.outputs[name]) for name in outputs]
        except (ValueError, RuntimeError) as error:
            raise invalid(f"TensorFlow Lite: {error}") from error
        finally:
            self._pool.put(interpreter)

    def close(self) -> None:
        """Frees its memory; see `Servable.close`."""
        while not self._pool.empty():
            self._pool.get_nowait()


def _definitions(interpreter: "tf.lite.Interpreter") -> dict[str, _Definition]:
    """Returns the signatures of a model; one with the tensors' own names where it declares none."""
    found = interpreter.get_signature_list()
    if not found:
        inputs = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
        outputs = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
        return {DEFAULT_SIGNATURE: _definition(interpreter, inputs, outputs)}
    definitions = {}
    for name in found:
        runner = interpreter.get_signature_runner(name)
        inputs = {key: detail["index"] for key, detail in runner.get_input_details().items()}
        outputs = {key: detail["index"] for key, detail in runner.get_output_details().items()}
        definitions[name] = _definition(interpreter, inputs, outputs)
    return definitions


def _definition(
    interpreter: "tf.lite.Interpreter", inputs: Mapping[str, int], outputs: Mapping[str, int]
) -> _Definition:
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    signature = SignatureDef(method_name=PREDICT_METHOD)
    for name, index in inputs.items():
        signature.inputs[name].CopyFrom(_info(details[index]))
    for name, index in outputs.items():
        signature.outputs[name].CopyFrom(_info(details[index]))
    return _Definition(signature, inputs, outputs)


def _info(detail: Mapping[str, Any]) -> TensorInfo:
    info = TensorInfo(name=detail["name"], dtype=tf.as_dtype(detail["dtype"]).as_datatype_enum)
    # A signature of -1 is what the model was converted from; the plain shape is what is allocated now.
    shape = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    for size in shape:
        info.tensor_shape.dim.add(size=int(size))
    return info
