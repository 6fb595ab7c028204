"""How the exported gender model behaves, whatever its accuracy."""

import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
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
from data_validation.labels import GENDERS
from pipelines import settings
from trainers import backbones, classification, classifiers, features, gender, image_training
from trainers.saved_models import ClassifierModule, export

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model(gender_run: PeopleRun):
    return tf.saved_model.load(gender_run.record.pushed_to)


@pytest.fixture(scope="module")
def faces(people_samples: Path) -> list[FaceRecord]:
    return held_back(people_samples, "gender")


@pytest.fixture(scope="module")
def transform(gender_run: PeopleRun) -> tft.TFTransformOutput:
    return tft.TFTransformOutput(str(gender_run.output("Transform", "transform_graph")))


def scores(model, images: list[bytes]) -> np.ndarray:
    return model.signatures["serving_default"](image_bytes=tf.constant(images))["scores"].numpy()


def network() -> keras.Model:
    return backbones.compact_network(settings.load("demo", "gender").as_dict()["model"], len(GENDERS))


@pytest.mark.e2e
def test_signatures(model) -> None:
    assert {"serving_default", "pixels", "serve_examples", "examples"} <= set(model.signatures)
    for name in ("serving_default", "pixels", "serve_examples"):
        outputs = model.signatures[name].structured_outputs
        assert {name: (spec.dtype, spec.shape.rank) for name, spec in outputs.items()} == {
            "classes": (tf.string, 2),
            "scores": (tf.float32, 2),
        }


@pytest.mark.e2e
def test_tells_what_it_was_made_of(gender_run: PeopleRun) -> None:
    about = json.loads((gender_run.pushed / "assets.extra" / "about.json").read_text())
    assert about["classes"] == list(GENDERS)
    assert about["classifier"] in classifiers.EXPORTABLE
    assert about["settings"]["train"]["epochs"] == EPOCHS["gender"]
    assert len(about["data_fingerprint"]) == 64
    assert 0 < about["chosen_epoch"]["val_accuracy"] <= 1


@pytest.mark.e2e
def test_answers_with_class_names_and_probabilities(model, faces: list[FaceRecord]) -> None:
    answer = model.signatures["serving_default"](image_bytes=tf.constant([face.image for face in faces[:3]]))
    assert answer["classes"].numpy().astype(str).tolist() == [list(GENDERS)] * 3
    np.testing.assert_allclose(answer["scores"].numpy().sum(axis=1), 1.0, atol=TOLERANCE)


@pytest.mark.e2e
def test_batch_equals_single(model, faces: list[FaceRecord]) -> None:
    images = [face.image for face in faces[:16]]
    single = np.concatenate([scores(model, [image]) for image in images])
    np.testing.assert_allclose(scores(model, images), single, atol=TOLERANCE)


@pytest.mark.e2e
def test_signatures_agree(model, faces: list[FaceRecord]) -> None:
    chosen = faces[:8]
    expected = scores(model, [face.image for face in chosen])
    raw = np.stack([pixels(face, "RGB") for face in chosen])
    serialized = tf.constant([to_example(face).SerializeToString() for face in chosen])
    lone = tf.constant([example_of(face.image) for face in chosen])
    for answer in (
        model.signatures["serve_examples"](inputs=serialized),
        model.signatures["serve_examples"](inputs=lone),
        model.signatures["examples"](examples=serialized),
    ):
        np.testing.assert_allclose(answer["scores"].numpy(), expected, atol=TOLERANCE)
    # Two decoders of JPEG; as PNG the pixels are the same.
    as_png = scores(model, [png(image) for image in raw])
    np.testing.assert_allclose(
        model.signatures["pixels"](pixels=tf.constant(raw))["scores"].numpy(), as_png, atol=TOLERANCE
    )
    np.testing.assert_allclose(as_png, expected, atol=0.01)


@pytest.mark.e2e
def test_training_and_serving_see_the_same_tensor(
    transform: tft.TFTransformOutput, faces: list[FaceRecord], tmp_path: Path
) -> None:
    numbers, seen, served = seen_by_training_and_serving(transform, "gender", (64, 64, 3), faces, tmp_path)
    assert [GENDERS[number] for number in numbers] == [face.labels["gender"] for face in faces]
    np.testing.assert_array_equal(served, seen)


@pytest.mark.e2e
def test_exported_scores_are_those_of_scikit_learn(
    transform: tft.TFTransformOutput, people_samples: Path, tmp_path: Path
) -> None:
    """Both classifiers that can be exported, on features that the pipeline's own code computes."""
    faces = records(people_samples, "gender")[:120]
    # The images as training sees them.
    images = transform.transform_features_layer()({"image/encoded": tf.constant([f.image for f in faces])})
    keras.utils.set_random_seed(1)
    backbone = backbones.mirrored(backbones.compact_features(network()))
    cache = features.FeatureCache(tmp_path / "cache", "random weights")
    vectors = features.extract(backbone, [images["image/encoded"].numpy()], len(faces), cache)
    labels = np.array([GENDERS.index(face.labels["gender"]) for face in faces])
    rows = {"train": slice(0, 80), "eval": slice(80, 120)}
    fitted = classifiers.fit_all(
        {split: vectors[part] for split, part in rows.items()},
        {split: labels[part] for split, part in rows.items()},
        len(GENDERS),
        seed=1,
    )
    encoded = [face.image for face in faces]
    for one in (one for one in fitted if one.exportable):
        head = classifiers.as_network(one, vectors.shape[1])
        module = ClassifierModule(
            gender.with_head(backbone, head), transform, "gender", GENDERS, flip_averaging=False
        )
        expected = one.model.predict_proba(vectors)
        assert ((expected > 0.01) & (expected < 0.99)).any(), "scores that say nothing about rounding"
        found = module.serve_images(tf.constant(encoded))["scores"].numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE, err_msg=one.name)
    # The last one as it is on disk.
    export(module, str(tmp_path / "model"), about={})
    exported = scores(tf.saved_model.load(str(tmp_path / "model")), encoded)
    np.testing.assert_allclose(exported, expected, rtol=0, atol=TOLERANCE)


def agreement(model, faces: list[FaceRecord], change) -> float:
    """Returns the share of faces that are judged alike before and after a change of their pixels."""
    before = scores(model, [face.image for face in faces]).argmax(axis=1)
    after = scores(model, [png(change(pixels(face, "RGB"))) for face in faces]).argmax(axis=1)
    return float((before == after).mean())


@pytest.mark.e2e
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_brightness_changes_few_answers(model, faces: list[FaceRecord], factor: float) -> None:
    # A small training comes out a little otherwise each time, and of some thirty faces one is three percent.
    assert agreement(model, faces, lambda image: np.clip(image * factor, 0, 255).astype(np.uint8)) >= 0.7


@pytest.mark.e2e
@pytest.mark.parametrize("axis", [0, 1])
def test_shift_by_one_pixel_changes_few_answers(model, faces: list[FaceRecord], axis: int) -> None:
    assert agreement(model, faces, lambda image: np.roll(image, 1, axis)) >= 0.8


@pytest.mark.e2e
def test_mirror_image_is_judged_alike(model, faces: list[FaceRecord]) -> None:
    """Features are averaged over both, so scores are equal but for rounding."""
    images = [pixels(face, "RGB") for face in faces]
    straight = scores(model, [png(image) for image in images])
    mirrored = scores(model, [png(np.ascontiguousarray(image[:, ::-1])) for image in images])
    np.testing.assert_allclose(straight, mirrored, atol=TOLERANCE)


@pytest.mark.e2e
def test_takes_grey_images(model, faces: list[FaceRecord]) -> None:
    grey = pixels(faces[0])
    as_colour = scores(model, [png(np.repeat(grey[..., np.newaxis], 3, axis=2))])
    np.testing.assert_allclose(scores(model, [png(grey)]), as_colour, atol=TOLERANCE)


@pytest.mark.e2e
@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_refused_as_invalid(model, junk: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        scores(model, [junk])


@pytest.mark.e2e
def test_warm_start_begins_with_the_exported_weights(gender_run: PeopleRun) -> None:
    """Those of the whole network that was trained, of which the model serves all but the last layer."""
    fresh = network()
    new = [weight.numpy() for weight in fresh.weights]
    image_training.warm_start(fresh, gender_run.record.pushed_to)
    stored = tf.train.load_checkpoint(f"{gender_run.pushed}/variables/variables")
    values = {np.asarray(stored.get_tensor(name)).tobytes() for name in stored.get_variable_to_shape_map()}
    assert all(weight.numpy().tobytes() in values for weight in fresh.weights)
    assert not all(map(np.array_equal, new, (weight.numpy() for weight in fresh.weights)))


def test_recipe_learns_ten_faces_by_heart(people_samples: Path) -> None:
    faces = records(people_samples, "gender")[:10]
    train = settings.load("demo", "gender", ["train.epochs=25", "train.learning_rate=0.02"]).as_dict()[
        "train"
    ]
    recipe = classification.recipe("gender", GENDERS, network, train)
    numbers = [GENDERS.index(face.labels["gender"]) for face in faces]
    assert 3 <= sum(numbers) <= 7
    assert learned_by_heart(recipe, train, [face.image for face in faces], numbers) == 1.0
