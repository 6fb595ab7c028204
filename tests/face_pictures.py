"""Pictures of faces for the tests of models, and what models get to see of them."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras
from PIL import Image

from components.face_example_gen import to_example
from components.readers.catalog import ReaderOptions, open_readers
from components.readers.record import FaceRecord, RecordDropped
from trainers.image_training import Recipe
from trainers.imaging import decode_batch
from trainers.optimizers import build_optimizer, build_schedule
from trainers.saved_models import ImageModule, export
from trainers.training import transformed_examples

JUNK = (b"", b"not an image", b"\xff\xd8\xff\xe0 broken")


def records(folder: Path, label: str = "") -> list[FaceRecord]:
    """What the usual cleaning leaves of a data folder."""
    found = []
    for reader in open_readers(folder, ReaderOptions(label=label)):
        for item in reader.items():
            try:
                found.append(reader.load(item))
            except RecordDropped:
                continue
    return found


def held_back(folder: Path, label: str = "") -> list[FaceRecord]:
    """The test split, all sources."""
    return [record for record in records(folder, label) if record.split == "test"]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(record: FaceRecord, mode: str = "L") -> np.ndarray:
    """uint8 [H, W] for grey (`L`), [H, W, 3] for `RGB`."""
    return np.asarray(Image.open(io.BytesIO(record.image)).convert(mode))


def example_of(image: bytes) -> bytes:
    """A serialised tf.Example with an image alone, as a client sends it."""
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    return tf.train.Example(
        features=tf.train.Features(feature={"image/encoded": feature})
    ).SerializeToString()


class _Window(ImageModule):
    """Answers with what its network gives, whatever that is."""

    def answer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"seen": self.network(images)}

    example_answer = evaluation = answer


def seen_by_training_and_serving(
    transform: tft.TFTransformOutput,
    label: str,
    shape: tuple[int, int, int],
    faces: list[FaceRecord],
    folder: Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns transformed labels, and pixels as a network gets them: in training and when served."""
    file = str(folder / "examples.gz")
    with tf.io.TFRecordWriter(file, "GZIP") as writer:
        for face in faces:
            writer.write(to_example(face).SerializeToString())
    (training,) = transformed_examples([file], transform, batch_size=len(faces))
    inputs = keras.Input(shape)
    unchanged = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    export(_Window(unchanged, transform, label, flip_averaging=False), str(folder / "model"), about={})
    model = tf.saved_model.load(str(folder / "model"))
    images = tf.constant([face.image for face in faces])
    served = model.signatures["serving_default"](image_bytes=images)["seen"].numpy()
    return training[label].numpy(), training["image/encoded"].numpy(), served


def learned_by_heart(
    recipe: Recipe, settings: Mapping[str, Any], images: list[bytes], labels: list[int]
) -> float:
    """Trains on a few images until they are known, all of them in each step; returns the metric on them.

    Args:
        recipe: What is trained, on images of 64x64 in colour.
        settings: Of the training; an epoch is one step.
        images: Encoded.
        labels: As they are after the Transform.
    """
    keras.utils.set_random_seed(1)
    network = recipe.build()
    network.compile(build_optimizer(settings, build_schedule(settings, 1)), recipe.loss(), recipe.metrics())
    # AutoGraph would take longer than the training.
    network.train_step = tf.autograph.experimental.do_not_convert(network.train_step)
    network.test_step = tf.autograph.experimental.do_not_convert(network.test_step)
    batch = (decode_batch(tf.constant(images), 64, 64, channels=3), recipe.target(tf.constant(labels)))
    steps = tf.data.Dataset.from_tensors(batch)
    network.fit(steps, epochs=settings["epochs"], verbose=0)
    return network.evaluate(steps, verbose=0)[1]
