"""`hexaface portal`, as a person starts and ends it."""

import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

import psutil
import pytest
import requests
from model_servers import PROJECT, free_port, wait_until

from serving.portal import launcher
from serving.portal.launcher import PortalOptions, environment_of

# Much longer than any stop takes; where the machine is busy, processes are slow to go.
STOP_SECONDS = 60


class Command:
    """`hexaface portal` in a process of its own."""

    def __init__(self, workspace, *arguments: str, **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "pipelines.cli", "portal", "--workspace", str(workspace)]
        foreign = ("PORTAL_", "DJANGO_", "DATABASE_", "HEXAFACE_", "MLFLOW_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.process = subprocess.Popen(
            [*command, f"--port={self.port}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=PROJECT,
            env={**environment, "PYTHONPATH": str(PROJECT), **variables},
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self._lines.extend(self.process.stdout), daemon=True)
        self._reader.start()

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def wait_for(self, text: str, seconds: float = 240) -> "Command":
        def said() -> bool:
            found = text in self.log
            assert found or self.process.poll() is None, self.log
            return found

        wait_until(said, seconds, lambda: self.log[-3000:])
        return self

    def children(self) -> dict[str, psutil.Process]:
        """The programs by name, and all processes under them by number."""
        pids = dict(re.findall(r"system +\| (\w+) started \(pid=(\d+)\)", self.log))
        found = {name: psutil.Process(int(pid)) for name, pid in pids.items()}
        below = psutil.Process(self.process.pid).children(recursive=True)
        return {**{str(each.pid): each for each in below}, **found}

    def ended(self, children) -> int:
        """Waits for the end; returns the exit code once it is sure that nothing is left."""
        code = self.process.wait(STOP_SECONDS)
        _, alive = psutil.wait_procs(children.values(), timeout=20)
        assert alive == []
        assert_free(self.port)
        self._reader.join(60)
        return code

    def kill(self) -> None:
        """Ends what a failed test has left."""
        if self.process.poll() is None:
            for each in psutil.Process(self.process.pid).children(recursive=True):
                each.kill()
            self.process.kill()
        self.process.wait()


def assert_free(port: int) -> None:
    """Nobody listens there any more; connections that have ended may still be remembered."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


@pytest.fixture
def started(workspace):
    commands = []

    def start(*arguments, home=workspace, **variables) -> Command:
        commands.append(Command(home, *arguments, **variables))
        return commands[-1]

    yield start
    for each in commands:
        each.kill()


def ready(command: Command) -> requests.Response:
    return requests.get(f"{command.url}/readyz", timeout=60)


def test_all_of_it_runs_and_ends_with_ctrl_c(started, workspace):
    model_port = free_port()
    command = started(f"--model-port={model_port}", PORTAL_WORKERS="1").wait_for(" | The portal is at ")
    assert f"The portal is at {command.url} (Ctrl-C ends it)" in command.log
    wait_until(lambda: _answers(command), 60)
    children = command.children()
    assert {"models", "portal", "purge"} < set(children)

    page = requests.get(f"{command.url}/detection/", timeout=60)
    assert page.status_code == 200
    style = re.search(r'href="(/static/portal/portal\.[0-9a-f]+\.css)"', page.text)[1]
    assert requests.get(command.url + style, timeout=60).headers["Cache-Control"].startswith("max-age=3")

    # A worker that comes later makes a client of its own.
    master = children["portal"]
    before = {worker.pid for worker in master.children()}
    assert len(before) == 1
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not before & {each.pid for each in master.children()}, 60)
    wait_until(lambda: _answers(command), 60)

    key = (workspace / "portal" / "secret_key").read_text().strip()
    assert key not in command.log
    assert key not in " ".join(
        part for each in children.values() if each.is_running() for part in _line(each)
    )
    children.update(command.children())
    command.process.send_signal(signal.SIGINT)
    assert command.ended(children) == 0
    assert_free(model_port)


def _answers(command: Command) -> bool:
    return _code(command) == 200


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_a_server_that_runs_is_used_and_one_part_that_dies_ends_all(started, models):
    command = started("--model-server", models.address).wait_for(" | The portal is at ")
    children = command.children()
    assert "models" not in children
    wait_until(lambda: _answers(command), 60)
    children["purge"].kill()
    assert command.ended(children) == 1
    assert models.process.poll() is None


def test_without_a_model_server_it_lives_and_says_so_once(started, tmp_path):
    command = started("--model-server", "127.0.0.1:1", home=tmp_path, PORTAL_WORKERS="1")
    children = command.wait_for("Listening at").children()
    for _ in range(3):
        wait_until(lambda: _code(command) == 503, 60)
    wait_until(lambda: "models: failed" in command.log, 60)
    assert requests.get(f"{command.url}/healthz", timeout=60).text == "ok"
    command.process.terminate()
    assert command.ended(children) == 0
    told = re.findall(r"\w+ portal\.probes (\w+: \w+) (\(.*\))|(WARNING.*)|(ERROR.*)", command.log)
    # Where the machine is busy, answers may also be late, and are told each time that this changes.
    changes = [change for change in told if change[0] not in ("database: late", "database: ok")]
    failures = {why for state, why, *_ in changes if state == "models: failed"}
    assert failures and failures <= {"(Unavailable)", "(DeadlineExceeded)"}
    assert all(after[0] != before[0] for before, after in pairwise(changes))
    assert {change[0] for change in changes} <= {"models: failed", "models: late"}, command.log


def _code(command: Command) -> int:
    try:
        return ready(command).status_code
    except requests.RequestException:
        return 0


def test_whether_it_is_ready_is_not_asked_of_a_proxy(monkeypatch):
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # it keeps what the environment said before
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        answering = threading.Thread(target=server.handle_request, daemon=True)
        answering.start()
        assert launcher._missing(f"http://127.0.0.1:{server.server_port}") == []
        answering.join(10)


# ---- signals

GROUP = """
import os, signal, sys
from serving.portal.processes import ENDING, ProcessGroup
for number in ENDING:
    signal.signal(number, lambda *_: sys.exit(0))
group = ProcessGroup()
for number in range(3):
    group.add(f"p{number}", ["sleep", sys.argv[1]], os.environ)
print("now", flush=True)
sys.exit(group.run())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_whenever_it_comes(number):
    for milliseconds in (0, 5, 10, 15, 20, 30, 50, 120):
        # A time that nobody else sleeps, to find the programs by.
        seconds = f"{60 + os.getpid() % 1000}.{number}{milliseconds:03}"
        process = subprocess.Popen(
            [sys.executable, "-c", GROUP, seconds],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=PROJECT,
            start_new_session=True,
        )
        assert process.stdout.readline() == "now\n"
        time.sleep(milliseconds / 1000)
        os.killpg(process.pid, number)  # as a terminal does, to all in the foreground
        output, _ = process.communicate(timeout=STOP_SECONDS)
        assert process.returncode == 0, output
        assert "Traceback" not in output
        assert ["sleep", seconds] not in [each.info["cmdline"] for each in psutil.process_iter(["cmdline"])]


def test_a_program_that_cannot_be_started_ends_all():
    code = GROUP.replace('print("now"', 'group.add("bad", ["true", 200_000 * "x"], os.environ); print("now"')
    command = [sys.executable, "-c", code, "300.5"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=STOP_SECONDS)
    assert done.returncode == 1
    assert "bad stopped (rc=1)" in done.stdout


# ---- what cannot be started


def refused(command: Command) -> str:
    assert command.process.wait(180) == 2, command.log
    command._reader.join(60)
    assert command.log.count("\n") == 1, command.log
    return command.log.strip()


def test_without_models(started, tmp_path):
    said = refused(started(f"--model-port={free_port()}", home=tmp_path))
    assert said == f"error: {tmp_path}: no model has been pushed yet; `make demo` makes some"
    assert not (tmp_path / "portal").exists()


@pytest.mark.parametrize("option", ["--port", "--model-port"])
def test_a_port_that_is_taken(started, option):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(started(f"{option}={port}"))
    assert f"error: {option} {port}: cannot be opened: Address already in use" in said


@pytest.mark.parametrize("address", ["127.0.0.1", "http://127.0.0.1:8500", "grpcs://127.0.0.1"])
def test_an_address_that_is_none(started, address):
    said = refused(started("--model-server", address))
    assert said == f"error: --model-server {address!r}: expected HOST:PORT or grpcs://HOST:PORT"


def test_a_wrong_variable(started):
    said = refused(started("--model-server", "127.0.0.1:1", PORTAL_UPLOAD_MINUTES="soon"))
    assert said.startswith("error: the portal cannot be prepared: PORTAL_UPLOAD_MINUTES: expected a number")


def test_a_database_that_is_not_there(started):
    address = "postgres://someone:hidden@127.0.0.1:1/portal"
    said = refused(started("--model-server", "127.0.0.1:1", DATABASE_URL=address))
    assert "the database cannot be used" in said
    assert "hidden" not in said


# ---- key and environment


def test_the_key_is_made_once_and_for_the_owner_only(tmp_path):
    folder = tmp_path / "portal"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: launcher.secret_key(folder), range(8)))
    assert len(keys) == 1
    assert len(keys.pop()) >= 50
    assert [file.name for file in folder.iterdir()] == ["secret_key"]
    assert stat.S_IMODE((folder / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert launcher.secret_key(tmp_path / "other") != launcher.secret_key(folder)


@pytest.fixture
def bare(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PORTAL_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("host", "https", "hosts"),
    [
        ("127.0.0.1", "0", None),
        ("::1", "0", None),
        ("localhost", "0", None),
        ("0.0.0.0", None, None),
        ("192.0.2.7", None, "localhost,127.0.0.1,[::1],192.0.2.7"),
    ],
)
def test_https_is_for_other_machines(bare, tmp_path, host, https, hosts):
    found = environment_of(PortalOptions(tmp_path, host))
    assert (found.get("PORTAL_HTTPS"), found.get("PORTAL_HOSTS")) == (https, hosts)
    assert found["PORTAL_MODEL_SERVER"] == "127.0.0.1:8500"


def test_what_the_environment_says_stays(bare, tmp_path):
    given = {"PORTAL_SECRET_KEY": "k" * 50, "PORTAL_DATA": "/elsewhere", "PORTAL_HTTPS": "1"}
    for name, value in given.items():
        bare.setenv(name, value)
    found = environment_of(PortalOptions(tmp_path))
    assert {name: found[name] for name in given} == given
    assert not (tmp_path / "portal").exists()


def test_prepared_again_nothing_is_collected(bare, tmp_path):
    environment = environment_of(PortalOptions(tmp_path)) | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "serving.portal.manage", "prepare_portal"]
    written = []
    for _ in range(2):
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), shlex.join(command)
        written.append((tmp_path / "portal" / "static" / "staticfiles.json").stat().st_mtime_ns)
    assert written[0] == written[1]
