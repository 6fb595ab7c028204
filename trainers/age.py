"""Age: 101 classes, of which the expectation is the estimate (report sections 3.2 and 5.6)."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from data_validation.errors import InputError
from data_validation.labels import AGE_CLASSES
from trainers import age_distribution, backbones, embedding, image_training, preprocessing, training
from trainers.image_training import Recipe
from trainers.networks import vgg
from trainers.networks.compact import freeze_all_but_last_stage
from trainers.networks.face_embedding import on_trunk
from trainers.saved_models import AgeModule, export
from trainers.training import Monitor

LABEL = "age"


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Decodes, resizes and scales the image as the backbone takes it. Traced by the Transform node.

    Args:
        inputs: `image/encoded` string and `age` int64, [N, 1] or [N].
        custom_config: Holds the settings `model`.

    Returns:
        `image/encoded` as float32 [N, side, side, 3] in 0..1 and `age` as int64 [N].
    """
    side = backbones.side(custom_config["model"])
    return {
        preprocessing.IMAGE: preprocessing.decoded(inputs, side, channels=3),
        LABEL: tf.reshape(inputs[LABEL], [-1]),
    }


def run_fn(fn_args: Any) -> None:
    """Trains and exports the age model. Called by the Trainer node.

    Args:
        fn_args: TFX's FnArgs; see `image_training.train`.
    """
    config = fn_args.custom_config
    model = config["model"]
    if model["backbone"] == "compact" and model["trained_layers"] == "last" and not fn_args.base_model:
        raise InputError(
            "model.trained_layers: last needs a blessed model to start from, found none; train one with "
            "model.trained_layers=all first"
        )
    more = {}
    trunk = None
    if model["backbone"] == "embedding":
        trunk = partial(embedding.load_features, fn_args.base_model, model["trained_layers"] == "all")
        more["backbone_fingerprint"] = embedding.record_backbone(trunk(), fn_args.model_run_dir)
    training_recipe = recipe(config, trunk)
    trained = image_training.train(fn_args, training_recipe)
    module = AgeModule(trained.network, trained.transform, LABEL, model["flip_averaging"])
    export(
        module,
        fn_args.serving_model_dir,
        image_training.about(fn_args, LABEL, training_recipe.monitor, trained.history, **more),
    )
    training.discard_backups(trained.backups)


def recipe(config: Mapping[str, Any], trunk: Callable[[], keras.Model] | None = None) -> Recipe:
    """Describes the training: cross-entropy with labels spread over some years, judged by the MAE.

    Args:
        config: Settings `model` and `train`, and `cache`, the folder of caches.
        trunk: Loads the trunk of the backbone `embedding`.

    Returns:
        The recipe.
    """
    model = config["model"]
    return Recipe(
        label=LABEL,
        build=lambda: build_network(model, trunk() if trunk else None),
        target=lambda years: years,
        loss=lambda: age_distribution.SoftLabelCrossEntropy(config["train"]["label_sigma"]),
        metrics=lambda: [age_distribution.mae],
        monitor=Monitor("val_mae", lower_is_better=True),
        load=_pretrained(model, Path(config["cache"])),
    )


def build_network(settings: Mapping[str, Any], trunk: keras.Model | None = None) -> keras.Model:
    """Builds the network that the settings name.

    Args:
        settings: `backbone` (`compact`, `embedding` or `vggface`), `dropout`, and `trained_layers`: `all` or
            `last`, which are the last seven layers of VGG-Face (report section 3.2.2), the last stage of
            `compact`, or the layers on top of the embedding's trunk.
        trunk: That of the backbone `embedding`.

    Returns:
        An uncompiled model from float32 [N, side, side, 3] in 0..1 to logits [N, 101].
    """
    last = settings["trained_layers"] == "last"
    if settings["backbone"] == "vggface":
        return vgg.vggface_ages(AGE_CLASSES, vgg.LAST_LAYERS if last else None, dropout=settings["dropout"])
    if settings["backbone"] == "embedding":
        if trunk is None:
            raise ValueError("trunk: expected one for the backbone embedding, found none")
        return on_trunk(trunk, AGE_CLASSES, settings["dropout"])
    network = backbones.compact_network(settings, AGE_CLASSES)
    if last:
        freeze_all_but_last_stage(network)
    return network


def _pretrained(settings: Mapping[str, Any], folder: Path) -> Callable[[keras.Model], None] | None:
    if settings["backbone"] != "vggface":
        return None
    return lambda network: backbones.load_pretrained(network, settings, folder, skip=(vgg.LAST,))
