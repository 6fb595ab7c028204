"""The page for people who run the portal, with a real MLflow store."""

import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from types import SimpleNamespace

import pytest
from model_servers import PROJECT, wait_until
from portal_browser import chrome, count, find, needs_chromium
from portal_server import portal_server
from selenium.webdriver.common.by import By

from serving.portal.operations import asking
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


def read(client) -> str:
    page = client.get("/status/")
    assert page.status_code == 200
    return page.content.decode()


def test_all_of_it(client, served, store, forgetful, monkeypatch):
    uri, runs = store
    served.MLFLOW_URI, served.DASHBOARD = uri, "https://mlflow.example/"
    page = read(client)
    assert "are being read" in page
    # What is known without MLflow is there at once.
    assert all(f"{VERSION} serves real pictures" in row for row in rows(page).values())
    wait_until(lambda: "are being read" not in read(client), 180)
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
    # The answer is kept, and no other process is needed for it.
    monkeypatch.setattr(forgetful, "_ask", None)
    assert rows(client.get("/status/").content.decode()) == found
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
        wait_until(lambda: "are being read" not in read(client), 90)
        text = read(client)
    assert "MLflow does not answer." in text
    assert "data-waiting" not in text
    assert len([row for row in rows(text).values() if "serves" in row]) == 6
    assert "s3cr3t-name" not in text


def test_mlflow_is_not_waited_for(served, forgetful, store, monkeypatch):
    go, ask = threading.Event(), forgetful._ask
    monkeypatch.setattr(forgetful, "_ask", lambda *asked: go.wait(120) and ask(*asked))
    versions = [_version("emotion")]
    started = time.monotonic()
    answer = forgetful.find(store[0], versions)
    assert time.monotonic() - started < 30
    assert (answer.figures, answer.problem, answer.waiting) == ({}, "", True)
    # What was asked goes on, and is there for who asks again.
    go.set()
    wait_until(lambda: not forgetful.find(store[0], versions).waiting, 180)
    later = forgetful.find(store[0], versions)
    assert later.figures["emotion", VERSION].metrics["evaluation/split_test/accuracy"] == 0.625


def _version(model: str):
    from serving.portal.operations.states import Version

    return Version(model, VERSION, "serves", source="real")


@needs_chromium
@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_figures_come_to_a_page_that_is_open(models, workspace, store, tmp_path, scripts):
    uri, runs = store
    variables = {"HEXAFACE_HOME": str(workspace), "MLFLOW_TRACKING_URI": uri}
    with portal_server(tmp_path, models.address, **variables) as portal:
        browser = chrome(tmp_path / "profile", scripts=scripts)
        try:
            browser.get(f"{portal.url}/status/")
            table = find(browser, "table.status")
            if scripts:
                wait_until(lambda: "accuracy 0.625" in table.text, 180)
            else:
                # Where scripts run, a busy machine may look too late to see that; they tell that it was so.
                assert "accuracy" not in table.text
                wait_until(lambda: _looked_again(browser), 180)
                table = find(browser, "table.status")
                assert "accuracy 0.625" in table.text
            assert runs["age"][1][:8] in table.text
            assert count(browser, "#figures") == 0
            said = find(browser, "#announcement").get_attribute("textContent")
            assert said == ("The figures are here." if scripts else "")
            assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
        finally:
            browser.quit()


def _looked_again(browser) -> bool:
    """Follows the link to look again; tells whether there is none any more."""
    links = browser.find_elements(By.CSS_SELECTOR, "#figures[data-waiting] a")
    for link in links:
        link.click()
        time.sleep(0.5)
    return not links


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
        go.wait(120)
        return 7

    question = Question(ask, keep_seconds=60.0)
    answers = [question.ask() for _ in range(5)]
    assert not wait(answers, timeout=0.05).done
    go.set()
    assert [answer.result(60) for answer in answers] == [7] * 5
    assert question.ask().result(60) == 7
    assert len(asked) == 1


def test_answers_end_and_failures_are_asked_again(monkeypatch):
    asked, now = [], [100.0]
    monkeypatch.setattr(asking, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def ask() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise OSError
        return len(asked)

    question = Question(ask, keep_seconds=20.0)
    assert isinstance(question.ask().exception(60), OSError)
    assert question.ask().result(60) == 2
    now[0] += 19.0
    assert question.ask().result(60) == 2
    now[0] += 1.0
    assert question.ask().result(60) == 3


def test_old_figures_stay_until_new_ones_are_here(served, forgetful, store, monkeypatch):
    versions = [_version("emotion")]
    wait_until(lambda: forgetful.find(store[0], versions).figures, 180)
    old = forgetful.find(store[0], versions).figures
    question = forgetful._question(store[0], (("emotion", VERSION, ("emotion",)),))
    assert question.latest
    # Its time is over, and MLflow takes its time, and then is dead.
    go = threading.Event()

    def dead(*asked: object) -> None:
        go.wait(120)
        raise OSError

    monkeypatch.setattr(forgetful, "_ask", dead)
    question._until = 0.0
    answer = forgetful.find(store[0], versions)
    assert (answer.figures, answer.problem, answer.waiting) == (old, "", False)
    go.set()
    wait_until(lambda: forgetful.find(store[0], versions).problem, 60)
    assert forgetful.find(store[0], versions) == forgetful.Answer(old, "MLflow does not answer.")


def test_a_failure_is_there_for_who_did_not_wait(monkeypatch):
    asked, now = [], [100.0]
    monkeypatch.setattr(asking, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def ask() -> None:
        asked.append(1)
        raise OSError

    question = Question(ask, rest_seconds=20.0)
    for _ in range(3):
        assert isinstance(question.ask().exception(60), OSError)
    assert len(asked) == 1
    now[0] += 20.0
    assert isinstance(question.ask().exception(60), OSError)
    assert len(asked) == 2
