"""What turns images into the features by which sets of them are compared."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

from trainers import weight_files, weights

Features = Callable[[np.ndarray], np.ndarray]

INCEPTION_SIDE = 299
"""Height and width of the images that InceptionV3 takes."""
_EMBEDDING_NOTE = (
    "The features are embeddings of the latest blessed verification model, which was trained to tell persons "
    "apart: what is of no use for that, such as sharpness, may count for little. Another model gives other "
    "numbers."
)
_INCEPTION_NOTE = (
    "The features are InceptionV3's. Its weights are Keras's, and images are resized by TensorFlow: "
    "published Frechet inception distances use other weights and another resizing, so these numbers do not "
    "compare with them."
)
_SHOWN_DIGITS = 8


class Extractor:
    """Images to features.

    Attributes:
        name: What it is, and the start of its weights' hash: distances of two extractors do not compare.
    """

    def __init__(self, name: str, features: Features) -> None:
        self.name = name
        self._features = features

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Returns features.

        Args:
            pixels: uint8 [N, H, W, 3].

        Returns:
            float32 [N, D].
        """
        return self._features(pixels)


def open_extractor(settings: Mapping[str, Any], embedding_model: str, cache: Path) -> Extractor:
    """Opens the extractor that the evaluation settings name.

    Args:
        settings: `extractor`; for `inception` also `extractor_weights` and `extractor_weights_sha256`.
        embedding_model: Folder of the verification model's SavedModel; only for `embedding`.
        cache: Where downloads are kept.

    Raises:
        InputError: The weights are not there, are others than the sha256 says, or do not fit.
        ConnectionError: They cannot be fetched now.
    """
    if settings["extractor"] == "inception":
        file = weight_files.obtain(
            settings["extractor_weights"],
            settings["extractor_weights_sha256"],
            cache,
            setting=weight_files.EXTRACTOR_SETTING,
        )
        return _inception(file, settings["extractor_weights_sha256"])
    return _embedding(Path(embedding_model))


def _embedding(folder: Path) -> Extractor:
    """Opens a verification model.

    Its embeddings have length 1. They are scaled to the square root of D, so that a feature's mean square is
    1: the kernel distance's kernel is made for features of about that size.
    """
    model = tf.saved_model.load(str(folder))

    def features(pixels: np.ndarray) -> np.ndarray:
        embedding = model.signatures["pixels"](pixels=tf.constant(pixels))["embedding"].numpy()
        return embedding * np.float32(np.sqrt(embedding.shape[1]))

    digest = hashlib.sha256()
    for file in sorted((folder / "variables").glob("variables.data*")):
        digest.update(file.read_bytes())
    return Extractor(f"embedding {digest.hexdigest()[:_SHOWN_DIGITS]}", features)


def _inception(file: Path, sha256: str) -> Extractor:
    network = inception()
    weights.load(network, file)

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="pixels")]
    )
    def features(pixels: tf.Tensor) -> tf.Tensor:
        side = (INCEPTION_SIDE, INCEPTION_SIDE)
        images = tf.image.resize(tf.cast(pixels, tf.float32), side, "bilinear", antialias=True)
        return network(images / 127.5 - 1.0, training=False)

    return Extractor(
        f"inception {sha256[:_SHOWN_DIGITS].lower()}", lambda pixels: features(tf.constant(pixels)).numpy()
    )


def inception() -> keras.Model:
    """Builds Keras's InceptionV3 without its top, with random weights.

    Returns:
        A model from float32 [N, 299, 299, 3] in -1..1 to float32 [N, 2048].
    """
    return keras.applications.InceptionV3(
        weights=None, include_top=False, pooling="avg", input_shape=(INCEPTION_SIDE, INCEPTION_SIDE, 3)
    )


def extractor_note(name: str) -> str:
    """Tells people what an extractor's features mean, by its name."""
    return _INCEPTION_NOTE if name.startswith("inception") else _EMBEDDING_NOTE


def gender_judge(folder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Opens a gender model.

    Args:
        folder: Of its SavedModel.

    Returns:
        What gives the likelier class of each of uint8 images [N, H, W, 3], text [N].
    """
    model = tf.saved_model.load(folder)

    def judge(pixels: np.ndarray) -> np.ndarray:
        answer = model.signatures["pixels"](pixels=tf.constant(pixels))
        best = tf.argmax(answer["scores"], axis=1)
        names = tf.gather(answer["classes"], best, batch_dims=1).numpy()
        return np.array([name.decode() for name in names])

    return judge
