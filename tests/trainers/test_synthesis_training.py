import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from PIL import Image

from data_validation.errors import InputError
from trainers import synthesis, training
from trainers.adversarial import AdversarialModel, noise, settle
from trainers.history import HISTORY_FILE, read_history, write_history
from trainers.networks import dcgan
from trainers.saved_models import export
from trainers.synthesis import MOST_FACES, SynthesisModule

MODEL = {"generator_width": 4, "discriminator_width": 4, "dropout": 0.0, "spectral_norm": True}
SETTINGS = {
    "epochs": 4,
    "batch_size": 8,
    "generator_rate": 0.0002,
    "discriminator_rate": 0.0002,
    "beta_1": 0.5,
    "label_smoothing": 0.0,
    "average": 0.9,
    "seed": 1,
}
LOSSES = ("generator_loss", "discriminator_loss")


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch):
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)


def faces(count: int) -> tf.Tensor:
    """Something to learn: bright ellipses on darkness, float32 [count, 76, 64, 3]."""
    rows, columns = np.mgrid[-1:1:76j, -1:1:64j]
    middles = np.random.default_rng(1).uniform(-0.2, 0.2, (count, 2, 1, 1))
    inside = (rows - middles[:, 0]) ** 2 / 0.5 + (columns - middles[:, 1]) ** 2 / 0.3 < 1
    return tf.constant(np.where(inside[..., None], [0.8, 0.4, 0.2], [-0.8, -0.6, -0.4]), tf.float32)


def train(folder: Path, epochs: int, stop_after: int | None = None, **changed) -> AdversarialModel:
    """Trains on 32 images; a kill is an error in the middle of a later epoch."""
    settings = {**SETTINGS, "epochs": epochs, **changed}
    keras.utils.set_random_seed(settings["seed"])
    model = synthesis._build(MODEL, settings)
    batches = tf.data.Dataset.from_tensor_slices(faces(32)).batch(settings["batch_size"])
    if stop_after:
        batches = killed(batches, stop_after * 4 + 2)
    synthesis._fit(model, batches, settings, folder / "backup", str(folder / "run"))
    return model


def history(folder: Path) -> list[dict[str, float]]:
    return read_history(folder / "run" / HISTORY_FILE)


class Killed(Exception):
    """The machine went away."""


def killed(batches: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    """Fails at a step, counted over all epochs."""
    seen = [0]

    def look(images: np.ndarray) -> np.ndarray:
        seen[0] += 1
        if seen[0] > steps:
            raise Killed
        return images

    return batches.map(
        lambda images: tf.ensure_shape(tf.numpy_function(look, [images], tf.float32), images.shape),
        num_parallel_calls=None,
    )


# A training


def test_a_killed_training_goes_on_with_the_losses_of_one_that_was_not(tmp_path):
    # Rates at which four epochs change much: whatever was forgotten would show.
    rates = {"generator_rate": 0.002, "discriminator_rate": 0.002}
    whole = train(tmp_path / "whole", epochs=4, **rates)
    with pytest.raises(tf.errors.OpError, match="Killed"):
        train(tmp_path / "killed", epochs=4, stop_after=2, **rates)
    kept = tmp_path / "killed" / "backup" / HISTORY_FILE
    assert len(read_history(kept)) == 2
    # A training that begins anew would write the first rows again.
    first = [{**row, "seconds": -1.0} for row in read_history(kept)]
    write_history(kept, first)
    resumed = train(tmp_path / "killed", epochs=4, **rates)
    rows = history(tmp_path / "killed")
    assert rows[:2] == first
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    for one, other in zip(history(tmp_path / "whole"), rows, strict=True):
        for name in LOSSES:
            assert one[name] == pytest.approx(other[name], rel=1e-3), (one["epoch"], name)
    assert resumed.steps == whole.steps == 16
    for one, other in zip(whole.average.get_weights(), resumed.average.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_training_leaves_curves_and_a_picture_of_every_epoch(tmp_path):
    train(tmp_path, epochs=2)
    assert history(tmp_path)[0].keys() >= {*LOSSES, "real_score", "fake_score", "generator_rate", "seconds"}
    pictures = sorted((tmp_path / "run" / "samples").iterdir())
    assert [file.name for file in pictures] == ["epoch-0001.jpg", "epoch-0002.jpg"]
    with Image.open(pictures[0]) as first, Image.open(pictures[1]) as second:
        assert first.size == (8 * 66 + 2, 8 * 78 + 2)
        assert first.tobytes() != second.tobytes()


def test_losses_that_are_no_numbers_end_a_training(tmp_path):
    with pytest.raises(InputError) as caught:
        train(tmp_path, epochs=2, generator_rate=1e30, discriminator_rate=1e30)
    message = str(caught.value)
    assert "train.generator_rate=1e+30, train.discriminator_rate=1e+30" in message
    assert "generator_loss nan" in message and "at step " in message
    assert "try lower rates" in message and "train.label_smoothing" in message


def test_weights_that_no_loss_has_told_of_yet_are_not_kept(tmp_path):
    """The last step of an epoch spoils them, and its losses are those before it."""
    with pytest.raises(InputError, match=r"expected finite weights, found others at step 1; try lower rates"):
        train(tmp_path, epochs=1, batch_size=32, generator_rate=1e38, discriminator_rate=1e38)
    assert not list(tmp_path.rglob("checkpoint"))
    assert not (tmp_path / "run").exists()


def test_half_of_the_images_are_mirrored(monkeypatch):
    """All of them are dark on the left."""
    images = np.ones((64, 76, 64, 3), np.float32)
    images[:, :, :32] = -1.0
    examples = tf.data.Dataset.from_tensor_slices({"image/encoded": images})
    monkeypatch.setattr(training, "transformed_examples", lambda *_: examples.batch(16))
    monkeypatch.setattr(training, "count_examples", lambda _: 64)
    for flip, least, most in ((True, 10, 54), (False, 0, 0)):
        settings = {"batch_size": 16, "images_per_epoch": 0, "seed": 1, "flip": flip}
        seen = np.concatenate([batch.numpy() for batch in synthesis._batches(arguments(), None, settings)])
        assert seen.shape == images.shape
        assert least <= int((seen[:, 0, 0, 0] > 0).sum()) <= most


def arguments() -> SimpleNamespace:
    return SimpleNamespace(train_files=[])


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_trains_with_losses_that_are_numbers(tmp_path, policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = train(tmp_path, epochs=1)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    scaled = isinstance(model.generator_optimizer, keras.mixed_precision.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    assert all(np.isfinite(history(tmp_path)[0][name]) for name in LOSSES)
    assert model.rates == pytest.approx({"generator_rate": 0.0002, "discriminator_rate": 0.0002})
    assert all(weight.dtype == tf.float32 for weight in model.average.variables)


def test_data_by_which_nothing_could_be_judged_are_refused_before_the_training(monkeypatch):
    monkeypatch.setattr(training, "count_examples", lambda _: 19)
    with pytest.raises(InputError, match="split eval: expected at least 20 images to judge by, found 19"):
        synthesis._check_held_back([])


def test_settled_statistics_are_those_of_what_is_drawn():
    keras.utils.set_random_seed(2)
    generator = dcgan.generator(4)
    for layer in generator.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(layer.moving_variance * 0.01)
    momentum = generator.get_layer("up1_norm").momentum
    latent = noise(9, 0, 256)
    as_if_trained = generator(latent, training=True).numpy().std()  # moves the statistics a little only
    assert generator(latent).numpy().std() > 1.2 * as_if_trained
    settle(generator)
    assert generator(latent).numpy().std() == pytest.approx(as_if_trained, rel=0.05)
    assert generator.get_layer("up1_norm").momentum == momentum


# The exported model


def exported(folder: Path, width: int):
    """The signatures of a generator with random weights."""
    keras.utils.set_random_seed(3)
    model = synthesis._build({**MODEL, "generator_width": width}, SETTINGS)
    generator = dcgan.generator(width)
    generator.set_weights(model.average.get_weights())
    settle(generator)
    export(SynthesisModule(generator, model.networks), str(folder), about={})
    return tf.saved_model.load(str(folder)).signatures


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("generator"), MODEL["generator_width"])


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """As wide as that of real data: where batches of other sizes round another way."""
    return exported(tmp_path_factory.mktemp("wide"), 32)


def decoded(images: tf.Tensor) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in images.numpy()])


def sample(served, seed: int, count: int) -> list[bytes]:
    answer = served["sample"](seed=tf.constant(seed, tf.int64), count=tf.constant(count))
    return list(answer["image_bytes"].numpy())


def test_a_seed_gives_the_same_faces_and_more_of_them_the_same_first_ones(served):
    assert sample(served, 7, 5) == sample(served, 7, 5) == sample(served, 7, MOST_FACES)[:5]
    assert len(set(sample(served, 7, 5) + sample(served, 8, 5))) == 10
    assert len(sample(served, 2**62, 1)) == len(sample(served, -1, 1)) == 1


@pytest.mark.parametrize("count", [0, -1, MOST_FACES + 1, 10_000])
def test_a_count_out_of_range_is_refused_in_the_graph(served, count):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"count: expected 1 to 64, found"):
        sample(served, 7, count)


def test_all_signatures_draw_the_same_faces(served):
    latent = served["latents"](seed=tf.constant(7, tf.int64), count=tf.constant(3))["latent"]
    assert latent.shape == (3, dcgan.LATENT)
    files = served["serving_default"](latent=latent)["image_bytes"]
    alike = np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in sample(served, 7, 3)]).astype(int)
    assert np.abs(decoded(files) - alike).max() <= 1
    pixels = served["pixels"](latent=latent)["pixels"]
    assert pixels.dtype == tf.uint8 and pixels.shape == (3, 76, 64, 3)
    np.testing.assert_array_equal(pixels.numpy(), decoded(files))


def test_a_batch_gives_what_single_requests_give(served):
    latent = tf.random.stateless_normal([5, dcgan.LATENT], [1, 1])
    together = served["pixels"](latent=latent)["pixels"].numpy()
    alone = np.concatenate([served["pixels"](latent=row[tf.newaxis])["pixels"].numpy() for row in latent])
    # Sums of another order may round another way.
    assert np.abs(together.astype(int) - alone).max() <= 1


@pytest.mark.parametrize("signature", ["serving_default", "pixels"])
def test_rows_are_bounded(served, signature):
    latent = tf.zeros([synthesis.MOST_ROWS + 1, dcgan.LATENT])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"latent: expected at most 1024 rows, found"):
        served[signature](latent=latent)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_noise_that_is_no_number_is_refused(served, value):
    with pytest.raises(tf.errors.InvalidArgumentError, match="latent: expected finite numbers"):
        served["serving_default"](latent=tf.fill([1, dcgan.LATENT], tf.constant(value, tf.float32)))


@pytest.mark.parametrize("count", [1, 3, 16, 17, 63])
def test_fewer_faces_are_the_first_of_more_to_the_last_pixel(wide, count):
    assert sample(wide, 7, count) == sample(wide, 7, MOST_FACES)[:count]


def test_a_warm_start_goes_on_from_all_networks(served, tmp_path):
    from trainers.image_training import warm_start

    keras.utils.set_random_seed(4)
    model = synthesis._build(MODEL, SETTINGS)
    keras.utils.set_random_seed(5)
    generator = dcgan.generator(4)
    generator.set_weights(model.average.get_weights())
    export(SynthesisModule(generator, model.networks), str(tmp_path), about={})
    other = synthesis._build(MODEL, SETTINGS)
    warm_start(other.networks, str(tmp_path))
    for name in ("generator", "discriminator"):
        for one, two in zip(getattr(model, name).variables, getattr(other, name).variables, strict=True):
            np.testing.assert_array_equal(one.numpy(), two.numpy())
    wider = synthesis._build({**MODEL, "generator_width": 8}, SETTINGS)
    with pytest.raises(
        InputError, match=r"train\.warm_start: the model in .* has another network than dcgan"
    ):
        warm_start(wider.networks, str(tmp_path))


# Preprocessing


def test_images_become_what_the_generator_draws():
    buffer = io.BytesIO()
    Image.new("L", (89, 109), 255).save(buffer, "PNG")
    grey = buffer.getvalue()
    buffer = io.BytesIO()
    Image.new("RGB", (64, 76), (0, 255, 51)).save(buffer, "PNG")
    images = synthesis.preprocessing_fn({"image/encoded": tf.constant([[grey], [buffer.getvalue()]])}, {})
    assert images["image/encoded"].shape == (2, 76, 64, 3)
    np.testing.assert_allclose(images["image/encoded"][0], 1.0, atol=1e-6)
    np.testing.assert_allclose(images["image/encoded"][1, 40, 30], [-1.0, 1.0, -0.6], atol=1e-6)
    np.testing.assert_array_equal(
        synthesis.to_pixels(images["image/encoded"])[1].numpy(), np.asarray(Image.open(buffer))
    )


def test_an_epoch_takes_other_images_each_time():
    images = faces(32)
    batches, steps = training.shuffled_batches(
        lambda pick: pick(tf.data.Dataset.from_tensor_slices(images)).batch(8),
        32,
        {"batch_size": 8, "images_per_epoch": 16, "seed": 1},
    )
    assert steps == 2
    first, second = ([batch.numpy() for batch in batches] for _ in range(2))
    assert [batch.shape for batch in first] == [(8, 76, 64, 3)] * 2
    assert not np.array_equal(first, second)
