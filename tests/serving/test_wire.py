"""The messages of serving/wire/wire.proto are TensorFlow Serving's own, byte for byte."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as numpy_strategies
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from serving.wire import wire_pb2
from serving.wire.tensors import MAX_TENSOR_BYTES, from_proto, object_array, to_proto, type_name

ROOT = Path(__file__).parents[2]
POOL = predict_pb2.DESCRIPTOR.pool
PACKAGES = ("tensorflow.serving", "tensorflow", "tensorflow.error")
# No package on PyPI has these; the server reads them as text and never sends them.
TEXT_ONLY = {"BatchingParameters", "MonitoringConfig", "PrometheusConfig", "SSLConfig"}
ROOTS = {
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
    "ReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
    "ReloadConfigResponse": model_management_pb2.ReloadConfigResponse,
    "PredictionLog": prediction_log_pb2.PredictionLog,
}


def official(name: str, find: str = "FindMessageTypeByName") -> Any:
    for package in PACKAGES:
        try:
            return getattr(POOL, find)(f"{package}.{name}")
        except KeyError:
            continue
    return None


def all_messages(descriptors: Any) -> Iterator[Descriptor]:
    for descriptor in descriptors:
        yield descriptor
        yield from all_messages(descriptor.nested_types)


def local_name(full_name: str) -> str:
    return full_name.removeprefix("hexaface.wire.")


MESSAGES = {
    local_name(message.full_name): message
    for message in all_messages(wire_pb2.DESCRIPTOR.message_types_by_name.values())
}


def same_kind(ours: Descriptor | EnumDescriptor | None, theirs: Descriptor | EnumDescriptor | None) -> bool:
    """Tells whether two fields hold the same message or enum, under our package or theirs."""
    if ours is None or theirs is None:
        return ours is theirs
    if not ours.full_name.startswith("hexaface.wire."):
        return ours.full_name == theirs.full_name
    return any(theirs.full_name == f"{package}.{local_name(ours.full_name)}" for package in PACKAGES)


def facts(field: FieldDescriptor) -> tuple[Any, ...]:
    oneof = field.containing_oneof
    return field.number, field.type, field.label, field.has_presence, oneof.name if oneof else None


@pytest.mark.parametrize("name", sorted(set(MESSAGES) - TEXT_ONLY))
def test_message_is_the_official_one(name: str) -> None:
    ours, theirs = MESSAGES[name], official(name)
    assert theirs is not None
    assert ours.GetOptions().map_entry == theirs.GetOptions().map_entry
    for field in ours.fields:
        same = theirs.fields_by_name[field.name]
        assert facts(field) == facts(same), field.name
        assert same_kind(field.message_type, same.message_type), field.name
        assert same_kind(field.enum_type, same.enum_type), field.name


@pytest.mark.parametrize("name", ["DataType", "Code", "ModelVersionStatus.State"])
def test_enum_is_the_official_one(name: str) -> None:
    ours = wire_pb2.DESCRIPTOR.pool.FindEnumTypeByName(f"hexaface.wire.{name}")
    theirs = official(name, "FindEnumTypeByName")
    for value in ours.values:
        assert theirs.values_by_name[value.name].number == value.number


def test_every_enum_is_compared() -> None:
    declared = {local_name(enum.full_name) for enum in wire_pb2.DESCRIPTOR.enum_types_by_name.values()}
    declared |= {local_name(enum.full_name) for message in MESSAGES.values() for enum in message.enum_types}
    assert declared == {"DataType", "Code", "ModelVersionStatus.State"}


def test_exceptions_are_real() -> None:
    assert [name for name in TEXT_ONLY if official(name)] == []


def fill(message: Message, data: st.DataObject) -> None:
    """Gives random values to a random choice of fields."""
    for field in message.DESCRIPTOR.fields:
        if not data.draw(st.booleans()):
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            fill_map(getattr(message, field.name), field, data)
        elif field.label == FieldDescriptor.LABEL_REPEATED:
            for _ in range(data.draw(st.integers(1, 2))):
                if field.message_type:
                    fill(getattr(message, field.name).add(), data)
                else:
                    getattr(message, field.name).append(data.draw(values(field)))
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), data)
        else:
            setattr(message, field.name, data.draw(values(field)))


def fill_map(container: Any, field: FieldDescriptor, data: st.DataObject) -> None:
    value = field.message_type.fields_by_name["value"]
    key = data.draw(st.text(max_size=3))
    if value.message_type:
        fill(container[key], data)
    else:
        container[key] = data.draw(values(value))


def values(field: FieldDescriptor) -> st.SearchStrategy:
    if field.enum_type:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return {
        FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
        FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32, allow_nan=False),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_STRING: st.binary(max_size=4)
        if field.type == FieldDescriptor.TYPE_BYTES
        else st.text(max_size=4),
    }[field.cpp_type]


@pytest.mark.parametrize("name", sorted(ROOTS))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_bytes_are_the_same_both_ways(name: str, data: st.DataObject) -> None:
    ours = getattr(wire_pb2, name)()
    fill(ours, data)
    sent = ours.SerializeToString(deterministic=True)
    theirs = ROOTS[name].FromString(sent)
    theirs.DiscardUnknownFields()  # a field of ours that they do not know would be lost here
    back = theirs.SerializeToString(deterministic=True)
    assert sorted(back) == sorted(sent)  # fields may be declared, and so written, in another order
    assert type(ours).FromString(back) == ours


CONFIG = """
model_config_list {
  config { name: "age" base_path: "/models/age" model_platform: "tensorflow"
    model_version_policy { specific { versions: 3 versions: 4 } }
    version_labels { key: "stable" value: 3 } version_labels { key: "canary" value: 4 } }
  config { name: "gender" base_path: "/models/gender" model_version_policy { all {} } }
  config { name: "emotion" base_path: "/models/emotion" model_version_policy { latest { num_versions: 2 } } }
}
"""


def test_configuration_text_reads_the_same() -> None:
    theirs = text_format.Parse(CONFIG, model_management_pb2.ReloadConfigRequest().config)
    ours = text_format.Parse(CONFIG, wire_pb2.ModelServerConfig())
    assert wire_pb2.ModelServerConfig.FromString(theirs.SerializeToString()) == ours
    assert text_format.MessageToString(ours) == text_format.MessageToString(theirs)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "BatchingParameters",
            "max_batch_size { value: 128 } batch_timeout_micros { value: 0 } "
            "max_enqueued_batches { value: 9 } num_batch_threads { value: 4 } thread_pool_name { value: 'p' }"
            "  allowed_batch_sizes: 8"
            "  allowed_batch_sizes: 128 pad_variable_length_inputs: true"
            "  enable_large_batch_splitting { value: true } max_execution_batch_size { value: 64 }",
        ),
        ("MonitoringConfig", "prometheus_config { enable: true, path: '/monitoring/prometheus/metrics' }"),
        ("SSLConfig", "server_key: 'k' server_cert: 'c' custom_ca: 'a' client_verify: false"),
    ],
)
def test_text_only_files_are_read(name: str, text: str) -> None:
    text_format.Parse(text, getattr(wire_pb2, name)())


def test_generated_file_is_of_this_proto(tmp_path: Path) -> None:
    protoc = shutil.which("protoc")
    if protoc is None:
        pytest.skip("protoc is not on this machine")
    version = subprocess.run([protoc, "--version"], capture_output=True, text=True, check=True).stdout
    if not version.startswith("libprotoc 3.21"):
        pytest.skip(f"{version.strip()} writes other files than 3.21, with which wire_pb2.py was made")
    subprocess.run([protoc, f"--python_out={tmp_path}", "serving/wire/wire.proto"], cwd=ROOT, check=True)
    made = (tmp_path / "serving" / "wire" / "wire_pb2.py").read_text()
    assert made == (ROOT / "serving" / "wire" / "wire_pb2.py").read_text(), "run `make protos`"


# ---- tensors

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64"]
DTYPES += ["uint8", "uint16", "uint32", "uint64", "bool"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: numpy_strategies.arrays(
        dtype, numpy_strategies.array_shapes(min_dims=0, min_side=0, max_side=3)
    )
)
TEXTS = st.lists(st.binary(max_size=4) | st.just(b"ends in \0"), max_size=4).map(object_array)


def as_theirs(proto: wire_pb2.TensorProto) -> Any:
    return tensor_pb2.TensorProto.FromString(proto.SerializeToString())


def as_ours(proto: Any) -> wire_pb2.TensorProto:
    return wire_pb2.TensorProto.FromString(proto.SerializeToString())


def assert_same(one: np.ndarray, other: np.ndarray) -> None:
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    np.testing.assert_array_equal(one, other)


@settings(deadline=None)
@given(ARRAYS | TEXTS)
def test_tensorflow_reads_ours(array: np.ndarray) -> None:
    assert_same(tf.make_ndarray(as_theirs(to_proto(array))), array)
    assert_same(from_proto(to_proto(array)), array)


@settings(deadline=None)
@given(ARRAYS | TEXTS, st.booleans())
def test_we_read_tensorflows(array: np.ndarray, typed: bool) -> None:
    theirs = tf.make_tensor_proto(array) if not typed else typed_proto(array)
    assert_same(from_proto(as_ours(theirs)), array)


def typed_proto(array: np.ndarray) -> Any:
    """As the server answers: values in the typed field, all of them."""
    proto = tensor_pb2.TensorProto(
        dtype=tf.as_dtype(array.dtype).as_datatype_enum,
        tensor_shape=tf.TensorShape(array.shape).as_proto(),
    )
    flat = array.ravel().view(np.uint16) if array.dtype == np.float16 else array.ravel()
    fields = {"float16": "half", "float32": "float", "float64": "double", "object": "string"}
    field = fields.get(array.dtype.name, array.dtype.name)
    field = "int" if field in ("int8", "int16", "int32", "uint8", "uint16") else field
    getattr(proto, f"{field}_val").extend(flat.tolist())
    return proto


def tensor(dtype: int, shape: list[int], **fields: Any) -> wire_pb2.TensorProto:
    proto = wire_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def test_last_value_repeats_and_no_value_is_zero() -> None:
    proto = tensor(wire_pb2.DT_FLOAT, [2, 2], float_val=[1, 2])
    assert from_proto(proto).tolist() == tf.make_ndarray(as_theirs(proto)).tolist() == [[1, 2], [2, 2]]
    assert from_proto(tensor(wire_pb2.DT_INT64, [2])).tolist() == [0, 0]
    assert from_proto(tensor(wire_pb2.DT_STRING, [2], string_val=[b"a"])).tolist() == [b"a", b"a"]
    assert from_proto(tensor(wire_pb2.DT_STRING, [2])).tolist() == [b"", b""]


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (tensor(wire_pb2.DT_FLOAT, [-1], float_val=[1]), "shape"),
        (tensor(wire_pb2.DT_FLOAT, [2**40, 2**40], float_val=[1]), "larger than"),
        (tensor(wire_pb2.DT_STRING, [MAX_TENSOR_BYTES], string_val=[b"x"]), "larger than"),
        (tensor(wire_pb2.DT_FLOAT, [1] * 40, float_val=[1]), "shape"),
        (tensor(wire_pb2.DT_FLOAT, [1], float_val=[1, 2]), "2 values"),
        (tensor(wire_pb2.DT_FLOAT, [2], tensor_content=b"1234"), "4 bytes of content for 2"),
        (tensor(wire_pb2.DT_STRING, [1], tensor_content=b"1234"), "string tensor in tensor_content"),
        (tensor(wire_pb2.DT_UINT8, [1], int_val=[256]), "do not fit uint8"),
        (tensor(wire_pb2.DT_HALF, [1], half_val=[-1]), "do not fit uint16"),
        (tensor(wire_pb2.DT_BFLOAT16, [1], half_val=[1]), "bfloat16 are not supported"),
        (tensor(wire_pb2.DT_INVALID, []), "not supported"),
        (tensor(99, []), "type 99 are not supported"),
    ],
)
def test_tensors_that_cannot_be(proto: wire_pb2.TensorProto, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_proto(proto)


def test_unknown_rank_is_refused() -> None:
    proto = wire_pb2.TensorProto(dtype=wire_pb2.DT_FLOAT, float_val=[1])
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(ValueError, match="unknown rank"):
        from_proto(proto)


def test_odd_bytes_make_proper_bools() -> None:
    assert from_proto(tensor(wire_pb2.DT_BOOL, [3], tensor_content=b"\0\1\7")).view(np.uint8).tolist() == [
        0,
        1,
        1,
    ]


@pytest.mark.parametrize("array", [[1], np.array([b"a"]), np.array([1j]), np.array([None]), "text"])
def test_arrays_that_cannot_be_sent(array: Any) -> None:
    with pytest.raises(TypeError):
        to_proto(array)


def test_text_and_foreign_byte_order_are_sent() -> None:
    assert from_proto(to_proto(np.array(["ä"]))).tolist() == ["ä".encode()]
    assert_same(from_proto(to_proto(np.array([1, 2], ">i4"))), np.array([1, 2], np.int32))


def test_type_names() -> None:
    assert [type_name(kind) for kind in (wire_pb2.DT_HALF, wire_pb2.DT_STRING, wire_pb2.DT_QINT8, 101)] == [
        "float16",
        "string",
        "qint8",
        "type 101",
    ]
