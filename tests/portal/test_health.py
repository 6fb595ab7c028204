"""/healthz and /readyz."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from model_servers import PROJECT


@pytest.fixture
def silent():
    """Address of a server that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_the_process_lives_whatever_else_does(client, portal):
    # Without the database: this test may not touch it.
    response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok")
    assert client.head("/healthz").status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert response.cookies == {}


@pytest.mark.django_db
def test_ready(client, served):
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"ready": True, "parts": {"database": "ok", "models": "ok"}}
    assert response.cookies == {}


@pytest.mark.django_db
def test_not_ready_without_the_model_server(client, portal, patient):
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"ready": False, "parts": {"database": "ok", "models": "failed"}}


@pytest.mark.django_db
def test_not_ready_where_the_server_has_another_model_only(client, served, monkeypatch):
    from serving.portal.operations import probes

    monkeypatch.setattr(probes, "MODEL", "another")
    assert client.get("/readyz").json()["parts"]["models"] == "failed"


@pytest.mark.django_db
def test_a_model_server_that_hangs_is_not_waited_for(client, portal, silent):
    portal.MODEL_SERVER, portal.MODEL_SECONDS = silent, 300.0
    started = time.monotonic()
    response = client.get("/readyz")
    # Who asks waits for 5 or 10 seconds.
    assert time.monotonic() - started < 10
    parts = response.json()["parts"]
    assert response.status_code == 503
    assert parts["models"] in ("failed", "late")
    # Late where the machine is busy.
    assert parts["database"] in ("ok", "late")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_neither_https_nor_the_name(client, served, path):
    served.SECURE_SSL_REDIRECT, served.ALLOWED_HOSTS = True, ["portal.example"]
    assert client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/privacy/", headers={"host": "10.1.2.3:8000"}).status_code == 400


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_are_questions_only(client, portal, path):
    assert client.post(path).status_code == 404


ASK = """
import json, sys, time, django
django.setup()
from django.test import Client
found = []
for path in ("/healthz", *["/readyz"] * int(sys.argv[1])):
    start = time.monotonic()
    response = Client().get(path)
    found.append([response.status_code, response.content.decode(), time.monotonic() - start])
print(json.dumps(found))
"""


@pytest.mark.parametrize("hangs", [True, False])
def test_a_database_that_does_not_answer(silent, tmp_path, hangs):
    address = silent if hangs else "127.0.0.1:1"
    environment = {
        "DJANGO_SETTINGS_MODULE": "serving.portal.settings",
        "DATABASE_URL": f"postgres://someone:hidden@{address}/portal",
        "PORTAL_MODEL_SERVER": "127.0.0.1:1",
        "PORTAL_DATA": str(tmp_path),
        "PORTAL_SECRET_KEY": "of-this-test-" * 5,
        "PYTHONPATH": str(PROJECT),
    }
    # More than twice, the hanging one has lost its patience. The first answer of a busy machine may be late.
    command = [sys.executable, "-c", ASK, "2" if hangs else "4"]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    health, *readiness = json.loads(done.stdout)
    assert health[:2] == [200, "ok"]
    told = [json.loads(body)["parts"]["database"] for _, body, _ in readiness]
    assert told[-1] == ("late" if hangs else "failed")
    assert set(told) <= {"late", told[-1]}
    for code, _, seconds in readiness:
        assert code == 503
        # PostgreSQL's own patience is five seconds.
        assert seconds < 5
    assert "hidden" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_thread_that_cannot_be_started_is_no_answer_for_ever(monkeypatch):
    from serving.portal.operations.asking import Question

    def full(_):
        raise RuntimeError("can't start new thread")

    question = Question(lambda: "answer")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        assert isinstance(question.ask().exception(1), RuntimeError)
    assert question.ask().result(10) == "answer"


def test_askers_at_the_same_time_tell_the_log_once(monkeypatch, caplog):
    from serving.portal.operations import probes

    class Slow(dict):
        def get(self, name):
            before = super().get(name)
            time.sleep(0.05)
            return before

    monkeypatch.setattr(probes, "_last", Slow())
    answer = Future()
    answer.set_exception(LookupError())
    caplog.set_level("INFO", "portal.probes")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: probes._told("models", answer), range(8))) == {"failed"}
    assert [record.getMessage() for record in caplog.records] == ["models: failed (LookupError)"]
