"""SavedModels with the signatures of the six tasks, whose answers can be told from the picture by hand.

Detection sees the mean colour of a picture: none in black ones, one face in the middle of dark ones, two
side by side in bright ones. The others answer by the mean brightness of a face.
"""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

STRINGS = tf.TensorSpec([None], tf.string)
Tensors = dict[str, tf.Tensor]

THRESHOLD = 0.2
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
# ymin, xmin, ymax, xmax
_MIDDLE, _LEFT, _RIGHT = (0.25, 0.25, 0.75, 0.75), (0.25, 0.1, 0.75, 0.4), (0.2, 0.55, 0.8, 0.95)
# Of a box's height and width: eyes, nose, corners of the mouth.
_POINTS = ((0.4, 0.3), (0.4, 0.7), (0.6, 0.5), (0.8, 0.35), (0.8, 0.65))


def _brightness(images: tf.Tensor) -> tf.Tensor:
    """Mean of each picture, float32 [N], 0 to 1."""

    def one(encoded: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        return tf.reduce_mean(tf.cast(pixels, tf.float32)) / 255.0

    return tf.map_fn(one, images, fn_output_signature=tf.float32)


def _points(box: tuple[float, float, float, float]) -> list[list[float]]:
    ymin, xmin, ymax, xmax = box
    return [[ymin + y * (ymax - ymin), xmin + x * (xmax - xmin)] for y, x in _POINTS]


def detect(image_bytes: tf.Tensor) -> Tensors:
    light = _brightness(image_bytes)
    number = tf.where(light < 0.05, 0, tf.where(light < 0.6, 1, 2))
    two = (light >= 0.6)[:, None, None]
    boxes = tf.where(two, tf.constant([[_LEFT, _RIGHT]]), tf.constant([[_MIDDLE, _MIDDLE]]))
    left, right, middle = _points(_LEFT), _points(_RIGHT), _points(_MIDDLE)
    points = tf.where(two[..., None], tf.constant([[left, right]]), tf.constant([[middle, middle]]))
    return {
        "num_detections": number,
        "detection_boxes": boxes,
        "detection_scores": tf.ones_like(light)[:, None] * [[0.99, 0.88]],
        "detection_keypoints": points,
    }


def verify(image_bytes_a: tf.Tensor, image_bytes_b: tf.Tensor) -> Tensors:
    distance = tf.abs(_brightness(image_bytes_a) - _brightness(image_bytes_b))
    limit = THRESHOLD * tf.ones_like(distance)
    return {
        "cosine_distance": distance,
        "euclidean_distance": tf.sqrt(2.0 * distance),
        "is_match": distance <= limit,
        "threshold": limit,
    }


def embed(image_bytes: tf.Tensor) -> Tensors:
    return {"embedding": _brightness(image_bytes)[:, None] * [[1.0, 0.0]]}


def classify(*labels: str) -> Callable[[tf.Tensor], Tensors]:
    """The darkest faces are of the first label, the brightest of the last."""

    def run(image_bytes: tf.Tensor) -> Tensors:
        light = _brightness(image_bytes)
        best = tf.minimum(tf.cast(light * len(labels), tf.int32), len(labels) - 1)
        classes = tf.broadcast_to(tf.constant([labels]), [tf.size(image_bytes), len(labels)])
        other = 0.2 / (len(labels) - 1)
        return {"classes": classes, "scores": tf.one_hot(best, len(labels), 0.8, other)}

    return run


def age(image_bytes: tf.Tensor) -> Tensors:
    """A hundred times the brightness."""
    years = 100.0 * _brightness(image_bytes)
    distance = tf.abs(tf.range(101.0)[None] - years[:, None])
    return {
        "age": years,
        "age_low": tf.maximum(years - 5.0, 0.0),
        "age_high": tf.minimum(years + 5.0, 100.0),
        "probabilities": tf.nn.softmax(-distance / 3.0),
    }


def sample(seed: tf.Tensor, count: tf.Tensor) -> Tensors:
    colours = tf.random.stateless_uniform([count, 3], tf.stack([seed, 0]), 0, 256, tf.int32)

    def one(colour: tf.Tensor) -> tf.Tensor:
        return tf.io.encode_png(tf.cast(tf.broadcast_to(colour, [76, 64, 3]), tf.uint8))

    return {"image_bytes": tf.map_fn(one, colours, fn_output_signature=tf.string)}


def synthesise(latent: tf.Tensor) -> Tensors:
    return {"image_bytes": tf.repeat(sample(tf.constant(1, tf.int64), 1)["image_bytes"], tf.shape(latent)[0])}


IMAGES = {"image_bytes": STRINGS}
TASKS = {
    "detection": {"serving_default": (detect, IMAGES)},
    "verification": {
        "serving_default": (verify, {"image_bytes_a": STRINGS, "image_bytes_b": STRINGS}),
        "embed": (embed, IMAGES),
    },
    "gender": {"serving_default": (classify("female", "male"), IMAGES)},
    "emotion": {"serving_default": (classify(*EMOTIONS), IMAGES)},
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
