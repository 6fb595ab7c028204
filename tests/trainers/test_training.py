import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from trainers import emotion, image_training, training
from trainers.history import HISTORY_FILE, read_history, write_history
from trainers.optimizers import build_optimizer, build_schedule
from trainers.preprocessing import IMAGE
from trainers.training import (
    BestWeights,
    Monitor,
    backup_folder,
    count_examples,
    discard_backups,
    fit,
    fits_in_memory,
)

STEPS, BATCH, FEATURES, CLASSES = 4, 8, 5, 3


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch):
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


# History


def test_history_comes_back_as_it_was(tmp_path):
    file = tmp_path / "new/folder" / HISTORY_FILE
    assert read_history(file) == []
    rows = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1e-30, "val_accuracy": 1.0}]
    write_history(file, rows)
    assert read_history(file) == rows
    assert [json.loads(line) for line in file.read_text().splitlines()] == rows
    write_history(file, rows[:1])
    assert read_history(file) == rows[:1]
    assert [entry.name for entry in file.parent.iterdir()] == [HISTORY_FILE]


def test_history_survives_a_write_that_fails(tmp_path):
    file = tmp_path / HISTORY_FILE
    write_history(file, [{"epoch": 1}])
    with pytest.raises(TypeError):
        write_history(file, [{"epoch": 1}, {"epoch": object()}])
    assert read_history(file) == [{"epoch": 1}]


# Backup folder


def test_backup_folder_is_the_same_for_the_same_identity(tmp_path):
    identity = ("code", {"b": 1, "a": [1, 2.5, None]}, ["x/1", "x/2"])
    folder = backup_folder(str(tmp_path), *identity)
    assert folder.parent == tmp_path
    assert backup_folder(str(tmp_path), "code", {"a": (1, 2.5, None), "b": 1}, ["x/1", "x/2"]) == folder
    others = [
        ("other", *identity[1:]),
        ("code", {"b": 1, "a": [1, 2.5, 0]}, identity[2]),
        ("code", identity[1], ["x/2", "x/1"]),
        ("code", identity[1], "x/1", "x/2"),
        identity[:2],
        (*identity, None),
    ]
    assert len({folder, *(backup_folder(str(tmp_path), *other) for other in others)}) == len(others) + 1


def test_discarding_a_backup_and_those_given_up_before(tmp_path):
    folder = backup_folder(str(tmp_path), "a")
    write_history(folder / HISTORY_FILE, [])
    write_history(backup_folder(str(tmp_path), "other settings") / HISTORY_FILE, [])
    discard_backups(folder)
    discard_backups(folder)
    assert list(tmp_path.iterdir()) == []


# The best weights


def test_the_best_row_is_the_first_best():
    rows = [{"error": value} for value in (3.0, 1.0, 2.0, 1.0)]
    assert Monitor("error").best(rows) == 1
    assert Monitor("error", lower_is_better=True).best(rows) == 2
    assert Monitor("error").best([]) == 0


def vector_model():
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False, input_shape=(2,))])
    model.compile("sgd", "mse")
    return model


def end_epoch(folder, values, patience=10, weight=None):
    """Ends an epoch in a process of its own: nothing but the files is left of the ones before."""
    model = vector_model()
    model.set_weights([np.full((2, 1), len(values) if weight is None else weight, np.float32)])
    rows = [{"epoch": number + 1, "val_accuracy": value} for number, value in enumerate(values)]
    write_history(folder / HISTORY_FILE, rows)
    callback = BestWeights(folder, Monitor("val_accuracy"), patience)
    callback.set_model(model)
    callback.on_epoch_end(len(values) - 1, {})
    return model.stop_training


def best_weight(folder):
    model = vector_model()
    callback = BestWeights(folder, Monitor("val_accuracy"), 10)
    callback.set_model(model)
    callback.restore()
    return model.get_weights()[0][0, 0]


def test_best_weights_are_kept_through_resumes(tmp_path):
    values, best = [0.2, 0.5, 0.4, 0.5, 0.6, 0.1], [1, 2, 2, 2, 5, 5]
    for count in range(1, 7):
        assert not end_epoch(tmp_path, values[:count])
        assert best_weight(tmp_path) == best[count - 1]


def test_patience_counts_through_resumes(tmp_path):
    values = [0.2, 0.5, 0.4, 0.5, 0.3]
    stops = [end_epoch(tmp_path, values[:count], patience=3) for count in range(1, 6)]
    assert stops == [False, False, False, False, True]


def test_restoring_without_a_file_leaves_the_model_alone(tmp_path):
    model = vector_model()
    before = model.get_weights()
    callback = BestWeights(tmp_path, Monitor("val_accuracy"), 1)
    callback.set_model(model)
    callback.restore()
    np.testing.assert_array_equal(model.get_weights(), before)


def test_weights_of_an_epoch_that_is_trained_again_are_forgotten(tmp_path):
    end_epoch(tmp_path, [0.5], weight=1)
    # Killed after the weights were written and before the state was, so epoch 2 is trained again.
    end_epoch(tmp_path, [0.5, 0.9], weight=2)
    end_epoch(tmp_path, [0.5, 0.4], weight=3)
    assert best_weight(tmp_path) == 1


# Training and resuming


class Feed:
    """Batches of random data in a fixed order, which count epochs and can fail in the middle of one."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.inputs = random.normal(size=(STEPS, BATCH, FEATURES)).astype(np.float32)
        numbers = (self.inputs[..., 0] > 0).astype(int) + (self.inputs[..., 1] > 0)
        self.labels = np.eye(CLASSES, dtype=np.float32)[numbers]
        self.begun = 0
        self.fail_in = None

    def batches(self):
        self.begun += 1
        for step in range(STEPS):
            if self.begun == self.fail_in and step == STEPS // 2:
                raise RuntimeError("the power went off")
            yield self.inputs[step], self.labels[step]

    def dataset(self):
        dataset = tf.data.Dataset.from_generator(
            self.batches,
            output_signature=(
                tf.TensorSpec([BATCH, FEATURES], tf.float32),
                tf.TensorSpec([BATCH, CLASSES], tf.float32),
            ),
        )
        # Where Keras has to look for the end, the step that finds it may count as one of the optimiser's.
        return dataset.apply(tf.data.experimental.assert_cardinality(STEPS))


SETTINGS = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 0.001,
    "schedule": "cosine",
    "learning_rate": 0.3,
    "warmup_epochs": 1.0,
    "epochs": 5,
}


def classifier(rate=None):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.layers.Dense(6, activation="tanh", input_shape=(FEATURES,)), keras.layers.Dense(CLASSES)]
    )
    optimizer = build_optimizer(SETTINGS, build_schedule(SETTINGS, STEPS) if rate is None else rate)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def run(root, feed, model=None, epochs=5, patience=10, name="run", shift=0):
    model = model or classifier()
    labels = np.roll(feed.labels[0], shift, axis=-1)
    validation = tf.data.Dataset.from_tensors((feed.inputs[0], labels))
    history = fit(
        model,
        feed.dataset(),
        validation,
        epochs=epochs,
        patience=patience,
        monitor=Monitor("val_accuracy"),
        folder=root / name / "backup",
        history_folder=str(root / name / "history"),
    )
    return history, model


def curve(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path):
    feed = Feed()
    whole, whole_model = run(tmp_path, feed, name="whole")
    assert feed.begun == 5

    feed = Feed()
    feed.fail_in = 2
    with pytest.raises(tf.errors.OpError, match="the power went off"):
        run(tmp_path, feed)
    assert feed.begun == 2
    assert [row["epoch"] for row in read_history(tmp_path / "run/backup" / HISTORY_FILE)] == [1]
    assert not (tmp_path / "run/history").exists()

    feed.fail_in = None
    resumed, resumed_model = run(tmp_path, feed)
    # Epoch 2 is begun again, epoch 1 is not.
    assert feed.begun == 2 + 4
    assert [row["epoch"] for row in resumed] == [1, 2, 3, 4, 5]
    assert read_history(tmp_path / "run/history" / HISTORY_FILE) == resumed
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"} < set(resumed[0])
    for ours, theirs in zip(curve(resumed), curve(whole), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    for ours, theirs in zip(resumed_model.get_weights(), whole_model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_an_epoch_that_is_trained_again_replaces_its_row(tmp_path):
    feed = Feed()
    feed.fail_in = 2
    with pytest.raises(tf.errors.OpError):
        run(tmp_path, feed, epochs=2)
    # Killed between the row and the state of epoch 2.
    file = tmp_path / "run/backup" / HISTORY_FILE
    write_history(file, [*read_history(file), {"epoch": 2, "val_accuracy": 0.0, "note": 1.0}])
    feed.fail_in = None
    history, _ = run(tmp_path, feed, epochs=2)
    assert [row["epoch"] for row in history] == [1, 2]
    assert "note" not in history[1]


def test_the_model_ends_with_the_weights_of_its_best_epoch(tmp_path):
    # Validated on labels that contradict the training: it gets worse with every epoch.
    history, model = run(tmp_path, Feed(), classifier(rate=0.05), shift=1)
    values = [row["val_accuracy"] for row in history]
    best = values.index(max(values)) + 1
    assert best < len(values)
    _, then = run(tmp_path, Feed(), classifier(rate=0.05), epochs=best, shift=1, name="until then")
    for ours, theirs in zip(model.get_weights(), then.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_finished_training_is_not_trained_again(tmp_path):
    feed = Feed()
    history, model = run(tmp_path, feed, epochs=2)
    again, other = run(tmp_path, feed, epochs=2)
    assert feed.begun == 2
    assert again == history
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_training_stops_when_patience_ends(tmp_path):
    history, _ = run(tmp_path, Feed(), classifier(rate=0.0), epochs=9, patience=2)
    assert [row["epoch"] for row in history] == [1, 2, 3]


def test_a_training_that_stopped_early_is_not_trained_again(tmp_path):
    feed = Feed()
    run(tmp_path, feed, classifier(rate=0.0), epochs=9, patience=2)
    history, _ = run(tmp_path, feed, classifier(rate=0.0), epochs=9, patience=2)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert feed.begun == 3


@pytest.mark.parametrize(("images", "buffer"), [(400, 500), (400, 4000), (0, 500)])
def test_an_epoch_reads_the_records_once_and_epochs_reach_them_all(monkeypatch, images, buffer):
    monkeypatch.setattr(training, "SHUFFLE", buffer)
    monkeypatch.setattr(training, "CACHE_BYTES", 0)
    count, rounds, read = 4000, 20, []

    def numbers():
        for number in range(count):
            read.append(number)
            yield number

    records = tf.data.Dataset.from_generator(numbers, output_signature=tf.TensorSpec([], tf.int64))
    batches, steps = training.shuffled_batches(
        lambda pick: pick(records).batch(10),
        count,
        {"batch_size": 10, "images_per_epoch": images, "seed": 1},
    )
    epochs = [np.concatenate([batch.numpy() for batch in batches]) for _ in range(rounds)]
    assert {len(epoch) for epoch in epochs} == {10 * steps} == {images or count}
    assert not np.array_equal(epochs[0], epochs[1])
    # Those at the end are seen as often as those at the start, but for what chance does to so few.
    seen = np.bincount(np.concatenate(epochs), minlength=count).reshape(4, -1).mean(axis=1)
    np.testing.assert_allclose(seen, rounds * (images or count) / count, rtol=0.4)
    assert len(read) <= 1.2 * rounds * count


@pytest.mark.parametrize(
    ("count", "images_per_epoch", "steps"), [(300, 0, 37), (5, 0, 1), (300, 80, 10), (300, 1000, 37)]
)
@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_the_number_of_training_steps_is_known(monkeypatch, count, images_per_epoch, steps, memory):
    images = tf.random.uniform([count, 8, 8, 1])
    features = {IMAGE: images, emotion.LABEL: tf.range(count, dtype=tf.int64)}
    records = tf.data.Dataset.from_tensor_slices(features)
    monkeypatch.setattr(
        training,
        "transformed_examples",
        lambda files, transform, size, pick=lambda records: records: pick(records).batch(size),
    )
    monkeypatch.setattr(training, "CACHE_BYTES", memory)
    monkeypatch.setattr(training, "count_examples", lambda patterns: count)
    augmentation = dict.fromkeys(
        ("shift", "rotate_degrees", "zoom", "stretch", "brightness", "contrast", "cutout"), 0.0
    )
    settings = {
        "batch_size": BATCH,
        "seed": 1,
        "images_per_epoch": images_per_epoch,
        "augmentation": {"flip": False, **augmentation},
    }
    files = SimpleNamespace(train_files=["train"], eval_files=["eval"])
    recipe = image_training.Recipe(emotion.LABEL, None, lambda labels: labels, None, None, None)
    train, _, declared = image_training._datasets(files, None, recipe, settings)
    assert declared == steps
    epochs = [np.concatenate([labels for _, labels in train.as_numpy_iterator()]) for _ in range(2)]
    assert [len(epoch) for epoch in epochs] == [min(steps * BATCH, count)] * 2
    assert len(set(epochs[0])) == len(epochs[0])
    if steps * BATCH < count / 2:
        assert set(epochs[0]) != set(epochs[1])  # another part of the images each time
    assert train.cardinality() == steps


# Optimisers and schedules


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_spares_biases_and_normalisation(name):
    model = keras.Sequential(
        [
            keras.layers.Conv2D(2, 3, input_shape=(8, 8, 1)),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
    optimizer = build_optimizer({"optimizer": name, "momentum": 0.9, "weight_decay": 0.1}, 0.5)
    optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in model.trainable_variables])
    kinds = {}
    for variable in model.trainable_variables:
        kinds.setdefault(variable.name.split("/")[-1].split(":")[0], []).append(variable.numpy())
    assert {kind: len(values) for kind, values in kinds.items()} == {
        "kernel": 2,
        "bias": 2,
        "gamma": 1,
        "beta": 1,
    }
    for kind, values in kinds.items():
        for value in values:
            np.testing.assert_allclose(value, 0.95 if kind == "kernel" else 1.0, rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_without_weight_decay_nothing_shrinks(name):
    variable = tf.Variable([1.0], name="kernel")
    optimizer = build_optimizer({"optimizer": name, "momentum": 0.9, "weight_decay": 0.0}, 0.5)
    optimizer.apply_gradients([(tf.zeros_like(variable), variable)])
    assert variable.numpy() == [1.0]


def test_optimisers_are_those_of_the_settings():
    settings = {"optimizer": "sgd", "momentum": 0.8, "weight_decay": 0.0}
    sgd = build_optimizer(settings, 0.25)
    assert (type(sgd), sgd.momentum, sgd.nesterov) == (keras.optimizers.SGD, 0.8, True)
    assert float(sgd.learning_rate) == 0.25
    assert type(build_optimizer({**settings, "optimizer": "adamw"}, 0.25)) is keras.optimizers.AdamW


def rates(steps_per_epoch, epochs, warmup):
    settings = {"schedule": "cosine", "learning_rate": 0.4, "epochs": epochs, "warmup_epochs": warmup}
    schedule = build_schedule(settings, steps_per_epoch)
    return np.array([float(schedule(step)) for step in range(steps_per_epoch * epochs + 1)])


def test_constant_schedule():
    assert build_schedule({"schedule": "constant", "learning_rate": 0.3}, 10) == 0.3


@pytest.mark.parametrize("warmup", [0.0, 0.5, 2.0])
def test_cosine_schedule_rises_to_its_peak_and_falls_to_zero(warmup):
    values = rates(10, 6, warmup)
    peak = int(10 * warmup)
    assert values[peak] == pytest.approx(0.4)
    assert values.max() == pytest.approx(0.4)
    np.testing.assert_allclose(values[: peak + 1], np.linspace(0 if peak else 0.4, 0.4, peak + 1), atol=1e-6)
    assert (np.diff(values[peak:]) < 0).all()
    assert values[(60 + peak) // 2] == pytest.approx(0.2, rel=0.05)
    assert values[-1] == pytest.approx(0.0, abs=1e-6)


def test_a_warm_up_longer_than_the_training_only_rises():
    values = rates(4, 2, warmup=5.0)
    assert (np.diff(values) > 0).all()
    assert values[-1] < 0.4


# Data sets


def write_records(file, count):
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(file), options) as writer:
        for number in range(count):
            writer.write(b"%d" % number)


def test_counting_examples(tmp_path):
    for name, count in (("a-0.gz", 5000), ("a-1.gz", 1), ("a-2.gz", 0), ("b-0.gz", 7)):
        write_records(tmp_path / name, count)
    assert count_examples([str(tmp_path / "a-*.gz")]) == 5001
    assert count_examples([str(tmp_path / "a-1.gz"), str(tmp_path / "b-*")]) == 8
    assert count_examples([str(tmp_path / "a-2.gz")]) == 0


def test_what_fits_in_memory(monkeypatch):
    dataset = tf.data.Dataset.from_tensors(
        (tf.zeros([2, 48, 48, 1]), tf.zeros([2, 7]), tf.zeros([2], tf.int64))
    ).map(lambda *parts: tuple(tf.ensure_shape(part, [None, *part.shape[1:]]) for part in parts))
    each = 48 * 48 * 4 + 7 * 4 + 8
    monkeypatch.setattr(training, "CACHE_BYTES", 10 * each)
    assert [fits_in_memory(dataset, count) for count in (11, 10, 0)] == [False, True, True]
