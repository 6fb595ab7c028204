"""How the exported emotion model behaves, whatever its accuracy."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from emotion_runs import EPOCHS, EmotionRun
from face_pictures import JUNK, example_of, held_back, pixels, png, seen_by_training_and_serving

from components.face_example_gen import to_example
from components.readers.ferg import FergReader
from components.readers.record import FaceRecord
from data_validation.labels import EMOTIONS
from trainers.imaging import decode_batch

pytestmark = pytest.mark.e2e

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model(emotion_run: EmotionRun):
    return tf.saved_model.load(emotion_run.record.pushed_to)


@pytest.fixture(scope="module")
def faces(emotion_samples: Path) -> list[FaceRecord]:
    """Test images of both sources."""
    return held_back(emotion_samples)


def scores(model, images: list[bytes]) -> np.ndarray:
    return model.signatures["serving_default"](image_bytes=tf.constant(images))["scores"].numpy()


def test_signatures(model) -> None:
    assert {"serving_default", "pixels", "serve_examples", "examples"} <= set(model.signatures)
    outputs = model.signatures["serving_default"].structured_outputs
    assert {name: spec.dtype for name, spec in outputs.items()} == {
        "classes": tf.string,
        "scores": tf.float32,
    }


def test_tells_what_it_was_made_of(emotion_run: EmotionRun) -> None:
    about = json.loads((Path(emotion_run.record.pushed_to) / "assets.extra" / "about.json").read_text())
    assert about["classes"] == list(EMOTIONS)
    assert about["settings"]["train"]["epochs"] == EPOCHS
    assert len(about["data_fingerprint"]) == 64
    assert 0 < about["chosen_epoch"]["val_accuracy"] <= 1


def test_answers_with_class_names_and_probabilities(model, faces: list[FaceRecord]) -> None:
    answer = model.signatures["serving_default"](image_bytes=tf.constant([face.image for face in faces[:3]]))
    assert answer["classes"].numpy().astype(str).tolist() == [list(EMOTIONS)] * 3
    np.testing.assert_allclose(answer["scores"].numpy().sum(axis=1), 1.0, atol=TOLERANCE)


def test_batch_equals_single(model, faces: list[FaceRecord]) -> None:
    images = [face.image for face in faces[:16]]
    single = np.concatenate([scores(model, [image]) for image in images])
    np.testing.assert_allclose(scores(model, images), single, atol=TOLERANCE)


def test_signatures_agree(model, faces: list[FaceRecord]) -> None:
    """Encoded images, raw pixels and tf.Example are three ways to the same scores."""
    chosen = faces[:8]
    expected = scores(model, [face.image for face in chosen])
    raw = np.stack([pixels(face) for face in chosen])[..., np.newaxis]
    serialized = tf.constant([to_example(face).SerializeToString() for face in chosen])
    for answer in (
        model.signatures["pixels"](pixels=tf.constant(raw)),
        model.signatures["serve_examples"](inputs=serialized),
        model.signatures["examples"](examples=serialized),
    ):
        np.testing.assert_allclose(answer["scores"].numpy(), expected, atol=TOLERANCE)


def test_example_without_label_is_served(model, faces: list[FaceRecord]) -> None:
    answer = model.signatures["serve_examples"](inputs=tf.constant([example_of(faces[0].image)]))
    np.testing.assert_allclose(answer["scores"].numpy(), scores(model, [faces[0].image]), atol=TOLERANCE)


def test_training_and_serving_see_the_same_tensor(
    emotion_run: EmotionRun, faces: list[FaceRecord], tmp_path: Path
) -> None:
    outputs = {node.node: node.outputs for node in emotion_run.record.nodes}
    transform = tft.TFTransformOutput(outputs["Transform"]["transform_graph"])
    numbers, seen, served = seen_by_training_and_serving(transform, "emotion", (48, 48, 1), faces, tmp_path)
    assert [EMOTIONS[number] for number in numbers] == [face.labels["emotion"] for face in faces]
    np.testing.assert_array_equal(served, seen)


def test_takes_any_size_and_colour(model, emotion_samples: Path) -> None:
    """Serving makes of FERG's own pictures, 256x256 in colour, what ingestion made of them for training."""
    reader = FergReader(emotion_samples)
    items = list(reader.items())
    originals = tf.constant([(emotion_samples / reader.name(item)).read_bytes() for item in items])
    reduced = tf.constant([reader.load(item).image for item in items])
    difference = decode_batch(originals, 48, 48, channels=1) - decode_batch(reduced, 48, 48, channels=1)
    # Two good filters differ at edges, by a hundredth on average.
    assert np.abs(difference).mean() < 0.02
    assert scores(model, list(originals.numpy())).shape == (len(items), len(EMOTIONS))


def agreement(model, faces: list[FaceRecord], change) -> float:
    """Returns the share of faces that are judged alike before and after a change of their pixels."""
    before = scores(model, [face.image for face in faces]).argmax(axis=1)
    after = scores(model, [png(change(pixels(face))) for face in faces]).argmax(axis=1)
    return float((before == after).mean())


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_brightness_changes_few_answers(model, faces: list[FaceRecord], factor: float) -> None:
    assert agreement(model, faces, lambda image: np.clip(image * factor, 0, 255).astype(np.uint8)) >= 0.8


@pytest.mark.parametrize("axis", [0, 1])
def test_shift_by_one_pixel_changes_few_answers(model, faces: list[FaceRecord], axis: int) -> None:
    assert agreement(model, faces, lambda image: np.roll(image, 1, axis)) >= 0.8


def test_mirror_image_is_judged_alike(model, faces: list[FaceRecord]) -> None:
    """Scores are averaged over both, so they are equal but for rounding."""
    images = [pixels(face) for face in faces]
    straight = scores(model, [png(image) for image in images])
    mirrored = scores(model, [png(np.ascontiguousarray(image[:, ::-1])) for image in images])
    np.testing.assert_allclose(straight, mirrored, atol=TOLERANCE)


@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_refused_as_invalid(model, junk: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        scores(model, [junk])
