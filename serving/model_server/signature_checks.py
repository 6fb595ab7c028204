"""Compares a Predict request with a signature, in the words of servables/tensorflow/predict_util.cc."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving.model_server import tensors
from serving.model_server.errors import Code, ServingError, invalid

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
PREDICT_METHOD = "tensorflow/serving/predict"


def checked_inputs(signature: SignatureDef, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a request's inputs with the signature's defaults filled in.

    Raises:
        ServingError: An input is missing, unknown, or of another type.
    """
    expected = signature.inputs
    if len(inputs) > len(expected) or (len(inputs) < len(expected) and not signature.defaults):
        raise invalid(
            f"input size does not match signature: {len(inputs)}!={len(expected)} len({_names(inputs)}) != "
            f"len({_names(expected)}). Sent extra: {_names(set(inputs) - set(expected))}. "
            f"Missing but required: {_names(set(expected) - set(inputs))}."
        )
    defaults = {name: signature.defaults[name] for name in signature.defaults if name not in inputs}
    fed = {**inputs, **{name: tensors.to_numpy(value, name) for name, value in defaults.items()}}
    for name in sorted(set(fed) ^ set(expected)):
        raise invalid(
            f"input tensor alias not found in signature: {name}. Inputs expected to be in the set "
            f"{_names(expected)}."
        )
    for name, value in fed.items():
        _check_dtype(name, value, expected[name].dtype)
    return fed


def _check_dtype(name: str, value: np.ndarray, expected: int) -> None:
    found = tensors.dtype_of(value)
    # A graph's placeholder would fail with the name of its node, which says less than the input's.
    if expected not in (types_pb2.DT_INVALID, found):
        raise invalid(f"input {name}: expected dtype {_type(expected)}, found {_type(found)}")


def wanted_outputs(signature: SignatureDef, output_filter: Sequence[str]) -> list[str]:
    """Returns the outputs that a request asks for, all if it names none.

    Raises:
        ServingError: One is unknown, or named twice.
    """
    for position, name in enumerate(output_filter):
        if name not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                f"{_names(signature.outputs)}."
            )
        if name in output_filter[:position]:
            raise invalid(f"duplicate output tensor alias: {name}")
    return list(output_filter) or sorted(signature.outputs)


def check_predict_method(signature: SignatureDef) -> None:
    """Raises ServingError if a signature was exported for something that Predict cannot run."""
    methods = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)
    if signature.method_name not in methods:
        raise ServingError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{', '.join(methods)}}}. "
            f"Was: {signature.method_name}",
        )


def _names(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _type(number: int) -> str:
    return types_pb2.DataType.Name(number)
