"""Versions, labels and configurations change under a running server, and no client notices."""

import shutil
import signal
import socket
import threading
import time
import urllib.error

import grpc
import numpy as np
import pytest
import toy_models
from google.protobuf import text_format
from model_servers import launch, model_server, wait_until
from serving_requests import failure, model_config, predict_request
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

X = np.array([2.0], np.float32)


def ask(server, model="adder", **options):
    response = server.predictions.Predict(predict_request(model, {"x": X}, **options), timeout=60)
    return response.outputs["y"].float_val[0], response.model_spec.version.value


def reload_request(text):
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config)
    return request


@pytest.fixture(scope="module")
def changing(toys, tmp_path_factory):
    """A server whose models and configuration the tests of this file change, its folder and file."""
    folder = tmp_path_factory.mktemp("changing")
    toy_models.push(toys / "adder" / "1", folder / "adder", 1)
    config = folder / "models.config"
    config.write_text(model_config(adder=f'base_path: "{folder}/adder"'))
    with model_server(
        f"--model_config_file={config}",
        "--model_config_file_poll_wait_seconds=1",
        "--file_system_poll_wait_seconds=1",
        "--load_retry_interval_micros=500000",
    ) as server:
        yield server, folder, config


class ClientLoop:
    """Clients that ask without a pause, on both transports, and keep what they see."""

    def __init__(self, server) -> None:
        self.answers: set[tuple[float, int]] = set()
        self.errors: list[str] = []
        self.count = 0
        self._stop = threading.Event()
        loops = (self._grpc, self._grpc, self._rest)
        self._threads = [threading.Thread(target=loop, args=(server,), daemon=True) for loop in loops]

    def _grpc(self, server) -> None:
        while not self._stop.is_set():
            try:
                self.answers.add(ask(server))
            except grpc.RpcError as error:
                self.errors.append(error.details())
            self.count += 1

    def _rest(self, server) -> None:
        while not self._stop.is_set():
            try:
                code, text = server.rest("/v1/models/adder:predict", {"instances": [2.0]})
            except OSError as error:
                code, text = 0, str(error)
            if code != 200:
                self.errors.append(text)
            self.count += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def test_ten_versions_are_pushed_and_no_client_sees_an_error(changing, toys):
    server, folder, _ = changing
    with ClientLoop(server) as clients:
        for version in range(2, 12):
            toy_models.push(toys / "adder" / str(1 + version % 2), folder / "adder", version)
            server.wait_for_state("adder", version, "AVAILABLE")
        wait_until(lambda: ask(server)[1] == 11, 60)
    assert clients.errors == []
    assert clients.count > 100
    assert {version for _, version in clients.answers} >= {1, 11}
    # Odd versions are copies of the toy with b = 3, even ones of that with b = 2.
    assert all(y == (3.0 if version % 2 == 0 or version == 1 else 4.0) for y, version in clients.answers)
    for version in range(1, 11):
        server.wait_for_state("adder", version, "END")


def test_a_broken_version_changes_nothing_and_is_taken_when_it_is_whole(changing, toys):
    server, folder, _ = changing
    before = ask(server)
    broken = folder / "adder" / "20"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"no protocol buffer")
    server.wait_for_state("adder", 20, "END")
    code, text = server.rest("/v1/models/adder/versions/20")
    assert code == 200
    assert str(broken) in text
    assert '"error_code": "OK"' not in text
    assert ask(server) == before
    # What was copied only in part is tried again as soon as it changes, not after all retries are used up.
    shutil.copytree(toys / "adder" / "2", broken, dirs_exist_ok=True)
    server.wait_for_state("adder", 20, "AVAILABLE")
    assert ask(server) == (4.0, 20)


def test_a_folder_without_its_model_file_is_not_a_version_yet(changing, toys):
    server, folder, _ = changing
    half = folder / "adder" / "30"
    shutil.copytree(toys / "adder" / "1", half, ignore=shutil.ignore_patterns("saved_model.pb"))
    time.sleep(2.5)
    assert server.state("adder", 30) == ""
    assert ask(server)[1] == 20
    shutil.copy(toys / "adder" / "1" / "saved_model.pb", half)
    server.wait_for_state("adder", 30, "AVAILABLE")
    assert ask(server) == (3.0, 30)


def test_a_version_in_use_is_kept_until_its_last_request_has_ended(changing, toys):
    server, folder, _ = changing
    present = ask(server)[1]
    answers = []

    def slow():
        request = predict_request("adder", {"rounds": np.array([700], np.int32)}, signature="slow")
        answers.append(server.predictions.Predict(request, timeout=120).model_spec.version.value)

    thread = threading.Thread(target=slow)
    thread.start()
    toy_models.push(toys / "adder" / "2", folder / "adder", 40)
    server.wait_for_state("adder", 40, "AVAILABLE")
    assert ask(server) == (4.0, 40)
    thread.join(120)
    assert answers == [present]
    server.wait_for_state("adder", present, "END")


def test_a_reload_replaces_the_whole_set(changing, toys):
    server, folder, _ = changing
    two = model_config(adder=f'base_path: "{folder}/adder"', half=f'base_path: "{toys}/half"')
    response = server.models.HandleReloadConfigRequest(reload_request(two), timeout=120)
    assert response.status.error_code == 0
    assert ask(server, "half") == (3.0, 123)
    only_half = model_config(half=f'base_path: "{toys}/half"')
    server.models.HandleReloadConfigRequest(reload_request(only_half), timeout=120)
    assert failure(server.predictions.Predict, predict_request("adder", {"x": X})) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(adder)",
    )
    server.wait_for_state("adder", 40, "END")
    server.models.HandleReloadConfigRequest(reload_request(two), timeout=120)
    assert ask(server) == (4.0, 40)


ADDER = 'base_path: "{folder}/adder"'
REFUSED = {
    "relative path": (
        {"adder": 'base_path: "models/adder"'},
        "INVALID_ARGUMENT",
        "to have an absolute path or URI",
    ),
    "no path": ({"adder": ""}, "INVALID_ARGUMENT", "to have an absolute path or URI"),
    "missing folder": (
        {"adder": ADDER, "ghost": 'base_path: "/no/such/folder"'},
        "UNKNOWN",
        "Some models did not become available: {ghost}",
    ),
    "label of a version that is not there": (
        {"adder": ADDER + ' version_labels {{ key: "canary" value: 7 }}'},
        "FAILED_PRECONDITION",
        "Request to assign label to version 7 of model adder, which is not currently available for inference",
    ),
}


@pytest.mark.parametrize(("models", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_reloads_that_are_refused_leave_the_served_models(changing, models, code, message):
    server, folder, _ = changing
    before = ask(server)
    text = model_config(**{name: rest.format(folder=folder) for name, rest in models.items()})
    found = failure(server.models.HandleReloadConfigRequest, reload_request(text))
    assert found[0] == code
    assert message in found[1]
    assert ask(server) == before


def test_other_reloads_that_are_refused(changing, toys):
    server, folder, _ = changing
    one = f'config {{ name: "adder" base_path: "{folder}/adder" model_platform: "tensorflow" }}'
    twice = reload_request("model_config_list { " + one + one + " }")
    code, message = failure(server.models.HandleReloadConfigRequest, twice)
    assert (code, "adder" in message) == ("INVALID_ARGUMENT", True)
    other = reload_request("model_config_list { " + one.replace('"tensorflow"', '"caffe"') + " }")
    assert failure(server.models.HandleReloadConfigRequest, other)[0] == "INVALID_ARGUMENT"
    empty = model_management_pb2.ReloadConfigRequest(config=ModelServerConfig())
    assert failure(server.models.HandleReloadConfigRequest, empty)[0] == "INVALID_ARGUMENT"
    assert ask(server)[0] == 4.0


def test_policies_and_labels_from_a_changed_file(changing):
    server, folder, config = changing
    rest = (
        f'base_path: "{folder}/adder" model_version_policy {{ specific {{ versions: 30 versions: 40 }} }} '
        'version_labels { key: "stable" value: 30 } version_labels { key: "canary" value: 40 }'
    )
    config.write_text(model_config(adder=rest))
    server.wait_for_state("adder", 30, "AVAILABLE")
    wait_until(lambda: "canary" in labels_of(server), 60)
    assert ask(server, label="stable") == (3.0, 30)
    assert ask(server, label="canary") == (4.0, 40)
    config.write_text(model_config(adder=rest.replace('key: "stable" value: 30', 'key: "stable" value: 40')))
    wait_until(lambda: ask(server, label="stable") == (4.0, 40), 60)
    # A file that cannot be read changes nothing.
    config.write_text("model_config_list { config { nmae: ")
    server.wait_for("Error parsing text-format tensorflow.serving.ModelServerConfig")
    assert ask(server, label="stable") == (4.0, 40)


def labels_of(server):
    found = set()
    for label in ("stable", "canary"):
        try:
            ask(server, label=label)
        except grpc.RpcError:
            continue
        found.add(label)
    return found


# --- Start and stop ---------------------------------------------------------------------------------------


def test_a_broken_configuration_ends_the_program(tmp_path):
    config = tmp_path / "models.config"
    config.write_text("improperly formatted file {}")
    server = launch(f"--model_config_file={config}")
    assert server.process.wait(120) != 0
    server.join()
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in server.log
    assert f"Invalid protobuf file: '{config}'" in server.log
    assert "Traceback" not in server.log


def test_a_port_in_use_ends_the_program(toys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = launch("--model_name=half", f"--model_base_path={toys}/half", port=port)
        assert server.process.wait(120) != 0
        server.join()
    assert f"127.0.0.1:{port}" in server.log
    assert "Traceback" not in server.log


def test_a_socket_that_a_dead_server_left_is_bound_again(toys, tmp_path):
    path = tmp_path / "serving.sock"
    flags = ("--model_name=half", f"--model_base_path={toys}/half", f"--grpc_socket_path={path}")
    first = launch(*flags).wait_until_running()
    first.process.kill()
    first.process.wait()
    assert path.exists()
    with model_server(*flags), grpc.insecure_channel(f"unix:{path}") as channel:
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(predict_request("half", {"x": X}), timeout=20)
        assert response.outputs["y"].float_val[0] == 3.0


def test_requests_in_flight_end_before_the_server_does(toys):
    with model_server("--model_name=adder", f"--model_base_path={toys}/adder") as server:
        ask(server)  # so that the connection is there
        request = predict_request("adder", {"rounds": np.array([700], np.int32)}, signature="slow")
        call = server.predictions.Predict.future(request, timeout=120)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert call.result().outputs["done"].int_val[0] == 700
        assert server.process.wait(120) == 0
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            server.rest("/v1/models/adder")
