"""A model server for tests of the client: answers all tasks by arithmetic, and fails on command.

By gRPC it speaks through the official stubs, so that the client's own messages meet the real ones.
"""

import base64
import contextlib
import json
import math
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

VERSION = 7
Arrays = dict[str, np.ndarray]


def texts(values: list[bytes]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def sizes(images: np.ndarray) -> np.ndarray:
    return np.array([len(image) for image in images], np.float32)


def detect(inputs: Arrays) -> Arrays:
    """Finds as many faces as the image has bytes, of three slots."""
    number = np.minimum(sizes(inputs["image_bytes"]), 3).astype(np.int32)
    slots = 3
    ramp = np.linspace(0, 1, len(number) * slots * 10, dtype=np.float32).reshape(len(number), slots, 5, 2)
    found = {"detection_boxes": ramp[:, :, :2].reshape(len(number), slots, 4), "detection_keypoints": ramp}
    return {"num_detections": number, "detection_scores": ramp[:, :, 0, 0], **found}


def verify(inputs: Arrays) -> Arrays:
    distance = np.abs(sizes(inputs["image_bytes_a"]) - sizes(inputs["image_bytes_b"])) / 10
    limit = np.full_like(distance, 0.35)
    return {
        "cosine_distance": distance,
        "euclidean_distance": 2 * distance,
        "is_match": distance < limit,
        "threshold": limit,
    }


def embed(inputs: Arrays) -> Arrays:
    return {"embedding": sizes(inputs["image_bytes"])[:, None] * np.array([[0.1, 1, -1]], np.float32)}


def classify(*labels: str) -> Callable[[Arrays], Arrays]:
    def run(inputs: Arrays) -> Arrays:
        count = len(inputs["image_bytes"])
        scores = np.full((count, len(labels)), 0.1, np.float32)
        best = sizes(inputs["image_bytes"]).astype(int) % len(labels)
        scores[np.arange(count), best] = 0.7
        classes = np.tile(texts([label.encode() for label in labels]), (count, 1))
        return {"classes": classes, "scores": scores}

    return run


def age(inputs: Arrays) -> Arrays:
    years = sizes(inputs["image_bytes"])
    spread = np.arange(101, dtype=np.float32)[None] / 5050 + 0 * years[:, None]
    return {"age": years, "age_low": years - 5, "age_high": years + 5, "probabilities": spread}


def sample(inputs: Arrays) -> Arrays:
    assert inputs["seed"].dtype == np.int64 and inputs["count"].dtype == np.int32
    return {"image_bytes": texts([b"\x89PNG %d %d\0" % (inputs["seed"], n) for n in range(inputs["count"])])}


def synthesise(inputs: Arrays) -> Arrays:
    return {"image_bytes": texts([b"\x89PNG %g\0" % row.sum() for row in inputs["latent"]])}


def echo(inputs: Arrays) -> Arrays:
    return dict(inputs)


def specials(inputs: Arrays) -> Arrays:
    return {"y": np.array([math.nan, math.inf, -math.inf, 1.5], np.float32)}


FLOAT, DOUBLE, INT32, INT64, UINT64 = tf.float32, tf.float64, tf.int32, tf.int64, tf.uint64
BOOL, STRING = tf.bool, tf.string
IMAGES = {"image_bytes": (STRING, [None])}
FLOATS = (FLOAT, [None])
CLASSES = {"classes": (STRING, [None, None]), "scores": (FLOAT, [None, None])}
MANY = {
    "a": (DOUBLE, [None, 2]),
    "b": (INT64, []),
    "c_bytes": (STRING, [None]),
    "d": (BOOL, [None]),
    "e": (UINT64, [None]),
    "f": (STRING, [None]),
}
# model -> signature -> (inputs, outputs, function)
MODELS: dict[str, dict[str, tuple[Any, Any, Callable[[Arrays], Arrays]]]] = {
    "detection": {
        "serving_default": (
            IMAGES,
            {
                "num_detections": (INT32, [None]),
                "detection_boxes": (FLOAT, [None, None, 4]),
                "detection_scores": (FLOAT, [None, None]),
                "detection_keypoints": (FLOAT, [None, None, 5, 2]),
            },
            detect,
        )
    },
    "verification": {
        "serving_default": (
            {"image_bytes_a": (STRING, [None]), "image_bytes_b": (STRING, [None])},
            {
                "cosine_distance": FLOATS,
                "euclidean_distance": FLOATS,
                "is_match": (BOOL, [None]),
                "threshold": FLOATS,
            },
            verify,
        ),
        "embed": (IMAGES, {"embedding": (FLOAT, [None, 3])}, embed),
    },
    "gender": {"serving_default": (IMAGES, CLASSES, classify("female", "male"))},
    "emotion": {"serving_default": (IMAGES, CLASSES, classify("angry", "happy", "sad"))},
    "age": {
        "serving_default": (
            IMAGES,
            {"age": FLOATS, "age_low": FLOATS, "age_high": FLOATS, "probabilities": (FLOAT, [None, 101])},
            age,
        )
    },
    "synthesis": {
        "serving_default": ({"latent": (FLOAT, [None, 100])}, {"image_bytes": (STRING, [None])}, synthesise),
        "sample": (
            {"seed": (INT64, []), "count": (INT32, [])},
            {"image_bytes": (STRING, [None])},
            sample,
        ),
    },
    "echo": {
        "serving_default": (MANY, MANY, echo),
        "one": ({"x": (FLOAT, None)}, {"x": (FLOAT, None)}, echo),
        "specials": ({"x": (FLOAT, None)}, {"y": (FLOAT, [4])}, specials),
    },
}


@dataclass
class Fake:
    """What a server was told to do, and what it was asked; both fronts consult it."""

    grpc_target: str = ""
    socket: str = ""
    rest_url: str = ""
    failures: list[tuple[grpc.StatusCode, str]] = field(default_factory=list)  # one for each next request
    delay: float = 0.0  # seconds before each answer
    raw: tuple[int, bytes] | None = None  # what REST answers whatever is asked
    change: Callable[[Any], None] | None = None  # spoils a gRPC answer
    states: list[Any] = field(default_factory=list)  # answers to status requests, the last one for ever
    asked: list[Any] = field(default_factory=list)  # addresses, or the paths of REST
    seconds_left: list[float] = field(default_factory=list)  # the deadlines that gRPC requests came with
    configs: list[Any] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)  # ends all delays

    def reset(self) -> None:
        """Forgets all; answers that are delayed are given at once, to whoever still waits."""
        before = self.released
        fresh = Fake(self.grpc_target, self.socket, self.rest_url)
        self.__dict__.update(fresh.__dict__)
        before.set()

    def next_failure(self) -> tuple[grpc.StatusCode, str] | None:
        # Of this moment: after the delay they may be those of the next test.
        failures = self.failures
        self.released.wait(self.delay)
        return failures.pop(0) if failures else None

    def status(self, name: str) -> Any:
        if name not in MODELS:
            raise LookupError(f"Could not find any versions of model {name}")
        if self.states:
            return self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return status_answer((VERSION, "AVAILABLE"), (6, "END"))


def status_answer(*versions: tuple[int, str], code: int = 0, message: str = "") -> Any:
    answer = get_model_status_pb2.GetModelStatusResponse()
    for version, state in versions:
        added = answer.model_version_status.add(version=version)
        added.state = get_model_status_pb2.ModelVersionStatus.State.Value(state)
        added.status.error_code = code
        added.status.error_message = message
    return answer


def signature_map(name: str) -> Any:
    definitions = get_model_metadata_pb2.SignatureDefMap()
    for key, (inputs, outputs, _) in MODELS[name].items():
        definition = definitions.signature_def[key]
        definition.method_name = "tensorflow/serving/predict"
        for specs, infos in ((inputs, definition.inputs), (outputs, definition.outputs)):
            for tensor, (dtype, shape) in specs.items():
                info = meta_graph_pb2.TensorInfo(name=f"{tensor}:0", dtype=dtype.as_datatype_enum)
                info.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
                infos[tensor].CopyFrom(info)
    return definitions


# ---- gRPC


class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        spec = begin(self.fake, request, context)
        name = spec.signature_name or "serving_default"
        if name not in MODELS[spec.name]:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        outputs = MODELS[spec.name][name][2]({k: tf.make_ndarray(v) for k, v in request.inputs.items()})
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name = spec.name
        answer.model_spec.signature_name = name
        answer.model_spec.version.value = spec.version.value if spec.HasField("version") else VERSION
        for key in request.output_filter or outputs:
            if key not in outputs:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"output tensor alias not found: {key}")
            answer.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
        if self.fake.change:
            self.fake.change(answer)
        return answer

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        spec = begin(self.fake, request, context)
        answer = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=spec)
        answer.metadata["signature_def"].Pack(signature_map(spec.name))
        if self.fake.change:
            self.fake.change(answer)
        return answer


class Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, fake: Fake) -> None:
        self.fake = fake

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        begin(self.fake, request, context, check=False)
        try:
            return self.fake.status(request.model_spec.name)
        except LookupError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, error.args[0])

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.fake.configs.append(request.config)
        answer = model_management_pb2.ReloadConfigResponse()
        if not request.config.model_config_list.config:
            answer.status.error_code = 3
            answer.status.error_message = "no models"
        return answer


def begin(fake: Fake, request: Any, context: grpc.ServicerContext, check: bool = True) -> Any:
    spec = request.model_spec
    fake.asked.append(spec)
    fake.seconds_left.append(context.time_remaining())
    failure = fake.next_failure()
    if failure:
        context.abort(*failure)
    if check and spec.name not in MODELS:
        context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({spec.name})")
    return spec


# ---- REST

HTTP_CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class Refused(Exception):
    """An answer with an error: code and text."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: Fake

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.handle_with(self.read_only)

    def do_POST(self) -> None:
        self.handle_with(self.predict)

    def handle_with(self, answer: Callable[[str, bytes], Any]) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.fake.asked.append(self.path)
        failure = self.fake.next_failure()
        if self.fake.raw:
            self.send(*self.fake.raw)
        elif failure:
            self.send(HTTP_CODES[failure[0]], json.dumps({"error": failure[1]}).encode())
        else:
            try:
                self.send(200, json.dumps(answer(self.path, body), indent=4).encode())
            except Refused as error:
                self.send(HTTP_CODES[error.args[0]], json.dumps({"error": error.args[1]}).encode())

    def send(self, code: int, body: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # the client may have given up
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def read_only(self, path: str, _: bytes) -> Any:
        name = unquote(path.split("/")[3])
        if not path.endswith("/metadata"):
            try:
                status = self.fake.status(name)
            except LookupError as error:
                raise Refused(grpc.StatusCode.NOT_FOUND, error.args[0]) from error
            return json_format.MessageToDict(
                status, preserving_proto_field_name=True, including_default_value_fields=True
            )
        definitions = json_format.MessageToDict(
            signature_map(name), preserving_proto_field_name=True, including_default_value_fields=True
        )
        spec = {"name": name, "signature_name": "", "version": str(VERSION)}
        return {"model_spec": spec, "metadata": {"signature_def": definitions}}

    def predict(self, path: str, body: bytes) -> Any:
        name = unquote(path.removesuffix(":predict").split("/")[3])
        if name not in MODELS:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({name})")
        request = json.loads(body)
        key = request.get("signature_name", "serving_default")
        if key not in MODELS[name]:
            message = f'Serving signature name: "{key}" not found in signature def'
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, message)
        specs, _, function = MODELS[name][key]
        arrays = {k: from_json(v, specs[k][0]) for k, v in request["inputs"].items()}
        outputs = {k: to_json(k, v) for k, v in function(arrays).items()}
        return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}


def from_json(value: Any, dtype: tf.DType) -> np.ndarray:
    if dtype != tf.string:
        return np.array(value, dtype.as_numpy_dtype)
    return texts([base64.b64decode(item["b64"]) for item in value])


def to_json(name: str, array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(item).decode()} for item in array]
    return np.vectorize(bytes.decode, otypes=[object])(array).tolist()


@contextlib.contextmanager
def serve(socket: str, credentials: grpc.ServerCredentials | None = None) -> Iterator[Fake]:
    """Runs both fronts on free ports of this machine, and gRPC on a unix socket as well.

    Args:
        socket: Its path.
        credentials: For TLS on gRPC's port.
    """
    fake = Fake(socket=f"unix:{socket}")
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(fake), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(fake), server)
    address = "127.0.0.1:0"
    secure = server.add_secure_port(address, credentials) if credentials else None
    fake.grpc_target = f"127.0.0.1:{secure or server.add_insecure_port(address)}"
    server.add_insecure_port(fake.socket)
    server.start()
    rest = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"fake": fake}))
    fake.rest_url = f"http://127.0.0.1:{rest.server_port}"
    threading.Thread(target=rest.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield fake
    finally:
        fake.reset()
        rest.shutdown()
        rest.server_close()
        server.stop(None)
