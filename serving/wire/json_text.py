"""TensorFlow Serving's JSON (columnar form) to and from numpy arrays."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from serving.wire.calls import TensorSpec
from serving.wire.tensors import object_array


def predict_body(inputs: Mapping[str, np.ndarray], signature: str) -> bytes:
    """Writes a predict request.

    Args:
        inputs: Arrays by input name, as `wire_tensors.checked_array` returns them.
        signature: Empty for the default.
    """
    columns = {name: _plain(array) for name, array in inputs.items()}
    body = {"signature_name": signature, "inputs": columns} if signature else {"inputs": columns}
    if all(array.dtype.kind != "f" or np.isfinite(array).all() for array in inputs.values()):
        return orjson.dumps(body, default=_to_list, option=orjson.OPT_SERIALIZE_NUMPY)
    # NaN and Infinity are tokens of TensorFlow Serving, though not of JSON; orjson would write null.
    return json.dumps(body, default=_to_list).encode()


def _plain(array: np.ndarray) -> Any:
    if array.dtype.kind != "O":
        return array if array.ndim else array.item()
    boxes = [{"b64": base64.b64encode(item).decode()} for item in array.flat]
    return object_array(boxes).reshape(array.shape).tolist()


def _to_list(array: np.ndarray) -> Any:
    """Serves for arrays that orjson does not write itself (not contiguous, half)."""
    return array.tolist()


def parse(data: bytes) -> Any:
    """Reads JSON, with NaN and Infinity.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("JSON nested too deeply") from error


def named_outputs(answer: Any, specs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Reads the answer of a predict request.

    Args:
        answer: The parsed JSON.
        specs: The outputs of the signature, which say what JSON does not: types, and a single output's name.

    Returns:
        Arrays by output name; text is bytes in arrays of objects.

    Raises:
        ValueError: The answer does not fit the signature.
    """
    if not isinstance(answer, dict) or "outputs" not in answer:
        raise ValueError("no 'outputs' in the answer")
    columns = answer["outputs"]
    if len(specs) == 1:
        (name,) = specs
        columns = columns if isinstance(columns, dict) and set(columns) == {name} else {name: columns}
    if not isinstance(columns, dict) or set(columns) != set(specs):
        raise ValueError(f"outputs are not those of the signature: {', '.join(sorted(specs))}")
    return {name: _array(name, columns[name], spec) for name, spec in specs.items()}


def _array(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
    try:
        array = _texts(value) if spec.dtype == "string" else _numbers(value, np.dtype(spec.dtype))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"output {name!r}: {error}") from error
    return _restored(array, spec)


def _numbers(value: Any, dtype: np.dtype) -> np.ndarray:
    array = np.asarray(value)
    taken = {"f": "fiu", "b": "b"}.get(dtype.kind, "iu")
    if array.size and array.dtype.kind not in taken:
        raise ValueError(f"expected values of {dtype}")
    with np.errstate(over="ignore"):  # beyond the largest float is infinite, as the server itself has it
        narrow = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(narrow, array):
        raise ValueError(f"values that do not fit {dtype}")
    return narrow


def _texts(value: Any) -> np.ndarray:
    shape = []
    level = [value]
    while level and isinstance(level[0], list):
        size = len(level[0])
        if any(not isinstance(item, list) or len(item) != size for item in level):
            raise ValueError("lists of different lengths")
        shape.append(size)
        level = [inner for item in level for inner in item]
    return object_array([_text(item) for item in level]).reshape(shape)


def _text(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, dict) and set(item) == {"b64"} and isinstance(item["b64"], str):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"broken base64: {error}") from error
    raise ValueError(f"expected text or base64, got {type(item).__name__}")


def _restored(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Gives an empty array the sizes that JSON cannot say: [[]] of [N, K, 4] is [1, 0, 4], not [1, 0]."""
    if array.size or spec.shape is None or len(spec.shape) <= array.ndim:
        return array
    return array.reshape(*array.shape, *(size or 0 for size in spec.shape[array.ndim :]))
