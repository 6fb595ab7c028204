"""The tower of a verification model: built by its settings, loaded from its SavedModel for other tasks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tf_keras as keras

from data_validation.errors import InputError
from trainers import backbones, image_training, weights
from trainers.history import BACKBONE_FILE
from trainers.networks import vgg
from trainers.networks.face_embedding import FEATURES, SIDE, face_embedding, of_length_one
from trainers.saved_models import ABOUT_FILE, ABOUT_FOLDER


def side(settings: Mapping[str, Any]) -> int:
    """Returns height and width of the images that the tower takes.

    Args:
        settings: `backbone`.
    """
    return SIDE if settings["backbone"] == "compact" else vgg.SIDE


def build_tower(settings: Mapping[str, Any]) -> keras.Model:
    """Builds the tower, with random weights.

    Args:
        settings: Model settings of a verification model: `backbone`, and of `compact`, which is trained here,
            `dimensions` and `dropout`.

    Returns:
        An uncompiled model from float32 [N, side, side, 3] in 0..1 to float32 [N, D] of length 1. That of
        `vggface` is VGG-Face without its last layer (report section 3.6.2).
    """
    if settings["backbone"] == "compact":
        return face_embedding(dimensions=settings["dimensions"], dropout=settings["dropout"])
    descriptor = vgg.vggface_descriptor()
    return keras.Model(descriptor.input, of_length_one(descriptor.output), name="vggface_embedding")


def embedding_network(tower: keras.Model, flip_averaging: bool) -> keras.Model:
    """Returns what answers with embeddings.

    Args:
        tower: Images to embeddings.
        flip_averaging: Take the mean of the embeddings of an image and of its mirror image, of length 1.

    Returns:
        float32 [N, H, W, 3] in 0..1 to float32 [N, D] of length 1.
    """
    if not flip_averaging:
        return tower
    both = backbones.mirrored(tower)
    return keras.Model(both.input, of_length_one(both.output), name="mirrored_embedding")


def record_backbone(trunk: keras.Model, model_run: str) -> str:
    """Notes in a run which trunk its model stands on.

    Args:
        trunk: The trunk, as it was loaded.
        model_run: Folder of the run.

    Returns:
        The trunk's fingerprint, 64 hexadecimal digits.
    """
    fingerprint = weights.fingerprint(trunk)
    file = Path(model_run) / BACKBONE_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"fingerprint": fingerprint}) + "\n", encoding="utf-8")
    return fingerprint


def load_features(model: str, trainable: bool = False) -> keras.Model:
    """Loads the trunk of a verification model that was trained here.

    Args:
        model: Folder of its SavedModel.
        trainable: Whether to train it further.

    Returns:
        A model from float32 [N, 112, 112, 3] in 0..1 to float32 [N, D]: what the tower makes of a face
        before its last layer, which keeps only what tells persons apart.

    Raises:
        InputError: The model has another trunk.
    """
    about = json.loads((Path(model) / ABOUT_FOLDER / ABOUT_FILE).read_text(encoding="utf-8"))
    settings = about["settings"]["model"]
    if settings["backbone"] != "compact":
        raise InputError(
            "model.backbone: embedding needs a verification model with model.backbone=compact, the latest "
            f"blessed one has {settings['backbone']}"
        )
    tower = build_tower(settings)
    image_training.warm_start(tower, model, "model.backbone=embedding")
    trunk = keras.Model(tower.input, tower.get_layer(FEATURES).output, name="embedding_features")
    trunk.trainable = trainable
    return trunk
