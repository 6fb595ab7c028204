"""Model servers in processes of their own."""

import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

PROJECT = Path(__file__).parents[1]
# As `python -m MODULE`, but the system ends it when the process of the tests dies (1 is PR_SET_PDEATHSIG).
_PROGRAM = (
    "import ctypes, runpy, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
# Below those that Linux gives to connections (32768 and up), which come and go all the time.
_PORTS = range(15_000, 32_000)
# Other tests set the seed that all use, and two processes with one seed would take the same ports.
_random = random.SystemRandom()


def free_port() -> int:
    """Returns a port that nobody has, for a program that opens it seconds later, or for nobody."""
    while True:
        port = _random.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A running server, its stubs and its log."""

    def __init__(self, process: subprocess.Popen, port: int, rest_port: int) -> None:
        self.process, self.port, self.rest_port = process, port, rest_port
        self.address, self.url = f"127.0.0.1:{port}", f"http://127.0.0.1:{rest_port}"
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.channel = grpc.insecure_channel(self.address)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def _read(self) -> None:
        for line in self.process.stderr:
            self._lines.append(line)

    def join(self) -> None:
        """Waits until the log of a process that has ended was read to its end."""
        self._reader.join(60)

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def wait_for(self, text: str, seconds: float = 120) -> None:
        wait_until(lambda: text in self.log, seconds, lambda: f"no {text!r} in: {self.log[-3000:]}")

    def wait_until_running(self) -> "Server":
        def started() -> bool:
            assert self.process.poll() is None, self.log[-3000:]
            return "Exporting HTTP/REST API" in self.log

        wait_until(started, 180, lambda: self.log[-3000:])
        return self

    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * 4096

    def rest(self, path: str, body: object = None, **options: object) -> tuple[int, str]:
        """Sends a request; a body that is no bytes is sent as JSON. Returns HTTP code and text."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, **options)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def state(self, model: str, version: int) -> str:
        code, text = self.rest(f"/v1/models/{model}/versions/{version}")
        return json.loads(text)["model_version_status"][0]["state"] if code == 200 else ""

    def wait_for_state(self, model: str, version: int, state: str, seconds: float = 120) -> None:
        wait_until(
            lambda: self.state(model, version) == state,
            seconds,
            lambda: f"{model} {version} is {self.state(model, version)}, not {state}: {self.log[-2000:]}",
        )


def wait_until(condition, seconds: float, message=lambda: "") -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, message()
        time.sleep(0.05)


def program(module: str) -> list[str]:
    """Returns the command of a module that runs no longer than the tests do."""
    return [sys.executable, "-c", _PROGRAM, module]


def launch(*flags: str, port: int | None = None, rest_port: int | None = None) -> Server:
    """Starts a server; the caller ends it."""
    port, rest_port = port or free_port(), rest_port or free_port()
    command = [
        *(*program("serving.model_server"), "--host=127.0.0.1"),
        *(f"--port={port}", f"--rest_api_port={rest_port}", *flags),
    ]
    process = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    return Server(process, port, rest_port)


@contextlib.contextmanager
def model_server(*flags: str) -> Iterator[Server]:
    """A server that is ready, and is gone afterwards."""
    server = launch(*flags)
    try:
        yield server.wait_until_running()
    finally:
        server.channel.close()
        server.process.terminate()
        try:
            server.process.wait(20)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
