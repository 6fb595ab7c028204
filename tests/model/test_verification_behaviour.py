"""How the exported verification model behaves, whatever its error rate."""

import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import io
import json
from collections.abc import Callable
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
    pixels,
    png,
    records,
    seen_by_training_and_serving,
)
from people_runs import PeopleRun
from PIL import Image
from verification_runs import EPOCHS

from components.face_example_gen import to_example
from components.readers.record import FaceRecord
from pipelines import settings
from trainers import embedding, image_training, verification
from trainers.imaging import decode_batch
from trainers.optimizers import build_optimizer, build_schedule

OUTPUTS = {
    "cosine_distance": tf.float32,
    "euclidean_distance": tf.float32,
    "is_match": tf.bool,
    "threshold": tf.float32,
}
TOLERANCE = 1e-5
SIDE = 112


@pytest.fixture(scope="module")
def model(verification_run: PeopleRun):
    return tf.saved_model.load(verification_run.record.pushed_to)


@pytest.fixture(scope="module")
def faces(verification_samples: Path) -> list[FaceRecord]:
    """The colour pictures of the test split: two persons."""
    return [face for face in held_back(verification_samples, "identity") if face.source == "identities"]


@pytest.fixture(scope="module")
def images(faces: list[FaceRecord]) -> list[bytes]:
    return [face.image for face in faces]


def compare(model, first: list[bytes], second: list[bytes]) -> dict[str, np.ndarray]:
    answer = model.signatures["serving_default"](
        image_bytes_a=tf.constant(first), image_bytes_b=tf.constant(second)
    )
    return {name: value.numpy() for name, value in answer.items()}


def embed(model, images: list[bytes]) -> np.ndarray:
    return model.signatures["embed"](image_bytes=tf.constant(images))["embedding"].numpy()


def assert_alike(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys() == OUTPUTS.keys()
    np.testing.assert_allclose(found["cosine_distance"], expected["cosine_distance"], rtol=0, atol=TOLERANCE)
    # A square root makes more of rounding near 0.
    np.testing.assert_allclose(
        found["euclidean_distance"] ** 2, expected["euclidean_distance"] ** 2, rtol=0, atol=2 * TOLERANCE
    )
    np.testing.assert_array_equal(found["threshold"], expected["threshold"])


# Signatures


@pytest.mark.e2e
def test_signatures(model) -> None:
    assert set(model.signatures) == {"serving_default", "embed", "pixels", "examples"}
    outputs = model.signatures["serving_default"].structured_outputs
    assert {name: spec.dtype for name, spec in outputs.items()} == OUTPUTS
    assert {spec.shape.rank for spec in outputs.values()} == {1}
    for name in ("embed", "pixels", "examples"):
        (output,) = model.signatures[name].structured_outputs.items()
        assert (output[0], output[1].dtype, output[1].shape.as_list()) == (
            "embedding",
            tf.float32,
            [None, 256],
        )


@pytest.mark.e2e
def test_tells_what_it_was_made_of(verification_run: PeopleRun) -> None:
    about = json.loads((verification_run.pushed / "assets.extra" / "about.json").read_text())
    assert about["task"] == "verification"
    assert about["settings"]["train"]["epochs"] == EPOCHS
    assert len(about["data_fingerprint"]) == 64
    assert 0 <= about["chosen_epoch"]["val_eer"] <= 1


@pytest.mark.e2e
def test_threshold_is_the_one_of_its_table(model, verification_run: PeopleRun, images: list[bytes]) -> None:
    table = json.loads((verification_run.pushed / "assets.extra" / "thresholds.json").read_text())
    (row,) = (row for row in table["table"] if row["far"] == table["far"])
    assert row["threshold"] == table["threshold"]
    assert row["false_accepts"] <= table["far"] * row["different_pairs"]
    answer = compare(model, images[:2], images[1:3])
    np.testing.assert_array_equal(answer["threshold"], np.float32([table["threshold"]] * 2))


# Distances


@pytest.mark.e2e
def test_an_image_is_at_distance_0_from_itself(model, images: list[bytes]) -> None:
    answer = compare(model, images, images)
    assert not answer["cosine_distance"].any()
    assert not answer["euclidean_distance"].any()
    assert answer["is_match"].all()


@pytest.mark.e2e
def test_sides_may_change_places(model, images: list[bytes]) -> None:
    there = compare(model, images, images[::-1])
    back = compare(model, images[::-1], images)
    assert_alike(there, back)
    np.testing.assert_array_equal(there["is_match"], back["is_match"])


@pytest.mark.e2e
def test_both_distances_tell_the_same_and_the_threshold_decides(model, images: list[bytes]) -> None:
    chosen = [*images[:4], *images[-4:]]
    first, second = chosen * 8, [image for image in chosen for _ in chosen]
    answer = compare(model, first, second)
    cosine, euclidean = answer["cosine_distance"], answer["euclidean_distance"]
    np.testing.assert_allclose(euclidean, np.sqrt(2 * cosine), atol=TOLERANCE)
    assert (cosine >= 0).all() and (cosine <= 2).all()
    np.testing.assert_array_equal(answer["is_match"], cosine <= answer["threshold"])
    assert 0 < answer["is_match"].mean() < 1


@pytest.mark.e2e
def test_batch_equals_single(model, images: list[bytes]) -> None:
    first, second = images[:8], images[-8:]
    single = [compare(model, [a], [b]) for a, b in zip(first, second, strict=True)]
    joined = {name: np.concatenate([each[name] for each in single]) for name in OUTPUTS}
    assert_alike(compare(model, first, second), joined)
    alone = np.concatenate([embed(model, [image]) for image in first])
    np.testing.assert_allclose(embed(model, first), alone, rtol=0, atol=TOLERANCE)


@pytest.mark.e2e
def test_images_of_all_sizes_and_kinds_go_into_one_batch(model, faces: list[FaceRecord]) -> None:
    colour, grey = pixels(faces[0], "RGB"), pixels(faces[1])
    large = np.asarray(Image.fromarray(colour).resize((300, 260)))
    batch = [faces[0].image, png(grey), png(large), jpeg(colour[:90, 10:]), png(colour[::3, ::3])]
    assert len({Image.open(io.BytesIO(image)).size for image in batch}) == 4
    others = [faces[2].image] * len(batch)
    single = [compare(model, [a], [b]) for a, b in zip(batch, others, strict=True)]
    joined = {name: np.concatenate([each[name] for each in single]) for name in OUTPUTS}
    assert_alike(compare(model, batch, others), joined)


def jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.mark.e2e
def test_grey_images_are_taken_as_colour_without_colour(model, faces: list[FaceRecord]) -> None:
    grey = pixels(faces[0])
    as_colour = np.repeat(grey[..., np.newaxis], 3, axis=2)
    assert compare(model, [png(grey)], [png(as_colour)])["cosine_distance"] <= TOLERANCE


@pytest.mark.e2e
@pytest.mark.parametrize(("first", "second"), [(2, 3), (3, 1), (1, 0), (0, 1)])
def test_unequal_numbers_on_both_sides_are_refused_by_name(
    model, images: list[bytes], first: int, second: int
) -> None:
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="image_bytes_a, image_bytes_b: expected as many"
    ):
        model.signatures["serving_default"](
            image_bytes_a=tf.constant(images[:first], tf.string),
            image_bytes_b=tf.constant(images[:second], tf.string),
        )


@pytest.mark.e2e
@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_refused_as_invalid(model, images: list[bytes], junk: bytes) -> None:
    for first, second in (([junk], images[:1]), (images[:1], [junk])):
        with pytest.raises(tf.errors.InvalidArgumentError):
            compare(model, first, second)
    with pytest.raises(tf.errors.InvalidArgumentError):
        embed(model, [junk])


# Embeddings


@pytest.mark.e2e
def test_embeddings_have_length_1_and_the_distances_of_pairs(model, images: list[bytes]) -> None:
    vectors = embed(model, images)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=TOLERANCE)
    answer = compare(model, images, images[::-1])
    cosine = 1.0 - (vectors.astype(np.float64) * vectors[::-1]).sum(axis=1)
    np.testing.assert_allclose(answer["cosine_distance"], cosine, rtol=0, atol=TOLERANCE)


@pytest.mark.e2e
def test_signatures_agree(model, faces: list[FaceRecord]) -> None:
    chosen = faces[:8]
    expected = embed(model, [face.image for face in chosen])
    for serialized in (
        [to_example(face).SerializeToString() for face in chosen],
        [example_of(face.image) for face in chosen],
    ):
        found = model.signatures["examples"](examples=tf.constant(serialized))["embedding"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    # Two decoders of JPEG; as PNG the pixels are the same.
    raw = np.stack([pixels(face, "RGB") for face in chosen])
    of_pixels = model.signatures["pixels"](pixels=tf.constant(raw))["embedding"]
    np.testing.assert_allclose(of_pixels, embed(model, [png(image) for image in raw]), rtol=0, atol=TOLERANCE)
    grey = np.stack([pixels(face) for face in chosen])
    of_grey = model.signatures["pixels"](pixels=tf.constant(grey[..., np.newaxis]))["embedding"]
    np.testing.assert_allclose(of_grey, embed(model, [png(image) for image in grey]), rtol=0, atol=TOLERANCE)


@pytest.mark.e2e
def test_mirror_image_has_the_same_embedding(model, faces: list[FaceRecord]) -> None:
    """Embeddings are averaged over both, so they are equal but for rounding."""
    straight = [pixels(face, "RGB") for face in faces]
    mirrored = [png(np.ascontiguousarray(image[:, ::-1])) for image in straight]
    found = embed(model, mirrored)
    np.testing.assert_allclose(found, embed(model, [png(image) for image in straight]), atol=TOLERANCE)


Change = Callable[[np.ndarray], np.ndarray]


@pytest.mark.e2e
@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.roll(image, 1, 0),
        lambda image: np.roll(image, 1, 1),
        lambda image: np.clip(image * 0.9, 0, 255).astype(np.uint8),
        lambda image: np.clip(image * 1.1, 0, 255).astype(np.uint8),
    ],
    ids=["shifted down", "shifted right", "darker", "brighter"],
)
def test_small_changes_move_a_face_less_than_other_persons_are_away(
    model, faces: list[FaceRecord], change: Change
) -> None:
    before = embed(model, [png(pixels(face, "RGB")) for face in faces])
    after = embed(model, [png(change(pixels(face, "RGB"))) for face in faces])
    moved = 1.0 - (before * after).sum(axis=1)
    persons = np.array([face.labels["identity"] for face in faces])
    assert len(set(persons)) == 2
    others = (1.0 - before @ before.T)[persons[:, None] != persons[None, :]]
    assert np.median(moved) < 0.5 * np.median(others)


@pytest.mark.e2e
def test_training_and_serving_see_the_same_tensor(
    verification_run: PeopleRun, verification_samples: Path, tmp_path: Path
) -> None:
    """Colour JPEG and, of AT&T, grey PNG."""
    transform = tft.TFTransformOutput(str(verification_run.output("Transform", "transform_graph")))
    chosen = held_back(verification_samples, "identity")[::6]
    assert {face.source for face in chosen} == {"att", "identities"}
    persons, seen, served = seen_by_training_and_serving(
        transform, "identity", (SIDE, SIDE, 3), chosen, tmp_path
    )
    assert persons.astype(str).tolist() == [face.labels["identity"] for face in chosen]
    np.testing.assert_array_equal(served, seen)


# Weights


@pytest.mark.e2e
def test_warm_start_begins_with_the_exported_model(
    model, verification_run: PeopleRun, images: list[bytes]
) -> None:
    """A new tower that was filled so embeds as the exported one."""
    chosen = settings.load("demo", "verification").as_dict()["model"]
    tower = embedding.build_tower(chosen)
    network = embedding.embedding_network(tower, chosen["flip_averaging"])
    batch = decode_batch(tf.constant(images), SIDE, SIDE, channels=3)
    expected = embed(model, images)
    assert np.abs(network(batch, training=False) - expected).max() > 0.01
    image_training.warm_start(tower, verification_run.record.pushed_to)
    np.testing.assert_allclose(network(batch, training=False), expected, rtol=0, atol=TOLERANCE)


def test_recipe_learns_ten_faces_by_heart(verification_samples: Path) -> None:
    faces = [face for face in records(verification_samples, "identity") if face.split == "train"]
    persons = sorted({face.labels["identity"] for face in faces})[:2]
    chosen = [[face for face in faces if face.labels["identity"] == person][:5] for person in persons]
    ten = [face for pair in zip(*chosen, strict=True) for face in pair]
    config = settings.load("demo", "verification", ["train.epochs=12", "model.dropout=0.0"]).as_dict()
    recipe = verification.recipe(config, persons)
    keras.utils.set_random_seed(1)
    network = recipe.build()
    network.compile(
        build_optimizer(config["train"], build_schedule(config["train"], 1)), recipe.loss(), recipe.metrics()
    )
    # AutoGraph would take longer than the training.
    network.train_step = tf.autograph.experimental.do_not_convert(network.train_step)
    images = decode_batch(tf.constant([face.image for face in ten]), SIDE, SIDE, channels=3)
    names = tf.constant([face.labels["identity"] for face in ten])
    steps = tf.data.Dataset.from_tensors((images, recipe.target(names)))
    history = network.fit(steps, epochs=config["train"]["epochs"], verbose=0).history
    assert history["accuracy"][-1] == 1.0
    assert history["loss"][-1] < 0.1
