"""The embedded model server in a process of its own, for one candidate."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import serving
from components.infra_report import BadModelError
from serving.client import Client, DeadlineExceeded, ServerError, Unavailable
from serving.wire import wire_pb2

MODEL, VERSION = "candidate", 1
LOADS = "loads in the model server"

_START_SECONDS = 120.0
_LOAD_SECONDS = 300.0
_REQUEST_SECONDS = 60.0
_END_SECONDS = 10.0
_GONE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_TAIL = 3000
# A port that was free a moment ago may be taken now.
_ATTEMPTS = 3
# As `python -m serving.model_server`; but the system ends it when this process is killed and cannot (1 is
# PR_SET_PDEATHSIG).
_PROGRAM = (
    "import ctypes, runpy, signal; ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "runpy.run_module('serving.model_server', run_name='__main__', alter_sys=True)"
)


class CandidateServer:
    """A model server that starts empty and is given the candidate when it is there.

    So that it starts while the candidate is still being prepared, and that what fails is told apart: before
    the candidate is given, the machine; afterwards, the candidate.

        with CandidateServer() as server:
            ...
            server.load(folder)
            server.clients["REST"].predict(MODEL, ...)

    Attributes:
        clients: A client for each transport, by its name; only after `load`.
    """

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "CandidateServer":
        self._started = time.monotonic()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hexaface-infra-")))
        self._base = self._folder / "models"
        self._base.mkdir()
        (self._folder / "models.config").write_text("model_config_list {}", encoding="utf-8")
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for client in self.clients.values():
                client.close()
            self._end()
        finally:
            self._stack.close()

    def _start(self) -> None:
        self._port, self._rest_port = _free_ports()
        command = [
            *(sys.executable, "-c", _PROGRAM, "--host=127.0.0.1"),
            *(f"--port={self._port}", f"--rest_api_port={self._rest_port}"),
            f"--model_config_file={self._folder / 'models.config'}",
            # It is told when to look, and a candidate has one chance.
            *("--file_system_poll_wait_seconds=0", "--max_num_load_retries=0"),
        ]
        project = str(Path(serving.__file__).parents[1])
        path = os.pathsep.join(filter(None, (project, os.environ.get("PYTHONPATH"))))
        # Without GPUs: their memory may be held by this process, which trained on them.
        environment = os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1"}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def load(self, model: Path) -> dict[str, float]:
        """Gives the server the candidate and waits until it is served.

        Args:
            model: Folder of a SavedModel.

        Returns:
            `load_seconds`, of loading and warming up, and `seconds_to_available`, since the process started.

        Raises:
            BadModelError: The server cannot serve it.
            RuntimeError: The server itself does not start.
        """
        self._wait_until_listening()
        self.clients = {
            "gRPC": Client(f"127.0.0.1:{self._port}", timeout=_REQUEST_SECONDS, retries=0),
            "REST": Client.rest(f"http://127.0.0.1:{self._rest_port}", timeout=_REQUEST_SECONDS, retries=0),
        }
        (self._base / str(VERSION)).symlink_to(model.resolve(), target_is_directory=True)
        config = wire_pb2.ModelServerConfig()
        config.model_config_list.config.add(
            name=MODEL, base_path=str(self._base), model_platform="tensorflow"
        )
        start = time.monotonic()
        self._reload(config)
        now = time.monotonic()
        return {"load_seconds": now - start, "seconds_to_available": now - self._started}

    def _reload(self, config: wire_pb2.ModelServerConfig) -> None:
        client = self.clients["gRPC"]
        try:
            client.reload_config(config, timeout=_LOAD_SECONDS)
        except DeadlineExceeded as error:
            detail = f"expected AVAILABLE within {_LOAD_SECONDS:g} s, found it still loading"
            raise BadModelError(LOADS, detail) from error
        except Unavailable as error:
            raise BadModelError(LOADS, f"expected AVAILABLE, found {self.ended() or error}") from error
        except ServerError:
            # Says only that the model is not there; its state says why.
            pass
        try:
            client.wait_until_available(MODEL, VERSION, timeout=_REQUEST_SECONDS)
        except ServerError as error:
            raise BadModelError(LOADS, f"expected AVAILABLE, found {self.ended() or error}") from error

    def ended(self) -> str:
        """Says how the process ended, to be asked when it does not answer; empty if it runs.

        Raises:
            RuntimeError: The system killed it, which says more of the machine than of the candidate.
        """
        try:
            # A process that lost its connections may need a moment to be gone.
            code = self._process.wait(_GONE_SECONDS)
        except subprocess.TimeoutExpired:
            return ""
        if code == -signal.SIGKILL:
            raise RuntimeError("the model server was killed by the system: is there enough memory?")
        return f"that the server's process ended with code {code}"

    def log_tail(self) -> str:
        """Returns the end of the server's log."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")[-_TAIL:]

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        attempts = 1
        # The last port that it opens.
        while not _listens(self._rest_port):
            if self._process.poll() is not None:
                if attempts == _ATTEMPTS:
                    raise RuntimeError(f"the model server does not start: {self.log_tail()}")
                attempts += 1
                self._start()
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"the model server does not listen after {_START_SECONDS:g} s: {self.log_tail()}"
                )
            time.sleep(_POLL_SECONDS)
        if self._process.poll() is not None:
            raise RuntimeError(f"another process took the model server's port: {self.log_tail()}")


def _free_ports() -> tuple[int, int]:
    # Both held at once, so that they differ.
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
