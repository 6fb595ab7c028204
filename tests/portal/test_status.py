"""The page for people who run the portal, with a real MLflow store."""

import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import wait

import pytest
from model_servers import PROJECT, wait_until

from serving.portal.operations.asking import Question

VERSION = 3
MODELS = ("Detection", "Verification", "Gender", "Age", "Emotion", "Synthesis")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The store, and the runs of the served version by model."""
    folder = tmp_path_factory.mktemp("mlflow")
    command = [sys.executable, str(PROJECT / "tests" / "portal_mlflow.py"), str(folder / "mlflow.db")]
    done = subprocess.run(
        [*command, "/another/place/models", str(VERSION)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    lines = [line.split() for line in done.stdout.splitlines() if re.match(r"(emotion|age) \d ", line)]
    runs = {model: (experiment, run) for model, version, experiment, run in lines if int(version) == VERSION}
    return f"sqlite:///{folder / 'mlflow.db'}", runs


@pytest.fixture
def forgetful():
    """Nothing is remembered of what MLflow said in another test."""
    from serving.portal.operations import figures

    figures._question.cache_clear()
    return figures


def rows(page: str) -> dict[str, str]:
    """The rows of the table by model, as text."""
    body = re.search(r"<tbody>(.*)</tbody>", page, re.DOTALL)[1]
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL):
        title = re.search(r'<th scope="row">(.*?)</th>', row)[1]
        found[title] = " ".join(re.sub(r"<[^>]*>", " ", row).split())
    return found


def test_all_of_it(client, served, store, forgetful):
    uri, runs = store
    served.MLFLOW_URI, served.DASHBOARD = uri, "https://mlflow.example/"
    page = client.get("/status/")
    assert page.status_code == 200
    # Where the machine is busy, MLflow takes longer than the page waits.
    wait_until(lambda: "not answered yet" not in client.get("/status/").content.decode(), 90)
    text = client.get("/status/").content.decode()
    found = rows(text)
    assert tuple(found) == MODELS
    assert all(f"{VERSION} serves real pictures" in row for row in found.values())
    assert "yes, champion accuracy 0.625 3ababababab" in found["Emotion"]
    assert "macro F1" not in found["Emotion"]  # it is no number
    assert "yes mean error in years 7.250 3ababababab" in found["Age"]
    assert "champion" not in found["Age"]
    for model in ("emotion", "age"):
        experiment, run = runs[model]
        assert f'href="https://mlflow.example/#/experiments/{experiment}/runs/{run}"' in text
    assert "does not answer" not in text
    assert "style=" not in text
    # The answer is kept, and no other process was needed for it.
    started = time.monotonic()
    assert rows(client.get("/status/").content.decode()) == found
    assert time.monotonic() - started < 2.0
    # Without a dashboard, the run is named.
    served.DASHBOARD = ""
    text = client.get("/status/").content.decode()
    assert runs["age"][1] in text
    assert "/runs/" not in text


def test_mlflow_is_dead(client, served, forgetful):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        served.MLFLOW_URI = f"http://someone:s3cr3t-name@127.0.0.1:{probe.getsockname()[1]}"
        served.DASHBOARD = ""
        text = client.get("/status/").content.decode()
    assert "MLflow does not answer." in text or "MLflow has not answered yet" in text
    assert len([row for row in rows(text).values() if "serves" in row]) == 6
    assert "s3cr3t-name" not in text


def test_mlflow_is_not_waited_for(served, forgetful, store):
    versions = [_version("emotion")]
    started = time.monotonic()
    answer = forgetful.find(store[0], versions, seconds=0.05)
    assert time.monotonic() - started < 3.0
    assert (answer.figures, answer.problem[:28]) == ({}, "MLflow has not answered yet.")
    # What was asked goes on, and is there for who asks again.
    later = forgetful.find(store[0], versions, seconds=60.0)
    assert later.figures["emotion", VERSION].metrics["evaluation/split_test/accuracy"] == 0.625


def _version(model: str):
    from serving.portal.operations.states import Version

    return Version(model, VERSION, "serves", source="real")


def test_no_store_is_made(client, served, tmp_path, forgetful):
    served.MLFLOW_URI = f"sqlite:///{tmp_path / 'none.db'}"
    assert "There is no MLflow store" in client.get("/status/").content.decode()
    assert list(tmp_path.glob("none*")) == []


def test_the_model_server_is_dead(client, portal, tmp_path, forgetful):
    portal.MLFLOW_URI = f"sqlite:///{tmp_path / 'none.db'}"
    page = client.get("/status/")
    assert page.status_code == 200
    text = page.content.decode()
    assert "The model server does not answer." in text
    assert all(f"{VERSION} not known" in row for row in rows(text).values())


def test_nothing_was_ever_pushed(client, served, tmp_path, forgetful):
    # The server has models that this workspace does not: what is known of them is shown.
    served.HOME = tmp_path
    served.MLFLOW_URI = f"sqlite:///{tmp_path / 'none.db'}"
    found = rows(client.get("/status/").content.decode())
    assert re.sub("[^A-Za-z0-9]+", " ", found["Age"]).strip() == "Age 3 serves"


# ---- questions


def test_one_thread_asks_for_all():
    go, asked = threading.Event(), []

    def ask() -> int:
        asked.append(1)
        go.wait(10)
        return 7

    question = Question(ask, keep_seconds=60.0)
    answers = [question.ask() for _ in range(5)]
    assert not wait(answers, timeout=0.05).done
    go.set()
    assert [answer.result(10) for answer in answers] == [7] * 5
    assert question.ask().result(10) == 7
    assert len(asked) == 1


def test_answers_end_and_failures_are_asked_again():
    asked = []

    def ask() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise OSError
        return len(asked)

    question = Question(ask, keep_seconds=0.2)
    assert isinstance(question.ask().exception(10), OSError)
    assert question.ask().result(10) == 2
    assert question.ask().result(10) == 2
    time.sleep(0.25)
    assert question.ask().result(10) == 3
