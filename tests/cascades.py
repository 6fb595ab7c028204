"""Cascades of hand-made networks, which find bright squares, and pictures of such squares."""

import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import functools
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from PIL import Image

from trainers.cascade import Cascade, CascadeSettings
from trainers.networks import mtcnn

SCENES: list[tuple[tuple[int, int], list[tuple[int, int, int]]]] = [
    ((100, 140), [(40, 60, 24)]),
    ((140, 100), [(3, 70, 20), (90, 8, 37)]),
    ((203, 311), [(20, 30, 60), (120, 200, 55), (30, 250, 24), (100, 20, 30)]),
    ((97, 401), [(20, 300, 55), (60, 5, 30)]),
    ((64, 64), [(8, 8, 44)]),
]


@functools.cache
def square_finder() -> Cascade:
    """A cascade that finds bright squares; one for all tests, because tracing it takes seconds."""
    return Cascade(bright_middles, extent_with_room, bright_extent, CascadeSettings(most_faces=20))


def random_cascade(settings: CascadeSettings) -> Cascade:
    """A cascade of random weights; boxes do not move far, so that none is left without an area."""
    keras.utils.set_random_seed(1)
    networks = [mtcnn.proposal_network(), mtcnn.refinement_network(), mtcnn.output_network()]
    for network in networks:
        layer = network.get_layer("box")
        layer.set_weights([0.1 * values for values in layer.get_weights()])
    return Cascade(*networks, settings)


def bright_middles(images: tf.Tensor) -> Mapping[str, tf.Tensor]:
    """In P-Net's place: likes windows with a dark rim, of which something bright fills about 45 %."""
    bright = tf.cast(images[..., :1] > 0.6, tf.float32)
    side, stride = mtcnn.PROPOSAL_SIDE, mtcnn.PROPOSAL_STRIDE
    rim = np.ones((side, side, 1, 1), np.float32)
    rim[1:-1, 1:-1] = 0.0
    covered = tf.nn.avg_pool2d(bright, side, stride, "VALID")
    logit = 6.0 - 20.0 * tf.abs(covered - 0.45) - 2.0 * tf.nn.conv2d(bright, rim, stride, "VALID")
    face = tf.concat([tf.zeros_like(logit), logit], axis=-1)
    return {"face": face, "box": tf.repeat(0.0 * logit, 4, axis=-1)}


def bright_extent(images: tf.Tensor, margin: float = 0.0) -> Mapping[str, tf.Tensor]:
    """In O-Net's place: finds the bright square, by how much of each row is bright.

    The sum of the brightness along the square's middle is its side, wherever its edges are between pixels.
    Landmarks are its corners and its middle. Squares that touch the window's border are no faces.
    """
    side = images.shape[1]
    # From black 0 and white 1; grey, which is outside of images, is black.
    bright = tf.clip_by_value(images[..., 0] * 4.0 - 2.4, 0.0, 1.0)
    edges = []
    for axis in (2, 1):
        profile = tf.reduce_max(bright, axis=axis)
        profile /= tf.maximum(tf.reduce_max(profile, axis=1, keepdims=True), 1e-6)
        length = tf.reduce_sum(profile, axis=1)
        middle = tf.reduce_sum(profile * (tf.range(side, dtype=tf.float32) + 0.5), axis=1)
        middle /= tf.maximum(length, 1e-6)
        edges.append(((middle - length / 2.0) / side, (middle + length / 2.0) / side))
    (top, bottom), (left, right) = edges
    border = tf.stack([bright[:, 0], bright[:, -1], bright[:, :, 0], bright[:, :, -1]], axis=1)
    whole = (tf.reduce_max(border, axis=[1, 2]) < 0.5) & (bottom - top > 0.2)
    shown = 1.0 - tf.abs((bottom - top) - 0.7)
    face = tf.stack([tf.zeros_like(top), tf.where(whole, 10.0 * shown - 5.0, -20.0)], axis=1)
    points = [top, left, top, right, (top + bottom) / 2.0, (left + right) / 2.0, bottom, left, bottom, right]
    room = margin * (bottom - top)
    box = [top - room, left - room, bottom + room - 1.0, right + room - 1.0]
    return {"face": face, "box": tf.stack(box, axis=1), "landmarks": tf.stack(points, axis=1)}


def extent_with_room(images: tf.Tensor) -> Mapping[str, tf.Tensor]:
    """In R-Net's place: what `bright_extent` finds, with a dark rim for O-Net to see the square whole."""
    return bright_extent(images, margin=0.2)


def encode(picture: np.ndarray, mode: str | None = None, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    (image.convert(mode) if mode else image).save(buffer, format=file_format, **options)
    return buffer.getvalue()


def picture_of(size: tuple[int, int], squares: list[tuple[int, int, int]]) -> np.ndarray:
    picture = np.zeros((*size, 3), np.uint8)
    for top, left, side in squares:
        picture[top : top + side, left : left + side] = 255
    return picture


def edges_of(squares: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array([[top, left, top + side, left + side] for top, left, side in squares], np.float32)
