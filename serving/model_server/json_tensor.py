"""The JSON of the REST API: request bodies to tensors, tensors and results to response bodies.

Both directions have a quick way for the common bodies and a careful one. The quick way never guesses: it
either gives what the careful way would have given or steps aside, so that answers and error
texts do not depend on it.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from itertools import chain
from math import isfinite, prod
from typing import Any

import ml_dtypes
import numpy as np
import orjson
from google.protobuf.message import Message
from tensorflow.core.example import example_pb2, feature_pb2
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    regression_pb2,
)

from serving.model_server.errors import Code, ServingError, invalid
from serving.model_server.memory import no_search

# Numpy arrays have at most 32 dimensions, and the row format puts one before those of an element.
_MAX_RANK = 31
_TOO_DEEP = "JSON Parse error: The document is nested too deeply."

# JSON quoted in an error text is cut here: bodies are as large as a batch of images.
_MAX_QUOTE = 256

_B64_KEY = "b64"
_BYTES_SUFFIX = "_bytes"
_FLOAT_MAX = float(np.finfo(np.float32).max)


class Format(Enum):
    """How a predict body lays out its tensors; the answer keeps the layout of the request."""

    ROW = auto()
    COLUMNAR = auto()


@dataclass(frozen=True)
class PredictBody:
    """A decoded predict request.

    Attributes:
        signature_name: Name of the signature, empty when the body has none.
        format: Layout the answer has to have.
        inputs: Input alias to tensor; strings are object arrays of bytes.
    """

    signature_name: str
    format: Format
    inputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class ExamplesBody:
    """A decoded classify or regress request.

    Attributes:
        signature_name: Name of the signature, empty when the body has none.
        input: The examples, with their shared context when the body has one.
    """

    signature_name: str
    input: input_pb2.Input


# Parsing. Strings of the parsed document may hold lone surrogates, which stand for bytes that are not UTF-8:
# the contract's parser does not look inside strings, and a string tensor takes any bytes.


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _printable(text: str) -> str:
    return _to_bytes(text).decode("utf-8", "replace")


def _fail(message: str) -> ServingError:
    return invalid(_printable(message))


def _parse(body: bytes) -> dict[str, Any]:
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    with no_search():
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = _parse_exactly(body)
    if not isinstance(document, dict):
        raise _fail(f"JSON Value: {_quote(document)} Is not object")
    return document


def _parse_int(text: str) -> int | float:
    # A number too long for 64 bits is a float to the contract's parser, and to orjson.
    value = int(text) if len(text) <= 20 else float(text)
    return value if -(2**63) <= value < 2**64 else float(text)


_DECODER = json.JSONDecoder(parse_int=_parse_int)
_SPACE = re.compile(r"[ \t\n\r]*")


def _parse_exactly(body: bytes) -> Any:
    """Parses what orjson refuses: NaN and Infinity, text after the value, numbers beyond a double."""
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    start = _space_end(text, 0)
    if start == len(text):
        raise _parse_error("The document is empty.", text, start)
    try:
        document, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _explained(error) from None
    except RecursionError:
        raise invalid(_TOO_DEEP) from None
    _reject_lone_surrogates(text[:end])
    return document


def _space_end(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _parse_error(reason: str, text: str, position: int) -> ServingError:
    return invalid(f"JSON Parse error: {reason} at offset: {len(_to_bytes(text[:position]))}")


_REASONS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


_LOOKED_AT = 100_000


def _explained(error: json.JSONDecodeError) -> ServingError:
    """Says in the contract's words what the standard library's parser stumbled over."""
    text, position = error.doc, error.pos
    if error.msg.startswith("Unterminated string"):
        return _parse_error("Missing a closing quotation mark in string.", text, len(text))
    if error.msg == "Expecting ',' delimiter":
        return _parse_error(_broken_list(text, position), text, position)
    reason = next(
        (ours for theirs, ours in _REASONS.items() if error.msg.startswith(theirs)), "Invalid value."
    )
    return _parse_error(reason, text, position)


def _broken_list(text: str, position: int) -> str:
    if position and text[position - 1].isdigit() and text[position : position + 1] in (".", "e", "E"):
        return "Miss fraction part in number." if text[position] == "." else "Miss exponent in number."
    # Of a document of many megabytes only its end is looked at: the message is not worth more time.
    opened = []
    for match in _BRACKETS.finditer(text, max(0, position - _LOOKED_AT), position):
        token = match[0]
        if token in "[{":
            opened.append(token)
        elif token in "]}":
            opened = opened[:-1]
    if opened and opened[-1] == "{":
        return "Missing a comma or '}' after an object member."
    return "Missing a comma or ']' after an array element."


_MAYBE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


def _reject_lone_surrogates(text: str) -> None:
    # The standard library lets half of a pair pass; it would read as a byte that is not UTF-8.
    if not _MAYBE_SURROGATE.search(text):
        return
    for escape in _ESCAPE.finditer(text):
        if escape.group(1):
            raise _parse_error("The surrogate pair in string is invalid.", text, escape.start())


# Quoting values in error texts.


def _quote(value: Any) -> str:
    """Prints a value as the response writer would, no further than what is shown."""
    parts: list[str] = []
    size = 0
    for part in _pretty(value, 1):
        parts.append(part)
        size += len(part)
        if size >= _MAX_QUOTE:
            break
    return "".join(parts).encode("utf-8", "surrogateescape")[:_MAX_QUOTE].decode("utf-8", "ignore")


def _pretty(value: Any, level: int) -> Iterator[str]:
    # Recursion ends early whatever the document: every level prints an indent, and `_quote` soon has enough.
    if isinstance(value, list | dict) and value:
        brackets = "{}" if isinstance(value, dict) else "[]"
        for index, item in enumerate(value):
            yield ("," if index else brackets[0]) + "\n" + "    " * level
            if isinstance(value, dict):
                yield _scalar_text(item) + ": "
            yield from _pretty(value[item] if isinstance(value, dict) else item, level + 1)
        yield "\n" + "    " * (level - 1) + brackets[1]
    else:
        yield _scalar_text(value)


def _scalar_text(value: Any) -> str:
    if isinstance(value, str):
        # Strings are as long as an image; no character takes less than a byte, so all that is shown is kept.
        return json.dumps(value[:_MAX_QUOTE], ensure_ascii=False)
    return json.dumps(value)


_TYPE_NAMES = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "True" if value else "False"
    return _TYPE_NAMES.get(type(value), "Null")


# Values to tensors.

_NUMPY_TYPES: dict[int, Any] = {
    types_pb2.DT_FLOAT: np.float32,
    types_pb2.DT_DOUBLE: np.float64,
    types_pb2.DT_HALF: np.float16,
    types_pb2.DT_BFLOAT16: ml_dtypes.bfloat16,
    types_pb2.DT_INT8: np.int8,
    types_pb2.DT_INT16: np.int16,
    types_pb2.DT_INT32: np.int32,
    types_pb2.DT_INT64: np.int64,
    types_pb2.DT_UINT8: np.uint8,
    types_pb2.DT_UINT16: np.uint16,
    types_pb2.DT_UINT32: np.uint32,
    types_pb2.DT_UINT64: np.uint64,
    types_pb2.DT_BOOL: np.bool_,
    types_pb2.DT_STRING: np.object_,
}
_FLOATS = {types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16}


def _dtype_name(dtype: int) -> str:
    """Gives the name the contract's texts use: `float`, not `float32`."""
    if dtype not in types_pb2.DataType.values():
        return f"unknown dtype enum ({dtype})"
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


def _type_error(value: Any, dtype: int) -> ServingError:
    return _fail(
        f"JSON Value: {_quote(value)} Type: {_type_name(value)} is not of expected type: {_dtype_name(dtype)}"
    )


def _require_supported(value: Any, dtype: int) -> None:
    if dtype in _NUMPY_TYPES:
        return
    while isinstance(value, list) and value:
        value = value[0]
    message = f"Conversion of JSON Value: {_quote(value)} to type: {_dtype_name(dtype)}"
    raise ServingError(Code.UNIMPLEMENTED, _printable(message))


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(_B64_KEY), str)


_B64_TEXT = re.compile(r"([A-Za-z0-9+/]*)(={0,2})", re.ASCII)
_B64_SPACE = re.compile(r"[ \t\n\v\f\r]+")


def _unescape_b64(text: str) -> bytes:
    """Decodes standard base64. White space and missing padding pass, as the contract's decoder lets them."""
    size = len(text)
    padding = size - len(text[-3:].rstrip("=")) - max(size - 3, 0)
    try:
        data = binascii.a2b_base64(text)
    except ValueError:
        data = None
    # The decoder skips what is not base64; only a text without any such character gives all these bytes.
    if data is not None and size % 4 == 0 and padding <= 2 and len(data) == size // 4 * 3 - padding:
        return data
    match = _B64_TEXT.fullmatch(_B64_SPACE.sub("", text))
    if match is None:
        raise invalid("Unable to base64 decode")
    digits, padding = match.group(1), len(match.group(2))
    missing = -len(digits) % 4
    if missing == 3 or padding not in (0, missing):
        raise invalid("Unable to base64 decode")
    return binascii.a2b_base64(digits + "=" * missing)


def _b64_value(value: dict[str, Any]) -> bytes:
    if not _is_b64(value):
        raise _fail(f"JSON Value: {_quote(value)} not formatted correctly for base64 data")
    return _unescape_b64(value[_B64_KEY])


def _flatten(value: Any) -> tuple[list[Any], tuple[int, ...]] | None:
    """Gives the leaves and the shape of a nested list, or nothing when it is uneven or too deep."""
    if type(value) is not list:
        return [value], ()
    leaves, shape = value, [len(value)]
    while leaves and type(leaves[0]) is list:
        size = len(leaves[0])
        if set(map(type, leaves)) != {list} or set(map(len, leaves)) != {size} or len(shape) > _MAX_RANK:
            return None
        leaves = list(chain.from_iterable(leaves))
        shape.append(size)
    return leaves, tuple(shape)


def _quick_tensor(value: Any, dtype: int) -> np.ndarray | None:
    """Converts a whole nested list at once, or gives nothing when any value needs a closer look."""
    flat = _flatten(value)
    if flat is None or dtype not in _NUMPY_TYPES:
        return None
    leaves, shape = flat
    kinds = set(map(type, leaves))
    try:
        if dtype == types_pb2.DT_STRING:
            return _quick_strings(leaves, kinds, shape)
        if kinds - _accepted(dtype):
            return None
        return _numeric(leaves, dtype, shape)
    except (OverflowError, ValueError, ServingError):
        return None


def _accepted(dtype: int) -> set[type]:
    if dtype in _FLOATS:
        return {int, float}
    return {bool} if dtype == types_pb2.DT_BOOL else {int}


def _numeric(leaves: list[Any], dtype: int, shape: tuple[int, ...]) -> np.ndarray:
    """Makes an array of values whose types have been looked at; raises when an integer is out of range."""
    numpy_type = _NUMPY_TYPES[dtype]
    if dtype == types_pb2.DT_UINT8:
        return np.frombuffer(bytearray(leaves), np.uint8).reshape(shape)
    if dtype in _FLOATS:
        # By way of double, as the contract's parser does. Too large becomes inf, too small becomes zero.
        with np.errstate(over="ignore", under="ignore"):
            return np.array(leaves, np.float64).astype(numpy_type, copy=False).reshape(shape)
    if dtype == types_pb2.DT_BOOL:
        return np.array(leaves, np.bool_).reshape(shape)
    if dtype == types_pb2.DT_UINT64 and min(leaves, default=0) < 0:
        raise OverflowError  # numpy would wrap it around
    wide = np.array(leaves, np.uint64 if dtype == types_pb2.DT_UINT64 else np.int64)
    limits = np.iinfo(numpy_type)
    if wide.size and (wide.min() < limits.min or wide.max() > limits.max):
        raise OverflowError
    return wide.astype(numpy_type, copy=False).reshape(shape)


def _quick_strings(leaves: list[Any], kinds: set[type], shape: tuple[int, ...]) -> np.ndarray | None:
    if kinds == {dict}:
        return _strings([_b64_value(leaf) for leaf in leaves], shape)
    if kinds <= {str}:
        return _strings([_to_bytes(leaf) for leaf in leaves], shape)
    return None


def _strings(values: list[bytes], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(len(values), np.object_)
    array[:] = values
    return array.reshape(shape)


def _shape_of(value: Any) -> tuple[int, ...]:
    """Reads the shape off the first elements, which the others then have to follow."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > _MAX_RANK:
            raise invalid(_TOO_DEEP)
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _leaf(value: Any, dtype: int) -> Any:
    if dtype == types_pb2.DT_STRING:
        if isinstance(value, dict):
            return _b64_value(value)
        if isinstance(value, str):
            return _to_bytes(value)
        raise _type_error(value, dtype)
    if type(value) not in _accepted(dtype):
        raise _type_error(value, dtype)
    if type(value) is int and dtype not in _FLOATS:
        limits = np.iinfo(_NUMPY_TYPES[dtype])
        if not limits.min <= value <= limits.max:
            raise _type_error(value, dtype)
    return value


def _fill(value: Any, level: int, shape: tuple[int, ...], dtype: int, leaves: list[Any]) -> None:
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise _fail(
                f"JSON Value: {_quote(value)} found at incorrect level: {level + 1}"
                f" in the JSON DOM. Expected at level: {rank}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= rank:
        raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level}"
            f" expected size: {shape[level]}"
        )
    for item in value:
        _fill(item, level + 1, shape, dtype, leaves)


def _array(leaves: list[Any], dtype: int, shape: tuple[int, ...]) -> np.ndarray:
    return _strings(leaves, shape) if dtype == types_pb2.DT_STRING else _numeric(leaves, dtype, shape)


def _tensor(value: Any, dtype: int) -> np.ndarray:
    quick = _quick_tensor(value, dtype)
    return _exact_tensor(value, dtype) if quick is None else quick


def _exact_tensor(value: Any, dtype: int) -> np.ndarray:
    shape = _shape_of(value)
    _require_supported(value, dtype)
    leaves: list[Any] = []
    _fill(value, 0, shape, dtype, leaves)
    return _array(leaves, dtype, shape)


class _Column:
    """Collects one input of the row format, element by element."""

    def __init__(self, dtype: int) -> None:
        self._dtype = dtype
        self._leaves: list[Any] = []
        self._count = 0
        self._shape: tuple[int, ...] = ()

    def add(self, value: Any) -> None:
        shape = _shape_of(value)
        _require_supported(value, self._dtype)
        before = len(self._leaves)
        _fill(value, 0, shape, self._dtype, self._leaves)
        if self._count == 0:
            self._shape = shape
        size, expected = len(self._leaves) - before, prod(self._shape)
        if size != expected:
            raise invalid(f"Expecting tensor size: {expected} but got: {size}")
        if shape != self._shape:
            raise invalid(f"Expecting shape {_shape_text(self._shape)} but got: {_shape_text(shape)}")
        self._count += 1

    def tensor(self) -> np.ndarray:
        return _array(self._leaves, self._dtype, (self._count, *self._shape))


def _shape_text(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


# Predict requests.

Infos = Mapping[str, TensorInfo]


def decode_predict(body: bytes, inputs_of: Callable[[str], Infos]) -> PredictBody:
    """Decodes the body of a predict request.

    Args:
        body: What the client sent.
        inputs_of: Gives the inputs of the signature of that name (empty: the default one). What it raises is
            passed through.

    Returns:
        The tensors and the layout they came in.

    Raises:
        ServingError: The body is not JSON, or not what the signature asks for.
    """
    document = _parse(body)
    signature_name = _signature_name(document)
    infos = inputs_of(signature_name)
    if not infos:
        raise invalid(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    if "instances" in document:
        return PredictBody(signature_name, Format.ROW, _row_inputs(_instances(document), infos))
    if "inputs" in document:
        return PredictBody(signature_name, Format.COLUMNAR, _columnar_inputs(document["inputs"], infos))
    raise invalid("Missing 'inputs' or 'instances' key")


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _fail(
            f"JSON Value: {_quote(document)} not formatted correctly."
            " 'signature_name' key must be a string value."
        )
    return _printable(name)


def _instances(document: dict[str, Any]) -> list[Any]:
    if "inputs" in document:
        raise _fail(
            f"JSON Value: {_quote(document)} Not formatted correctly expecting only"
            " one of 'inputs' or 'instances' keys to exist "
        )
    instances = document["instances"]
    if not isinstance(instances, list):
        raise _fail(f"JSON Value: {_quote(document)} Excepting 'instances' to be an list/array")
    if not instances:
        raise _fail(f"JSON Value: {_quote(document)} No values in 'instances' array")
    return instances


def _is_named(element: Any) -> bool:
    return isinstance(element, dict) and not _is_b64(element)


def _row_inputs(instances: list[Any], infos: Infos) -> dict[str, np.ndarray]:
    if _is_named(instances[0]):
        quick = _quick_columns(instances, infos)
        return _exact_columns(instances, infos) if quick is None else quick
    if len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors"
            " required as per tensorinfo_map"
        )
    name, info = next(iter(infos.items()))
    tensor = _quick_tensor(instances, info.dtype)
    return {name: _exact_rows(instances, info.dtype) if tensor is None else tensor}


def _quick_columns(instances: list[Any], infos: Infos) -> dict[str, np.ndarray] | None:
    names = set(infos)
    if set(map(type, instances)) != {dict} or any(element.keys() != names for element in instances):
        return None
    columns = {}
    for name, info in infos.items():
        column = _quick_tensor([element[name] for element in instances], info.dtype)
        # A lone {"b64": ...} is a value even where an input has that name; the careful way sorts it out.
        if column is None or name == _B64_KEY:
            return None
        columns[name] = column
    return columns


def _exact_rows(instances: list[Any], dtype: int) -> np.ndarray:
    column = _Column(dtype)
    for index, element in enumerate(instances):
        if _is_named(element):
            raise invalid(f"Expecting value/list but got object at item {index} of input list")
        try:
            column.add(element)
        except ServingError as error:
            raise _element_error(index, "", error) from None
    return column.tensor()


def _exact_columns(instances: list[Any], infos: Infos) -> dict[str, np.ndarray]:
    columns = {name: _Column(info.dtype) for name, info in infos.items()}
    for index, element in enumerate(instances):
        if not _is_named(element):
            raise invalid(f"Expecting object but got list at item {index} of input list")
        for name, value in element.items():
            try:
                if name not in columns:
                    raise _fail(f"JSON object: does not have named input: {name}")
                columns[name].add(value)
            except ServingError as error:
                raise _element_error(index, f" key: {name}", error) from None
        if element.keys() != columns.keys():
            raise _fail(
                f"Failed to process element: {index} of 'instances' list. JSON object: {_quote(element)}"
                f" keys must be equal to: {','.join(sorted(columns))}"
            )
    return {name: column.tensor() for name, column in columns.items()}


def _element_error(index: int, key: str, error: ServingError) -> ServingError:
    return _fail(
        f"Failed to process element: {index}{key} of 'instances' list."
        f" Error: {error.code.name}: {error.message}"
    )


def _columnar_inputs(value: Any, infos: Infos) -> dict[str, np.ndarray]:
    if _is_named(value):
        for name in sorted(infos):
            if name not in value:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        return {name: _tensor(value[name], info.dtype) for name, info in infos.items()}
    if len(infos) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per"
            " tensorinfo_map"
        )
    name, info = next(iter(infos.items()))
    return {name: _tensor(value, info.dtype)}


# Classify and regress requests.


def decode_examples(body: bytes) -> ExamplesBody:
    """Decodes the body of a classify or a regress request.

    Args:
        body: What the client sent.

    Returns:
        The examples as the gRPC API would have brought them.

    Raises:
        ServingError: The body is not JSON, or not a list of examples.
    """
    document = _parse(body)
    signature_name = _signature_name(document)
    request = input_pb2.Input()
    if "context" in document:
        _fill_example(document["context"], request.example_list_with_context.context)
        examples = request.example_list_with_context.examples
    else:
        examples = request.example_list.examples
    for value in _examples(document):
        _fill_example(value, examples.add())
    return ExamplesBody(signature_name, request)


def _examples(document: dict[str, Any]) -> list[Any]:
    quoted = "JSON Value: {} "
    if "examples" not in document:
        problem = "When method is classify, key 'examples' is expected and was not found"
        raise _fail(quoted.format(_quote(document)) + problem)
    examples = document["examples"]
    if not isinstance(examples, list):
        raise _fail(quoted.format(_quote(document)) + "Expecting 'examples' value to be an list/array")
    if not examples:
        raise _fail(quoted.format(_quote(document)) + "'examples' value is an empty array")
    return examples


def _fill_example(value: Any, example: example_pb2.Example) -> None:
    if not isinstance(value, dict):
        raise _fail(f"Example must be JSON object but got JSON {_type_name(value)}")
    for name, content in value.items():
        if name != _printable(name):
            raise _fail(f"Feature: {name} has a name that is not valid UTF-8")
        feature = example.features.feature[name]
        for item in content if isinstance(content, list) else [content]:
            _add_to_feature(item, name, feature)


def _add_to_feature(value: Any, name: str, feature: feature_pb2.Feature) -> None:
    if isinstance(value, bool):
        _kind(name, feature, "int64_list").append(int(value))
    elif isinstance(value, str):
        _kind(name, feature, "bytes_list").append(_to_bytes(value))
    elif _is_b64(value):
        _kind(name, feature, "bytes_list").append(_b64_value(value))
    elif isinstance(value, float):
        values = _kind(name, feature, "float_list")
        if isfinite(value) and abs(value) > _FLOAT_MAX:
            raise _fail(f"Cannot convert JSON value: {_quote(value)} to float without loss of precision.")
        values.append(value)
    elif isinstance(value, int):
        values = _kind(name, feature, "int64_list")
        if value >= 2**63:
            raise _fail(f"Feature: {name} has uint64 element. Only int64 is supported.")
        values.append(value)
    else:
        raise _fail(f"Feature: {name} has element with unexpected JSON type: {_type_name(value)}")


def _kind(name: str, feature: feature_pb2.Feature, wanted: str) -> Any:
    kind = feature.WhichOneof("kind")
    if kind not in (None, wanted):
        raise _fail(
            f"Unexpected element type in feature: {name} expecting type: {str(kind).removesuffix('_list')}"
        )
    return getattr(feature, wanted).value


# Tensors to values. A token is the JSON text of one value.

_SEPARATOR = b", "


def encode_predict(outputs: Mapping[str, np.ndarray], format: Format) -> bytes:
    """Encodes the answer of a predict request.

    Args:
        outputs: Output alias to tensor.
        format: Layout of the request.

    Returns:
        The body of the response.

    Raises:
        ServingError: The tensors have no common batch size (row format), or no JSON form.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if format is Format.ROW:
        return _row_body(outputs)
    return _columnar_body(outputs)


def _indent(level: int) -> bytes:
    return b"\n" + b"    " * level


def _row_body(outputs: Mapping[str, np.ndarray]) -> bytes:
    batch = _batch_size(outputs)
    if batch == 0:
        return b'{\n    "predictions": []\n}'
    names = sorted(outputs)
    level = 2 if len(names) == 1 else 3
    columns = [_row_texts(name, np.asarray(outputs[name]), level) for name in names]
    if len(names) == 1:
        rows = _SEPARATOR.join(columns[0])
    else:
        keys = [_indent(3) + orjson.dumps(name) + b": " for name in names]
        rows = b",".join(
            _indent(2) + b"{" + b",".join(map(bytes.__add__, keys, row)) + _indent(2) + b"}"
            for row in zip(*columns, strict=True)
        )
    return b'{\n    "predictions": [' + rows + b"\n    ]\n}"


def _batch_size(outputs: Mapping[str, np.ndarray]) -> int:
    batch = -1
    for name in sorted(outputs):
        shape = np.shape(outputs[name])
        if not shape:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch not in (-1, shape[0]):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {shape[0]} expecting: {batch}")
        batch = shape[0]
    return batch


def _row_texts(name: str, array: np.ndarray, level: int) -> list[bytes]:
    """Prints every element of a batch on one line, lists included."""
    if _is_plain(array) and array.size:
        text = _dump_numbers(array).replace(b",", _SEPARATOR)
        # Inside an element fewer lists close at once, so this only splits between elements.
        inner = array.ndim - 1
        opening, closing = b"[" * inner, b"]" * inner
        rows = text[1 + inner : -1 - inner].split(closing + _SEPARATOR + opening)
        return [opening + row + closing for row in rows] if inner else rows
    tokens = _tokens(name, array, level + array.ndim - 1)
    return _nest(tokens, array.shape[1:], array.shape[0], None)


def _columnar_body(outputs: Mapping[str, np.ndarray]) -> bytes:
    names = sorted(outputs)
    level = 1 if len(names) == 1 else 2
    texts = []
    for name in names:
        array = np.asarray(outputs[name])
        texts.append(_nest(_tokens(name, array, level + array.ndim), array.shape, 1, level)[0])
    if len(names) == 1:
        return b'{\n    "outputs": ' + texts[0] + b"\n}"
    pairs = [_indent(2) + orjson.dumps(name) + b": " + text for name, text in zip(names, texts, strict=True)]
    return b'{\n    "outputs": {' + b",".join(pairs) + b"\n    }\n}"


def _nest(tokens: list[bytes], shape: tuple[int, ...], batch: int, level: int | None) -> list[bytes]:
    """Brackets flat tokens to `batch` texts of that shape, on one line or (with a level) each on its own."""
    for axis in range(len(shape) - 1, -1, -1):
        size = shape[axis]
        inner = _indent(level + axis + 1) if level is not None else b""
        outer = _indent(level + axis) if level is not None else b""
        joint = b"," + inner if level is not None else _SEPARATOR
        if size == 0:
            tokens = [b"[]"] * (batch * prod(shape[:axis]))
            continue
        tokens = [
            b"[" + inner + joint.join(tokens[start : start + size]) + outer + b"]"
            for start in range(0, len(tokens), size)
        ]
    return tokens


def _is_plain(array: np.ndarray) -> bool:
    """Tells whether orjson prints this type right: half gets too many digits, bfloat16 is unknown to it."""
    return array.dtype.kind in "biuf" and array.dtype.itemsize <= 8 and array.dtype != np.float16


def _dump_numbers(array: np.ndarray) -> bytes:
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    text = orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return text
    # What is not finite became null. Nothing else does, so the tokens go back in order.
    pieces = text.split(b"null")
    tokens = [_special(value) for value in array[~np.isfinite(array)].tolist()]
    return b"".join(chain.from_iterable(zip(pieces, [*tokens, b""], strict=True)))


def _special(value: float) -> bytes:
    if value != value:
        return b"NaN"
    return b"Infinity" if value > 0 else b"-Infinity"


def _tokens(name: str, array: np.ndarray, level: int) -> list[bytes]:
    if array.size == 0 and (_is_plain(array) or array.dtype.kind in "OSU"):
        return []
    if _is_plain(array):
        return _dump_numbers(array.reshape(-1))[1:-1].split(b",")
    if array.dtype in (np.float16, ml_dtypes.bfloat16):
        return [_short_float(bits, array.dtype.name) for bits in array.reshape(-1).view(np.uint16).tolist()]
    if array.dtype.kind in "OSU":
        values = array.reshape(-1).tolist()
        if name.endswith(_BYTES_SUFFIX):
            return [_bytes_token(value, level) for value in values]
        return [_text_token(value) for value in values]
    raise _unwritable(array.dtype.name)


def _unwritable(type_name: str) -> ServingError:
    return invalid(f"Failed to write JSON value for tensor type: {type_name}")


@lru_cache(maxsize=1 << 16)
def _short_float(bits: int, type_name: str) -> bytes:
    """Prints a two-byte float with the fewest digits that give it back."""
    kind: Any = np.float16 if type_name == "float16" else ml_dtypes.bfloat16
    value = float(np.array([bits], np.uint16).view(kind)[0])
    if not isfinite(value):
        return _special(value)
    with np.errstate(over="ignore"):
        texts = (f"{value:.{digits}g}" for digits in range(1, 6))
        return orjson.dumps(next(float(text) for text in texts if float(kind(float(text))) == value))


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return _to_bytes(value)
    raise _unwritable(type(value).__name__)


def _bytes_token(value: Any, level: int) -> bytes:
    coded = base64.b64encode(_as_bytes(value))
    return b"{" + _indent(level + 1) + b'"b64": "' + coded + b'"' + _indent(level) + b"}"


def _text_token(value: Any) -> bytes:
    try:
        return orjson.dumps(_as_bytes(value).decode("utf-8"))
    except UnicodeDecodeError:
        raise _unwritable("string") from None


# Other answers.


def encode_classify(result: classification_pb2.ClassificationResult) -> bytes:
    """Encodes the answer of a classify request.

    Args:
        result: Classes and scores of every example.

    Returns:
        The body of the response.

    Raises:
        ServingError: There is no example in the result.
    """
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    rows = [b"[" + _SEPARATOR.join(map(_class_text, item.classes)) + b"]" for item in result.classifications]
    return b'{\n    "results": [' + _SEPARATOR.join(rows) + b"\n    ]\n}"


def _class_text(item: classification_pb2.Class) -> bytes:
    return b"[" + orjson.dumps(item.label) + _SEPARATOR + _float_texts([item.score]) + b"]"


def _float_texts(values: Iterable[float]) -> bytes:
    return _dump_numbers(np.array(list(values), np.float32))[1:-1].replace(b",", _SEPARATOR)


def encode_regress(result: regression_pb2.RegressionResult) -> bytes:
    """Encodes the answer of a regress request.

    Args:
        result: One value for every example.

    Returns:
        The body of the response.

    Raises:
        ServingError: There is no example in the result.
    """
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    return b'{\n    "results": [' + _float_texts(item.value for item in result.regressions) + b"]\n}"


def encode_status(response: get_model_status_pb2.GetModelStatusResponse) -> bytes:
    """Encodes the versions of a model and their states.

    Args:
        response: What the gRPC API would answer.

    Returns:
        The body of the response.
    """
    return _message_text(response) + b"\n"


def encode_metadata(response: get_model_metadata_pb2.GetModelMetadataResponse) -> bytes:
    """Encodes the signatures of a model.

    Args:
        response: What the gRPC API would answer.

    Returns:
        The body of the response.

    Raises:
        ServingError: The response holds no signatures.
    """
    signatures = get_model_metadata_pb2.SignatureDefMap()
    metadata = response.metadata
    if "signature_def" not in metadata or not metadata["signature_def"].Unpack(signatures):
        raise ServingError(Code.INTERNAL, "Failed to convert proto to json: no signature_def in the metadata")
    # The two parts are printed by themselves and put together, as the binary does; hence the odd line starts.
    return (
        b'{\n"model_spec":' + _message_text(response.model_spec) + b"\n,\n"
        b'"metadata": {"signature_def": ' + _message_text(signatures) + b"\n}\n}\n"
    )


def _message_text(message: Message) -> bytes:
    return json.dumps(_message_value(message), indent=1, ensure_ascii=False).encode("utf-8")


def _message_value(message: Message) -> dict[str, Any]:
    """Turns a message to JSON: all plain fields, set or not; members of a oneof last, and only if set."""
    fields: list[Any] = sorted(
        message.DESCRIPTOR.fields, key=lambda field: field.containing_oneof is not None
    )
    return {field.name: _field_value(message, field) for field in fields if _is_shown(message, field)}


def _is_shown(message: Message, field: Any) -> bool:
    if field.label == field.LABEL_REPEATED:
        # Newer than the contract's fixture: defaults of inputs show only where a model has some.
        return field.name != "defaults" or bool(getattr(message, field.name))
    if field.containing_oneof is not None or field.cpp_type == field.CPPTYPE_MESSAGE:
        return message.HasField(field.name)
    return True


def _field_value(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {str(key): _single_value(value[key], entry) for key in sorted(value)}
    if field.label == field.LABEL_REPEATED:
        return [_single_value(item, field) for item in value]
    return _single_value(value, field)


def _single_value(value: Any, field: Any) -> Any:
    if field.cpp_type == field.CPPTYPE_MESSAGE:
        # A wrapper is only there to tell an unset number from zero.
        if value.DESCRIPTOR.full_name == "google.protobuf.Int64Value":
            return str(value.value)
        return _message_value(value)
    if field.cpp_type == field.CPPTYPE_ENUM:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
        # JavaScript's numbers cannot hold them.
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value


def encode_error(message: str) -> bytes:
    """Encodes an error.

    Args:
        message: Text for the client. Characters that have no UTF-8 form are replaced.

    Returns:
        The body of the response.
    """
    text = message.encode("utf-8", "replace").decode("utf-8")
    return b'{ "error": ' + orjson.dumps(text) + b" }"
