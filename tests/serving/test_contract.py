"""The contract of TensorFlow Serving, asked as a client of the binary would ask."""

import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import wrappers_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from serving_requests import failure, predict_request
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def examples_input(*values):
    request_input = classification_pb2.ClassificationRequest().input
    for value in values:
        request_input.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return request_input


X = np.array([2.0], np.float32)


# --- Predict ----------------------------------------------------------------------------------------------


def test_predict_answers_in_typed_fields_and_says_who_answered(server):
    # The request of the binary's own test: no batch dimension to speak of, a single typed value.
    request = predict_pb2.PredictRequest(output_filter=["y"])
    request.model_spec.name = "half"
    request.inputs["x"].dtype = 1
    request.inputs["x"].float_val.append(2.0)
    request.inputs["x"].tensor_shape.dim.add().size = 1
    response = server.predictions.Predict(request, timeout=20)
    assert list(response.outputs) == ["y"]
    assert list(response.outputs["y"].float_val) == [3.0]
    assert not response.outputs["y"].tensor_content
    assert response.model_spec.name == "half"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 123


@pytest.mark.parametrize(
    ("version", "label", "y"), [(None, "", 4.0), (1, "", 3.0), (None, "stable", 3.0), (None, "new one", 4.0)]
)
def test_version_and_label_choose_the_model(server, version, label, y):
    request = predict_request("adder", {"x": X}, version=version, label=label)
    response = server.predictions.Predict(request, timeout=20)
    assert list(response.outputs["y"].float_val) == [y]
    assert response.model_spec.version.value == (2 if y == 4.0 else 1)


def test_tensors_of_every_kind_come_back(server):
    words = np.array([b"a", b"c", b"\xff\x00"], object)
    response = server.predictions.Predict(
        predict_request("adder", {"word": words}, signature="look_up"), timeout=20
    )
    assert list(response.outputs["number"].int64_val) == [1, -1, -1]
    assert list(response.outputs["echo_bytes"].string_val) == list(words)


def test_a_scalar_needs_no_batch(server):
    request = predict_request("adder", {"x": np.float32(1.0)}, signature="scalar")
    response = server.predictions.Predict(request, timeout=20)
    assert tf.make_ndarray(response.outputs["y"]) == 4.0


def test_one_value_may_fill_a_shape(server):
    request = predict_request("half", {})
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.float_val.append(2.0)
    tensor.tensor_shape.dim.add().size = 3
    assert list(server.predictions.Predict(request, timeout=20).outputs["y"].float_val) == [3.0, 3.0, 3.0]


# --- Errors: contract B2 ----------------------------------------------------------------------------------

LENGTHS = (
    "input size does not match signature: {}!={} len({{{}}}) != len({{{}}}). "
    "Sent extra: {{{}}}. Missing but required: {{{}}}."
)
GRPC_ERRORS = {
    "no name": (("", {"x": X}), {}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    "unknown model": (
        ("nobody", {"x": X}),
        {},
        "NOT_FOUND",
        "Servable not found for request: Latest(nobody)",
    ),
    "unknown model, no inputs": (
        ("nobody", {}),
        {},
        "NOT_FOUND",
        "Servable not found for request: Latest(nobody)",
    ),
    "unknown version": (
        ("half", {"x": X}),
        {"version": 7},
        "NOT_FOUND",
        "Servable not found for request: Specific(half, 7)",
    ),
    "unknown label": (
        ("half", {"x": X}),
        {"label": "canary"},
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: canary",
    ),
    "unknown signature": (
        ("half", {"x": X}),
        {"signature": "other"},
        "FAILED_PRECONDITION",
        'Serving signature key "other" not found.',
    ),
    "missing input": (
        ("adder", {"x": X}),
        {"signature": "two"},
        "INVALID_ARGUMENT",
        LENGTHS.format(1, 2, "x", "n,x", "", "n"),
    ),
    "extra input": (
        ("half", {"x": X, "z": X}),
        {},
        "INVALID_ARGUMENT",
        LENGTHS.format(2, 1, "x,z", "x", "z", ""),
    ),
    "wrong input": (
        ("half", {"z": X}),
        {},
        "INVALID_ARGUMENT",
        "input tensor alias not found in signature: x. Inputs expected to be in the set {x}.",
    ),
    "unknown output": (
        ("half", {"x": X}),
        {"outputs": ["q"]},
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: q Outputs expected to be in the set {y}.",
    ),
    "output twice": (
        ("half", {"x": X}),
        {"outputs": ["y", "y"]},
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: y",
    ),
    "wrong type": (
        ("half", {"x": np.array([1], np.int64)}),
        {},
        "INVALID_ARGUMENT",
        "input x: expected dtype DT_FLOAT, found DT_INT64",
    ),
}


@pytest.mark.parametrize(("arguments", "options", "code", "message"), GRPC_ERRORS.values(), ids=GRPC_ERRORS)
def test_errors_over_grpc(server, arguments, options, code, message):
    assert failure(server.predictions.Predict, predict_request(*arguments, **options)) == (code, message)


REST_ERRORS = {
    "unknown model": (
        "/v1/models/nobody:predict",
        {"instances": [1.0]},
        404,
        "Servable not found for request: Latest(nobody)",
    ),
    "unknown version": (
        "/v1/models/half/versions/7:predict",
        {"instances": [1.0]},
        404,
        "Servable not found for request: Specific(half, 7)",
    ),
    "unknown label": (
        "/v1/models/half/labels/canary:predict",
        {"instances": [1.0]},
        400,
        "Unrecognized servable version label: canary",
    ),
    "unknown signature": (
        "/v1/models/half:predict",
        {"signature_name": "other", "instances": [1.0]},
        400,
        'Serving signature name: \\"other\\" not found in signature def',
    ),
    "missing input": (
        "/v1/models/adder:predict",
        {"signature_name": "two", "inputs": {"x": [1.0]}},
        400,
        "Missing named input: n in 'inputs' object.",
    ),
    "status of unknown model": (
        "/v1/models/nobody",
        None,
        404,
        "Could not find any versions of model nobody",
    ),
    "status of unknown version": (
        "/v1/models/half/versions/7",
        None,
        404,
        "Could not find version 7 of model half",
    ),
    "huge version": (
        "/v1/models/half/versions/99999999999999999999",
        None,
        400,
        "Failed to convert version: 99999999999999999999 to numeric.",
    ),
    "no model name": ("/v1/models", None, 400, "Missing model name in request."),
    "malformed path": (
        "/v1/models/half:explain",
        {"instances": [1.0]},
        400,
        "Malformed request: POST /v1/models/half:explain",
    ),
    "wrong method": ("/v1/models/half:predict", None, 400, "Malformed request: GET /v1/models/half:predict"),
    "empty body": ("/v1/models/half:predict", b"", 400, "JSON Parse error: The document is empty"),
    "rows differ": (
        "/v1/models/adder:predict",
        {"signature_name": "ragged", "instances": [1.0, 2.0]},
        400,
        "has inconsistent batch size",
    ),
}


@pytest.mark.parametrize(("path", "body", "code", "message"), REST_ERRORS.values(), ids=REST_ERRORS)
def test_errors_over_rest(server, path, body, code, message):
    status, text = server.rest(path, body)
    assert status == code
    assert message in text
    assert list(json.loads(text)) == ["error"]


def test_failures_inside_the_graph_have_its_code_and_text(server):
    request = predict_request("adder", {"image_bytes": np.array([b"no image"], object)}, signature="size")
    code, message = failure(server.predictions.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("Unknown image file format")
    assert server.predictions.Predict(predict_request("half", {"x": X}), timeout=20)


def test_missing_model_spec(server):
    expected = ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert failure(server.predictions.Predict, predict_pb2.PredictRequest()) == expected
    assert failure(server.predictions.Classify, classification_pb2.ClassificationRequest()) == expected
    assert (
        failure(server.predictions.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest())
        == expected
    )
    assert failure(server.models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest()) == expected


# --- Classify, Regress, MultiInference --------------------------------------------------------------------


def test_classify(server):
    request = classification_pb2.ClassificationRequest(input=examples_input(2.0, 4.0))
    request.model_spec.name, request.model_spec.signature_name = "half", "classify_x_to_y"
    response = server.predictions.Classify(request, timeout=20)
    scores = [[one.score for one in item.classes] for item in response.result.classifications]
    assert scores == [[3.0], [4.0]]
    assert response.model_spec.signature_name == "classify_x_to_y"
    assert response.model_spec.version.value == 123


def test_regress_with_a_context_that_all_examples_share(server):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "half", "regress_x_to_y"
    with_context = request.input.example_list_with_context
    with_context.context.features.feature["x"].float_list.value.append(2.0)
    with_context.examples.add()
    with_context.examples.add().features.feature["x"].float_list.value.append(4.0)
    response = server.predictions.Regress(request, timeout=20)
    assert [item.value for item in response.result.regressions] == [3.0, 4.0]


def test_multi_inference(server):
    request = inference_pb2.MultiInferenceRequest(input=examples_input(2.0))
    for signature, method in (("regress_x_to_y", REGRESS), ("classify_x_to_y", CLASSIFY)):
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = "half", signature
    response = server.predictions.MultiInference(request, timeout=20)
    assert response.results[0].regression_result.regressions[0].value == 3.0
    assert response.results[1].classification_result.classifications[0].classes[0].score == 3.0
    assert [item.model_spec.version.value for item in response.results] == [123, 123]


def multi(*tasks):
    request = inference_pb2.MultiInferenceRequest(input=examples_input(2.0))
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    return request


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        (
            [("half", "regress_x_to_y", REGRESS)] * 2,
            "INVALID_ARGUMENT",
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        (
            [("half", "regress_x_to_y", REGRESS), ("adder", "serving_default", REGRESS)],
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        ([("", "regress_x_to_y", REGRESS)], "INVALID_ARGUMENT", "Found ModelSpec with an empty model name."),
        (
            [("half", "nothing", REGRESS)],
            "INVALID_ARGUMENT",
            "Requested signature not found in model graph: nothing",
        ),
        (
            [("half", "serving_default", "tensorflow/serving/predict")],
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_multi_inference_errors(server, tasks, code, message):
    assert failure(server.predictions.MultiInference, multi(*tasks)) == (code, message)


def test_no_examples(server):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "half", "regress_x_to_y"
    assert failure(server.predictions.Regress, request) == ("INVALID_ARGUMENT", "Input is empty.")


def test_classify_on_a_signature_that_cannot(server):
    request = classification_pb2.ClassificationRequest(input=examples_input(2.0))
    request.model_spec.name = "half"
    code, message = failure(server.predictions.Classify, request)
    assert code == "FAILED_PRECONDITION"
    assert message.startswith("No classification inputs found in SignatureDef: ")
    request.model_spec.signature_name = "other"
    assert failure(server.predictions.Classify, request) == (
        "INVALID_ARGUMENT",
        "No signature was found with the name: other",
    )


# --- REST -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("half:predict", {"instances": [2.0, 3.0, 4.0]}, {"predictions": [3.0, 3.5, 4.0]}),
        ("half:predict", {"inputs": [2.0, 3.0, 4.0]}, {"outputs": [3.0, 3.5, 4.0]}),
        ("half/versions/123:predict", {"instances": [2]}, {"predictions": [3.0]}),
        ("adder/labels/stable:predict", {"instances": [2]}, {"predictions": [3.0]}),
        ("adder/labels/new%20one:predict", {"instances": [2]}, {"predictions": [4.0]}),
        (
            "adder:predict",
            {"signature_name": "two", "instances": [{"x": 0.5, "n": 1}, {"x": 1, "n": 2}]},
            {
                "predictions": [
                    {"sum": 1.5, "twice_bytes": {"b64": "Mg=="}},
                    {"sum": 3.0, "twice_bytes": {"b64": "NA=="}},
                ]
            },
        ),
        (
            "adder:predict",
            {"signature_name": "look_up", "inputs": [{"b64": "YQ=="}, "b"]},
            {"outputs": {"number": [1, 2], "echo_bytes": [{"b64": "YQ=="}, {"b64": "Yg=="}]}},
        ),
        ("adder:predict", {"signature_name": "scalar", "inputs": 1.0}, {"outputs": 4.0}),
        (
            "half:classify",
            {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]},
            {"results": [[["", 3.0]]]},
        ),
        (
            "half:regress",
            {"signature_name": "regress_x_to_y", "context": {"x": 2.0}, "examples": [{}, {"x": 4.0}]},
            {"results": [3.0, 4.0]},
        ),
        ("tflite:predict", {"instances": [2.0, 3.0]}, {"predictions": [3.0, 3.5]}),
    ],
)
def test_answers_over_rest(server, path, body, answer):
    code, text = server.rest(f"/v1/models/{path}", body)
    assert (code, json.loads(text)) == (200, answer)


def test_paths_do_not_mind_case(server):
    assert server.rest("/V1/MODELS/half:PREDICT", {"instances": [2.0]})[0] == 200
    assert server.rest("/v1/models/HALF")[0] == 404


def test_paths_elsewhere_are_not_found(server):
    assert server.rest("/v2/models/half")[0] == 404
    assert server.rest("/")[0] == 404


def test_status(server):
    code, text = server.rest("/v1/models/half")
    status = {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert (code, json.loads(text)) == (200, {"model_version_status": [status]})
    response = server.models.GetModelStatus(
        get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "adder"}), timeout=20
    )
    assert [(one.version, one.state, one.status.error_code) for one in response.model_version_status] == [
        (2, 30, 0),
        (1, 30, 0),
    ]


def test_metadata(server):
    code, text = server.rest("/v1/models/half/metadata")
    found = json.loads(text)
    assert code == 200
    assert found["model_spec"] == {"name": "half", "signature_name": "", "version": "123"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert sorted(signatures) == ["classify_x_to_y", "regress_x_to_y", "regress_x_to_y3", "serving_default"]
    x = signatures["serving_default"]["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT"
    assert x["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
        "unknown_rank": False,
    }
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "half"
    response = server.predictions.GetModelMetadata(request, timeout=20)
    known = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(known)
    assert sorted(known.signature_def) == sorted(signatures)
    assert response.model_spec.version == wrappers_pb2.Int64Value(value=123)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["weights"], "Metadata field weights is not supported"),
    ],
)
def test_metadata_errors(server, fields, message):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "half"
    assert failure(server.predictions.GetModelMetadata, request) == ("INVALID_ARGUMENT", message)


def test_cors(server):
    code, _ = server.rest("/v1/models/half:predict", method="OPTIONS")
    assert code == 400
    import urllib.request

    request = urllib.request.Request(
        server.url + "/v1/models/half:predict", method="OPTIONS", headers={"Origin": "https://page.example"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Access-Control-Allow-Methods"] == "POST, GET"
        assert response.headers["Access-Control-Allow-Headers"] == "Content-Type"


def test_prometheus_metrics(server):
    server.rest("/v1/models/half:predict", {"instances": [2.0]})
    _, text = server.rest("/monitoring/prometheus/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counts = families[":tensorflow:serving:request_count"].samples
    assert any(one.labels == {"model_name": "half", "status": "OK"} and one.value >= 1 for one in counts)
    latency = families[":tensorflow:serving:request_latency"].samples
    assert any(one.labels.get("entrypoint") == "REST" for one in latency)


def test_health(server):
    stub = health_pb2_grpc.HealthStub(server.channel)
    for name in ("", "ModelService", "PredictionService"):
        response = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=20)
        assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_flags_without_effect_are_logged(server):
    assert "--xla_cpu_compilation_enabled" in server.log
    assert "unknown argument: --no_such_flag=1" in server.log


# --- Bounds -----------------------------------------------------------------------------------------------


def test_large_requests_are_refused_by_both_transports(server):
    code, text = server.rest("/v1/models/half:predict", b'{"instances": [' + b" " * 5_000_000 + b"1.0]}")
    assert (code, "larger than 4000000" in text) == (429, True)
    request = predict_request("half", {"x": np.zeros(2_000_000, np.float32)})
    assert failure(server.predictions.Predict, request)[0] == "RESOURCE_EXHAUSTED"
    assert server.rest("/v1/models/half:predict", {"instances": [2.0]})[0] == 200


def test_a_deadline_is_kept(server):
    request = predict_request("adder", {"rounds": np.array([5000], np.int32)}, signature="slow")
    with pytest.raises(grpc.RpcError) as caught:
        server.predictions.Predict(request, timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.predictions.Predict(predict_request("half", {"x": X}), timeout=20)
