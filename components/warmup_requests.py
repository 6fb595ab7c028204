"""Requests for whatever signatures a model has: to ask it, and to warm it up.

Inputs are known by name and type, as all tasks name them, so nothing here knows of tasks.
"""

import io
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from components.samples.faces import draw_face, random_face
from data_validation.errors import InputError
from serving.model_server.warmup import RECORDS_FILE

Arrays = dict[str, np.ndarray]

_IMAGE = "image/encoded"
_IMAGE_FORMATS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG"}
# Where a signature leaves them open: images for requests and records need not be large.
_MOST_PIXELS = 64
_LARGEST_DRAWN = 256
_SMALLEST_DRAWN = 8
_CHANNELS = 3
_LATENT = 100
_SEED = 1


class UnknownInputError(Exception):
    """A signature has an input that nothing here can make."""


@dataclass(frozen=True)
class Faces:
    """Pictures to ask about.

    Attributes:
        images: Encoded images.
        examples: The serialised tf.Examples that hold them, in the same order.
    """

    images: tuple[bytes, ...]
    examples: tuple[bytes, ...]

    def image(self, index: int) -> bytes:
        """Returns an image; after the last comes the first again."""
        return self.images[index % len(self.images)]

    def example(self, index: int) -> bytes:
        """Returns an example; after the last comes the first again."""
        return self.examples[index % len(self.examples)]


def read_faces(folder: Path, count: int) -> Faces:
    """Reads the first faces of a split.

    Args:
        folder: Holds gzipped TFRecords of tf.Example.
        count: How many, if there are so many.

    Raises:
        InputError: There are none.
    """
    files = sorted(str(file) for file in folder.iterdir())
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    examples = tuple(records.take(count).as_numpy_iterator())
    if not examples:
        raise InputError(f"{folder}: expected examples, found none")
    images = []
    for example in examples:
        features = tf.train.Example.FromString(example).features.feature
        images.append(features[_IMAGE].bytes_list.value[0])
    return Faces(tuple(images), examples)


def drawn_face(faces: Faces) -> Faces:
    """Draws a face of the form of these: as large, encoded alike, in an Example of the same features.

    Warm-up records go wherever the model goes, and a person's picture must not.
    """
    model = faces.images[0]
    form = next((form for start, form in _IMAGE_FORMATS.items() if model.startswith(start)), "PNG")
    side = max(_SMALLEST_DRAWN, min(_LARGEST_DRAWN, *_size(model)))
    picture, _ = draw_face(random_face(random.Random(_SEED)), side)
    encoded = io.BytesIO()
    picture.save(encoded, form)
    image = encoded.getvalue()
    return Faces((image,), (_nobody(faces.examples[0], image),))


def _nobody(example: bytes, image: bytes) -> bytes:
    """Puts an image in the place of all images of an Example, and nothing in the place of all else."""
    parsed = tf.train.Example.FromString(example)
    for feature in parsed.features.feature.values():
        for values, nothing in (
            (feature.int64_list.value, 0),
            (feature.float_list.value, 0.0),
            (feature.bytes_list.value, b""),
        ):
            for index, value in enumerate(values):
                is_image = isinstance(value, bytes) and value.startswith(tuple(_IMAGE_FORMATS))
                values[index] = image if is_image else nothing
    return parsed.SerializeToString(deterministic=True)


def make_inputs(specs: Mapping[str, tf.TensorSpec], faces: Faces, count: int) -> Arrays:
    """Makes the inputs of a signature.

    A smaller count gives the first rows of a larger one.

    Args:
        specs: The signature's inputs by name.
        faces: Pictures to take.
        count: Rows wanted; where the number of results is an input itself, its value.

    Returns:
        Arrays by input name; text is bytes in arrays of objects.

    Raises:
        UnknownInputError: An input is of another name or type than the tasks have.
    """
    arrays = {}
    for name, spec in specs.items():
        maker = _MAKERS.get((name, spec.dtype))
        if maker is None:
            raise UnknownInputError(f"input {name!r} ({spec.dtype.name}) is none that is known")
        arrays[name] = maker(spec, faces, count)
    return arrays


def in_rows(specs: Mapping[str, tf.TensorSpec]) -> bool:
    """Tells whether a signature takes and gives one row a picture."""
    return all(spec.shape.rank != 0 for spec in specs.values())


def _images(spec: tf.TensorSpec, faces: Faces, count: int) -> np.ndarray:
    return np.array([faces.image(row) for row in range(count)], dtype=object)


def _next_images(spec: tf.TensorSpec, faces: Faces, count: int) -> np.ndarray:
    """The second of two images is another than the first."""
    return np.array([faces.image(row + 1) for row in range(count)], dtype=object)


def _examples(spec: tf.TensorSpec, faces: Faces, count: int) -> np.ndarray:
    return np.array([faces.example(row) for row in range(count)], dtype=object)


def _pixels(spec: tf.TensorSpec, faces: Faces, count: int) -> np.ndarray:
    wanted = spec.shape.as_list() if spec.shape.rank == 4 else [None] * 4
    width, height = (min(side, _MOST_PIXELS) for side in _size(faces.images[0]))
    height, width, channels = wanted[1] or height, wanted[2] or width, wanted[3] or _CHANNELS
    rows = []
    for row in range(count):
        with Image.open(io.BytesIO(faces.image(row))) as image:
            rows.append(image.convert("L" if channels == 1 else "RGB").resize((width, height)))
    return np.stack([np.asarray(image, np.uint8).reshape(height, width, channels) for image in rows])


def _latent(spec: tf.TensorSpec, faces: Faces, count: int) -> np.ndarray:
    size = (spec.shape.as_list()[-1] if spec.shape.rank else None) or _LATENT
    return np.random.default_rng(_SEED).normal(size=(count, size)).astype(np.float32)


def _seed(spec: tf.TensorSpec, faces: Faces, count: int) -> np.ndarray:
    return np.asarray(_SEED, np.int64)


def _count(spec: tf.TensorSpec, faces: Faces, count: int) -> np.ndarray:
    return np.asarray(count, np.int32)


def _own_settings(spec: tf.TensorSpec, faces: Faces, count: int) -> np.ndarray:
    """NaN, which stands for the model's own value."""
    return np.full([count, *spec.shape.as_list()[1:]], np.nan, np.float32)


_MAKERS: dict[tuple[str, tf.DType], Callable[[tf.TensorSpec, Faces, int], np.ndarray]] = {
    ("image_bytes", tf.string): _images,
    ("image_bytes_a", tf.string): _images,
    ("image_bytes_b", tf.string): _next_images,
    ("examples", tf.string): _examples,
    ("inputs", tf.string): _examples,
    ("pixels", tf.uint8): _pixels,
    ("latent", tf.float32): _latent,
    ("seed", tf.int64): _seed,
    ("count", tf.int32): _count,
    ("min_face", tf.float32): _own_settings,
    ("factor", tf.float32): _own_settings,
    ("thresholds", tf.float32): _own_settings,
}


def _size(encoded: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(encoded)) as image:
        return image.size


def write_records(model: Path, requests: Iterable[tuple[str, Arrays, Arrays]], name: str) -> None:
    """Writes the warm-up records of a SavedModel.

    One record of one row for each signature: a signature's first request prepares its part of the graph,
    which does not depend on the size of a batch. On two cores the emotion model's first request took 377 ms
    without the record and 16 ms with it; the first of four pictures 60 ms after either, later ones 25 ms.

    Args:
        model: Folder of the SavedModel.
        requests: Signature, inputs and the model's answer to them.
        name: Name of the model in the records.
    """
    file = model / RECORDS_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs, answer in requests:
            log = prediction_log_pb2.PredictionLog()
            request, response = log.predict_log.request, log.predict_log.response
            request.model_spec.name = response.model_spec.name = name
            request.model_spec.signature_name = response.model_spec.signature_name = signature
            for key, array in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
            for key, array in answer.items():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(array))
            writer.write(log.SerializeToString())
