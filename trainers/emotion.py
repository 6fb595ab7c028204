"""Emotion: seven expressions from 48x48 grey faces (report sections 3.5 and 5.1)."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras as keras

from data_validation.labels import EMOTIONS
from trainers import classification, image_training, preprocessing, training
from trainers.networks.compact import compact
from trainers.networks.emotion import report_vgg
from trainers.saved_models import ClassifierModule, export

SIDE = 48
LABEL = "emotion"


def preprocessing_fn(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Decodes, greys, resizes and scales the image; numbers the label. Traced by the Transform node.

    Args:
        inputs: `image/encoded` and `emotion`, string [N, 1] or [N].

    Returns:
        `image/encoded` as float32 [N, 48, 48, 1] in 0..1 and `emotion` as int64 [N]: the index in EMOTIONS,
        -1 for a name that is not there.
    """
    return {
        preprocessing.IMAGE: preprocessing.decoded(inputs, SIDE, channels=1),
        LABEL: preprocessing.numbered(inputs[LABEL], EMOTIONS),
    }


def run_fn(fn_args: Any) -> None:
    """Trains and exports the emotion model. Called by the Trainer node.

    Args:
        fn_args: TFX's FnArgs; see `image_training.train`.
    """
    model = fn_args.custom_config["model"]
    recipe = classification.recipe(
        LABEL, EMOTIONS, lambda: build_network(model), fn_args.custom_config["train"]
    )
    trained = image_training.train(fn_args, recipe)
    module = ClassifierModule(trained.network, trained.transform, LABEL, EMOTIONS, model["flip_averaging"])
    account = image_training.about(fn_args, "emotion", recipe.monitor, trained.history, classes=EMOTIONS)
    export(module, fn_args.serving_model_dir, account)
    training.discard_backups(trained.backups)


def build_network(settings: Mapping[str, Any]) -> keras.Model:
    """Builds the network that the settings name.

    Args:
        settings: `network` (`report_vgg` or `compact`) and `dropout`.

    Returns:
        An uncompiled model from float32 [N, 48, 48, 1] to logits [N, 7].
    """
    build = report_vgg if settings["network"] == "report_vgg" else compact
    return build((SIDE, SIDE, 1), len(EMOTIONS), settings["dropout"])
