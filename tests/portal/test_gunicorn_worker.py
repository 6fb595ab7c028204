"""The worker of gunicorn, before a small application that needs no models."""

import http.client
import os
import re
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from model_servers import PROJECT, free_port, program, wait_until
from portal_server import Portal

COUNTING = """
import sys, time
from serving.portal.gunicorn_worker import Worker

class Counting(Worker):
    def finish_request(self, conn, future):
        super().finish_request(conn, future)
        # Else it is a connection whose first byte is waited for.
        if isinstance(future.result(), bool):
            print(f"{self.nr_conns} connections", file=sys.stderr, flush=True)

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        print("a slow one has begun", file=sys.stderr, flush=True)
        time.sleep(2)
    if environ["PATH_INFO"].startswith("/fails"):
        raise RuntimeError("on purpose")
    headers = [("Content-Length", "2")]
    start_response("200 OK", headers)
    return [b"ok"]
"""


@pytest.fixture
def server(tmp_path):
    """A web server with the portal's settings and one worker, which tells how many connections it counts."""
    (tmp_path / "counting.py").write_text(COUNTING)
    port, log = free_port(), tmp_path / "log"
    variables = {"PORTAL_BIND": f"127.0.0.1:{port}", "PORTAL_WORKERS": "1", "PORTAL_PROXIES": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL_")}
    command = [*program("gunicorn"), "--config=python:serving.portal.gunicorn_settings"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--worker-class=counting.Counting", "counting:application"],
            env={**environment, **variables, "PYTHONPATH": f"{PROJECT}{os.pathsep}{tmp_path}"},
            cwd=PROJECT,
            stdout=out,
            stderr=out,
        )
    portal = Portal(process, port, tmp_path, log)
    try:
        wait_until(lambda: "Booting worker" in portal.log, 180, lambda: portal.log)
        yield portal
    finally:
        portal.stop()


def ask(portal: Portal, path: str = "/", *, close: bool = False) -> http.client.HTTPConnection:
    """Asks and reads the answer; the connection is still open, unless the server is asked to close it."""
    connection = http.client.HTTPConnection(portal.host, portal.port, timeout=60)
    connection.request("GET", path, headers={"Connection": "close"} if close else {})
    assert connection.getresponse().read() == b"ok"
    return connection


def send(portal: Portal, request: bytes) -> bytes:
    with socket.create_connection((portal.host, portal.port), timeout=60) as client:
        client.sendall(request)
        answer = b""
        while part := client.recv(4096):
            answer += part
        return answer


def counted(portal: Portal) -> list[int]:
    return [int(number) for number in re.findall(r"^(-?\d+) connections$", portal.log, re.MULTILINE)]


def test_connections_are_counted_once(server):
    for _ in range(5):
        ask(server, close=True).close()
    wait_until(lambda: len(counted(server)) == 5, 60, lambda: server.log)
    assert (min(counted(server)), counted(server)[-1]) == (0, 0)
    open_one = ask(server)
    wait_until(lambda: len(counted(server)) == 6, 60, lambda: server.log)
    assert counted(server)[-1] == 1
    open_one.close()


def test_a_stop_waits_for_running_requests_and_not_for_idle_connections(server):
    for _ in range(4):
        ask(server, close=True).close()
    silent = [socket.create_connection((server.host, server.port), timeout=60) for _ in range(12)]
    # Connections are taken in their order: once this one is answered, the silent ones have been taken.
    idle = ask(server)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, server, "/slow")
        wait_until(lambda: "a slow one has begun" in server.log, 60, lambda: server.log)
        server.process.send_signal(signal.SIGTERM)
        slow.result(60).close()
    # Gunicorn's own patience, and that of the idle connection's client, are thirty seconds and more; for
    # each silent connection it would wait two seconds, one after the other.
    server.process.wait(20)
    for connection in (idle, *silent):
        connection.close()


CHUNKED = b"POST /anna.jpg HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /uploads/anna.jpg HTTP/1.1\r\nHost: x\r\nanna has no colon\r\n\r\n", 400),
        (b"GET /uploads/anna.jpg NOHTTP\r\nHost: x\r\n\r\n", 400),
        (b"GET /anna.jpg HTTP/1.1\r\nHost: x\r\nX-Anna: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET /fails/anna.jpg HTTP/1.1\r\nHost: x\r\n\r\n", 500),
        # These are answered before their bodies are read.
        (CHUNKED + b"secret-of-anna\r\n", 200),
        (CHUNKED + b"1;of\ranna\r\nx\r\n", 200),
        (CHUNKED + b"1\r\nxanna\r\n", 200),
        (CHUNKED + b"0\r\nanna has no colon\r\n\r\n", 200),
    ],
    ids=[
        "header",
        "version",
        "long header",
        "error",
        "chunk size",
        "chunk extension",
        "chunk end",
        "trailer",
    ],
)
def test_the_log_tells_nothing_of_who_sends_what_cannot_be_answered(server, request_, status):
    answer = send(server, request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1") == 1
    wait_until(lambda: counted(server) == [0], 60, lambda: server.log)
    said = [line for line in server.log.splitlines() if "Listening at" not in line]
    assert [line for line in said if "request" in line]
    assert "127.0.0.1" not in "\n".join(said)
    assert "anna" not in "\n".join(said).lower()
    assert ("Traceback" in server.log) == (status == 500)
