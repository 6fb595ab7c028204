"""How the exported age model behaves, whatever its accuracy."""

import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from face_pictures import (
    JUNK,
    example_of,
    held_back,
    learned_by_heart,
    pixels,
    png,
    records,
    seen_by_training_and_serving,
)
from people_runs import EPOCHS, PeopleRun

from components.face_example_gen import to_example
from components.readers.record import FaceRecord
from pipelines import settings
from trainers import age, embedding, image_training
from trainers.imaging import decode_batch

OUTPUTS = {"age": 1, "age_low": 1, "age_high": 1, "probabilities": 2}
TOLERANCE = 1e-5
# The same of the range of 100 years.
YEARS = 1e-3
# Of the images that the embedding's trunk takes.
SIDE = 112


@pytest.fixture(scope="module")
def model(age_run: PeopleRun):
    return tf.saved_model.load(age_run.record.pushed_to)


@pytest.fixture(scope="module")
def faces(people_samples: Path) -> list[FaceRecord]:
    return held_back(people_samples, "age")


def answer(model, images: list[bytes]) -> dict[str, np.ndarray]:
    found = model.signatures["serving_default"](image_bytes=tf.constant(images))
    return {name: value.numpy() for name, value in found.items()}


def assert_alike(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], years: float = YEARS) -> None:
    assert found.keys() == expected.keys() == OUTPUTS.keys()
    for name in OUTPUTS:
        tolerance = TOLERANCE if name == "probabilities" else years
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.e2e
def test_signatures(model) -> None:
    assert {"serving_default", "pixels", "serve_examples", "examples"} <= set(model.signatures)
    for name in ("serving_default", "pixels"):
        outputs = model.signatures[name].structured_outputs
        assert {name: spec.shape.rank for name, spec in outputs.items()} == OUTPUTS
        assert {spec.dtype for spec in outputs.values()} == {tf.float32}
        assert outputs["probabilities"].shape[1] == 101
    (regression,) = model.signatures["serve_examples"].structured_outputs.items()
    assert (regression[0], regression[1].shape.rank, regression[1].dtype) == ("outputs", 1, tf.float32)


@pytest.mark.e2e
def test_tells_what_it_was_made_of(age_run: PeopleRun) -> None:
    about = json.loads((age_run.pushed / "assets.extra" / "about.json").read_text())
    assert about["task"] == "age"
    assert about["settings"]["train"]["epochs"] == EPOCHS["age"]
    assert len(about["data_fingerprint"]) == 64
    assert 0 < about["chosen_epoch"]["val_mae"] < 100


@pytest.mark.e2e
def test_age_is_the_expectation_and_the_interval_is_in_order(model, faces: list[FaceRecord]) -> None:
    found = answer(model, [face.image for face in faces])
    probabilities = found["probabilities"].astype(np.float64)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=TOLERANCE)
    np.testing.assert_allclose(found["age"], probabilities @ np.arange(101), rtol=0, atol=1e-3)
    assert (found["age_low"] <= found["age_high"]).all()
    for name in ("age", "age_low", "age_high"):
        assert ((found[name] >= 0) & (found[name] <= 100)).all()
    # The interval holds four fifths of the probability, but for what lies beyond the ends of its years.
    edges = np.arange(102) - 0.5
    for row, low, high in zip(probabilities, found["age_low"], found["age_high"], strict=True):
        cumulative = np.concatenate([[0.0], np.cumsum(row)])
        held = np.interp(high, edges, cumulative) - np.interp(low, edges, cumulative)
        assert held == pytest.approx(0.8, abs=0.1 if low == 0 or high == 100 else 1e-4)


@pytest.mark.e2e
def test_batch_equals_single(model, faces: list[FaceRecord]) -> None:
    images = [face.image for face in faces[:16]]
    single = [answer(model, [image]) for image in images]
    joined = {name: np.concatenate([each[name] for each in single]) for name in OUTPUTS}
    assert_alike(answer(model, images), joined)


@pytest.mark.e2e
def test_signatures_agree(model, faces: list[FaceRecord]) -> None:
    chosen = faces[:8]
    expected = answer(model, [face.image for face in chosen])
    serialized = tf.constant([to_example(face).SerializeToString() for face in chosen])
    lone = tf.constant([example_of(face.image) for face in chosen])
    for inputs in (serialized, lone):
        ages = model.signatures["serve_examples"](inputs=inputs)["outputs"].numpy()
        np.testing.assert_allclose(ages, expected["age"], rtol=0, atol=YEARS)
    (estimates,) = model.signatures["examples"](examples=serialized).values()
    columns = np.stack([expected[name] for name in ("age", "age_low", "age_high")], axis=1)
    np.testing.assert_allclose(estimates.numpy(), columns, rtol=0, atol=YEARS)
    # Pillow decodes JPEG a little otherwise than TensorFlow; as PNG the pixels are the same.
    raw = np.stack([pixels(face, "RGB") for face in chosen])
    of_pixels = {
        name: value.numpy() for name, value in model.signatures["pixels"](pixels=tf.constant(raw)).items()
    }
    as_png = answer(model, [png(image) for image in raw])
    assert_alike(of_pixels, as_png)
    np.testing.assert_allclose(as_png["age"], expected["age"], rtol=0, atol=1)


@pytest.mark.e2e
def test_training_and_serving_see_the_same_tensor(
    age_run: PeopleRun, faces: list[FaceRecord], tmp_path: Path
) -> None:
    transform = tft.TFTransformOutput(str(age_run.output("Transform", "transform_graph")))
    ages, seen, served = seen_by_training_and_serving(transform, "age", (SIDE, SIDE, 3), faces, tmp_path)
    assert ages.tolist() == [face.labels["age"] for face in faces]
    np.testing.assert_array_equal(served, seen)


Change = Callable[[np.ndarray], np.ndarray]


def change_in_years(model, faces: list[FaceRecord], change: Change) -> float:
    """Returns by how many years answers differ, on average, after a change of the pixels."""
    before = answer(model, [face.image for face in faces])["age"]
    after = answer(model, [png(change(pixels(face, "RGB"))) for face in faces])["age"]
    return float(np.abs(after - before).mean())


@pytest.mark.e2e
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_brightness_changes_answers_little(model, faces: list[FaceRecord], factor: float) -> None:
    difference = change_in_years(model, faces, lambda image: np.clip(image * factor, 0, 255).astype(np.uint8))
    assert difference < 8


@pytest.mark.e2e
@pytest.mark.parametrize("axis", [0, 1])
def test_shift_by_one_pixel_changes_answers_little(model, faces: list[FaceRecord], axis: int) -> None:
    assert change_in_years(model, faces, lambda image: np.roll(image, 1, axis)) < 8


@pytest.mark.e2e
def test_mirror_image_is_judged_alike(model, faces: list[FaceRecord]) -> None:
    """Probabilities are averaged over both, so they are equal but for rounding."""
    images = [pixels(face, "RGB") for face in faces]
    straight = answer(model, [png(image) for image in images])
    mirrored = answer(model, [png(np.ascontiguousarray(image[:, ::-1])) for image in images])
    # A quantile moves by the rounding divided by the probability of its year, which may be small.
    assert_alike(mirrored, straight, years=1e-2)


@pytest.mark.e2e
@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_refused_as_invalid(model, junk: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        answer(model, [junk])


@pytest.mark.e2e
def test_exported_weights_fill_a_new_network(
    model, verification_run: PeopleRun, age_run: PeopleRun, faces: list[FaceRecord]
) -> None:
    """Trunk and new layers; filled so it answers as the exported one."""
    trunk = embedding.load_features(verification_run.record.pushed_to)
    network = age.build_network(settings.load("demo", "age").as_dict()["model"], trunk)
    pictures = [face.image for face in faces[:8]]
    images = decode_batch(tf.constant(pictures), SIDE, SIDE, channels=3)

    def probabilities() -> np.ndarray:
        both = [tf.nn.softmax(network(each, training=False)) for each in (images, tf.reverse(images, [2]))]
        return (sum(both) / 2.0).numpy()

    expected = answer(model, pictures)["probabilities"]
    assert np.abs(probabilities() - expected).max() > 0.01
    image_training.warm_start(network, age_run.record.pushed_to)
    np.testing.assert_allclose(probabilities(), expected, atol=TOLERANCE)


OVERFIT = ["model.backbone=compact", "model.trained_layers=all", "model.dropout=0.0", "train.epochs=80"]


def test_recipe_learns_ten_faces_by_heart(people_samples: Path) -> None:
    chosen = settings.load("demo", "age", OVERFIT).as_dict()
    recipe = age.recipe({**chosen, "cache": ""})
    faces = records(people_samples, "age")[:10]
    ages = [face.labels["age"] for face in faces]
    assert np.ptp(ages) > 50
    assert learned_by_heart(recipe, chosen["train"], [face.image for face in faces], ages) < 1.5
