"""The client of the model server, on both transports."""

import math
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_model_server
import grpc
import numpy as np
import pytest
from fake_model_server import VERSION, Fake, status_answer
from model_servers import free_port

from serving.client import (
    AgeEstimate,
    Classification,
    Client,
    Code,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServerError,
    TensorSpec,
    Unavailable,
    Verification,
    VersionStatus,
)
from serving.wire import wire_pb2
from serving.wire.errors import server_error

ROOT = Path(__file__).parents[2]
IMAGES = [b"\xff\xd8", b"\x89PNG\0", b"x"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with fake_model_server.serve(str(tmp_path_factory.mktemp("s") / "grpc")) as fake:
        yield fake


@pytest.fixture
def fake(running: Fake) -> Iterator[Fake]:
    running.reset()
    yield running
    running.reset()


@pytest.fixture(params=["grpc", "rest"])
def client(request: pytest.FixtureRequest, fake: Fake) -> Iterator[Client]:
    with connect(request.param, fake) as client:
        yield client


def connect(transport: Any, fake: Fake, **options: Any) -> Client:
    target = fake.grpc_target if transport == "grpc" else fake.rest_url
    return Client(target, transport=transport, **options)


def is_rest(client: Client) -> bool:
    return type(client._transport).__name__ == "RestTransport"


def objects(*values: Any) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


# ---- tasks


def test_detect(client: Client) -> None:
    found = client.detect(IMAGES)
    assert [len(detection.faces) for detection in found] == [2, 3, 1]
    face = found[1].faces[0]
    assert face.box == pytest.approx(tuple(step / 89 for step in (30, 31, 32, 33)))
    assert face.box.ymin == face.score == face.keypoints[0].y
    assert len(face.keypoints) == 5
    assert found[0].model_version == (None if is_rest(client) else VERSION)


def test_detect_nothing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = fake_model_server.MODELS["detection"]["serving_default"]
    nothing = {
        "num_detections": np.zeros(2, np.int32),
        "detection_boxes": np.zeros((2, 0, 4), np.float32),
        "detection_scores": np.zeros((2, 0), np.float32),
        "detection_keypoints": np.zeros((2, 0, 5, 2), np.float32),
    }
    changed = {"serving_default": (*definition[:2], lambda inputs: nothing)}
    monkeypatch.setitem(fake_model_server.MODELS, "detection", changed)
    assert [detection.faces for detection in client.detect(IMAGES[:2])] == [(), ()]


def test_verify(client: Client) -> None:
    same, other = client.verify([(b"aa", b"bb"), (b"a" * 9, b"b")])
    assert same == Verification(0.0, 0.0, True, pytest.approx(0.35))
    assert other == Verification(pytest.approx(0.8), pytest.approx(1.6), False, pytest.approx(0.35))


def test_embed(client: Client) -> None:
    vectors = client.embed(IMAGES)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[:, 1], [2, 5, 1])


def test_classify(client: Client) -> None:
    (gender,) = client.gender([b"123"])
    scores = {"female": pytest.approx(0.1), "male": pytest.approx(0.7)}
    assert gender == Classification("male", pytest.approx(0.7), scores)
    assert [emotion.label for emotion in client.emotion(IMAGES)] == ["sad", "sad", "happy"]


def test_age(client: Client) -> None:
    two, five, _ = client.age(IMAGES)
    assert two == AgeEstimate(2.0, -3.0, 7.0, two.probabilities)
    assert (five.low, five.age, five.high) == (0.0, 5.0, 10.0)
    assert two.probabilities.shape == (101,)
    assert two.probabilities.sum() == pytest.approx(1)


def test_generate(client: Client) -> None:
    assert client.generate(-(2**62) - 1, 2) == [b"\x89PNG %d %d\0" % (-(2**62) - 1, n) for n in (0, 1)]
    assert client.generate_from(np.ones((2, 100))) == [b"\x89PNG 100\0"] * 2


def test_transports_agree(fake: Fake) -> None:
    with connect("grpc", fake) as one, connect("rest", fake) as other:
        calls: list[Callable[[Client], Any]] = [
            lambda client: client.detect(IMAGES),
            lambda client: client.verify([(b"a", b"bcd")]),
            lambda client: client.gender(IMAGES),
            lambda client: client.emotion(IMAGES),
            lambda client: client.age(IMAGES),
            lambda client: client.generate(5, 3),
            lambda client: client.status("age"),
            lambda client: client.metadata("verification"),
        ]
        for call in calls:
            assert call(one) == call(other)
        np.testing.assert_array_equal(one.embed(IMAGES), other.embed(IMAGES))


# ---- which version, and for how long


def test_version_and_label_are_sent(client: Client, fake: Fake) -> None:
    answer = client.age(IMAGES, version=3)
    assert answer[0].model_version == 3
    client.age(IMAGES, label="canary/2")
    if is_rest(client):
        assert "/v1/models/age/versions/3:predict" in fake.asked
        assert "/v1/models/age/labels/canary%2F2:predict" in fake.asked
    else:
        assert fake.asked[0].version.value == 3
        assert fake.asked[1].version_label == "canary/2"


def test_grpc_tells_the_deadline_to_the_server(fake: Fake) -> None:
    with connect("grpc", fake, timeout=300) as client:
        client.age(IMAGES)
        client.age(IMAGES, timeout=100)
    assert 200 < fake.seconds_left[0] <= 310
    assert 50 < fake.seconds_left[1] <= 103


def test_unix_socket(fake: Fake) -> None:
    with Client(fake.socket) as client:
        assert client.age(IMAGES)[0].age == 2


def test_many_threads(client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        ages = pool.map(lambda size: client.age([b"x" * size])[0].age, range(1, 60))
        assert list(ages) == list(range(1, 60))


# ---- predict


def test_predict_keeps_types_and_values(client: Client) -> None:
    inputs = {
        "a": np.array([[0.1, -1e300], [math.pi, 0]]),
        "b": np.array(-(2**63), np.int64),
        "c_bytes": objects(b"\0\xff\0", b""),
        "d": np.array([True, False]),
        "e": np.array([2**64 - 1], np.uint64),
        "f": np.array(["Grüße"], object),
    }
    answer = client.predict("echo", inputs)
    expected = {**inputs, "f": objects("Grüße".encode())}
    assert set(answer.outputs) == set(expected)
    for name, array in expected.items():
        assert answer.outputs[name].dtype == array.dtype
        assert answer.outputs[name].shape == array.shape
        np.testing.assert_array_equal(answer.outputs[name], array)
    assert (answer.model, answer.signature) == ("echo", "serving_default")
    assert answer.version == (None if is_rest(client) else VERSION)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_predict_one_output_of_any_rank(client: Client, shape: tuple[int, ...]) -> None:
    array = np.full(shape, 1.5, np.float32)
    answer = client.predict("echo", {"x": array}, signature="one")
    assert answer.outputs["x"].dtype == np.float32
    np.testing.assert_array_equal(answer.outputs["x"], array)
    assert answer.signature == "one"


def test_not_numbers_go_both_ways(client: Client) -> None:
    sent = np.array([math.nan, math.inf, -math.inf, 1], np.float32)
    np.testing.assert_array_equal(client.predict("echo", {"x": sent}, signature="one").outputs["x"], sent)
    answer = client.predict("echo", {"x": sent}, signature="specials")
    np.testing.assert_array_equal(answer.outputs["y"], [math.nan, math.inf, -math.inf, 1.5])


def test_arrays_in_odd_layouts(client: Client) -> None:
    array = np.arange(12, dtype=">f4").reshape(3, 4).T[::2]
    np.testing.assert_array_equal(client.predict("echo", {"x": array}, signature="one").outputs["x"], array)


def test_chosen_outputs(client: Client) -> None:
    inputs = {"image_bytes": objects(*IMAGES)}
    assert set(client.predict("age", inputs, outputs=["age_low", "age"]).outputs) == {"age", "age_low"}
    with pytest.raises(InvalidArgument, match="nonsense"):
        client.predict("age", inputs, outputs=["nonsense"])


def test_rest_asks_for_signatures_once_and_again_when_they_changed(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect("rest", fake) as client:
        for _ in range(3):
            client.gender(IMAGES)
        assert fake.asked.count("/v1/models/gender/metadata") == 1
        inputs, outputs, _ = fake_model_server.MODELS["gender"]["serving_default"]
        function = fake_model_server.classify("a", "b")
        changed = (
            inputs,
            {**outputs, "more": fake_model_server.FLOATS},
            lambda arrays: {**function(arrays), "more": np.ones(3, np.float32)},
        )
        monkeypatch.setitem(fake_model_server.MODELS, "gender", {"serving_default": changed})
        assert client.gender(IMAGES)[0].label == "a"
        assert fake.asked.count("/v1/models/gender/metadata") == 2


# ---- bad arguments: nothing is sent


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: c.age([]), ValueError, "images: the list is empty"),
        (lambda c: c.age(b"image"), TypeError, "images: expected a list, got bytes"),
        (lambda c: c.age("path.jpg"), TypeError, "images: expected a list, got str"),
        (lambda c: c.age(["path.jpg"]), TypeError, r"images\[0\]: expected the bytes .* got str"),
        (lambda c: c.age([b"x", b""]), ValueError, r"images\[1\]: the image has no bytes"),
        (lambda c: c.verify([]), ValueError, "pairs: the list is empty"),
        (lambda c: c.verify([b"ab"]), TypeError, r"pairs\[0\]: expected two images"),
        (lambda c: c.verify([(b"a", b"")]), ValueError, r"pairs\[0\]\[1\]"),
        (lambda c: c.generate("1", 1), TypeError, "seed"),
        (lambda c: c.generate(2**63, 1), ValueError, "seed"),
        (lambda c: c.generate(1, 0), ValueError, "count"),
        (lambda c: c.generate(True, 1), TypeError, "seed"),
        (lambda c: c.generate_from(np.ones(100)), ValueError, "latent"),
        (lambda c: c.generate_from([[1.0]]), TypeError, "latent"),
        (lambda c: c.age(IMAGES, version=1, label="stable"), ValueError, "a version or a label"),
        (lambda c: c.age(IMAGES, version="1"), TypeError, "version"),
        (lambda c: c.age(IMAGES, version=-1), ValueError, "version"),
        (lambda c: c.age(IMAGES, label=""), ValueError, "label"),
        (lambda c: c.age(IMAGES, timeout=0), ValueError, "timeout"),
        (lambda c: c.age(IMAGES, timeout=math.inf), ValueError, "timeout"),
        (lambda c: c.age(IMAGES, timeout="1"), TypeError, "timeout"),
        (lambda c: c.predict("", {"x": np.ones(1)}), ValueError, "model: the name is empty"),
        (lambda c: c.predict("m", {}), ValueError, "inputs: there are none"),
        (lambda c: c.predict("m", [1]), TypeError, "inputs: expected arrays by name"),
        (lambda c: c.predict("m", {"x": [1]}), TypeError, r"inputs\['x'\]: expected a numpy array, got list"),
        (lambda c: c.predict("m", {"x": np.array([b"a"])}), TypeError, "use dtype=object"),
        (lambda c: c.predict("m", {"x": np.ones(1)}, outputs="y"), ValueError, "outputs"),
        (lambda c: c.predict("m", {"x": np.ones(1)}, outputs=["y", "y"]), ValueError, "outputs"),
        (lambda c: c.reload_config({}), TypeError, "config"),
    ],
)
def test_bad_arguments(
    client: Client, fake: Fake, call: Callable[[Client], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(client)
    assert fake.asked == []


@pytest.mark.parametrize(
    "options",
    [
        {"transport": "carrier pigeon"},
        {"target": ""},
        {"target": "http://127.0.0.1:8501"},
        {"target": "unix:/run/x", "transport": "rest"},
        {"target": "ftp://x", "transport": "rest"},
        {"transport": "rest", "credentials": grpc.ssl_channel_credentials()},
        {"timeout": -1},
        {"retries": -1},
        {"max_message_bytes": 0},
    ],
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w+: "):
        Client(**options)


def test_closed_client(client: Client) -> None:
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.age(IMAGES)
    with pytest.raises(ValueError, match="closed"):
        client.wait_until_available("age")


# ---- failures


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted),
        (grpc.StatusCode.INTERNAL, ServerError),
    ],
)
def test_failures_are_told_and_not_tried_again(
    client: Client, fake: Fake, code: grpc.StatusCode, error: type[ServerError]
) -> None:
    fake.failures = [(code, "what the server says")]
    with pytest.raises(error, match=f"^age: {code.name}: what the server says$") as caught:
        client.age(IMAGES)
    assert caught.value.code.name == code.name
    assert caught.value.model == "age"
    assert type(caught.value) is error
    assert len(fake.asked) == 1


def test_unknown_model_and_signature(client: Client) -> None:
    with pytest.raises(NotFound, match="Servable not found"):
        client.predict("nobody", {"x": np.ones(1)})
    with pytest.raises(NotFound, match="Could not find any versions"):
        client.status("nobody")
    with pytest.raises(ServerError, match="nonsense"):
        client.predict("age", {"x": np.ones(1)}, signature="nonsense")


def test_unavailable_is_tried_again(client: Client, fake: Fake) -> None:
    fake.failures = [(grpc.StatusCode.UNAVAILABLE, "busy")] * 2
    assert client.age(IMAGES)[0].age == 2


def test_retries_come_to_an_end(client: Client, fake: Fake) -> None:
    fake.failures = [(grpc.StatusCode.UNAVAILABLE, "busy")] * 9
    with pytest.raises(Unavailable, match="busy"):
        client.age(IMAGES)
    assert len(fake.asked) == 3


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_retries_stay_within_the_deadline(
    fake: Fake, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock that nothing but the client's pauses moves on: how busy the machine is does not count.
    now = [1000.0]
    monkeypatch.setattr("serving.wire.calls.time", SimpleNamespace(monotonic=lambda: now[0]))
    pause = SimpleNamespace(sleep=lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr("serving.client.time", pause)
    fake.failures = [(grpc.StatusCode.UNAVAILABLE, "busy")] * 99
    with connect(transport, fake, retries=99) as client, pytest.raises(Unavailable, match="busy"):
        client.age(IMAGES, timeout=20)
    # The longest pause is five seconds.
    assert 1015.0 < now[0] < 1020.0
    assert len(fake.asked) > 5


def test_slow_server(client: Client, fake: Fake) -> None:
    fake.delay = 60.0
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        client.age(IMAGES, timeout=0.2)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_nobody_there(transport: Any) -> None:
    with Client(f"127.0.0.1:{free_port()}", transport=transport, retries=1) as client:
        with pytest.raises(Unavailable) as caught:
            client.age(IMAGES)
        assert caught.value.retryable


def test_large_requests_are_not_sent(fake: Fake) -> None:
    for transport in ("grpc", "rest"):
        client = connect(transport, fake, max_message_bytes=1000)
        with client, pytest.raises(ResourceExhausted, match="the limit is 1000"):
            client.age([b"x" * 2000])
    assert fake.asked == []


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_large_answers_are_cut_off(fake: Fake, transport: str) -> None:
    with connect(transport, fake, max_message_bytes=1500) as client:
        with pytest.raises(ResourceExhausted):
            client.generate(1, 200)
        if transport == "grpc":  # the signatures of REST are larger than that
            assert client.age([b"x"])[0].age == 1  # the connection is still good


def test_eight_megabytes_pass(client: Client) -> None:
    assert client.age([b"x" * (8 << 20)])[0].age == 8 << 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.outputs["age"].tensor_shape.dim[0].__setattr__("size", 2**50), "larger than|content"),
        (lambda a: a.outputs["age"].tensor_shape.dim[0].__setattr__("size", 2), "content|values"),
        (lambda a: a.outputs["age"].__setattr__("dtype", 14), "bfloat16"),
        (lambda a: a.outputs.pop("age"), "'age' is missing"),
        (lambda a: a.outputs["age"].CopyFrom(a.outputs["probabilities"]), r"expected sizes \[3\]"),
    ],
)
def test_malformed_grpc_answers(fake: Fake, change: Callable[[Any], None], message: str) -> None:
    fake.change = change
    with connect("grpc", fake) as client, pytest.raises(ServerError, match=message) as caught:
        client.age(IMAGES)
    assert caught.value.code is Code.INTERNAL


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"", Code.INTERNAL),
        (200, b"{", Code.INTERNAL),
        (200, b"[" * 100_000, Code.INTERNAL),
        (200, b"\xff", Code.INTERNAL),
        (200, b"[]", Code.INTERNAL),
        (200, b'{"outputs": 1, "metadata": {"signature_def": 3}}', Code.INTERNAL),
        (200, b'{"predictions": [1]}', Code.INTERNAL),
        (500, b"<html>oops</html>", Code.INTERNAL),
        (502, b"", Code.UNAVAILABLE),
        (404, b'{"error": "no"}', Code.NOT_FOUND),
        (418, b"teapot", Code.UNKNOWN),
        (301, b"", Code.UNKNOWN),
    ],
)
def test_malformed_rest_answers(fake: Fake, status: int, body: bytes, code: Code) -> None:
    fake.raw = (status, body)
    with connect("rest", fake) as client:
        for call in (
            lambda: client.age(IMAGES),
            lambda: client.status("age"),
            lambda: client.metadata("age"),
        ):
            if status == 200 and b"signature_def" not in body and call.__code__.co_names[0] == "status":
                pass
            with pytest.raises(ServerError) as caught:
                call()
            assert caught.value.code is code


@pytest.mark.parametrize(
    "columns",
    [
        b'{"classes": [["a"]], "scores": [[1.0], [2.0, 3.0]]}',
        b'{"classes": [["a"], "b"], "scores": [[1.0]]}',
        b'{"classes": [[{"b64": "?"}]], "scores": [[1.0]]}',
        b'{"classes": [[1]], "scores": [[1.0]]}',
        b'{"classes": [["a"]], "scores": [["1"]]}',
        b'{"classes": [["a"]], "scores": [[null]]}',
        b'{"classes": [["a"]], "scores": [[true]]}',
        b'{"classes": [["a"]]}',
        b'{"classes": [["a", "b"]], "scores": [[1.0]]}',
        b"[1]",
    ],
)
def test_rest_outputs_that_do_not_fit(fake: Fake, columns: bytes) -> None:
    with connect("rest", fake) as client:
        client.gender([b"x"])  # learns the signatures
        fake.raw = (200, b'{"outputs": ' + columns + b"}")
        client._transport._forget = lambda address: None  # the wrong answer would be metadata as well
        with pytest.raises(ServerError, match="cannot be read") as caught:
            client.gender([b"x"])
    assert caught.value.code is Code.INTERNAL


def test_broken_connection_is_unavailable_and_not_tried_again() -> None:
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                connection, _ = server.accept()
                accepted.append(connection.recv(1000))
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        client = Client.rest(f"http://127.0.0.1:{server.getsockname()[1]}")
        with client, pytest.raises(Unavailable, match="broke"):
            client.age(IMAGES)
    assert len(accepted) == 1


def test_drip_fed_answer_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                while True:
                    connection.sendall(b"1\r\n \r\n")
                    time.sleep(0.05)
            except OSError:
                connection.close()

        threading.Thread(target=drip, daemon=True).start()
        started = time.monotonic()
        client = Client.rest(f"http://127.0.0.1:{server.getsockname()[1]}")
        with client, pytest.raises(DeadlineExceeded):
            client.status("age", timeout=0.4)
        # The answer itself never ends.
        assert time.monotonic() - started < 20


def test_errors_can_be_pickled() -> None:
    error = server_error(Code.NOT_FOUND, "gone", "age")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is NotFound
    assert (str(again), again.code, again.model) == ("age: NOT_FOUND: gone", Code.NOT_FOUND, "age")


# ---- status, metadata, configuration


def test_status(client: Client) -> None:
    assert client.status("age") == [
        VersionStatus(7, "AVAILABLE", Code.OK, ""),
        VersionStatus(6, "END", Code.OK, ""),
    ]


def test_metadata(client: Client) -> None:
    found = client.metadata("verification")
    assert set(found) == {"serving_default", "embed"}
    assert found["embed"].inputs == {"image_bytes": TensorSpec("string", (None,))}
    assert found["embed"].outputs == {"embedding": TensorSpec("float32", (None, 3))}
    assert found["embed"].method == "tensorflow/serving/predict"
    assert client.metadata("echo")["one"].inputs["x"].shape is None
    assert client.metadata("synthesis")["sample"].inputs["seed"] == TensorSpec("int64", ())


def test_metadata_of_another_kind(fake: Fake) -> None:
    fake.change = lambda answer: answer.metadata["signature_def"].Pack(answer.model_spec)
    with connect("grpc", fake) as client, pytest.raises(ServerError, match="SignatureDefMap"):
        client.metadata("age")


def test_reload_config(fake: Fake) -> None:
    config = wire_pb2.ModelServerConfig()
    model = config.model_config_list.config.add(
        name="age", base_path="/models/age", model_platform="tensorflow"
    )
    model.model_version_policy.specific.versions.extend([3, 4])
    model.version_labels["stable"] = 3
    with connect("grpc", fake) as client:
        client.reload_config(config)
        with pytest.raises(InvalidArgument, match="no models"):
            client.reload_config(wire_pb2.ModelServerConfig())
    sent = fake.configs[0].model_config_list.config[0]
    assert (sent.name, sent.base_path) == ("age", "/models/age")
    assert list(sent.model_version_policy.specific.versions) == [3, 4]
    assert dict(sent.version_labels) == {"stable": 3}
    with connect("rest", fake) as client, pytest.raises(ServerError, match="gRPC") as caught:
        client.reload_config(config)
    assert caught.value.code is Code.UNIMPLEMENTED


def test_wait_until_available(client: Client, fake: Fake) -> None:
    fake.failures = [(grpc.StatusCode.UNAVAILABLE, "starting"), (grpc.StatusCode.NOT_FOUND, "not yet")]
    fake.states = [status_answer((8, "LOADING")), status_answer((7, "AVAILABLE"), (8, "AVAILABLE"))]
    assert client.wait_until_available("age", timeout=60) == 8
    assert len(fake.asked) == 4


def test_wait_in_vain(client: Client, fake: Fake) -> None:
    fake.states = [status_answer((8, "LOADING"))]
    client.status("age")  # connects, which may take longer
    with pytest.raises(DeadlineExceeded, match="version 8: LOADING"):
        client.wait_until_available("age", timeout=1)


def test_wait_for_what_cannot_be_loaded(client: Client, fake: Fake) -> None:
    fake.states = [status_answer((8, "END"), code=9, message="broken model")]
    with pytest.raises(ServerError, match="broken model") as caught:
        client.wait_until_available("age", 8, timeout=60)
    assert caught.value.code is Code.FAILED_PRECONDITION


def test_client_loads_no_tensorflow(fake: Fake) -> None:
    program = f"""
import sys
from serving.client import Client
for target, transport in (("{fake.grpc_target}", "grpc"), ("{fake.rest_url}", "rest")):
    with Client(target, transport=transport) as client:
        assert client.age([b"123"])[0].age == 3
        client.metadata("age")
rooms = ("tensorflow", "tfx", "keras", "pipelines", "components", "trainers", "data_validation")
print([name for name in sys.modules if name.startswith(rooms)])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "[]", done.stderr
