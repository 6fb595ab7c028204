"""Requests to model servers, and what comes back when they fail."""

import io

import grpc
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2


def model_config(**models: str) -> str:
    """Returns a model configuration; values are what stands in a `config` beside name and platform."""
    configs = [
        f'config {{ name: "{name}" model_platform: "tensorflow" {rest} }}' for name, rest in models.items()
    ]
    return "model_config_list { " + "\n".join(configs) + " }"


def predict_request(model, inputs, *, signature="", version=None, label="", outputs=()):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def failure(call, request) -> tuple[str, str]:
    """Makes a call that must fail; returns code and message."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60)
    return caught.value.code().name, caught.value.details()


def png(width: int, height: int) -> bytes:
    """A black image."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()
