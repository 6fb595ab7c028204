"""Numpy arrays to and from the tensors of the serving protocol, without TensorFlow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from serving.wire import wire_pb2

# A tensor of 100 bytes may claim a shape of terabytes, since a typed field repeats its last value.
MAX_TENSOR_BYTES = 1 << 28
_MAX_RANK = 32  # of numpy
_TEXT = np.dtype(object)


class _Kind(NamedTuple):
    """How one data type is held: the array's dtype and the typed field of TensorProto."""

    dtype: np.dtype
    field: str


_KINDS = {
    wire_pb2.DT_FLOAT: _Kind(np.dtype(np.float32), "float_val"),
    wire_pb2.DT_DOUBLE: _Kind(np.dtype(np.float64), "double_val"),
    wire_pb2.DT_HALF: _Kind(np.dtype(np.float16), "half_val"),
    wire_pb2.DT_INT8: _Kind(np.dtype(np.int8), "int_val"),
    wire_pb2.DT_INT16: _Kind(np.dtype(np.int16), "int_val"),
    wire_pb2.DT_INT32: _Kind(np.dtype(np.int32), "int_val"),
    wire_pb2.DT_UINT8: _Kind(np.dtype(np.uint8), "int_val"),
    wire_pb2.DT_UINT16: _Kind(np.dtype(np.uint16), "int_val"),
    wire_pb2.DT_INT64: _Kind(np.dtype(np.int64), "int64_val"),
    wire_pb2.DT_UINT32: _Kind(np.dtype(np.uint32), "uint32_val"),
    wire_pb2.DT_UINT64: _Kind(np.dtype(np.uint64), "uint64_val"),
    wire_pb2.DT_BOOL: _Kind(np.dtype(np.bool_), "bool_val"),
    wire_pb2.DT_STRING: _Kind(_TEXT, "string_val"),
}
_DATA_TYPES = {kind.dtype: data_type for data_type, kind in _KINDS.items()}


def type_name(data_type: int) -> str:
    """Names a DataType as numpy does; text is "string"; others keep TensorFlow's name ("bfloat16")."""
    if data_type == wire_pb2.DT_STRING:
        return "string"
    if data_type in _KINDS:
        return _KINDS[data_type].dtype.name
    known = wire_pb2.DataType.values()
    return wire_pb2.DataType.Name(data_type)[3:].lower() if data_type in known else f"type {data_type}"


def numpy_type(data_type: int) -> np.dtype:
    """Returns the dtype that holds a DataType (object for strings).

    Raises:
        ValueError: Numpy has no such type (bfloat16, resource, ...).
    """
    if data_type not in _KINDS:
        raise ValueError(f"tensors of {type_name(data_type)} are not supported")
    return _KINDS[data_type].dtype


def object_array(values: Sequence[object]) -> np.ndarray:
    """Returns an object array [N] of the values; numpy's own bytes arrays lose zero bytes at the end."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def checked_array(value: np.ndarray) -> np.ndarray:
    """Returns an input in a form that both transports can send.

    Args:
        value: Any shape; numbers or bool, or bytes or str in an array of objects or of numpy's unicode.

    Returns:
        An array of one of the dtypes that a tensor can have; text is UTF-8 bytes in an array of objects.

    Raises:
        TypeError: It is no array, its dtype has no tensor type, or its objects are neither bytes nor str.
    """
    if not isinstance(value, (np.ndarray, np.generic)):
        raise TypeError(f"expected a numpy array, got {type(value).__name__}")
    array = np.asarray(value)
    if array.dtype.kind in "OU":
        return object_array([_as_bytes(item) for item in array.flat]).reshape(array.shape)
    if array.dtype.kind == "S":
        raise TypeError("numpy's bytes arrays lose zero bytes at the end; use dtype=object")
    if array.dtype.newbyteorder("=") not in _DATA_TYPES:
        raise TypeError(f"arrays of {array.dtype} cannot be sent")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _as_bytes(item: object) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode()
    raise TypeError(f"expected bytes or str in an array of objects, got {type(item).__name__}")


def to_proto(value: np.ndarray) -> wire_pb2.TensorProto:
    """Packs an array: numbers as little-endian content, text as strings; raises as `checked_array` does."""
    array = checked_array(value)
    proto = wire_pb2.TensorProto(dtype=_DATA_TYPES[array.dtype])
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if array.dtype == _TEXT:
        proto.string_val.extend(array.ravel())
    else:
        proto.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return proto


def from_proto(proto: wire_pb2.TensorProto, max_bytes: int = MAX_TENSOR_BYTES) -> np.ndarray:
    """Unpacks a tensor, from its content or its typed field.

    Args:
        proto: A tensor from the wire; nothing it says is taken on trust.
        max_bytes: The largest array (for text: eight bytes an element) that may come of fewer values.

    Returns:
        An array that can be written to; text is bytes in an array of objects.

    Raises:
        ValueError: A type that numpy lacks, or a shape that is unknown, too large or at odds with the values.
    """
    dtype = numpy_type(proto.dtype)
    shape, count = _shape(proto.tensor_shape)
    if proto.tensor_content:
        return _from_content(proto.tensor_content, dtype, count).reshape(shape)
    values = _typed_values(proto, dtype)
    if len(values) > count:
        raise ValueError(f"{len(values)} values for a tensor of shape {shape}")
    if len(values) < count and count * dtype.itemsize > max_bytes:
        raise ValueError(f"a {dtype} tensor of shape {shape} is larger than {max_bytes} bytes")
    return _filled(values, dtype, count).reshape(shape)


def _shape(proto: wire_pb2.TensorShapeProto) -> tuple[tuple[int, ...], int]:
    """Returns the sizes and the number of elements, counted without overflow."""
    sizes = tuple(dim.size for dim in proto.dim)
    if proto.unknown_rank:
        raise ValueError("a tensor of unknown rank")
    if len(sizes) > _MAX_RANK or any(size < 0 for size in sizes):
        raise ValueError(f"a tensor of shape {sizes[: _MAX_RANK + 1]}")
    count = 1
    for size in sizes:
        count *= size
    return sizes, count


def _from_content(content: bytes, dtype: np.dtype, count: int) -> np.ndarray:
    if dtype == _TEXT:
        raise ValueError("a string tensor in tensor_content")
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes of content for {count} elements of {dtype}")
    if dtype == np.bool_:  # any byte may come; a bool array of other than 0 and 1 misbehaves
        return np.frombuffer(content, np.uint8) != 0
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype)


def _typed_values(proto: wire_pb2.TensorProto, dtype: np.dtype) -> np.ndarray:
    """Returns the values [M] of the typed field, which for small integers and halves is one of int32."""
    field = getattr(proto, _KINDS[proto.dtype].field)
    if dtype == _TEXT:
        return object_array(field)
    if dtype == np.float16:
        return _narrowed(np.fromiter(field, np.int32, len(field)), np.dtype(np.uint16)).view(np.float16)
    if proto.dtype in (wire_pb2.DT_INT8, wire_pb2.DT_INT16, wire_pb2.DT_UINT8, wire_pb2.DT_UINT16):
        return _narrowed(np.fromiter(field, np.int32, len(field)), dtype)
    return np.fromiter(field, dtype, len(field))


def _narrowed(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    narrow = values.astype(dtype)
    if not np.array_equal(narrow, values):
        raise ValueError(f"values that do not fit {dtype}")
    return narrow


def _filled(values: np.ndarray, dtype: np.dtype, count: int) -> np.ndarray:
    """Completes values [M] to [count]: the last one repeats, and none at all means zeros or empty text."""
    if len(values) == count:
        return values
    filler = values[-1] if len(values) else (b"" if dtype == _TEXT else dtype.type(0))
    array = np.full(count, filler, dtype=dtype)
    array[: len(values)] = values
    return array
