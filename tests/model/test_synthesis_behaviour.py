"""What the DCGAN learns, and that training and serving see the same faces."""

import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import io

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from PIL import Image

from trainers import synthesis
from trainers.networks import dcgan

MODEL = {"generator_width": 8, "discriminator_width": 8, "dropout": 0.0, "spectral_norm": True}
SETTINGS = {
    "generator_rate": 0.001,
    "discriminator_rate": 0.001,
    "beta_1": 0.5,
    "label_smoothing": 0.0,
    "average": 0.9,
    "seed": 1,
}
STEPS = 100


def ellipses(count):
    """Bright ellipses on darkness, each somewhere else, float32 [count, 76, 64, 3]."""
    rows, columns = np.mgrid[-1:1:76j, -1:1:64j]
    middles = np.random.default_rng(1).uniform(-0.2, 0.2, (count, 2, 1, 1))
    inside = (rows - middles[:, 0]) ** 2 / 0.5 + (columns - middles[:, 1]) ** 2 / 0.3 < 1
    return np.where(inside[..., None], [0.8, 0.4, 0.2], [-0.8, -0.6, -0.4]).astype(np.float32)


def test_a_hundred_steps_find_place_and_colours_of_what_is_shown():
    keras.utils.set_random_seed(1)
    real = ellipses(32)
    model = synthesis._build(MODEL, SETTINGS)
    noise = tf.random.stateless_normal([16, dcgan.LATENT], [2, 2])

    def error():
        """Of the mean over what is drawn, root of the mean square; grey has 0.52."""
        drawn = model.average(noise).numpy().mean(axis=0)
        return np.sqrt(np.mean((drawn - real.mean(axis=0)) ** 2))

    before = error()
    step = tf.function(model.train_step, autograph=False)
    for _ in range(STEPS):
        step(tf.constant(real))
    assert error() < 0.6 * before
    # Noise tells what is drawn: not one picture for all.
    assert model.average(noise).numpy().std(axis=0).mean() > 0.02


@pytest.mark.e2e
def test_the_served_generator_is_the_trained_one(synthesis_run):
    """The last grid of the training and the exported model show the same faces."""
    grid = sorted((synthesis_run.output("Trainer", "model_run") / "samples").iterdir())[-1]
    noise = tf.random.stateless_normal([64, dcgan.LATENT], [synthesis._GRID_SEED, 0])
    served = tf.saved_model.load(str(synthesis_run.pushed)).signatures["pixels"](latent=noise)["pixels"]
    with Image.open(grid) as picture:
        kept = np.asarray(picture).astype(int)
    first = kept[2:78, 2:66]
    # One is a JPEG of what half precision draws.
    assert np.abs(first - served[0].numpy()).mean() < 6.0


@pytest.mark.e2e
def test_training_sees_the_pixels_that_the_evaluator_sees(synthesis_run):
    import tensorflow_transform as tft

    from trainers.imaging import decode_batch
    from trainers.training import transformed_examples

    transform = tft.TFTransformOutput(str(synthesis_run.output("Transform", "transform_graph")))
    folder = synthesis_run.output("FaceExampleGen", "examples") / "Split-eval"
    batch = next(iter(transformed_examples([str(folder / "*")], transform, 8)))["image/encoded"]
    files = sorted(map(str, folder.iterdir()))
    raw = next(iter(tf.data.TFRecordDataset(files, compression_type="GZIP").batch(8)))
    encoded = tf.io.parse_example(raw, {"image/encoded": tf.io.FixedLenFeature([], tf.string)})
    compared = tf.round(decode_batch(encoded["image/encoded"], 76, 64, 3) * 255.0)
    np.testing.assert_array_equal(synthesis.to_pixels(batch).numpy(), compared.numpy().astype(np.uint8))
    with Image.open(io.BytesIO(encoded["image/encoded"][0].numpy())) as picture:
        assert picture.size == (89, 109)
