"""Whether the model server grows: versions loaded one after another under load, and its memory meanwhile.

    python benchmarks/soak.py VERSION_FOLDER

Each reload puts the same SavedModel in place as a new version, by a new configuration; clients ask all the
time, over gRPC and REST. Prints resident memory as it goes, and fails if it grew by more than 5 % after the
first 20 reloads, or if any request failed.
"""

import argparse
import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

# benchmarks/serving.py has the name of a package that this uses, and Python looks beside a script first.
sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]

WARM_UP, ALLOWED_GROWTH = 20, 0.05
MODEL = "face"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", type=Path, help="folder of a SavedModel that takes image_bytes")
    parser.add_argument("--reloads", type=int, default=200, help=f"more than {WARM_UP}")
    parser.add_argument("--requests", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        base = Path(scratch) / MODEL
        base.mkdir()
        _push(arguments.version, base, 1)
        process, port, rest_port = stack.enter_context(_server(base))
        load = Load(arguments.requests, port, rest_port)
        with load:
            memory = _reload(arguments, base, process, port, load)
        grown = memory[-1] / memory[WARM_UP] - 1
    print(f"{arguments.reloads} reloads, {load.done} requests, {len(load.errors)} errors")
    first, last = memory[WARM_UP], memory[-1]
    print(f"memory after {WARM_UP} reloads {first:.0f} MB, at the end {last:.0f} MB: {grown:+.1%}")
    for error in load.errors[:5]:
        print(error, file=sys.stderr)
    raise SystemExit(1 if load.errors or grown > ALLOWED_GROWTH else 0)


def _push(version: Path, base: Path, number: int) -> None:
    (base / str(number)).symlink_to(version.resolve())


@contextlib.contextmanager
def _server(base: Path):
    from serving import local_server

    local_server.write_files(base.parent)
    config = base.parent / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "{MODEL}" base_path: "{base}" '
        'model_platform: "tensorflow" } }'
    )
    port, rest_port = _free_port(), _free_port()
    options = local_server.ServerOptions(port=port, rest_port=rest_port)
    command = [sys.executable, "-m", "serving.model_server", *local_server.arguments(config, options)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process, port, rest_port
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Load:
    """Four clients on each transport that share out a number of requests over the time of the reloads."""

    def __init__(self, requests: int, port: int, rest_port: int) -> None:
        self.done, self.errors = 0, []
        self._allowed = 0
        self._requests = requests
        self._condition = threading.Condition()
        self._finished = False
        calls = [_grpc_call(port)] * 4 + [_rest_call(rest_port) for _ in range(4)]
        self._threads = [threading.Thread(target=self._loop, args=(call,)) for call in calls]

    def allow(self, share: float) -> None:
        """Lets this share of all requests be sent by now."""
        with self._condition:
            self._allowed = round(share * self._requests)
            self._condition.notify_all()

    def wait(self) -> None:
        """Waits until all that is allowed was answered."""
        with self._condition:
            self._condition.wait_for(lambda: self.done >= self._allowed)

    def _loop(self, call: Callable[[], None]) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._finished or self._allowed > 0)
                if self._finished:
                    return
                if self.done >= self._allowed:
                    self._condition.wait(0.05)
                    continue
                self.done += 1
            try:
                call()
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
            with self._condition:
                self._condition.notify_all()

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._finished = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()


def _image() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise((48, 48), 60).save(buffer, "PNG")
    return buffer.getvalue()


def _grpc_call(port: int) -> Callable[[], None]:
    import numpy as np

    from serving.client import Client

    client, inputs = (
        Client(f"127.0.0.1:{port}", retries=0, timeout=60),
        {"image_bytes": np.array([_image()], object)},
    )
    return lambda: client.predict(MODEL, inputs)


def _rest_call(port: int) -> Callable[[], None]:
    import base64

    body = json.dumps({"instances": [{"b64": base64.b64encode(_image()).decode()}]})

    def call() -> None:
        # A connection for each request, as many clients have it.
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", f"/v1/models/{MODEL}:predict", body)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(answer[:300].decode())

    return call


def _reload(arguments: argparse.Namespace, base: Path, process, port: int, load: Load) -> list[float]:
    """Loads version after version; returns the server's megabytes after each."""
    from google.protobuf import text_format

    from serving.client import Client
    from serving.wire import wire_pb2

    memory = []
    with Client(f"127.0.0.1:{port}", timeout=60) as client:
        client.wait_until_available(MODEL)
        for number in range(2, arguments.reloads + 2):
            _push(arguments.version, base, number)
            text = (
                f'model_config_list {{ config {{ name: "{MODEL}" base_path: "{base}" '
                f'model_platform: "tensorflow" '
                f"model_version_policy {{ specific {{ versions: {number} }} }} }} }}"
            )
            client.reload_config(text_format.Parse(text, wire_pb2.ModelServerConfig()))
            (base / str(number - 1)).unlink()
            load.allow((number - 1) / arguments.reloads)
            load.wait()
            _wait_for_end(client, number - 1)
            memory.append(_megabytes(process.pid))
            if number % 10 == 1:
                print(f"{number - 1:4d} reloads {load.done:6d} requests {memory[-1]:6.0f} MB", flush=True)
    return memory


def _wait_for_end(client, number: int) -> None:
    while client.status(MODEL, number)[0].state != "END":
        time.sleep(0.01)


def _megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    main()
