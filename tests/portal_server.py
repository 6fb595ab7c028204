"""The portal in a process of its own, with the settings of production, and people who visit it."""

import contextlib
import http.client
import os
import re
import secrets
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import requests
from model_servers import PROJECT, free_port, program, wait_until

THREADS = 16
# What a developer's shell or another test has set is not what production has.
_OURS = ("PORTAL_", "DJANGO_", "DATABASE_URL", "HEXAFACE_", "MLFLOW_", "GUNICORN_", "WEB_CONCURRENCY")


class Portal:
    """A running portal, its data folder and its log."""

    def __init__(self, process: subprocess.Popen, port: int, data: Path, log: Path) -> None:
        self.process, self.data = process, data
        self.host, self.port = "127.0.0.1", port
        self.url = f"http://{self.host}:{port}"
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_until_running(self) -> "Portal":
        def answers() -> bool:
            assert self.process.poll() is None, self.log[-3000:]
            with contextlib.suppress(requests.RequestException):
                return requests.get(f"{self.url}/", timeout=30).status_code == 200
            return False

        wait_until(answers, 180, lambda: self.log[-3000:])
        return self

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    # ---- what it holds

    def forget_peak(self) -> int:
        """Lets the measuring of memory begin anew; returns the resident bytes of now."""
        for worker in self._workers():
            Path(f"/proc/{worker.pid}/clear_refs").write_text("5")
        return sum(worker.memory_info().rss for worker in self._workers())

    def peak(self) -> int:
        """The most resident bytes since `forget_peak`."""
        found = 0
        for worker in self._workers():
            status = Path(f"/proc/{worker.pid}/status").read_text()
            found += int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
        return found

    def holds(self) -> "Holds":
        """What is stored now: files of pictures, and rows about them and about people."""
        folder = self.data / "uploads"
        files = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
        with contextlib.closing(sqlite3.connect(self.data / "portal.db")) as database:
            tables = ("portal_upload", "portal_correction", "django_session")
            rows = tuple(database.execute(f"select count(*) from {table}").fetchone()[0] for table in tables)
        others = sorted(
            str(file.relative_to(self.data))
            for file in self.data.rglob("*")
            if file.is_file() and file.parent.name != "uploads" and "static" not in file.parts
        )
        return Holds(tuple(files), rows, tuple(name for name in others if not name.startswith("portal.db")))

    def _workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


@dataclass(frozen=True)
class Holds:
    """What a portal has stored: names of pictures, rows of the tables, names of other files."""

    pictures: tuple[str, ...]
    rows: tuple[int, ...]
    others: tuple[str, ...]


def launch(folder: Path, model_server: str, *, threads: int = THREADS, **variables: str) -> Portal:
    """Starts a portal; the caller stops it.

    Args:
        folder: For its data and its log.
        model_server: gRPC address.
        threads: How many requests run at once.
        variables: More of the environment.
    """
    data, log = folder / "portal", folder / "portal.log"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
        "DJANGO_SETTINGS_MODULE": "serving.portal.settings",
        "PYTHONPATH": str(PROJECT),
        "PORTAL_SECRET_KEY": secrets.token_urlsafe(50),
        "PORTAL_HTTPS": "0",
        "PORTAL_DATA": str(data),
        "PORTAL_MODEL_SERVER": model_server,
        "PORTAL_UPLOAD_RATE": "10000/s",
        "HEXAFACE_HOME": str(folder),
        **variables,
    }
    data.mkdir(parents=True, exist_ok=True)
    prepare = [sys.executable, "-m", "serving.portal.manage", "prepare_portal"]
    subprocess.run(prepare, cwd=PROJECT, env=environment, check=True, timeout=300)
    port = free_port()
    command = [*program("gunicorn"), "--config=python:serving.portal.gunicorn_settings"]
    environment |= {"PORTAL_BIND": f"127.0.0.1:{port}", "PORTAL_WORKERS": "1", "PORTAL_THREADS": str(threads)}
    with log.open("ab") as out:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=out, stderr=out)
    return Portal(process, port, data, log)


@contextlib.contextmanager
def portal_server(folder: Path, model_server: str, **variables: str) -> Iterator[Portal]:
    """A portal that answers, and is gone afterwards."""
    portal = launch(folder, model_server, **variables)
    try:
        yield portal.wait_until_running()
    finally:
        portal.stop()


@contextlib.contextmanager
def below(portal: Portal, prefix: str) -> Iterator[str]:
    """A proxy that offers a portal below a path, which it takes off, and nothing else; yields the address."""

    class Forward(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.path.startswith(f"{prefix}/"):
                self._answer(404, (), b"another application")
                return
            # Redirects and compressed bodies are the browser's.
            connection = http.client.HTTPConnection(portal.host, portal.port, timeout=60)
            connection.request(self.command, self.path.removeprefix(prefix), body, dict(self.headers))
            with contextlib.closing(connection):
                response = connection.getresponse()
                self._answer(response.status, response.getheaders(), response.read())

        def _answer(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = _forward

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer((portal.host, 0), Forward)
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://{portal.host}:{proxy.server_port}{prefix}"
    finally:
        proxy.shutdown()
        proxy.server_close()


class Visitor:
    """Somebody with a browser of their own, without JavaScript unless they ask for a fragment."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.session = requests.Session()

    def get(self, path: str, *, fragment: bool = False, **options: object) -> requests.Response:
        headers = {**options.pop("headers", {}), **_headers(fragment)}
        options = {"timeout": 60, "allow_redirects": False, **options}
        return self.session.get(self.portal.url + path, headers=headers, **options)

    def token(self) -> str:
        """The token of a form."""
        page = self.get("/detection/").text
        return re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]

    def send(
        self,
        page: str,
        *,
        fragment: bool = False,
        name: str = "photo.jpg",
        token: str = "",
        **pictures: bytes,
    ) -> requests.Response:
        """Sends the form of a page; the answer is a redirect to the result, or the form again."""
        return self.session.post(
            f"{self.portal.url}/{page}/",
            data={"csrfmiddlewaretoken": token or self.token()},
            files={field: (name, data, "image/jpeg") for field, data in pictures.items()},
            headers=_headers(fragment),
            timeout=60,
            allow_redirects=False,
        )

    def upload(self, data: bytes, page: str = "detection", name: str = "photo.jpg") -> str:
        """Sends a picture that is taken; returns the path of its result."""
        answer = self.send(page, image=data, name=name)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def shown(self, result: str) -> requests.Response:
        """The picture of a result, as it is served."""
        return self.get(f"/uploads/{result.strip('/').split('/')[-1]}.jpg")


def _headers(fragment: bool) -> dict[str, str]:
    return {"X-Fragment": "result"} if fragment else {}
