"""Between TensorProto and numpy, in the two forms that the contract knows: typed fields and raw content."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto

from serving.model_server.errors import Code, ServingError, invalid

# A request may say that its one value fills any shape: unpacked, it must not be larger than a request may be.
MAX_BYTES = 64 * 2**20
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
}


def to_numpy(proto: TensorProto, alias: str, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Reads a tensor of a request.

    Args:
        proto: The tensor, as typed values or as content.
        alias: The input's name, for messages.
        max_bytes: Largest array.

    Returns:
        An array; strings are object arrays of bytes.

    Raises:
        ServingError: Its shape, type and values do not fit together.
    """
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise invalid(f"tensor {alias}: expected a known shape, found {shape or 'an unknown rank'}")
    elements = 1
    for size in shape:
        elements *= size
    if elements * _item_size(proto.dtype) > max_bytes:
        raise invalid(f"tensor {alias}: {elements} elements are more than fit into {max_bytes} bytes")
    if proto.dtype == types_pb2.DT_STRING:
        return _strings(proto, shape, elements, alias)
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, IndexError) as error:
        raise invalid(f"tensor {alias}: {error}") from error


def _item_size(dtype: int) -> int:
    """Bytes of an element; strings are counted as the references that an array of them holds."""
    try:
        return tf.as_dtype(dtype).size or 8
    except TypeError:
        return 8


def _strings(proto: TensorProto, shape: list[int], elements: int, alias: str) -> np.ndarray:
    values = list(proto.string_val)
    if proto.tensor_content:
        raise invalid(f"tensor {alias}: expected string_val, found tensor_content")
    if len(values) > elements or (elements and not values):
        raise invalid(
            f"tensor {alias}: its shape {shape} has {elements} elements, found {len(values)} values"
        )
    # The last value stands for all that follow it, as in TensorFlow.
    values += values[-1:] * (elements - len(values))
    array = np.empty(elements, dtype=object)
    array[:] = values
    return array.reshape(shape)


def to_proto(array: np.ndarray, proto: TensorProto, as_content: bool) -> None:
    """Writes a tensor of an answer.

    Args:
        array: The values.
        proto: Is filled.
        as_content: As raw content; else in typed fields, as the binary does by default.

    Raises:
        ServingError: The type has no form on the wire.
    """
    try:
        dtype = tf.as_dtype(array.dtype)
    except TypeError as error:
        raise ServingError(Code.UNIMPLEMENTED, f"Tensors of {array.dtype} cannot be sent") from error
    proto.dtype = dtype.as_datatype_enum
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype == tf.string:
        proto.string_val.extend(_as_bytes(value) for value in array.ravel())
    elif as_content:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
    else:
        _fill_field(array, proto)


def _fill_field(array: np.ndarray, proto: TensorProto) -> None:
    field = _FIELDS.get(proto.dtype)
    if field:
        getattr(proto, field).extend(array.ravel().tolist())
    elif proto.dtype in (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16):
        proto.half_val.extend(array.ravel().view(np.uint16).tolist())
    else:
        # Complex and quantised: rare enough for TensorFlow's own slow way.
        proto.CopyFrom(tf.make_tensor_proto(array))


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else value


def dtype_of(array: np.ndarray) -> int:
    """Returns the number of an array's type in types.proto."""
    return tf.as_dtype(array.dtype).as_datatype_enum
