"""`hexaface serve` and `hexaface models`, as a person types them."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import tensorflow as tf
import yaml
from model_servers import PROJECT, Server, free_port

from pipelines.settings import Workspace
from serving.client import Client
from serving.model_server import config, flags

START_SECONDS = 15
COMPOSE = PROJECT / "serving" / "compose.yaml"


class ToyEmotion(tf.Module):
    """Answers with the same scores for any image."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes):
        count = tf.shape(image_bytes)[0]
        return {
            "classes": tf.tile([["happiness", "anger"]], [count, 1]),
            "scores": tf.tile([[0.75, 0.25]], [count, 1]),
        }


def push(base: Path, version: int) -> None:
    module = ToyEmotion()
    tf.saved_model.save(module, str(base / str(version)), signatures=module.serve)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a model of sample data in two versions, and an image."""
    place = Workspace.at(tmp_path_factory.mktemp("served"))
    for version in (1700000000, 1700000001):
        push(place.for_samples().serving / "emotion", version)
    image = place.for_samples().sample("expressions") / "face.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(tf.io.encode_png(tf.zeros([8, 8, 3], tf.uint8)).numpy())
    return place


class Served(Server):
    """`hexaface serve` in a process of its own."""

    def __init__(self, place: Workspace, *arguments: str) -> None:
        port, rest_port = free_port(), free_port()
        command = [
            *(str(Path(sys.executable).with_name("hexaface")), "serve", "--workspace", str(place.root)),
            *(f"--port={port}", f"--rest-port={rest_port}", *arguments),
        ]
        # Every import is a line on stderr, so that the test sees what a command imports that never returns.
        environment = os.environ | {"PYTHONPROFILEIMPORTTIME": "1", "COLUMNS": "200"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=PROJECT
        )
        super().__init__(process, port, rest_port)
        self._printed: list[str] = []
        threading.Thread(target=lambda: self._printed.extend(process.stdout), daemon=True).start()

    @property
    def printed(self) -> str:
        return "".join(self._printed)

    def kill(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()

    def imported(self) -> set[str]:
        """The packages that were imported."""
        return set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\w+)", self.log, re.MULTILINE))


@pytest.fixture(scope="module")
def served(workspace: Workspace):
    running = Served(workspace)
    try:
        running.wait_until_running()
        times = psutil.Process(running.process.pid).cpu_times()
        # Processor time, so that other work on the machine does not count.
        running.seconds = times.user + times.system
        yield running
        assert interrupted(running) == 0
    finally:
        running.kill()


def interrupted(running: Served) -> int:
    """Ends a server as Ctrl-C does; returns its exit code."""
    running.process.send_signal(signal.SIGINT)
    return running.process.wait(120)


def test_serve_is_up_soon_and_imports_neither_tfx_nor_beam(served: Served) -> None:
    assert served.seconds < START_SECONDS
    assert "tensorflow" in served.imported()
    assert served.imported() & {"tfx", "apache_beam", "ml_metadata", "kfp", "mlflow"} == set()


def test_serve_answers_on_both_transports(served: Served, workspace: Workspace) -> None:
    image = (workspace.for_samples().sample("expressions") / "face.png").read_bytes()
    with Client(served.address) as grpc, Client.rest(served.url) as rest:
        for client in (grpc, rest):
            (answer,) = client.emotion([image])
            assert (answer.label, answer.score) == ("happiness", 0.75)
    assert served.rest("/monitoring/prometheus/metrics")[0] == 200


def test_serve_writes_files_that_a_server_takes(served: Served, workspace: Workspace) -> None:
    folder = workspace.serving
    models = config.read_model_config(str(folder / "models.config")).model_config_list.config
    assert [model.base_path for model in models] == [str(workspace.root / "demo" / "models" / "emotion")]
    batching = config.read_batching_parameters(str(folder / "batching.config"))
    assert (batching.max_execution_batch_size, batching.batch_timeout_micros) == (8, 3000)
    assert batching.num_batch_threads == max(1, flags.CPUS // 2)
    assert config.read_monitoring(str(folder / "monitoring.config")) == "/monitoring/prometheus/metrics"


def test_models_with_a_server(served: Served, workspace: Workspace, hexaface: Callable) -> None:
    place = ("--server", served.address, "--workspace", workspace.root)

    def states() -> dict[str, str]:
        code, text, _ = hexaface("models", "list", *place)
        assert code == 0
        found = re.findall(r"^emotion +(\d+) +(AVAILABLE|not loaded) +(stable|trial|)", text, re.MULTILINE)
        return {version: f"{state} {label}".strip() for version, state, label in found}

    assert states() == {"1700000001": "AVAILABLE", "1700000000": "not loaded"}
    code, text, _ = hexaface("models", "promote", "emotion", *place)
    assert code == 0
    assert "no warm-up records; checked only that it is AVAILABLE" in text
    assert text.endswith("emotion 1700000001 is stable\n")
    code, text, _ = hexaface("models", "rollback", "emotion", *place)
    assert (code, text.splitlines()[-1]) == (0, "emotion 1700000000 is stable")
    code, text, _ = hexaface("models", "label", "emotion", "trial", 1700000001, *place)
    assert (code, text.splitlines()[-1]) == (0, "emotion: trial is 1700000001")
    assert states() == {"1700000001": "AVAILABLE trial", "1700000000": "AVAILABLE stable"}
    assert hexaface("models", "label", "emotion", "trial", "--remove", *place)[0] == 0
    with Client(served.address) as client:
        assert client.predict("emotion", {"image_bytes": _one_image()}, label="stable").version == 1700000000


def _one_image():
    from serving.wire.tensors import object_array

    return object_array([b"any"])


def test_a_broken_version_is_refused_with_exit_code_1(
    served: Served, workspace: Workspace, hexaface: Callable
) -> None:
    broken = workspace.for_samples().serving / "emotion" / "1700000002"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"no model")
    try:
        answer = hexaface(
            "models", "promote", "emotion", "--server", served.address, "--workspace", workspace.root
        )
    finally:
        (broken / "saved_model.pb").unlink()
        broken.rmdir()
    assert answer.code == 1
    assert answer.err.startswith("failed: emotion: version 1700000002 could not be loaded: ")
    assert "still serves" in answer.err
    assert len(answer.err.splitlines()) == 1


def test_the_health_check_of_compose_asks_this_server(served: Served) -> None:
    check = yaml.safe_load(COMPOSE.read_text())["services"]["model-server"]["healthcheck"]["test"]
    command = [word.replace("8501", str(served.rest_port)) for word in check[1:]]
    assert subprocess.run(command, timeout=120).returncode == 0
    command = [word.replace("8501", str(free_port())) for word in check[1:]]
    assert subprocess.run(command, timeout=120, stderr=subprocess.DEVNULL).returncode != 0


def test_what_serve_printed_can_be_pasted(served: Served, workspace: Workspace) -> None:
    image = workspace.for_samples().sample("expressions") / "face.png"
    curl, python = _examples(served, image)
    for command in (curl, python):
        answer = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=PROJECT, timeout=300)
        assert "happiness" in answer.stdout, answer.stderr
    assert re.search(
        rf"^emotion +1700000001 +sample +{workspace.root}/demo/models/emotion", served.printed, re.MULTILINE
    )
    for part in (served.address, f"{served.url}/v1/models/emotion", curl, python):
        assert part in served.printed


def _examples(served: Served, image: Path) -> list[str]:
    from pipelines.serving_report import addresses
    from serving.local_server import ServerOptions
    from serving.rollout.overview import ModelInfo

    model = ModelInfo("emotion", "sample", image, (), ())
    options = ServerOptions(port=served.port, rest_port=served.rest_port)
    return list(addresses([model], options, image))[-2:]


def test_ctrl_c_while_tensorflow_loads_ends_it_too(workspace: Workspace) -> None:
    starting = Served(workspace, "--no-batching")
    try:
        starting.wait_for("serving.model_server.flags")  # a module that is imported before TensorFlow
        starting.wait_for("tensorflow.python")
        assert "Loading servable" not in starting.log
        assert interrupted(starting) == 0
    finally:
        starting.kill()


# ---- without a server


@pytest.fixture
def idle(tmp_path: Path) -> Workspace:
    """A workspace that nobody serves, with versions that only look like models."""
    place = Workspace.at(tmp_path / "idle")
    for version in (1700000000, 1700000001):
        folder = place.serving / "emotion" / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")
    return place


def test_nothing_pushed(hexaface: Callable, tmp_path: Path) -> None:
    code, _, error = hexaface("serve")
    assert code == 2
    assert "no model has been pushed yet; `hexaface demo` makes one" in error
    assert not list((tmp_path / "workspace").rglob("models.config"))
    code, text, _ = hexaface("models", "list")
    assert (code, "no model has been pushed yet" in text) == (0, True)


@pytest.mark.parametrize("option", ["--port", "--rest-port"])
def test_a_port_in_use_is_named(hexaface: Callable, idle: Workspace, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = {"--port": "--rest-port", "--rest-port": "--port"}[option]
        code, _, error = hexaface("serve", option, port, other, free_port(), "--workspace", idle.root)
    assert (code, error) == (2, f"error: {option} {port}: cannot be opened: Address already in use\n")


def test_ports_and_hosts_that_cannot_be(hexaface: Callable, idle: Workspace) -> None:
    place = ("--workspace", idle.root)
    code, _, error = hexaface("serve", "--port", 9000, "--rest-port", 9000, *place)
    assert (code, "--rest-port 9000: expected another than --port" in error) == (2, True)
    code, _, error = hexaface("serve", "--host", "192.0.2.1", *place)
    assert (code, "--host 192.0.2.1: " in error) == (2, True)


def test_files_only(hexaface: Callable, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    push(root / "models" / "emotion", 1)
    code, text, _ = hexaface("serve", "--files-only")
    assert code == 0
    assert f"configuration: {root}/models/models.config" in text
    assert {file.name for file in (root / "models").glob("*.config")} == {
        "models.config",
        "monitoring.config",
        "batching.config",
    }
    # For the container's mounts.
    assert (root / "demo" / "models").is_dir()
    (root / "models" / "batching.config").write_text("max_batch_size { value: 7 }")
    assert hexaface("serve", "--files-only")[0] == 0
    assert (root / "models" / "batching.config").read_text() == "max_batch_size { value: 7 }"


def test_models_without_a_server(hexaface: Callable, idle: Workspace) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    place = ("--server", nobody, "--workspace", idle.root)
    code, text, _ = hexaface("models", "list", *place)
    assert code == 0
    assert "1700000001" in text
    assert "2023-11-1" in text
    assert f"no model server answers at {nobody}; `hexaface serve` starts one" in text
    for command in (("promote", "emotion"), ("rollback", "emotion"), ("label", "emotion", "x", 1700000000)):
        code, _, error = hexaface("models", *command, *place)
        assert (code, len(error.splitlines())) == (2, 1)
        assert f"no model server answers at {nobody}" in error
        assert "`hexaface serve`" in error


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("promote", "emotoin"), "model 'emotoin': there is none; there are: emotion; did you mean emotion?"),
        (("promote", "emotion", 1700000009), "there: 1700000000, 1700000001; did you mean"),
        (("label", "emotion", "x"), "expected either a version, or --remove"),
        (("label", "emotion", "x", 1700000000, "--remove"), "expected either a version, or --remove"),
        (("label", "emotion", "a b", 1700000000), "label 'a b': expected"),
    ],
)
def test_wrong_words(hexaface: Callable, idle: Workspace, command, words: str) -> None:
    code, _, error = hexaface("models", *command, "--workspace", idle.root)
    assert (code, len(error.splitlines())) == (2, 1)
    assert words in error


# ---- compose.yaml


def test_compose_starts_the_server_with_its_own_flags() -> None:
    service = yaml.safe_load(COMPOSE.read_text())["services"]["model-server"]
    assert service["image"] == "tensorflow/serving:2.16.1"
    rules = {item.name: item.metadata["rule"] for item in flags.dataclasses.fields(flags.Flags)}
    for word in service["command"]:
        name = word.removeprefix("--").partition("=")[0]
        assert word.startswith("--") and name in rules, word
        assert not rules[name].own, f"{name} is no flag of tensorflow_model_server"
    parsed = flags.parse(service["command"])
    assert (parsed.port, parsed.rest_api_port, parsed.model_config_file_poll_wait_seconds) == (8500, 8501, 5)
    assert parsed.enable_batching
    for file in (parsed.model_config_file, parsed.monitoring_config_file, parsed.batching_parameters_file):
        assert re.fullmatch(r"\$\{HEXAFACE_HOME(:\?[^}]*)?\}/models/\w+\.config", file)


def test_compose_gives_the_container_no_more_than_it_needs() -> None:
    service = yaml.safe_load(COMPOSE.read_text())["services"]["model-server"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    for volume in service["volumes"]:
        assert volume["source"] == volume["target"]
        assert volume["read_only"] is True
