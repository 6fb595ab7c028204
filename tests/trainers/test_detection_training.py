import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.samples.scenes import draw_points_face, draw_scene
from data_validation.errors import InputError
from trainers import boxes, detection
from trainers.augmentation import Augmentation
from trainers.cascade import Cascade, CascadeSettings, Networks
from trainers.detection_data import (
    FacePoints,
    Scenes,
    Split,
    Windows,
    training_windows,
    validation_windows,
    with_proposals,
)
from trainers.detection_losses import EARLY_WEIGHTS, LANDMARK, NEGATIVE, POSITIVE
from trainers.detection_stages import Stage, StageTrainer, train_stage
from trainers.networks.mtcnn import (
    BOX,
    FACE,
    LANDMARKS,
    output_network,
    proposal_network,
    refinement_network,
)

WINDOWS = Windows(side=12, samples=1, batch_size=32, seed=1)
SETTINGS = {
    "seed": 1,
    "batch_size": 32,
    "images_per_epoch": 64,
    "epochs": 2,
    "patience": 2,
    "precision": "float32",
    "optimizer": "adamw",
    "learning_rate": 0.001,
    "schedule": "constant",
    "weight_decay": 0.0,
    "warmup_epochs": 0.0,
    "momentum": 0.9,
    "augmentation": {"brightness": 0.1, "contrast": 0.1, "grey": 0.1},
}


def encoded(picture: object) -> bytes:
    return tf.io.encode_jpeg(np.asarray(picture)).numpy()


@pytest.fixture(scope="module")
def split() -> Split:
    """Three drawn scenes and three faces with landmarks."""
    pictures, rows = [], []
    for number in range(3):
        picture, faces = draw_scene(1, number)
        edges = np.array([face.painted.box for face in faces], np.float32).reshape(-1, 4)[:, [1, 0, 3, 2]]
        rows.append(edges / np.tile(picture.size[::-1], 2).astype(np.float32))
        pictures.append(encoded(picture))
    lengths = [len(row) for row in rows]
    assert sum(lengths) > 0
    shares = tf.RaggedTensor.from_row_lengths(tf.constant(np.concatenate(rows)), lengths)
    ignored = tf.RaggedTensor.from_row_lengths(tf.zeros([sum(lengths)], tf.int64), lengths)
    nothing = tf.RaggedTensor.from_row_lengths(tf.zeros([0, 4]), [0, 0, 0])
    faces = [draw_points_face(1, number) for number in range(3)]
    points = [np.array(painted.landmarks)[:, ::-1] / picture.size[::-1] for picture, painted in faces]
    return Split(
        Scenes(tf.constant(pictures), shares, ignored, nothing),
        FacePoints(tf.constant([encoded(picture) for picture, _ in faces]), tf.constant(points, tf.float32)),
    )


def test_batches_hold_windows_of_all_kinds_and_differ_by_epoch(split: Split) -> None:
    batches = training_windows(split, WINDOWS, steps=2, colours=Augmentation())
    first, again = (list(batches) for _ in range(2))
    assert len(first) == len(again) == 2
    assert first[0].pixels.shape == (32, 12, 12, 3)
    kinds = np.concatenate([batch.targets.kind for batch in first])
    assert {NEGATIVE, POSITIVE, LANDMARK} <= set(kinds.tolist())
    assert (kinds == LANDMARK).mean() == 0.25
    assert not np.array_equal(first[0].pixels, again[0].pixels)


def test_validation_is_the_same_each_time(split: Split) -> None:
    batches = validation_windows(split, WINDOWS)
    for first, again in zip(batches, batches, strict=True):
        np.testing.assert_array_equal(first.pixels, again.pixels)


def test_proposed_windows_are_learnt_from(split: Split) -> None:
    # Windows that nothing draws: outside of the image for the most part, grey.
    window = tf.constant([[-90.0, -90.0, 10.0, 10.0]])
    found = with_proposals(split.scenes, lambda image: tf.tile(window, [50, 1]))
    assert found.proposed.row_lengths().numpy().tolist() == [50, 50, 50]
    batch = next(iter(validation_windows(split._replace(scenes=found), WINDOWS)))
    grey = np.isclose(batch.pixels, boxes.GREY, atol=0.01).mean(axis=(1, 2, 3)) > 0.5
    assert grey.sum() >= 3 and set(batch.targets.kind.numpy()[grey]) == {NEGATIVE}


def test_a_stage_goes_on_where_it_was_killed(split: Split, tmp_path: Path) -> None:
    stage = Stage(1, proposal_network, 12, 1, EARLY_WEIGHTS)
    earlier = [{"epoch": 1, "stage": 0.0}]
    history_folder = str(tmp_path / "run")

    def train(epochs: int, folder: str) -> list[dict[str, float]]:
        settings = {**SETTINGS, "epochs": epochs}
        return train_stage(stage, split, split, settings, tmp_path / folder, history_folder, earlier)[1]

    [_, first] = train(1, "killed")
    resumed = train(2, "killed")
    assert [row["epoch"] for row in resumed] == [1, 2, 3]
    assert [row["stage"] for row in resumed] == [0.0, 1.0, 1.0]
    assert {"loss", "val_loss", "val_average_precision"} <= set(resumed[-1])
    # Not trained again: it would have taken another time.
    assert resumed[1] == first
    # And from where it was: random weights have the higher loss of the first epoch.
    assert resumed[2]["loss"] < 0.9 * first["loss"]
    assert resumed[2]["val_loss"] < first["val_loss"]


def test_a_network_learns_ten_windows_by_heart(split: Split) -> None:
    batch = next(iter(validation_windows(split, WINDOWS)))
    batch = tf.nest.map_structure(lambda values: values[:10], batch)
    trainer = StageTrainer(proposal_network(), EARLY_WEIGHTS)
    trainer.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    step = tf.function(lambda: trainer.train_step(batch), autograph=False)
    first = float(step()["loss"])
    for _ in range(150):
        step()
    assert float(trainer.test_step(batch)["face"]) < first
    outputs = trainer.network(batch.pixels)
    is_face = np.isin(batch.targets.kind, (POSITIVE, LANDMARK))
    counted = is_face | (batch.targets.kind.numpy() == NEGATIVE)
    found = outputs[FACE].numpy().reshape(-1, 2).argmax(axis=1) == 1
    np.testing.assert_array_equal(found[counted], is_face[counted])


def test_averaging_over_mirror_images_makes_the_answer_mirror() -> None:
    network = detection.mirror_averaged(output_network())
    pixels = tf.random.stateless_uniform([2, 48, 48, 3], [1, 2])
    answer, mirrored = network(pixels), network(tf.reverse(pixels, [2]))
    np.testing.assert_allclose(answer[FACE], mirrored[FACE], atol=1e-5)
    top, left, bottom, right = np.moveaxis(answer[BOX].numpy(), 1, 0)
    np.testing.assert_allclose(mirrored[BOX], np.stack([top, -right, bottom, -left], 1), atol=1e-5)
    points = answer[LANDMARKS].numpy().reshape(-1, 5, 2)[:, [1, 0, 2, 4, 3]]
    points[..., 1] = 1.0 - points[..., 1]
    np.testing.assert_allclose(mirrored[LANDMARKS].numpy().reshape(-1, 5, 2), points, atol=1e-5)


def test_windows_to_learn_from_are_in_the_pixels_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.cascade.LONGEST_SIDE", 60)
    networks = Networks(proposal_network(), refinement_network(), output_network())
    cascade = Cascade(*networks.in_order, CascadeSettings(min_face=12.0))
    image = tf.cast(tf.random.stateless_uniform([90, 120, 3], [1, 2], 0, 255, tf.int32), tf.uint8)
    windows = cascade.windows_for(2, image, 12.0, (0.0, 0.0))
    # Found in an image of half the size, where faces have 12 pixels at least.
    assert float(tf.reduce_max(windows[:, 2:])) > 60.0
    assert float(tf.reduce_min(windows[:, 2] - windows[:, 0])) > 20.0


def test_splits_without_one_kind_of_image_are_refused(split: Split) -> None:
    no_scenes = split.scenes._replace(encoded=split.scenes.encoded[:0])
    no_points = split.points._replace(encoded=split.points.encoded[:0])
    all_ignored = split.scenes._replace(ignored=tf.ones_like(split.scenes.ignored))
    for changed, message in (
        (split._replace(scenes=no_scenes), "boxes: expected images with boxes only"),
        (split._replace(points=no_points), "landmarks: expected images with landmarks"),
        (split._replace(scenes=all_ignored), "none that is not ignored"),
    ):
        with pytest.raises(InputError, match=message):
            detection._check(changed, "training")
