"""A small generator in the synthesis model's form, with random weights, and a gender model beside it.

The first latent of a face is its brightness, which the gender model goes by: bright faces are male.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.settings import Workspace

VERSION = 1764000000
HEIGHT, WIDTH, LATENTS, MOST = 76, 64, 100, 64
_WIDTH = 4


class ToySynthesis(tf.Module):
    """A first layer to 19x16, a transposed convolution to 76x64, as a DCGAN has more of.

    `shift` moves the brightness, so that generators can be made that make more men or more women.
    """

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        random = np.random.default_rng(1)
        self.first = tf.Variable(random.normal(0, 0.1, [LATENTS, 19 * 16 * _WIDTH]), dtype=tf.float32)
        self.last = tf.Variable(random.normal(0, 0.3, [7, 7, 3, _WIDTH]), dtype=tf.float32)
        self.shift = tf.Variable(shift)

    def made(self, latent):
        batch = tf.shape(latent)[0]
        hidden = tf.nn.relu(tf.reshape(latent @ self.first, [-1, 19, 16, _WIDTH]))
        shape = tf.stack([batch, HEIGHT, WIDTH, 3])
        values = tf.nn.tanh(tf.nn.conv2d_transpose(hidden, self.last, shape, 4))
        bright = tf.sigmoid(4.0 * (latent[:, :1] + self.shift))[:, :, None, None]
        return tf.cast(tf.round(40.0 * (values + 1.0) + 170.0 * bright), tf.uint8)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, LATENTS], tf.float32, name="latent")])
    def pixels(self, latent):
        return {"pixels": self.made(latent)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, LATENTS], tf.float32, name="latent")])
    def serve(self, latent):
        return {"image_bytes": tf.map_fn(tf.io.encode_png, self.made(latent), fn_output_signature=tf.string)}

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([], tf.int64, name="seed"), tf.TensorSpec([], tf.int32, name="count")],
    )
    def latents(self, seed, count):
        in_range = tf.debugging.Assert(
            (count >= 1) & (count <= MOST), ["count: expected 1 to 64, found", count]
        )
        with tf.control_dependencies([in_range]):
            drawn = tf.random.stateless_normal([MOST, LATENTS], tf.stack([seed, 0]), alg="philox")
        return {"latent": drawn[:count]}


def save(folder: Path, shift: float = 0.0) -> Path:
    """Writes a generator as the Trainer does."""
    module = ToySynthesis(shift)
    signatures = {"serving_default": module.serve, "pixels": module.pixels, "latents": module.latents}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


class ToyGender(tf.Module):
    """Calls a picture male if its mean is above the middle."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes):
        def brightness(encoded):
            return tf.reduce_mean(tf.cast(tf.io.decode_jpeg(encoded, channels=3), tf.float32)) / 255.0

        male = tf.map_fn(brightness, image_bytes, fn_output_signature=tf.float32)
        classes = tf.tile(tf.constant([["female", "male"]]), [tf.size(male), 1])
        return {"classes": classes, "scores": tf.stack([1.0 - male, male], axis=1)}


def save_gender(folder: Path) -> Path:
    """Writes a gender model as the Trainer does."""
    module = ToyGender()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def place_of(place: Workspace, name: str, version: int = VERSION) -> Path:
    """Returns where a pipeline pushes a version of a model."""
    return place.serving / name / str(version)
