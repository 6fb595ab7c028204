"""The JSON codec against the contract, case by case; every request goes the quick way and the careful way."""

import base64
import contextlib
import json

import ml_dtypes
import numpy as np
import orjson
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    regression_pb2,
)

from serving.model_server import json_tensor
from serving.model_server.errors import Code, ServingError, invalid
from serving.model_server.json_tensor import (
    Format,
    decode_examples,
    decode_predict,
    encode_classify,
    encode_error,
    encode_metadata,
    encode_predict,
    encode_regress,
    encode_status,
)

NUMPY = {
    "float": np.float32,
    "double": np.float64,
    "half": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "bool": np.bool_,
}
FLOATS = ("float", "double", "half", "bfloat16")
INTS = [name for name in NUMPY if "int" in name]


def info(name):
    return TensorInfo(dtype=types_pb2.DataType.Value("DT_" + name.upper()))


def inputs(**names):
    infos = {name: info(dtype) for name, dtype in names.items()}
    return lambda signature: infos


@contextlib.contextmanager
def careful():
    """Takes the quick ways away."""

    def refuse(body):
        raise orjson.JSONDecodeError("not now", "", 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_tensor.orjson, "loads", refuse)
        patch.setattr(json_tensor, "_quick_tensor", lambda value, dtype: None)
        patch.setattr(json_tensor, "_quick_columns", lambda instances, infos: None)
        yield


@pytest.fixture(params=["quick", "careful"])
def way(request):
    with careful() if request.param == "careful" else contextlib.nullcontext():
        yield request.param


def strings(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def same(found, expected):
    expected = np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if expected.dtype == object:
        assert found.tolist() == expected.tolist()
    else:
        if found.dtype == ml_dtypes.bfloat16:
            # Its NaNs do not pass for equal.
            found, expected = found.astype(np.float32), expected.astype(np.float32)
        np.testing.assert_array_equal(found, expected)


def outcome(body, infos):
    """What decoding gives, in a form that two ways can be compared by."""
    try:
        result = decode_predict(body, infos)
    except ServingError as error:
        return error.code, error.message
    arrays = {
        name: (a.dtype.name, a.shape, a.tolist() if a.dtype == object else a.tobytes())
        for name, a in result.inputs.items()
    }
    return result.signature_name, result.format, arrays


f32 = np.float32
DECODED = {
    "unnamed int32": (
        {"x": "int32"},
        '{"instances": [[1,2],[3,4],[5,6]]}',
        np.int32([[1, 2], [3, 4], [5, 6]]),
    ),
    "scalar instances": ({"x": "float"}, '{"instances": [1.5, 2.5]}', f32([1.5, 2.5])),
    "ints and floats mixed to float": (
        {"x": "float"},
        '{"instances": [1, 2.0, 3, 5.003, 0.007, 0.0]}',
        f32([1, 2, 3, 5.003, 0.007, 0]),
    ),
    "ints and floats mixed to double": (
        {"x": "double"},
        '{"instances": [1.0, 2, 0.662]}',
        [1.0, 2.0, 0.662],
    ),
    "named, one input": (
        {"x": "int32"},
        '{"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}',
        np.int32([[1, 2], [3, 4]]),
    ),
    "columnar plain": ({"x": "int32"}, '{"inputs": [[[1,2],[3,4]]]}', np.int32([[[1, 2], [3, 4]]])),
    "columnar named": ({"x": "int32"}, '{"inputs": {"x": [1, 2]}}', np.int32([1, 2])),
    "columnar scalar": ({"x": "int32"}, '{"inputs": 7}', np.int32(7)),
    "columnar empty list": ({"x": "int32"}, '{"inputs": []}', np.zeros(0, np.int32)),
    "columnar b64 scalar": (
        {"x": "string"},
        '{"inputs": {"b64": "aGVsbG8="}}',
        strings([b"hello"]).reshape(()),
    ),
    "empty elements": ({"x": "float"}, '{"instances": [[], []]}', np.zeros((2, 0), f32)),
    "text": (
        {"x": "string"},
        '{"instances": ["foo", "b\\u00e4r\\n", ""]}',
        strings([b"foo", "bär\n".encode(), b""]),
    ),
    "b64": (
        {"x": "string"},
        '{"instances": [{"b64": "aGVsbG8="}, {"b64": "AP8="}]}',
        strings([b"hello", b"\0\xff"]),
    ),
    "b64 lists": (
        {"x": "string"},
        '{"instances": [[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]]}',
        strings([b"hello", b"world"]).reshape(2, 1),
    ),
    "b64 next to text": ({"x": "string"}, '{"instances": ["a", {"b64": "YQ=="}]}', strings([b"a", b"a"])),
    "b64 without padding": ({"x": "string"}, '{"instances": [{"b64": "YQ"}]}', strings([b"a"])),
    "b64 in lines": ({"x": "string"}, '{"instances": [{"b64": "aGVs\\nbG8="}]}', strings([b"hello"])),
    "b64 empty": ({"x": "string"}, '{"instances": [{"b64": ""}]}', strings([b""])),
    "b64 named": (
        {"x": "string"},
        '{"instances": [{"x": [[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]]}]}',
        strings([b"hello", b"world"]).reshape(1, 2, 1),
    ),
    "special floats": (
        {"x": "float"},
        '{"instances": [NaN, Infinity, -Infinity, 1]}',
        f32([np.nan, np.inf, -np.inf, 1]),
    ),
    "special doubles": (
        {"x": "double"},
        '{"inputs": [NaN, Infinity, -Infinity]}',
        [np.nan, np.inf, -np.inf],
    ),
    "float overflow": ({"x": "float"}, '{"instances": [3.5e38, -1e39]}', f32([np.inf, -np.inf])),
    "float underflow": ({"x": "float"}, '{"instances": [1e-60]}', f32([0])),
    "half overflow": ({"x": "half"}, '{"instances": [65520, 1e-9]}', np.float16([np.inf, 0])),
    "double overflow": ({"x": "double"}, '{"instances": [1e400, -1e400]}', [np.inf, -np.inf]),
    "long int to double": ({"x": "double"}, '{"instances": [18446744073709551616]}', [2.0**64]),
    "very long int to double": ({"x": "double"}, '{"instances": [' + "9" * 5000 + "]}", [np.inf]),
    "exponent to float": ({"x": "float"}, '{"instances": [1e2, -2E-1]}', f32([100, -0.2])),
    "bool": ({"x": "bool"}, '{"instances": [true, false]}', np.array([True, False])),
    "int64 limits": (
        {"x": "int64"},
        '{"instances": [-9223372036854775808, 9223372036854775807]}',
        np.int64([-(2**63), 2**63 - 1]),
    ),
    "uint64 limit": (
        {"x": "uint64"},
        '{"instances": [0, 18446744073709551615]}',
        np.array([0, 2**64 - 1], np.uint64),
    ),
    "text after the value": ({"x": "int32"}, '{"instances": [1]} } ] garbage', np.int32([1])),
    "space around": ({"x": "int32"}, ' \n\t\r{ "instances" : [ 1 , 2 ] }\n', np.int32([1, 2])),
    "byte order mark": ({"x": "int32"}, '\ufeff{"instances": [1]}', np.int32([1])),
    "other keys": ({"x": "int32"}, '{"parameters": {"a": [[null]]}, "instances": [1]}', np.int32([1])),
    "last of two keys": ({"x": "int32"}, '{"instances": [1], "instances": [2]}', np.int32([2])),
    "surrogate pair": ({"x": "string"}, '{"instances": ["\\ud83d\\ude00"]}', strings(["😀".encode()])),
    "escaped backslash, no surrogate": (
        {"x": "string"},
        '{"instances": ["\\\\ud83d"]}',
        strings([b"\\ud83d"]),
    ),
}


@pytest.mark.parametrize("case", DECODED)
def test_decodes(case, way):
    names, body, expected = DECODED[case]
    result = decode_predict(body.encode(), inputs(**names))
    assert result.format is (Format.ROW if '"instances"' in body else Format.COLUMNAR)
    assert result.signature_name == ""
    assert list(result.inputs) == ["x"]
    same(result.inputs["x"], expected)


def test_strings_of_any_bytes(way):
    result = decode_predict(b'{"instances": ["\xff\x80a"]}', inputs(x="string"))
    assert result.inputs["x"].tolist() == [b"\xff\x80a"]


def test_several_named_inputs(way):
    body = b"""{"signature_name": "s", "instances": [
        {"i": [[1,2],[3,4]], "s": ["foo", "bar"], "f": [1.0, NaN], "b": {"b64": "aGVsbG8="}},
        {"b": "x", "i": [[7,8],[9,0]], "s": ["baz", "bat"], "f": [2.0, Infinity]}]} x"""
    result = decode_predict(body, inputs(i="int32", s="string", f="float", b="string"))
    assert result.signature_name == "s"
    same(result.inputs["i"], np.int32([[[1, 2], [3, 4]], [[7, 8], [9, 0]]]))
    same(result.inputs["s"], strings([b"foo", b"bar", b"baz", b"bat"]).reshape(2, 2))
    same(result.inputs["f"], f32([[1, np.nan], [2, np.inf]]))
    same(result.inputs["b"], strings([b"hello", b"x"]))


def test_columnar_batches_may_differ(way):
    body = b'{"inputs": {"i": [[[1,2],[3,4]]], "s": ["foo", "bar"], "b": {"b64": "aGVsbG8="}, "unknown": 1}}'
    result = decode_predict(body, inputs(i="int32", s="string", b="string"))
    same(result.inputs["i"], np.int32([[[1, 2], [3, 4]]]))
    same(result.inputs["s"], strings([b"foo", b"bar"]))
    same(result.inputs["b"], strings([b"hello"]).reshape(()))


def test_asks_for_the_inputs_of_the_named_signature(way):
    asked = []

    def inputs_of(name):
        asked.append(name)
        return {"x": info("int32")}

    decode_predict(b'{"signature_name": "predict_images", "instances": [1]}', inputs_of)
    decode_predict(b'{"instances": [1]}', inputs_of)
    assert asked == ["predict_images", ""]


def test_passes_on_what_inputs_of_raises():
    error = invalid('Serving signature name: "x" not found in signature def')

    def inputs_of(name):
        raise error

    with pytest.raises(ServingError) as caught:
        decode_predict(b'{"instances": [1]}', inputs_of)
    assert caught.value is error


ELEMENT = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: {}"
PLAIN = (
    "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
    " tensorinfo_map"
)
LONG = "[" + ", ".join(["111"] * 500) + "]"
X = {"x": "int32"}
XY = {"x": "int32", "y": "string"}


def parse_error(text, offset):
    return f"JSON Parse error: {text} at offset: {offset}"


REFUSED = {
    "empty": (X, "", "JSON Parse error: The document is empty"),
    "blank": (X, " \n ", parse_error("The document is empty.", 3)),
    "no json": (X, "instances = [1, 2]", parse_error("Invalid value.", 0)),
    "no colon": (X, '{"instances" [1]}', parse_error("Missing a colon after a name of object member.", 13)),
    "no name": (X, "{instances: 1}", parse_error("Missing a name for object member.", 1)),
    "no comma in object": (
        X,
        '{"a": [1], "b": "[" "c"}',
        parse_error("Missing a comma or '}' after an object member.", 20),
    ),
    "no comma in array": (
        X,
        '{"instances": [1 2]}',
        parse_error("Missing a comma or ']' after an array element.", 17),
    ),
    "not closed": (X, '{"instances": [1', parse_error("Missing a comma or ']' after an array element.", 16)),
    "trailing comma": (X, '{"instances": [1,]}', parse_error("Invalid value.", 17)),
    "no fraction": (X, '{"instances": [1.]}', parse_error("Miss fraction part in number.", 16)),
    "no exponent": (X, '{"instances": [1e]}', parse_error("Miss exponent in number.", 16)),
    "open string": (X, '{"instances": ["a', parse_error("Missing a closing quotation mark in string.", 17)),
    "bad escape": (X, '{"instances": ["\\x"]}', parse_error("Invalid escape character in string.", 16)),
    "bad hex": (X, '{"a": "\\u12"}', parse_error("Incorrect hex digit after \\u escape in string.", 8)),
    "control character": (X, '{"a": "\x01"}', parse_error("Invalid encoding in string.", 7)),
    "offset in bytes": (X, '{"ä": "\\x"}', parse_error("Invalid escape character in string.", 8)),
    "half a pair": (
        {"x": "string"},
        '{"instances": ["\\ud83d"]}',
        parse_error("The surrogate pair in string is invalid.", 16),
    ),
    "other half": (
        {"x": "string"},
        '{"instances": ["\\ud83d\\ude00\\udc80"]}',
        parse_error("The surrogate pair in string is invalid.", 28),
    ),
    "not an object": (X, "[1]", "JSON Value: [\n    1\n] Is not object"),
    "a number": (X, "1.0", "JSON Value: 1.0 Is not object"),
    "no key": (X, '{"instance": [1]}', "Missing 'inputs' or 'instances' key"),
    "both keys": (
        X,
        '{"instances": [1], "inputs": [1]}',
        'JSON Value: {\n    "instances": [\n        1\n    ],\n    "inputs": [\n        1\n    ]\n}'
        " Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
    ),
    "instances no list": (
        X,
        '{"instances": 1}',
        "JSON Value: {\n    \"instances\": 1\n} Excepting 'instances' to be an list/array",
    ),
    "no instance": (
        X,
        '{"instances": []}',
        "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
    ),
    "signature no string": (
        X,
        '{"signature_name": 5, "instances": [1]}',
        'JSON Value: {\n    "signature_name": 5,\n    "instances": [\n        1\n    ]\n}'
        " not formatted correctly. 'signature_name' key must be a string value.",
    ),
    "quote cut": (
        X,
        '{"signature_name": ' + LONG + "}",
        "JSON Value: "
        + json.dumps({"signature_name": [111] * 500}, indent=4)[:256]
        + " not formatted correctly. 'signature_name' key must be a string value.",
    ),
    "ragged size": (
        X,
        '{"instances": [[1,2],[3,4],[5,6,7]]}',
        ELEMENT.format(2, "Expecting tensor size: 2 but got: 3"),
    ),
    "ragged shape": (
        X,
        '{"instances": [[1,2],[[5,6]]]}',
        ELEMENT.format(1, "Expecting shape [2] but got: [1,2]"),
    ),
    "scalar and list": (X, '{"instances": [1,[1]]}', ELEMENT.format(1, "Expecting shape [] but got: [1]")),
    "ragged inside": (
        X,
        '{"instances": [[[1,2],[3]]]}',
        ELEMENT.format(0, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    ),
    "ragged column": (
        X,
        '{"inputs": [[1,2],[3]]}',
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    "too deep inside": (X, '{"inputs": [1,[2]]}', "Encountered list at unexpected level: 1 expected < 1"),
    "too shallow inside": (
        X,
        '{"inputs": [[1],2]}',
        "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    "string for float": (
        {"x": "float"},
        '{"inputs": ["a"]}',
        'JSON Value: "a" Type: String is not of expected type: float',
    ),
    "list of strings": (
        X,
        '{"instances": [[1,2],["a","b"]]}',
        ELEMENT.format(1, 'JSON Value: "a" Type: String is not of expected type: int32'),
    ),
    "float for int": (
        X,
        '{"inputs": [1, 1.0]}',
        "JSON Value: 1.0 Type: Number is not of expected type: int32",
    ),
    "exponent for int": (
        X,
        '{"inputs": [1e2]}',
        "JSON Value: 100.0 Type: Number is not of expected type: int32",
    ),
    "nan for int": (X, '{"inputs": [NaN]}', "JSON Value: NaN Type: Number is not of expected type: int32"),
    "bool for int": (
        X,
        '{"inputs": [1, true]}',
        "JSON Value: true Type: True is not of expected type: int32",
    ),
    "bool for uint8": (
        {"x": "uint8"},
        '{"inputs": [1, false]}',
        "JSON Value: false Type: False is not of expected type: uint8",
    ),
    "bool for float": (
        {"x": "float"},
        '{"inputs": true}',
        "JSON Value: true Type: True is not of expected type: float",
    ),
    "null for float": (
        {"x": "float"},
        '{"inputs": null}',
        "JSON Value: null Type: Null is not of expected type: float",
    ),
    "null for string": (
        {"x": "string"},
        '{"inputs": ["a", null]}',
        "JSON Value: null Type: Null is not of expected type: string",
    ),
    "int for string": (
        {"x": "string"},
        '{"inputs": [1]}',
        "JSON Value: 1 Type: Number is not of expected type: string",
    ),
    "int for bool": (
        {"x": "bool"},
        '{"inputs": [1]}',
        "JSON Value: 1 Type: Number is not of expected type: bool",
    ),
    "long int for uint64": (
        {"x": "uint64"},
        '{"inputs": [18446744073709551616]}',
        "JSON Value: 1.8446744073709552e+19 Type: Number is not of expected type: uint64",
    ),
    "b64 for int": (
        X,
        '{"inputs": [{"b64": "AA=="}]}',
        'JSON Value: {\n    "b64": "AA=="\n} Type: Object is not of expected type: int32',
    ),
    "object for string": (
        {"x": "string"},
        '{"inputs": [{"b65": "AA=="}]}',
        'JSON Value: {\n    "b65": "AA=="\n} not formatted correctly for base64 data',
    ),
    "b64 no string": (
        {"x": "string"},
        '{"inputs": [{"b64": 1}]}',
        'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data',
    ),
    "plain list for two": (XY, '{"instances": [1]}', PLAIN),
    "b64 for two": (XY, '{"instances": [{"b64": ""}]}', PLAIN),
    "plain inputs for two": (
        XY,
        '{"inputs": [1]}',
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as per"
        " tensorinfo_map",
    ),
    "missing column": (XY, '{"inputs": {"x": [1]}}', "Missing named input: y in 'inputs' object."),
    "missing key": (
        XY,
        '{"instances": [{"x": 1}]}',
        "Failed to process element: 0 of 'instances' list."
        ' JSON object: {\n    "x": 1\n} keys must be equal to: x,y',
    ),
    "unknown key": (
        X,
        '{"instances": [{"x": 1, "z": 1}]}',
        "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT:"
        " JSON object: does not have named input: z",
    ),
    "wrong value at a key": (
        XY,
        '{"instances": [{"x": 1, "y": "a"}, {"x": 1.5, "y": "a"}]}',
        "Failed to process element: 1 key: x of 'instances' list. Error: INVALID_ARGUMENT:"
        " JSON Value: 1.5 Type: Number is not of expected type: int32",
    ),
    "list after objects": (
        XY,
        '{"instances": [{"x": 1, "y": "a"}, [1, 20]]}',
        "Expecting object but got list at item 1 of input list",
    ),
    "object after lists": (
        {"y": "string"},
        '{"instances": [["a"], {"y": "a"}]}',
        "Expecting value/list but got object at item 1 of input list",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case, way):
    names, body, message = REFUSED[case]
    with pytest.raises(ServingError) as caught:
        decode_predict(body.encode(), inputs(**names))
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    "text", ["A", "AAAAA", "A===", "A=A=", "AA=", "AAA==", "AAAA====", "A-_A", "AÄ==", "=", "A*AA"]
)
def test_refuses_bad_base64(text, way):
    with pytest.raises(ServingError, match="Unable to base64 decode") as caught:
        decode_predict(json.dumps({"inputs": [{"b64": text}]}).encode(), inputs(x="string"))
    assert caught.value.code == Code.INVALID_ARGUMENT


@pytest.mark.parametrize("name", INTS)
def test_integers_stay_in_their_range(name, way):
    limits = np.iinfo(NUMPY[name])
    body = json.dumps({"inputs": [int(limits.min), int(limits.max)]}).encode()
    same(decode_predict(body, inputs(x=name)).inputs["x"], np.array([limits.min, limits.max], NUMPY[name]))
    for value in (int(limits.min) - 1, int(limits.max) + 1):
        with pytest.raises(ServingError, match=f"Type: Number is not of expected type: {name}"):
            decode_predict(json.dumps({"inputs": [0, value]}).encode(), inputs(x=name))


@pytest.mark.parametrize("name", ["complex64", "resource", "variant", "qint8"])
@pytest.mark.parametrize("value", ["[1]", "[]"])
def test_refuses_types_without_json(name, value, way):
    with pytest.raises(ServingError, match=f"to type: {name}") as caught:
        decode_predict(f'{{"inputs": {value}}}'.encode(), inputs(x=name))
    assert caught.value.code == Code.UNIMPLEMENTED


def test_refuses_signature_without_inputs():
    with pytest.raises(ServingError, match="Failed to get input map for signature: DEFAULT"):
        decode_predict(b'{"instances": [1]}', inputs())


@pytest.mark.parametrize("start", ['{"instances": ', "", '{"x": ', '{"instances": NaN, "x": '])
@pytest.mark.parametrize("bracket", ["[", '{"a":'])
@pytest.mark.parametrize("closed", [True, False])
def test_depth_is_bounded(start, bracket, closed, way):
    body = start + bracket * 100_000
    if closed:
        body += "1" + ("]" if bracket == "[" else "}") * 100_000 + "}"
    with pytest.raises(ServingError):
        decode_predict(body.encode(), inputs(x="float"))


@pytest.mark.parametrize("depth", [30, 31, 32, 33, 200])
def test_rank_is_bounded(depth, way):
    body = ('{"instances": ' + "[" * depth + "1" + "]" * depth + "}").encode()
    if depth < 32:
        assert decode_predict(body, inputs(x="float")).inputs["x"].ndim == depth
    elif depth > 32:
        with pytest.raises(ServingError, match="nested too deeply"):
            decode_predict(body, inputs(x="float"))
    else:
        assert decode_predict(body, inputs(x="float")).inputs["x"].ndim == 32


def test_quick_way_is_taken(monkeypatch):
    for name in ("_parse_exactly", "_exact_rows", "_exact_columns", "_exact_tensor"):
        monkeypatch.setattr(json_tensor, name, None)
    image = base64.b64encode(bytes(range(256))).decode()
    decode_predict(json.dumps({"instances": [{"b64": image}] * 3}).encode(), inputs(x="string"))
    decode_predict(json.dumps({"instances": [{"x": {"b64": image}}] * 3}).encode(), inputs(x="string"))
    decode_predict(json.dumps({"instances": [[[1, 2], [3, 4]]] * 3}).encode(), inputs(x="uint8"))
    decode_predict(json.dumps({"inputs": [[0.5, 2]] * 3}).encode(), inputs(x="float"))


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-300, 300),
    st.sampled_from([2**31, 2**63, 2**64, -(2**63) - 1]),
    st.floats(),
    st.text(max_size=3),
    st.builds(lambda data: {"b64": base64.b64encode(data).decode()}, st.binary(max_size=4)),
    st.builds(lambda text: {"b64": text}, st.text("AQ=-\n", max_size=6)),
)
values = st.one_of(
    leaves,
    st.lists(leaves, max_size=3),
    st.lists(st.lists(st.integers(-2, 300), min_size=2, max_size=2), max_size=3),
    st.recursive(
        leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("xyz"), v, max_size=3)
    ),
)
elements = values | st.fixed_dictionaries({"x": values, "y": values})
documents = st.one_of(
    st.fixed_dictionaries({"instances": st.lists(elements, max_size=4)}),
    st.fixed_dictionaries({"inputs": elements}),
    st.dictionaries(
        st.sampled_from(["instances", "inputs", "signature_name", "examples", "context"]), elements
    ),
)
any_inputs = st.dictionaries(
    st.sampled_from("xy"), st.sampled_from([*NUMPY, "string", "complex64"]), min_size=1, max_size=2
)


@settings(max_examples=300, deadline=None)
@given(documents, any_inputs, st.sampled_from(["", " x"]))
def test_both_ways_give_the_same(document, names, rest):
    body = (json.dumps(document) + rest).encode()
    quick = outcome(body, inputs(**names))
    with careful():
        assert outcome(body, inputs(**names)) == quick


@settings(max_examples=300, deadline=None)
@given(
    st.text('{}[]":,\\u0d8xX1-.eNaInfity "', max_size=40) | st.binary(max_size=30),
    st.sampled_from(["", "[", '{"instances": ']),
)
def test_nothing_but_serving_errors(text, start):
    body = start.encode() + (text if isinstance(text, bytes) else text.encode())
    for decode in (lambda: decode_predict(body, inputs(x="string")), lambda: decode_examples(body)):
        with contextlib.suppress(ServingError):
            decode()


@settings(max_examples=100, deadline=None)
@given(documents)
def test_examples_raise_nothing_but_serving_errors(document):
    with contextlib.suppress(ServingError):
        decode_examples(json.dumps(document).encode())


# Encoding.


def reread(body, key, name, dtype):
    """Sends an answer back as a request."""
    answer = body.replace(b'"%s"' % key[0].encode(), b'"%s"' % key[1].encode(), 1)
    return decode_predict(answer, inputs(**{name: dtype})).inputs[name]


def numbers(name):
    dtype = np.dtype(NUMPY[name])
    if name == "bfloat16":
        return hnp.arrays(np.uint16, hnp.array_shapes(max_dims=3, max_side=3)).map(lambda a: a.view(dtype))
    return hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=3))


@pytest.mark.parametrize("name", NUMPY)
def test_numbers_survive_the_round_trip(name):
    @settings(max_examples=40, deadline=None)
    @given(numbers(name))
    def check(array):
        for format, key in (
            (Format.ROW, ("predictions", "instances")),
            (Format.COLUMNAR, ("outputs", "inputs")),
        ):
            body = encode_predict({"x": array}, format)
            same(reread(body, key, "x", name), array)
            assert json.loads(body)[key[0]] is not None

    check()


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(object, hnp.array_shapes(max_dims=3, max_side=3), elements=st.binary(max_size=5)))
def test_bytes_survive_the_round_trip(array):
    for format, key in ((Format.ROW, ("predictions", "instances")), (Format.COLUMNAR, ("outputs", "inputs"))):
        body = encode_predict({"x_bytes": array}, format)
        same(reread(body, key, "x_bytes", "string"), array)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=5), min_size=1))
def test_text_survives_the_round_trip(texts):
    array = strings([text.encode() for text in texts])
    body = encode_predict({"x": array}, Format.ROW)
    same(reread(body, ("predictions", "instances"), "x", "string"), array)
    assert json.loads(body)["predictions"] == texts


def test_quick_and_careful_printing_are_the_same(monkeypatch):
    generator = np.random.default_rng(7)
    outputs = {
        "a": generator.normal(size=(5, 2, 3)).astype(np.float32),
        "b": generator.integers(-9, 9, (5, 1)),
        "c": generator.normal(size=5),
        "d": np.zeros((5, 0, 2), np.int8),
    }
    quick = [encode_predict(outputs, Format.ROW)] + [
        encode_predict({k: v}, Format.ROW) for k, v in outputs.items()
    ]
    plain = json_tensor._tokens
    tokens = {name: plain(name, array, 0) for name, array in outputs.items()}
    monkeypatch.setattr(json_tensor, "_is_plain", lambda array: False)
    monkeypatch.setattr(json_tensor, "_tokens", lambda name, array, level: tokens[name])
    assert quick == [encode_predict(outputs, Format.ROW)] + [
        encode_predict({k: v}, Format.ROW) for k, v in outputs.items()
    ]


LAYOUTS = [(name, layout) for name in NUMPY for layout in ("strided", "turned", "big-endian")]
LAYOUTS.remove(("bfloat16", "big-endian"))  # has one byte order only


@pytest.mark.parametrize("name, layout", LAYOUTS)
def test_memory_layout_does_not_matter(name, layout):
    array = np.arange(12).reshape(3, 4).astype(NUMPY[name])
    if layout == "big-endian":
        other = array.astype(array.dtype.newbyteorder(">"))
    else:
        other = array[:, ::2] if layout == "strided" else array.T[::-1]
        array = other.copy()
    assert encode_predict({"x": other}, Format.ROW) == encode_predict({"x": array}, Format.ROW)


def one_line(text):
    return '{\n    "predictions": [' + text + "\n    ]\n}"


PRINTED = {
    "float32": (
        f32([0.1, 1, -0.0, 9000000, 999999, 0.0003, 555557.5]),
        "0.1, 1.0, -0.0, 9000000.0, 999999.0, 0.0003, 555557.5",
    ),
    "float64": (np.array([0.1, 1 / 3, 2]), "0.1, 0.3333333333333333, 2.0"),
    "thirds": (f32([1 / 3]), "0.33333334"),
    "half": (np.float16([0.1, 2, 65504]), "0.1, 2.0, 65500.0"),
    "bfloat16": (np.array([0.1, 2, 3.14], ml_dtypes.bfloat16), "0.1, 2.0, 3.14"),
    "not finite": (f32([np.nan, np.inf, 3, -np.inf]), "NaN, Infinity, 3.0, -Infinity"),
    "half not finite": (np.float16([np.nan, np.inf, -np.inf]), "NaN, Infinity, -Infinity"),
    "bfloat16 not finite": (
        np.array([np.nan, np.inf, -np.inf], ml_dtypes.bfloat16),
        "NaN, Infinity, -Infinity",
    ),
    "rows": (f32([[2.5, 3], [np.nan, 4]]), "[2.5, 3.0], [NaN, 4.0]"),
    "cubes": (np.arange(8).reshape(2, 2, 2), "[[0, 1], [2, 3]], [[4, 5], [6, 7]]"),
    "bool": (np.array([True, False]), "true, false"),
    "uint64": (np.array([2**64 - 1], np.uint64), "18446744073709551615"),
    "empty elements": (np.zeros((2, 0), f32), "[], []"),
    "empty lists in elements": (np.zeros((1, 2, 0), np.int32), "[[], []]"),
    "text": (strings([b'a"\\\n', "ä/".encode()]), '"a\\"\\\\\\n", "ä/"'),
    "fixed-size text": (np.array([[b"a", b"bc"]]), '["a", "bc"]'),
    "unicode text": (np.array(["ä"]), '"ä"'),
}


@pytest.mark.parametrize("case", PRINTED)
def test_prints_rows(case):
    array, text = PRINTED[case]
    assert encode_predict({"x": array}, Format.ROW).decode() == one_line(text)


def test_prints_bytes_as_base64():
    assert encode_predict({"x_bytes": strings([b"hello", b"\xff"])}, Format.ROW).decode() == one_line(
        '{\n            "b64": "aGVsbG8="\n        }, {\n            "b64": "/w=="\n        }'
    )


def test_prints_named_rows():
    outputs = {
        "b": f32([[1, 0.5], [2, 3]]),
        "a": strings([b"x", b"y"]),
        "c_bytes": strings([b"h", b"w"]).reshape(2, 1),
    }
    assert encode_predict(outputs, Format.ROW).decode() == (
        """{
    "predictions": [
        {
            "a": "x",
            "b": [1.0, 0.5],
            "c_bytes": [{
                    "b64": "aA=="
                }]
        },
        {
            "a": "y",
            "b": [2.0, 3.0],
            "c_bytes": [{
                    "b64": "dw=="
                }]
        }
    ]
}"""
    )


def test_prints_columns_on_lines_of_their_own():
    assert encode_predict({"x": f32([[1, np.inf]])}, Format.COLUMNAR).decode() == (
        '{\n    "outputs": [\n        [\n            1.0,\n            Infinity\n        ]\n    ]\n}'
    )
    outputs = {"b": np.int32(3), "a_bytes": strings([b"h"]), "c": np.zeros((2, 0), f32)}
    assert encode_predict(outputs, Format.COLUMNAR).decode() == (
        """{
    "outputs": {
        "a_bytes": [
            {
                "b64": "aA=="
            }
        ],
        "b": 3,
        "c": [
            [],
            []
        ]
    }
}"""
    )


@pytest.mark.parametrize(
    "outputs", [{"x": np.zeros((0, 2))}, {"x": np.zeros(0, object), "y": np.zeros((0, 3, 4))}]
)
def test_prints_an_empty_batch(outputs):
    assert encode_predict(outputs, Format.ROW) == b'{\n    "predictions": []\n}'


NOT_PRINTED = {
    "nothing": ({}, Format.ROW, "Cannot convert empty tensor map to JSON"),
    "nothing in columns": ({}, Format.COLUMNAR, "Cannot convert empty tensor map to JSON"),
    "scalar": ({"x": np.int32(1)}, Format.ROW, "Tensor name: x has no shape information "),
    "batches": (
        {"a": np.zeros((2, 3)), "b": np.zeros((1, 3))},
        Format.ROW,
        "Tensor name: b has inconsistent batch size: 1 expecting: 2",
    ),
    "empty and not": (
        {"a": np.zeros((0, 3)), "b": np.zeros((1, 3))},
        Format.ROW,
        "Tensor name: b has inconsistent batch size: 1 expecting: 0",
    ),
    "complex": (
        {"x": np.complex64([1])},
        Format.ROW,
        "Failed to write JSON value for tensor type: complex64",
    ),
    "complex in columns": (
        {"x": np.complex128([1])},
        Format.COLUMNAR,
        "Failed to write JSON value for tensor type: complex128",
    ),
    "objects": ({"x": strings([None])}, Format.ROW, "Failed to write JSON value for tensor type: NoneType"),
    "no text": ({"x": strings([b"\xff"])}, Format.ROW, "Failed to write JSON value for tensor type: string"),
}


@pytest.mark.parametrize("case", NOT_PRINTED)
def test_refuses_to_print(case):
    outputs, format, message = NOT_PRINTED[case]
    with pytest.raises(ServingError) as caught:
        encode_predict(outputs, format)
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


# Classify and regress.


def test_examples(way):
    body = b"""{"examples": [
        {"names": ["foo", "bar"], "ratings": [8.0, 9.0, NaN, Infinity], "age": 20, "none": []},
        {"names": ["baz", {"b64": "aP8="}], "ratings": 6.0, "mix": [1, true, false],
         "low": -9223372036854775808}]}"""
    result = decode_examples(body)
    first, second = result.input.example_list.examples
    assert result.signature_name == ""
    assert first.features.feature["names"].bytes_list.value == [b"foo", b"bar"]
    assert str(first.features.feature["ratings"].float_list.value) == "[8.0, 9.0, nan, inf]"
    assert first.features.feature["age"].int64_list.value == [20]
    assert first.features.feature["none"].WhichOneof("kind") is None
    assert second.features.feature["names"].bytes_list.value == [b"baz", b"h\xff"]
    assert second.features.feature["mix"].int64_list.value == [1, 1, 0]
    assert second.features.feature["low"].int64_list.value == [-(2**63)]


def test_examples_with_context(way):
    result = decode_examples(
        b'{"signature_name": "s", "context": {"query": "pizza", "at": ["sfo"]}, "examples": [{"age": 1}, {}]}'
    )
    assert result.signature_name == "s"
    expected = input_pb2.Input()
    text_format.Parse(
        """example_list_with_context {
          context { features {
            feature { key: "query" value { bytes_list { value: "pizza" } } }
            feature { key: "at" value { bytes_list { value: "sfo" } } } } }
          examples { features { feature { key: "age" value { int64_list { value: 1 } } } } }
          examples { }
        }""",
        expected,
    )
    assert result.input == expected


NO_EXAMPLES = {
    "empty": ("", "JSON Parse error: The document is empty"),
    "signature": (
        '{"signature_name": ["a"]}',
        'JSON Value: {\n    "signature_name": [\n        "a"\n    ]\n} not formatted correctly.'
        " 'signature_name' key must be a string value.",
    ),
    "context": ('{"context": [1]}', "Example must be JSON object but got JSON Array"),
    "missing": ("{}", "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
    "object": (
        '{"examples": {}}',
        "JSON Value: {\n    \"examples\": {}\n} Expecting 'examples' value to be an list/array",
    ),
    "none": ('{"examples": []}', "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
    "list": ('{"examples": [[{}]]}', "Example must be JSON object but got JSON Array"),
    "null": ('{"examples": [{"a": [10, null]}]}', "Feature: a has element with unexpected JSON type: Null"),
    "nested": ('{"examples": [{"a": [[10]]}]}', "Feature: a has element with unexpected JSON type: Array"),
    "object in list": (
        '{"examples": [{"a": [10, {"b": 1}]}]}',
        "Feature: a has element with unexpected JSON type: Object",
    ),
    "int then float": (
        '{"examples": [{"a": [10, 10.0]}]}',
        "Unexpected element type in feature: a expecting type: int64",
    ),
    "float then text": (
        '{"examples": [{"a": [1.5, ""]}]}',
        "Unexpected element type in feature: a expecting type: float",
    ),
    "text then bool": (
        '{"examples": [{"a": ["", true]}]}',
        "Unexpected element type in feature: a expecting type: bytes",
    ),
    "uint64": (
        '{"examples": [{"a": [20, 18446744073709551603]}]}',
        "Feature: a has uint64 element. Only int64 is supported.",
    ),
    "too large for float": (
        '{"examples": [{"a": 1e300}]}',
        "Cannot convert JSON value: 1e+300 to float without loss of precision.",
    ),
    "base64": ('{"examples": [{"a": {"b64": "*"}}]}', "Unable to base64 decode"),
}


@pytest.mark.parametrize("case", NO_EXAMPLES)
def test_refuses_examples(case, way):
    body, message = NO_EXAMPLES[case]
    with pytest.raises(ServingError) as caught:
        decode_examples(body.encode())
    assert (caught.value.code, caught.value.message) == (Code.INVALID_ARGUMENT, message)


def test_refuses_feature_names_that_are_not_text(way):
    with pytest.raises(ServingError, match="has a name that is not valid UTF-8"):
        decode_examples(b'{"examples": [{"\xff": 1}]}')


def test_prints_classes():
    result = text_format.Parse(
        """classifications { classes { label: "car" score: 0.2 } classes { label: "b\\"s" score: 1 } }
        classifications { classes { score: 0.7 } } classifications { }""",
        classification_pb2.ClassificationResult(),
    )
    assert encode_classify(result) == (
        b'{\n    "results": [[["car", 0.2], ["b\\"s", 1.0]], [["", 0.7]], []\n    ]\n}'
    )


def test_prints_regressions():
    result = regression_pb2.RegressionResult()
    for value in (0.2, np.inf, 1.0, -np.inf, np.nan):
        result.regressions.add(value=value)
    assert encode_regress(result) == b'{\n    "results": [0.2, Infinity, 1.0, -Infinity, NaN]\n}'


def test_refuses_empty_results():
    with pytest.raises(ServingError, match="Cannot convert empty ClassificationResults to JSON"):
        encode_classify(classification_pb2.ClassificationResult())
    with pytest.raises(ServingError, match="Cannot convert empty RegressionResults to JSON"):
        encode_regress(regression_pb2.RegressionResult())


# Status, metadata, errors.


def test_prints_status():
    response = get_model_status_pb2.GetModelStatusResponse()
    status = response.model_version_status.add(version=123, state="AVAILABLE")
    status.status.error_code = 0
    ended = response.model_version_status.add(version=1, state="END")
    ended.status.error_code = 5
    ended.status.error_message = 'gone "ä"'
    assert encode_status(response).decode() == (
        """{
 "model_version_status": [
  {
   "version": "123",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  },
  {
   "version": "1",
   "state": "END",
   "status": {
    "error_code": "NOT_FOUND",
    "error_message": "gone \\"ä\\""
   }
  }
 ]
}
"""
    )


def metadata():
    signatures = text_format.Parse(
        """signature_def { key: "serving_default" value {
          inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT
            tensor_shape { dim { size: -1 } dim { size: 1 } } } }
          outputs { key: "y" value { name: "y:0" dtype: DT_STRING tensor_shape { unknown_rank: true } } }
          method_name: "tensorflow/serving/predict" } }""",
        get_model_metadata_pb2.SignatureDefMap(),
    )
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = "default"
    response.model_spec.version.value = 123
    response.metadata["signature_def"].Pack(signatures)
    return response


def test_prints_metadata():
    found = json.loads(encode_metadata(metadata()))
    dims = [{"size": "-1", "name": ""}, {"size": "1", "name": ""}]
    expected = {
        "model_spec": {"name": "default", "signature_name": "", "version": "123"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": {
                            "x": {
                                "dtype": "DT_FLOAT",
                                "tensor_shape": {"dim": dims, "unknown_rank": False},
                                "name": "x:0",
                            }
                        },
                        "outputs": {
                            "y": {
                                "dtype": "DT_STRING",
                                "tensor_shape": {"dim": [], "unknown_rank": True},
                                "name": "y:0",
                            }
                        },
                        "method_name": "tensorflow/serving/predict",
                    }
                }
            }
        },
    }
    # As text: the order of the keys counts too.
    assert json.dumps(found) == json.dumps(expected)


def test_metadata_is_put_together_like_the_binary_does():
    text = encode_metadata(metadata()).decode()
    assert text.startswith(
        '{\n"model_spec":{\n "name": "default",\n "signature_name": "",\n "version": "123"\n}\n,\n'
    )
    assert '\n"metadata": {"signature_def": {\n "signature_def": {\n  "serving_default": {\n' in text
    assert text.endswith("\n}\n}\n}\n")


def test_metadata_without_signatures():
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with pytest.raises(ServingError) as caught:
        encode_metadata(response)
    assert caught.value.code == Code.INTERNAL
    assert not response.metadata


@pytest.mark.parametrize(
    "message, text",
    [
        ('Bad key: "key"', '"Bad key: \\"key\\""'),
        ("Bad key: 'key' \n\\ ä", "\"Bad key: 'key' \\n\\\\ ä\""),
        ("", '""'),
        ("a\udcffb\ud800", '"a?b?"'),
    ],
    ids=["quotes", "escapes", "empty", "not UTF-8"],
)
def test_prints_errors(message, text):
    assert encode_error(message).decode() == '{ "error": ' + text + " }"


def test_errors_about_odd_bytes_can_be_printed(way):
    with pytest.raises(ServingError) as caught:
        decode_predict(b'{"instances": ["\xff"]}', inputs(x="int32"))
    assert "not of expected type: int32" in json.loads(encode_error(caught.value.message))["error"]
    with pytest.raises(ServingError) as caught:
        decode_predict(b'{"signature_name": "\xff", "instances": [1]}', inputs())
    assert json.loads(encode_error(caught.value.message))["error"].endswith("\ufffd")
