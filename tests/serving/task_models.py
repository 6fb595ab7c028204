"""SavedModels with the signatures of the six tasks, whose answers are arithmetic on the size of the image."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

STRINGS = tf.TensorSpec([None], tf.string)
Tensors = dict[str, tf.Tensor]


def _size(images: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(images), tf.float32)


def detect(image_bytes: tf.Tensor) -> Tensors:
    """As many faces as the image has bytes, of three slots."""
    number = tf.minimum(tf.strings.length(image_bytes), 3)
    ones = tf.ones_like(_size(image_bytes))[:, None]
    return {
        "num_detections": number,
        "detection_boxes": ones[:, :, None] * tf.reshape(tf.range(12.0) / 16, [1, 3, 4]),
        "detection_scores": ones * [[0.75, 0.5, 0.25]],
        "detection_keypoints": ones[:, :, None, None] * tf.reshape(tf.range(30.0) / 32, [1, 3, 5, 2]),
    }


def verify(image_bytes_a: tf.Tensor, image_bytes_b: tf.Tensor) -> Tensors:
    distance = tf.abs(_size(image_bytes_a) - _size(image_bytes_b)) / 8
    limit = 0.5 * tf.ones_like(distance)
    return {
        "cosine_distance": distance,
        "euclidean_distance": 2 * distance,
        "is_match": distance < limit,
        "threshold": limit,
    }


def embed(image_bytes: tf.Tensor) -> Tensors:
    return {"embedding": _size(image_bytes)[:, None] * [[0.1, 1.0, -1.0]]}


def classify(*labels: str) -> Callable[[tf.Tensor], Tensors]:
    def run(image_bytes: tf.Tensor) -> Tensors:
        best = tf.strings.length(image_bytes) % len(labels)
        classes = tf.broadcast_to(tf.constant([labels]), [tf.size(image_bytes), len(labels)])
        return {"classes": classes, "scores": tf.one_hot(best, len(labels), 0.7, 0.1)}

    return run


def age(image_bytes: tf.Tensor) -> Tensors:
    years = _size(image_bytes)
    spread = tf.ones_like(years)[:, None] * tf.range(101.0)[None] / 5050
    return {"age": years, "age_low": years - 5, "age_high": years + 5, "probabilities": spread}


def sample(seed: tf.Tensor, count: tf.Tensor) -> Tensors:
    images = tf.strings.join(
        [b"\x89PNG\0", tf.strings.as_string(seed), " ", tf.strings.as_string(tf.range(count))]
    )
    return {"image_bytes": images}


def synthesise(latent: tf.Tensor) -> Tensors:
    sums = tf.cast(tf.reduce_sum(latent, axis=1), tf.int32)
    return {"image_bytes": tf.strings.join([b"\x89PNG\0", tf.strings.as_string(sums)])}


IMAGES = {"image_bytes": STRINGS}
TASKS = {
    "detection": {"serving_default": (detect, IMAGES)},
    "verification": {
        "serving_default": (verify, {"image_bytes_a": STRINGS, "image_bytes_b": STRINGS}),
        "embed": (embed, IMAGES),
    },
    "gender": {"serving_default": (classify("female", "male"), IMAGES)},
    "emotion": {"serving_default": (classify("angry", "happy", "sad"), IMAGES)},
    "age": {"serving_default": (age, IMAGES)},
    "synthesis": {
        "serving_default": (synthesise, {"latent": tf.TensorSpec([None, 100], tf.float32)}),
        "sample": (sample, {"seed": tf.TensorSpec([], tf.int64), "count": tf.TensorSpec([], tf.int32)}),
    },
}


def save(task: str, base: Path, version: int) -> Path:
    """Saves the model of a task as a version under its base path."""
    signatures = {}
    for name, (function, inputs) in TASKS[task].items():
        specs = {key: tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in inputs.items()}
        signatures[name] = tf.function(function, autograph=False).get_concrete_function(**specs)
    folder = base / str(version)
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)
    return folder
