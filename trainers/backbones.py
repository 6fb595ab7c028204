"""The networks behind verification, gender and age, by the names that settings use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from trainers import weight_files, weights
from trainers.networks import compact, vgg
from trainers.networks.face_embedding import SIDE

SIDES = {"compact": 64, "embedding": SIDE, "vgg16": vgg.SIDE, "vggface": vgg.SIDE}
"""Height and width of the images that a backbone takes."""


def side(settings: Mapping[str, Any]) -> int:
    """Returns height and width of the images that the chosen backbone takes.

    Args:
        settings: `backbone`.
    """
    return SIDES[settings["backbone"]]


def compact_network(settings: Mapping[str, Any], num_classes: int) -> keras.Model:
    """Builds the small network, to be trained from nothing.

    Args:
        settings: `dropout`.
        num_classes: Number of classes.

    Returns:
        An uncompiled model from float32 [N, 64, 64, 3] in 0..1 to logits [N, num_classes].
    """
    return compact.compact((SIDES["compact"], SIDES["compact"], 3), num_classes, settings["dropout"])


def compact_features(network: keras.Model) -> keras.Model:
    """Cuts a small network off before its last layer.

    Args:
        network: From `compact_network`.

    Returns:
        A model from float32 [N, 64, 64, 3] in 0..1 to float32 [N, 256]; it shares the layers.
    """
    return keras.Model(network.input, network.get_layer(compact.FEATURES).output, name="compact_features")


def pretrained_features(settings: Mapping[str, Any], folder: Path) -> keras.Model:
    """Builds a VGG network without its last layers, with the user's weights.

    Args:
        settings: `backbone` (`vgg16` or `vggface`), `weights` (file or URL) and `weights_sha256`.
        folder: Folder of caches; downloads are kept in it.

    Returns:
        A frozen model from float32 [N, 224, 224, 3] in 0..1 to float32 [N, 4096] or [N, 2622].

    Raises:
        InputError: The weights are not there, are others than the sha256 says, or do not fit.
    """
    network = vgg.vgg16_features() if settings["backbone"] == "vgg16" else vgg.vggface_descriptor()
    load_pretrained(network, settings, folder)
    network.trainable = False
    return network


def mirrored(backbone: keras.Model) -> keras.Model:
    """Averages the features of an image and of its mirror image.

    Args:
        backbone: float32 [N, H, W, C] to [N, D].

    Returns:
        A model of the same form.
    """
    images = keras.Input(backbone.input_shape[1:], name="image")
    both = (backbone(images) + backbone(tf.reverse(images, [2]))) / 2.0
    return keras.Model(images, both, name="mirrored")


def load_pretrained(
    network: keras.Model, settings: Mapping[str, Any], folder: Path, skip: tuple[str, ...] = ()
) -> None:
    """Loads the user's weights into a VGG network.

    Args:
        network: The network.
        settings: `weights` (file or URL) and `weights_sha256`.
        folder: Folder of caches; downloads are kept in it.
        skip: Layers that the file does not fill.

    Raises:
        InputError: The weights are not there, are others than the sha256 says, or do not fit.
    """
    file = weight_files.obtain(settings["weights"], settings["weights_sha256"], folder)
    weights.load(network, file, skip)
