"""Gender, age and verification as the pipelines pushed them, asked at the model server."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from face_pictures import held_back
from model_servers import Server, model_server
from people_runs import PeopleRun
from serving_requests import model_config
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from components.face_example_gen import to_example
from components.readers.record import FaceRecord
from data_validation.labels import GENDERS
from serving.client import AgeEstimate, Classification, Client, InvalidArgument

pytestmark = pytest.mark.e2e

SCORES = 1e-5
YEARS = 1e-3


@pytest.fixture(scope="module")
def faces(people_samples: Path) -> list[FaceRecord]:
    return held_back(people_samples, "age")[:12]


@pytest.fixture(scope="module")
def images(faces: list[FaceRecord]) -> list[bytes]:
    return [face.image for face in faces]


@pytest.fixture(scope="module")
def served(
    gender_run: PeopleRun,
    age_run: PeopleRun,
    verification_run: PeopleRun,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    config = tmp_path_factory.mktemp("served") / "models.config"
    runs = {"gender": gender_run, "age": age_run, "verification": verification_run}
    config.write_text(
        model_config(**{name: f'base_path: "{run.pushed.parent}"' for name, run in runs.items()})
    )
    with model_server(f"--model_config_file={config}") as running, Client(running.address) as client:
        for name, run in runs.items():
            assert client.wait_until_available(name) == int(run.pushed.name)
        yield running


@pytest.fixture(params=["grpc", "rest"])
def client(request: pytest.FixtureRequest, served: Server) -> Iterator[Client]:
    target = served.address if request.param == "grpc" else served.url
    with Client(target, transport=request.param) as client:
        yield client


def direct(run: PeopleRun, images: list[bytes]) -> dict[str, np.ndarray]:
    """What the SavedModel answers without a server."""
    model = tf.saved_model.load(str(run.pushed))
    answer = model.signatures["serving_default"](image_bytes=tf.constant(images))
    return {name: value.numpy() for name, value in answer.items()}


@pytest.fixture(scope="module")
def genders(gender_run: PeopleRun, images: list[bytes]) -> np.ndarray:
    return direct(gender_run, images)["scores"]


@pytest.fixture(scope="module")
def ages(age_run: PeopleRun, images: list[bytes]) -> dict[str, np.ndarray]:
    return direct(age_run, images)


def score_table(answers: list[Classification]) -> np.ndarray:
    assert all(tuple(answer.scores) == GENDERS for answer in answers)
    return np.array([list(answer.scores.values()) for answer in answers])


def age_table(answers: list[AgeEstimate]) -> np.ndarray:
    return np.array([[answer.age, answer.low, answer.high] for answer in answers])


def test_gender_is_that_of_the_saved_model(client: Client, images: list[bytes], genders: np.ndarray) -> None:
    answers = client.gender(images)
    np.testing.assert_allclose(score_table(answers), genders, rtol=0, atol=SCORES)
    assert [answer.label for answer in answers] == [GENDERS[best] for best in genders.argmax(axis=1)]


def test_age_is_that_of_the_saved_model(
    client: Client, images: list[bytes], ages: dict[str, np.ndarray]
) -> None:
    answers = client.age(images)
    expected = np.stack([ages["age"], ages["age_low"], ages["age_high"]], axis=1)
    np.testing.assert_allclose(age_table(answers), expected, rtol=0, atol=YEARS)
    probabilities = np.stack([answer.probabilities for answer in answers])
    np.testing.assert_allclose(probabilities, ages["probabilities"], rtol=0, atol=SCORES)


def test_distances_are_those_of_the_embeddings(client: Client, images: list[bytes]) -> None:
    pairs = list(zip(images, images[1:] + images[:1], strict=True))
    answers = client.verify([*pairs, (images[0], images[0])])
    # Not to the last bit: the two towers may round differently.
    assert answers[-1].cosine_distance == pytest.approx(0.0, abs=SCORES)
    assert answers[-1].euclidean_distance == pytest.approx(0.0, abs=SCORES)
    assert answers[-1].is_match
    embeddings = client.embed(images)
    expected = 1.0 - (embeddings * np.roll(embeddings, -1, axis=0)).sum(axis=1)
    found = np.array([answer.cosine_distance for answer in answers[:-1]])
    np.testing.assert_allclose(found, expected, rtol=0, atol=SCORES)
    assert [answer.is_match for answer in answers] == [
        answer.cosine_distance <= answer.threshold for answer in answers
    ]


def test_batch_equals_single(client: Client, images: list[bytes]) -> None:
    np.testing.assert_allclose(
        score_table([client.gender([image])[0] for image in images]),
        score_table(client.gender(images)),
        rtol=0,
        atol=SCORES,
    )
    np.testing.assert_allclose(
        age_table([client.age([image])[0] for image in images]),
        age_table(client.age(images)),
        rtol=0,
        atol=YEARS,
    )


def test_junk_is_refused_and_the_server_goes_on(client: Client, images: list[bytes]) -> None:
    for ask in (client.gender, client.age, client.embed):
        with pytest.raises(InvalidArgument):
            ask([b"not an image"])
        assert len(ask(images[:1])) == 1


def test_metadata_names_the_signatures(client: Client) -> None:
    for task, outputs in (
        ("gender", {"classes", "scores"}),
        ("age", {"age", "age_low", "age_high", "probabilities"}),
    ):
        signatures = client.metadata(task)
        assert {"serving_default", "pixels", "serve_examples", "examples"} <= set(signatures)
        assert set(signatures["serving_default"].outputs) == outputs
    assert set(client.metadata("age")["serve_examples"].outputs) == {"outputs"}


def examples_input(faces: list[FaceRecord]) -> input_pb2.Input:
    request_input = input_pb2.Input()
    for face in faces:
        request_input.example_list.examples.add().ParseFromString(to_example(face).SerializeToString())
    return request_input


def test_classify_takes_examples(served: Server, faces: list[FaceRecord], genders: np.ndarray) -> None:
    request = classification_pb2.ClassificationRequest(input=examples_input(faces))
    request.model_spec.name, request.model_spec.signature_name = "gender", "serve_examples"
    response = served.predictions.Classify(request, timeout=20)
    answers = [{one.label: one.score for one in item.classes} for item in response.result.classifications]
    assert [tuple(answer) for answer in answers] == [GENDERS] * len(faces)
    found = np.array([list(answer.values()) for answer in answers])
    np.testing.assert_allclose(found, genders, rtol=0, atol=SCORES)


def test_regress_takes_examples(served: Server, faces: list[FaceRecord], ages: dict[str, np.ndarray]) -> None:
    request = regression_pb2.RegressionRequest(input=examples_input(faces))
    request.model_spec.name, request.model_spec.signature_name = "age", "serve_examples"
    response = served.predictions.Regress(request, timeout=20)
    found = [item.value for item in response.result.regressions]
    np.testing.assert_allclose(found, ages["age"], rtol=0, atol=YEARS)
