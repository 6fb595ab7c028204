"""What strangers, broken files and impatient clients do to a server: clear errors, and it goes on serving."""

import contextlib
import gzip
import io
import socket
import struct
import threading
import time
import zlib

import grpc
import numpy as np
import psutil
import pytest
import toy_models
from model_servers import launch, model_server, wait_until
from PIL import Image
from serving_requests import failure, model_config, png, predict_request
from tensorflow_serving.apis import classification_pb2

X = np.array([2.0], np.float32)
HUGE = 60_000


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def png_that_pillow_refuses(width: int, height: int) -> bytes:
    """One whose comment unpacks to more than Pillow reads; TensorFlow passes it over."""
    body = png_that_claims(width, height)
    comment = b"zTXt" + b"Comment\0\0" + zlib.compress(b" " * 2**21)
    chunk = struct.pack(">I", len(comment) - 4) + comment + struct.pack(">I", zlib.crc32(comment))
    return body[:33] + chunk + body[33:]


def size_request(*images: bytes):
    return predict_request("adder", {"image_bytes": np.array(images, object)}, signature="size")


def serves(server) -> bool:
    return (
        server.predictions.Predict(predict_request("half", {"x": X}), timeout=20).outputs["y"].float_val[0]
        == 3.0
    )


@pytest.fixture(scope="module")
def busy(toys, tmp_path_factory):
    """A server with a broken model beside good ones, the default size of requests, and room for four."""
    folder = tmp_path_factory.mktemp("busy")
    broken = folder / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"\x08\x01 nothing")
    config = folder / "models.config"
    config.write_text(
        model_config(
            adder=f'base_path: "{toys}/adder"',
            broken=f'base_path: "{folder}/broken"',
            half=f'base_path: "{toys}/half"',
        )
    )
    flags = (
        "--max_concurrent_requests=4",
        "--rest_api_timeout_in_ms=3000",
        "--load_retry_interval_micros=60000000",
    )
    with model_server(f"--model_config_file={config}", *flags) as server:
        yield server


def test_a_broken_model_is_told_and_the_others_are_served(busy):
    assert serves(busy)
    code, text = busy.rest("/v1/models/broken")
    assert code == 200
    assert '"state": "END"' in text
    assert "broken/1" in text
    assert failure(busy.predictions.Predict, predict_request("broken", {"x": X})) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(broken)",
    )
    assert "Traceback" not in busy.log


def test_a_body_of_100_megabytes_is_refused_without_reading_it(busy):
    before = busy.memory()
    code, text = busy.rest("/v1/models/half:predict", b" " * 100_000_000)
    assert code == 429
    assert "Request body of 100000000 bytes is larger than 67108864" in text
    assert busy.memory() - before < 30_000_000
    assert serves(busy)


def test_a_body_without_a_length_is_refused_at_the_limit(busy):
    with socket.create_connection(("127.0.0.1", busy.rest_port)) as connection:
        connection.sendall(
            b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        piece = b" " * 1_000_000
        chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
        answer = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(100):
                connection.sendall(chunk)
        connection.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            answer = connection.recv(10_000)
    assert answer == b"" or b" 429 " in answer.split(b"\r\n")[0]
    assert serves(busy)


@pytest.mark.parametrize(
    "size", [(HUGE, HUGE), (20_000, 20_000)], ids=["over TensorFlow's limit", "under it"]
)
def test_an_image_that_claims_to_be_huge_is_refused_before_it_is_decoded(busy, size):
    before = busy.memory()
    code, message = failure(busy.predictions.Predict, size_request(png(5, 4), png_that_claims(*size)))
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("image too large: ")
    assert busy.memory() - before < 100_000_000
    assert serves(busy)


def test_such_an_image_is_refused_inside_tf_examples_too(busy):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "half", "classify_x_to_y"
    features = request.input.example_list.examples.add().features.feature
    features["x"].float_list.value.append(2.0)
    features["image/encoded"].bytes_list.value.append(png_that_claims(HUGE, HUGE))
    code, message = failure(busy.predictions.Classify, request)
    assert (code, message.startswith("image too large: ")) == ("INVALID_ARGUMENT", True)
    serialized = request.input.example_list.examples[0].SerializeToString()
    predict = predict_request("adder", {"word": np.array([serialized], object)}, signature="look_up")
    code, message = failure(busy.predictions.Predict, predict)
    assert (code, message.startswith("image too large: ")) == ("INVALID_ARGUMENT", True)


def test_an_image_that_only_tensorflow_reads_is_refused_too(busy):
    code, message = failure(busy.predictions.Predict, size_request(png_that_pillow_refuses(20_000, 20_000)))
    assert (code, "20000 x 20000 pixels" in message) == ("INVALID_ARGUMENT", True)
    jpeg = b"\xff\xd8\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 60_000, 50_000) + b"\x01\x01\x11\x00"
    code, message = failure(busy.predictions.Predict, size_request(jpeg))
    assert (code, "50000 x 60000 pixels" in message) == ("INVALID_ARGUMENT", True)


def test_words_that_begin_as_images_do_are_words(busy):
    words = np.array([b"BMW", b"RIFFraff", b"GIF8", b"\xff\xd8\xff", b"\x89PNG"], object)
    request = predict_request("adder", {"word": words}, signature="look_up")
    response = busy.predictions.Predict(request, timeout=20)
    assert list(response.outputs["echo_bytes"].string_val) == list(words)


def test_all_pictures_of_an_animation_count(busy):
    buffer = io.BytesIO()
    pictures = [Image.new("P", (4000, 4000), number) for number in range(4)]
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:])
    code, message = failure(busy.predictions.Predict, size_request(buffer.getvalue()))
    assert (code, "4000 x 4000 pixels in 4 pictures" in message) == ("INVALID_ARGUMENT", True)


def test_images_of_an_honest_size_are_answered(busy):
    response = busy.predictions.Predict(size_request(png(5, 4), png(5, 4)), timeout=20)
    assert list(response.outputs["size"].int_val) == [4, 5, 4, 5]


def test_clients_that_disconnect_leave_no_trace(busy):
    request = predict_request("adder", {"rounds": np.array([200], np.int32)}, signature="slow")
    for _ in range(3):
        call = busy.predictions.Predict.future(request, timeout=60)
        time.sleep(0.1)
        call.cancel()
    body = b'{"signature_name": "slow", "instances": [200]}'
    head = b"POST /v1/models/adder:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    for sent in (head + body, head + body[:10]):
        with socket.create_connection(("127.0.0.1", busy.rest_port)) as connection:
            connection.sendall(sent)
            time.sleep(0.1)
    # Cancelled work that has begun keeps its place until it ends; then all four places are free again.
    wait_until(lambda: _all_places_are_free(busy), 30)
    assert "Traceback" not in busy.log


def _all_places_are_free(server) -> bool:
    request = predict_request("adder", {"rounds": np.array([20], np.int32)}, signature="slow")
    calls = [server.predictions.Predict.future(request, timeout=30) for _ in range(4)]
    return all(call.exception() is None for call in calls)


def test_more_requests_than_there_is_room_for_are_refused(busy):
    request = predict_request("adder", {"rounds": np.array([250], np.int32)}, signature="slow")
    calls = [busy.predictions.Predict.future(request, timeout=60) for _ in range(12)]
    codes = [call.exception().code() if call.exception() else grpc.StatusCode.OK for call in calls]
    assert codes.count(grpc.StatusCode.OK) == 4
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 8
    assert serves(busy)


def test_bodies_may_be_packed(busy):
    body = b'{"instances": [2.0]}'
    for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        headers = {"Content-Encoding": encoding}
        assert busy.rest("/v1/models/half:predict", packed, headers=headers)[0] == 200
    code, text = busy.rest("/v1/models/half:predict", b"xx", headers={"Content-Encoding": "gzip"})
    assert (code, "cannot be unpacked" in text) == (400, True)
    code, text = busy.rest("/v1/models/half:predict", b"xx", headers={"Content-Encoding": "br"})
    assert (code, "found br" in text) == (400, True)


def test_a_packed_body_is_bounded_by_what_it_unpacks_to(busy):
    before = busy.memory()
    bomb = gzip.compress(b" " * 500_000_000, 1)
    code, text = busy.rest("/v1/models/half:predict", bomb, headers={"Content-Encoding": "gzip"})
    assert (code, "larger than 67108864" in text) == (429, True)
    assert busy.memory() - before < 200_000_000
    assert serves(busy)


def test_clients_that_only_promise_a_body_take_no_room_from_others(busy):
    head = b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n{"
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", busy.rest_port)))
            connection.sendall(head)
        assert busy.rest("/v1/models/half:predict", {"instances": [2.0]})[0] == 200
        assert serves(busy)


def test_a_large_broken_document_does_not_hold_up_others(busy):
    body = b'{"instances":[' + b"[]," * 5_000_000 + b"x"
    done = threading.Thread(target=busy.rest, args=("/v1/models/half:predict", body))
    before = processor_seconds(busy)
    done.start()
    while done.is_alive():
        assert busy.rest("/v1/models/half")[0] == 200
    # Nobody was held up for longer than the document kept a processor: on a busy machine all takes longer.
    assert processor_seconds(busy) - before < 2.0


def processor_seconds(server) -> float:
    times = psutil.Process(server.process.pid).cpu_times()
    return times.user + times.system


def test_a_rest_request_that_takes_too_long_is_ended(busy):
    code, text = busy.rest("/v1/models/adder:predict", {"signature_name": "slow", "instances": [10000]})
    assert (code, "Deadline" in text) == (504, True)
    # It was not waited for: the work, which cannot be ended, still goes on.
    before = processor_seconds(busy)
    assert serves(busy)
    wait_until(lambda: processor_seconds(busy) - before > 0.5, 60)


def test_a_body_that_does_not_arrive_is_not_waited_for(busy):
    with socket.create_connection(("127.0.0.1", busy.rest_port)) as connection:
        connection.sendall(
            b"POST /v1/models/half:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
        )
        connection.settimeout(20)
        assert b" 504 " in connection.recv(10_000).split(b"\r\n")[0]
    assert serves(busy)


GARBAGE = [
    b"\0" * 1000,
    b"{" * 100_000,
    b'{"instances": ' + b"[" * 100_000,
    b"\xff\xfe",
    b'{"instances": [1e999999]}',
]


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_answered_with_an_error_or_a_number(busy, body):
    code, _ = busy.rest("/v1/models/half:predict", body)
    assert code in (200, 400)
    assert serves(busy)


def test_a_shape_that_promises_more_than_it_holds(busy):
    request = predict_request("half", {})
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.float_val.append(1.0)
    for size in (2**20, 2**20, 2**20):
        tensor.tensor_shape.dim.add().size = size
    code, message = failure(busy.predictions.Predict, request)
    assert (code, "elements are more than" in message) == ("INVALID_ARGUMENT", True)
    del tensor.tensor_shape.dim[1:]
    tensor.tensor_shape.dim[0].size = 2**25
    code, message = failure(busy.predictions.Predict, request)
    assert (code, "fit into 67108864 bytes" in message) == ("INVALID_ARGUMENT", True)
    tensor.tensor_shape.dim[0].size = -(2**63)
    assert failure(busy.predictions.Predict, request)[0] == "INVALID_ARGUMENT"
    assert serves(busy)


def test_a_configuration_with_a_typo_says_where(tmp_path, toys):
    config = tmp_path / "models.config"
    config.write_text(f'model_config_list {{ config {{ name: "half" base_pth: "{toys}/half" }} }}')
    server = launch(f"--model_config_file={config}")
    assert server.process.wait(60) == 1
    server.join()
    assert "base_pth" in server.log
    assert str(config) in server.log


def test_warm_up_records_that_fail_keep_a_version_from_being_served(toys, tmp_path):
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    good = toy_models.push(toys / "half" / "00000123", tmp_path / "half", 1)
    bad = toy_models.push(toys / "half" / "00000123", tmp_path / "half", 2)
    for folder, value in ((good, X), (bad, np.array([1], np.int64))):
        log = prediction_log_pb2.PredictionLog()
        log.predict_log.request.CopyFrom(predict_request("half", {"x": value}))
        (folder / "assets.extra").mkdir()
        with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
            writer.write(log.SerializeToString())
    config = tmp_path / "models.config"
    every = "model_version_policy { all {} }"
    config.write_text(model_config(half=f'base_path: "{tmp_path}/half" {every}'))
    with model_server(f"--model_config_file={config}") as server:
        server.wait_for_state("half", 1, "AVAILABLE")
        server.wait_for_state("half", 2, "END")
        server.wait_for("Finished reading 1 warmup records")
        server.wait_for("expected dtype DT_FLOAT, found DT_INT64")
        assert serves(server)
