"""Model servers that are down, slow, full or wrong: people are told, pictures are kept, and it passes."""

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import fake_model_server
import grpc
import numpy as np
import portal_models
import pytest
import requests
from model_servers import Server, free_port, launch, wait_until
from portal_pictures import encoded
from portal_server import Portal, Visitor, portal_server

from serving.portal.assessment.assessor import AT_ONCE
from serving.portal.web.errors import RETRY_SECONDS
from serving.rollout import refresh
from serving.rollout.model_config import workspace_roots

DOWN = "The models do not answer right now. Your picture is kept; please try again in a moment."
DOWN_WITHOUT = "The models do not answer right now. Please try again in a moment."
BUSY = "Too much is being asked right now. Please try again in a moment."
MISSING = " model here. If it does not come soon, those who run this portal can make one (hexaface run "
SECONDS = 10.0
LONG = 60.0


def assert_unavailable(answer: requests.Response, sentence: str = DOWN) -> None:
    assert answer.status_code == 503, answer.text
    assert sentence in answer.text
    assert answer.headers["Retry-After"] == str(RETRY_SECONDS)
    for secret in ("Traceback", "grpc", "127.0.0.1:", "UNAVAILABLE", "StatusCode"):
        assert secret not in answer.text


@pytest.fixture
def fake(tmp_path) -> Iterator[fake_model_server.Fake]:
    with fake_model_server.serve(str(tmp_path / "socket")) as server:
        yield server


@pytest.fixture
def before_fake(fake, tmp_path) -> Iterator[Portal]:
    """A portal on a model server that does as it is told."""
    with portal_server(tmp_path, fake.grpc_target, PORTAL_MODEL_SECONDS=str(SECONDS)) as portal:
        yield portal
        assert "Traceback" not in portal.log


def serve(workspace, port: int, *flags: str) -> Server:
    config, _ = refresh(workspace_roots(workspace))
    return launch(f"--model_config_file={config}", *flags, port=port).wait_until_running()


def end(server: Server) -> None:
    server.channel.close()
    server.process.kill()
    server.process.wait()


# ---- down


def test_a_server_that_comes_goes_and_comes_back(workspace, tmp_path):
    port = free_port()
    with portal_server(tmp_path, f"127.0.0.1:{port}", PORTAL_MODEL_SECONDS=str(LONG)) as portal:
        visitor = Visitor(portal)
        # Not there yet: what was sent is kept.
        result = visitor.upload(encoded(), "gender")
        first = visitor.get(result)
        assert_unavailable(first)
        assert "<html" in first.text
        assert f'href="{result}"' in first.text  # to try again
        assert visitor.shown(result).status_code == 200
        fragment = visitor.get(result, fragment=True)
        assert_unavailable(fragment)
        assert "<html" not in fragment.text
        assert_unavailable(visitor.get("/synthesis/?count=4&seed=1"), DOWN_WITHOUT)
        pair = visitor.send("verification", first=encoded(), second=encoded()).headers["Location"]
        assert_unavailable(visitor.get(pair))

        server = serve(workspace, port)
        try:
            _answers_again(visitor, result)
            assert "The same person" in visitor.get(pair).text
            assert visitor.get("/synthesis/?count=4&seed=1").status_code == 200
        finally:
            end(server)

        # Killed: the same again, at once and not after the deadline.
        gone = visitor.get(result)
        assert_unavailable(gone)
        assert gone.elapsed.total_seconds() < LONG / 2

        server = serve(workspace, port)
        try:
            _answers_again(visitor, result)
        finally:
            end(server)
        assert "Traceback" not in portal.log
        assert result not in portal.log


def _answers_again(visitor: Visitor, result: str, words: str = 'class="said">female<') -> None:
    """The address answers, without a restart; how soon, tests/serving/test_reconnect.py tells."""
    wait_until(lambda: visitor.get(result).status_code == 200, 120)
    assert words in visitor.get(result).text


def test_a_server_that_ends_in_the_middle_of_an_answer(workspace, tmp_path):
    """Its port is closed while requests are on their way: no request hangs or fails otherwise."""
    port = free_port()
    server = serve(workspace, port)
    with portal_server(tmp_path, f"127.0.0.1:{port}", PORTAL_MODEL_SECONDS="30") as portal:
        visitors = [Visitor(portal) for _ in range(4)]
        results = [visitor.upload(encoded(), "everything") for visitor in visitors]
        codes: list[int] = []
        killed = threading.Event()

        def ask(visitor: Visitor, result: str) -> None:
            after = 0
            while after < 2:
                after += killed.is_set()
                codes.append(visitor.get(result).status_code)

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, *each) for each in zip(visitors, results, strict=True)]
            wait_until(lambda: codes.count(200) >= 4, 120)
            end(server)
            killed.set()
            for each in asked:
                each.result(120)
        assert set(codes) == {200, 503}
        assert "Traceback" not in portal.log


# ---- slow


def test_slow_models_do_not_hold_up_pages(before_fake, fake):
    """As many assessments hang as may; others are told that it is busy, and pages answer as ever."""
    visitors = [Visitor(before_fake) for _ in range(AT_ONCE + 2)]
    sent = [(visitor, visitor.upload(encoded())) for visitor in visitors]
    other = Visitor(before_fake)
    other.token()
    fake.delay = SECONDS + 1
    with ThreadPoolExecutor(len(sent)) as pool:
        asked = [pool.submit(visitor.get, result) for visitor, result in sent]
        wait_until(lambda: sum(each.done() for each in asked) == 2, SECONDS)
        early = [each.result() for each in asked if each.done()]
        pages = [other.get(path) for path in ("/", "/privacy/", "/gender/", "/", "/privacy/")]
        place = other.upload(encoded())
        assert other.shown(place).status_code == 200
        # All of that while the others hang.
        assert sum(not each.done() for each in asked) == AT_ONCE
        late = [each.result() for each in asked if each.result() not in early]
    assert [page.status_code for page in pages] == [200] * 5
    for answer in early:
        assert_unavailable(answer, BUSY)
    for answer in late:
        assert_unavailable(answer)
        assert answer.elapsed.total_seconds() > SECONDS - 0.5
    fake.delay = 0.0
    wait_until(lambda: other.get(place).status_code == 200, 120)
    assert [visitor.get(result).status_code for visitor, result in sent] == [200] * len(sent)


# ---- errors


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("INTERNAL", DOWN),
        ("INVALID_ARGUMENT", DOWN),
        ("NOT_FOUND", MISSING),
        ("FAILED_PRECONDITION", DOWN),
        ("UNKNOWN", DOWN),
        ("RESOURCE_EXHAUSTED", BUSY),
    ],
    ids=lambda value: value if value.isupper() else "",
)
@pytest.mark.parametrize("place", [0, 1], ids=["detection", "gender"])
def test_errors_of_a_model(before_fake_shared, shared_fake, code, sentence, place):
    visitor = Visitor(before_fake_shared)
    result = visitor.upload(encoded(), "gender")
    # The name of a person's file could stand in it.
    shared_fake.failures = [None] * place + [(getattr(grpc.StatusCode, code), "secret of the server")]
    answer = visitor.get(result)
    assert_unavailable(answer, sentence)
    assert "secret" not in answer.text + before_fake_shared.log
    assert visitor.get(result).status_code == 200
    assert "Traceback" not in before_fake_shared.log


def _nowhere(answer) -> None:
    for name in ("detection_boxes", "detection_keypoints", "detection_scores"):
        if name in answer.outputs:
            _fill(answer.outputs[name], math.nan)


def _one_point(answer) -> None:
    if "detection_keypoints" in answer.outputs:
        _fill(answer.outputs["detection_keypoints"], 0.5)


def _no_outputs(answer) -> None:
    answer.outputs.clear()


def _fill(tensor, value: float) -> None:
    tensor.tensor_content = np.full_like(np.frombuffer(tensor.tensor_content, np.float32), value).tobytes()


@pytest.mark.parametrize("change", [_nowhere, _one_point, _no_outputs])
@pytest.mark.parametrize("page", ["detection", "everything"])
def test_answers_that_are_none(before_fake_shared, shared_fake, change, page):
    visitor = Visitor(before_fake_shared)
    result = visitor.upload(encoded(), page)
    shared_fake.change = change
    answer = visitor.get(result)
    shared_fake.change = None
    if change is _one_point:
        # Where a face is can be shown, and it can be cut out, whatever its points are.
        assert answer.status_code == 200
        assert ("cut out by its box" in answer.text) is (page == "everything")
    else:
        assert_unavailable(answer)
    assert visitor.get(result).status_code == 200
    assert "Traceback" not in before_fake_shared.log


@pytest.fixture(scope="module")
def shared_fake(tmp_path_factory) -> Iterator[fake_model_server.Fake]:
    with fake_model_server.serve(str(tmp_path_factory.mktemp("fake") / "socket")) as server:
        yield server


@pytest.fixture(scope="module")
def before_fake_shared(shared_fake, tmp_path_factory) -> Iterator[Portal]:
    with portal_server(tmp_path_factory.mktemp("portal"), shared_fake.grpc_target) as portal:
        yield portal


# ---- missing, full


def test_a_workspace_without_all_models(tmp_path):
    """What needs a model that is missing says so; what does not works."""
    for task in ("detection", "gender", "synthesis"):
        portal_models.save(task, tmp_path / "models" / task, 1)
    port = free_port()
    server = serve(tmp_path, port)
    try:
        with portal_server(tmp_path / "run", f"127.0.0.1:{port}") as portal:
            visitor = Visitor(portal)
            assert 'class="said">female<' in visitor.get(visitor.upload(encoded(), "gender")).text
            age = visitor.upload(encoded(), "age")
            assert_unavailable(visitor.get(age), "There is no age model here.")
            portal_models.save("age", tmp_path / "models" / "age", 1)
            end(server)
            server = serve(tmp_path, port)
            _answers_again(visitor, age, "35 years")
    finally:
        end(server)


def test_a_server_whose_queue_is_full(workspace, tmp_path):
    port = free_port()
    server = serve(workspace, port, "--max_concurrent_requests=1")
    try:
        with portal_server(tmp_path, f"127.0.0.1:{port}") as portal:
            visitors = [Visitor(portal) for _ in range(6)]
            results = [visitor.upload(encoded(size=(1900, 1900)), "everything") for visitor in visitors]
            refused: list[requests.Response] = []
            with ThreadPoolExecutor(6) as pool:
                for _ in range(10):
                    answers = pool.map(lambda each: each[0].get(each[1]), zip(visitors, results, strict=True))
                    refused = [answer for answer in answers if answer.status_code != 200]
                    if refused:
                        break
            assert refused
            for answer in refused:
                assert_unavailable(answer, BUSY)
            assert {
                visitor.get(result).status_code for visitor, result in zip(visitors, results, strict=True)
            } == {200}
            assert "Traceback" not in portal.log
    finally:
        end(server)
