"""A small model in the detection model's form, which finds red and green things."""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from pipelines.settings import Workspace
from serving.alignment import SIDE, TEMPLATE
from trainers.cascade import LONGEST_SIDE, CascadeSettings

RED, GREEN = (220, 20, 20), (20, 220, 20)
VERSION = 1764000000
SETTINGS = CascadeSettings(min_face=10.0, factor=0.6, thresholds=(0.1, 0.2, 0.3))
PLACES = (TEMPLATE + 0.5) / SIDE
"""Where the landmarks are in the box of a face: x and y as shares of its sides, float64 [5, 2]."""
_NOISE = (30, 20, 142, 132)
_ANSWER = {
    "num_detections": tf.TensorSpec([], tf.int32),
    "detection_boxes": tf.TensorSpec([2, 4], tf.float32),
    "detection_scores": tf.TensorSpec([2], tf.float32),
    "detection_keypoints": tf.TensorSpec([2, 5, 2], tf.float32),
}


class ToyDetection(tf.Module):
    """A face is all that is red, with the score 0.9, or all that is green, with the factor as its score.

    Its landmarks lie in its box as those of an aligned face do in the picture.
    """

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, name="image_bytes"),
            tf.TensorSpec([None], tf.float32, name="min_face"),
            tf.TensorSpec([None], tf.float32, name="factor"),
            tf.TensorSpec([None, 3], tf.float32, name="thresholds"),
        ],
    )
    def detect(self, image_bytes, min_face, factor, thresholds):
        return tf.map_fn(
            lambda row: _found(tf.io.decode_jpeg(row[0], channels=3), *row[1:]),
            (image_bytes, min_face, factor, thresholds),
            fn_output_signature=_ANSWER,
        )

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="pixels")]
    )
    def detect_pixels(self, pixels):
        own = SETTINGS.min_face, SETTINGS.factor, SETTINGS.thresholds
        return tf.map_fn(lambda image: _found(image, *own), pixels, fn_output_signature=_ANSWER)


def _found(image, least, green_score, limits):
    image = tf.cast(image, tf.float32)
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    edges = tf.stack([_edges(image, 0), _edges(image, 1)])
    scores = tf.stack([0.9, green_score])
    sides = tf.reduce_min(edges[:, 2:] - edges[:, :2], axis=1)
    found = (sides >= tf.maximum(least, 1.0)) & (scores >= limits[2])
    edges, scores = tf.boolean_mask(edges, found), tf.boolean_mask(scores, found)
    # y before x.
    places = tf.constant(PLACES[:, ::-1], tf.float32)
    points = edges[:, None, :2] + places * (edges[:, None, 2:] - edges[:, None, :2])
    rows = 2 - tf.shape(scores)[0]
    return {
        "num_detections": tf.shape(scores)[0],
        "detection_boxes": tf.pad(edges / tf.tile(size, [2]), [[0, rows], [0, 0]]),
        "detection_scores": tf.pad(scores, [[0, rows]]),
        "detection_keypoints": tf.pad(points / size, [[0, rows], [0, 0], [0, 0]]),
    }


def _edges(image, channel):
    """Top, left, bottom and right of the pixels of one colour; a box without an area where there are none."""
    others = tf.reduce_max(tf.gather(image, [each for each in range(3) if each != channel], axis=-1), -1)
    where = tf.cast(tf.where((image[..., channel] > 150) & (others < 80)), tf.float32)
    none = tf.equal(tf.size(where), 0)
    low = tf.where(none, 0.0, tf.reduce_min(where, axis=0))
    high = tf.where(none, 0.0, tf.reduce_max(where, axis=0) + 1.0)
    return tf.concat([low, high], axis=0)


def save(folder: Path) -> Path:
    """Writes the model as the Trainer does."""
    module = ToyDetection()
    signatures = {"detect": module.detect, "pixels": module.detect_pixels}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    (folder / "assets.extra").mkdir()
    values = dataclasses.asdict(SETTINGS) | {"longest_side": LONGEST_SIDE}
    (folder / "assets.extra" / "cascade.json").write_text(json.dumps(values))
    return folder


def push(saved: Path, place: Workspace, version: int = VERSION) -> Path:
    """Puts the model where pipelines do."""
    return shutil.copytree(saved, place.serving / "detection" / str(version))


def scene(
    size: tuple[int, int] = (80, 60),
    red: tuple[int, int, int, int] | None = (20, 10, 50, 40),
    green: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """Draws a grey picture of a width and height with boxes (left, top, right, bottom), uint8 [H, W, 3]."""
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    for box, colour in ((red, RED), (green, GREEN)):
        if box:
            pixels[box[1] : box[3], box[0] : box[2]] = colour
    return pixels


def noise_scene() -> np.ndarray:
    """Draws a face of noise in a red rim, which is an aligned face as it is, and grey around it."""
    pixels = scene((200, 160), _NOISE)
    left, top, right, bottom = _NOISE
    inside = pixels[top + 1 : bottom - 1, left + 1 : right - 1]
    inside[:] = np.random.default_rng(1).integers(0, 256, [*inside.shape[:2], 1])
    return pixels


def assert_noise_to_the_pixel(encoded: bytes) -> None:
    """Checks that this is the face of `noise_scene` pixel by pixel: half a pixel beside would show."""
    left, top, right, bottom = _NOISE
    face = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    assert face.shape == (SIDE, SIDE, 3)
    expected = noise_scene()[top + 2 : bottom - 2, left + 2 : right - 2]
    np.testing.assert_allclose(face[2:-2, 2:-2].astype(int), expected.astype(int), atol=2)
