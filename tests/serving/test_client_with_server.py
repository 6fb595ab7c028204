"""The client and the project's model server, together."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import task_models
from google.protobuf import text_format
from model_servers import Server, model_server, wait_until

from serving.client import (
    AgeEstimate,
    Classification,
    Client,
    Code,
    InvalidArgument,
    NotFound,
    ServerError,
    TensorSpec,
    Verification,
)
from serving.wire import wire_pb2

IMAGES = [b"\xff\xd8", b"\x89PNG\0", b"x"]


def config_of(root: Path, *tasks: str) -> str:
    """Both versions of age, labelled, and what else there is."""
    every = 'model_version_policy { all {} } version_labels { key: "stable" value: 1 }'
    configs = [
        f'config {{ name: "{task}" base_path: "{root / task}" model_platform: "tensorflow"'
        f" {every if task == 'age' else ''} }}"
        for task in tasks
    ]
    return f"model_config_list {{ {' '.join(configs)} }}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tasks")
    for task in task_models.TASKS:
        task_models.save(task, root / task, 1)
    task_models.save("age", root / "age", 2)
    return root


@pytest.fixture(scope="module")
def served(models: Path) -> Iterator[Server]:
    config = models / "models.config"
    config.write_text(config_of(models, *task_models.TASKS))
    with model_server(f"--model_config_file={config}") as running, Client(running.address) as client:
        for task in task_models.TASKS:
            client.wait_until_available(task)
        yield running


@pytest.fixture(params=["grpc", "rest"])
def client(request: pytest.FixtureRequest, served: Server) -> Iterator[Client]:
    target = served.address if request.param == "grpc" else served.url
    with Client(target, transport=request.param) as client:
        yield client


def test_tasks(client: Client) -> None:
    found = client.detect(IMAGES)
    assert [len(detection.faces) for detection in found] == [2, 3, 1]
    second = found[0].faces[1]
    assert (second.box, second.score, second.keypoints[4]) == (
        (4 / 16, 5 / 16, 6 / 16, 7 / 16),
        0.5,
        (18 / 32, 19 / 32),
    )
    assert client.verify([(b"aa", b"bb"), (b"a" * 9, b"b")]) == [
        Verification(0.0, 0.0, True, 0.5),
        Verification(1.0, 2.0, False, 0.5),
    ]
    np.testing.assert_allclose(client.embed(IMAGES), [[0.2, 2, -2], [0.5, 5, -5], [0.1, 1, -1]])
    scores = {"female": pytest.approx(0.1), "male": pytest.approx(0.7)}
    assert client.gender([b"123"]) == [Classification("male", pytest.approx(0.7), scores)]
    assert [emotion.label for emotion in client.emotion(IMAGES)] == ["sad", "sad", "happy"]
    (estimate,) = client.age([b"12345"])
    assert estimate == AgeEstimate(5.0, 0.0, 10.0, estimate.probabilities)
    assert client.generate(-3, 2) == [b"\x89PNG\0-3 0", b"\x89PNG\0-3 1"]
    assert client.generate_from(np.ones((2, 100))) == [b"\x89PNG\x00100"] * 2


def test_transports_agree(served: Server) -> None:
    calls: list[Callable[[Client], Any]] = [
        lambda client: client.detect(IMAGES),
        lambda client: client.verify([(b"a", b"bcd")]),
        lambda client: client.emotion(IMAGES),
        lambda client: client.age(IMAGES),
        lambda client: client.generate(5, 3),
        lambda client: client.status("age"),
        lambda client: client.metadata("verification"),
        lambda client: client.metadata("synthesis"),
    ]
    with Client(served.address) as one, Client.rest(served.url) as other:
        for call in calls:
            assert call(one) == call(other)


def test_versions_and_labels(served: Server, client: Client) -> None:
    assert client.age(IMAGES, version=2)[0].model_version == 2
    assert client.age(IMAGES, label="stable")[0].age == 2
    with Client(served.address) as by_grpc:
        assert by_grpc.age(IMAGES)[0].model_version == 2
        assert by_grpc.age(IMAGES, label="stable")[0].model_version == 1
    with pytest.raises(NotFound, match=r"Specific\(age, 9\)"):
        client.age(IMAGES, version=9)
    with pytest.raises(InvalidArgument, match="Unrecognized servable version label: best"):
        client.age(IMAGES, label="best")


def test_status_and_metadata(client: Client) -> None:
    assert [(status.version, status.state) for status in client.status("age")] == [
        (2, "AVAILABLE"),
        (1, "AVAILABLE"),
    ]
    assert client.wait_until_available("age", timeout=60) == 2
    sample = client.metadata("synthesis")["sample"]
    assert sample.inputs == {"seed": TensorSpec("int64", ()), "count": TensorSpec("int32", ())}


def test_refusals(client: Client) -> None:
    with pytest.raises(NotFound, match="Servable not found"):
        client.predict("nobody", {"x": np.ones(1)})
    with pytest.raises(NotFound):
        client.status("nobody")
    with pytest.raises(ServerError, match="nonsense") as caught:
        client.predict("age", {"image_bytes": np.array(["x"])}, signature="nonsense")
    assert caught.value.code in (Code.FAILED_PRECONDITION, Code.INVALID_ARGUMENT)
    with pytest.raises(InvalidArgument):
        client.predict("age", {"pictures": np.array(["x"])})
    with pytest.raises(InvalidArgument):
        client.predict("age", {"image_bytes": np.array(["x"])}, outputs=["weight"])


def test_configuration_is_replaced(served: Server, models: Path) -> None:
    def config(*tasks: str) -> wire_pb2.ModelServerConfig:
        return text_format.Parse(config_of(models, *tasks), wire_pb2.ModelServerConfig())

    with Client(served.address, timeout=60) as client:
        client.reload_config(config("age"))
        try:
            assert client.age(IMAGES)[0].age == 2
            with pytest.raises(NotFound):
                client.gender(IMAGES)
            for task in set(task_models.TASKS) - {"age"}:
                wait_until(lambda task=task: client.status(task)[0].state == "END", seconds=120)
            twice = config("age", "age")
            with pytest.raises(InvalidArgument, match="age"):
                client.reload_config(twice)
        finally:
            client.reload_config(config(*task_models.TASKS))
        client.wait_until_available("gender")
        assert client.gender(IMAGES)[0].label == "female"
