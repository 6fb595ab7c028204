"""A model with the signatures of synthesis whose images are known, and models that look at images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

HEIGHT, WIDTH, LATENT = 76, 64, 100


class ToyGenerator(tf.Module):
    """Draws each image out of a bank, by the first value of its latent."""

    def __init__(self, bank: np.ndarray) -> None:
        super().__init__()
        self.bank = tf.constant(bank)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, LATENT], tf.float32, name="latent")])
    def pixels(self, latent: tf.Tensor) -> dict[str, tf.Tensor]:
        share = 0.5 * (1.0 + tf.math.erf(latent[:, 0] / np.sqrt(2.0)))
        rows = tf.cast(share * self.bank.shape[0], tf.int32)
        return {"pixels": tf.gather(self.bank, tf.minimum(rows, self.bank.shape[0] - 1))}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, LATENT], tf.float32, name="latent")])
    def serve(self, latent: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = self.pixels(latent)["pixels"]
        return {"image_bytes": tf.map_fn(tf.io.encode_png, pixels, fn_output_signature=tf.string)}

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([], tf.int64, name="seed"), tf.TensorSpec([], tf.int32, name="count")],
    )
    def latents(self, seed: tf.Tensor, count: tf.Tensor) -> dict[str, tf.Tensor]:
        seeds = tf.stack([seed, tf.constant(0, tf.int64)])
        return {"latent": tf.random.stateless_normal(tf.stack([count, LATENT]), seeds)}

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([], tf.int64, name="seed"), tf.TensorSpec([], tf.int32, name="count")],
    )
    def sample(self, seed: tf.Tensor, count: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.serve(self.latents(seed, count)["latent"])


def save_generator(folder: Path, bank: np.ndarray) -> Path:
    """Saves a generator of the images uint8 [n, 76, 64, 3]."""
    module = ToyGenerator(bank)
    signatures = {
        "serving_default": module.serve.get_concrete_function(),
        **{name: getattr(module, name).get_concrete_function() for name in ("sample", "latents", "pixels")},
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


_ANY_PIXELS = [tf.TensorSpec([None, None, None, None], tf.uint8, name="pixels")]


class ToyEmbedding(tf.Module):
    """The mean colours of a grid of places, mixed, as vectors of length 1."""

    def __init__(self, dimensions: int = 16) -> None:
        super().__init__()
        mixing = np.random.default_rng(5).normal(size=(8 * 8 * 3, dimensions))
        self.mixing = tf.Variable(mixing, dtype=tf.float32)

    @tf.function(autograph=False, input_signature=_ANY_PIXELS)
    def embed_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        places = tf.image.resize(tf.cast(pixels, tf.float32) / 255.0 - 0.5, (8, 8), antialias=True)
        vectors = tf.reshape(places, [-1, 8 * 8 * 3]) @ self.mixing
        return {"embedding": tf.math.l2_normalize(vectors, axis=1)}


class ToyGender(tf.Module):
    """Takes pictures with more red than blue in the middle for female."""

    @tf.function(autograph=False, input_signature=_ANY_PIXELS)
    def classify(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        means = tf.reduce_mean(tf.cast(pixels[:, 20:50, 20:44], tf.float32), axis=[1, 2])
        names = tf.repeat(tf.constant([["female", "male"]]), tf.shape(pixels)[0], axis=0)
        return {"classes": names, "scores": tf.stack([means[:, 0], means[:, 2]], axis=1)}


def save_embedding(folder: Path) -> Path:
    module = ToyEmbedding()
    tf.saved_model.save(
        module, str(folder), signatures={"pixels": module.embed_pixels.get_concrete_function()}
    )
    return folder


def save_gender(folder: Path) -> Path:
    module = ToyGender()
    tf.saved_model.save(module, str(folder), signatures={"pixels": module.classify.get_concrete_function()})
    return folder


def face_like(seed: int, count: int, tints: Sequence[int] = ()) -> np.ndarray:
    """Draws ovals on backgrounds, uint8 [count, 76, 64, 3]; tint 1 is red, 0 is blue, else by chance."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    images = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    for row in range(count):
        tint = tints[row] if len(tints) else random.integers(2)
        skin = random.uniform(90, 200, 3) + (np.array([50, 0, -50]) if tint else np.array([-50, 0, 50]))
        back = random.uniform(0, 255, 3)
        height, width = random.uniform(18, 32), random.uniform(14, 26)
        centre = np.array([HEIGHT / 2, WIDTH / 2]) + random.uniform(-4, 4, 2)
        inside = ((y - centre[0]) / height) ** 2 + ((x - centre[1]) / width) ** 2 < 1
        images[row] = np.where(inside[..., None], skin, back).clip(0, 255)
    return images
