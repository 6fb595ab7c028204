"""Emotion: seven expressions from 48x48 grey faces (report sections 3.5 and 5.1)."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from data_validation.ingestion import Ingestion
from data_validation.labels import EMOTIONS
from trainers import classifier_export, training
from trainers.augmentation import Augmentation, augment_batch
from trainers.imaging import decode_batch
from trainers.networks import emotion as networks
from trainers.optimizers import build_optimizer, build_schedule

logger = logging.getLogger("hexaface.trainer")

SIDE = 48
IMAGE = classifier_export.IMAGE
LABEL = "emotion"
_SHUFFLE = 50_000


def preprocessing_fn(inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Decodes, greys, resizes and scales the image; numbers the label. Traced by the Transform node.

    Args:
        inputs: `image/encoded` and `emotion`, string [N, 1] or [N].

    Returns:
        `image/encoded` as float32 [N, 48, 48, 1] in 0..1 and `emotion` as int64 [N]: the index in EMOTIONS,
        -1 for a name that is not there.
    """
    numbers = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(list(EMOTIONS), list(range(len(EMOTIONS))), value_dtype=tf.int64),
        default_value=-1,
    )
    return {
        IMAGE: decode_batch(tf.reshape(inputs[IMAGE], [-1]), SIDE, SIDE, channels=1),
        LABEL: numbers.lookup(tf.reshape(inputs[LABEL], [-1])),
    }


def run_fn(fn_args: Any) -> None:
    """Trains and exports the emotion model. Called by the Trainer node.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds the settings `model` and `train`, the folder of backups
            and the fingerprint of the code.
    """
    config = fn_args.custom_config
    model_settings, settings = config["model"], config["train"]
    keras.utils.set_random_seed(settings["seed"])
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    train, validation, steps = _datasets(fn_args, transform, settings)
    with training.strategy(settings["precision"]).scope():
        network = build_network(model_settings)
        if fn_args.base_model:
            warm_start(network, fn_args.base_model)
        network.compile(
            optimizer=build_optimizer(settings, build_schedule(settings, steps)),
            loss=keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=settings["label_smoothing"]
            ),
            metrics=["accuracy"],
        )
    folder = training.backup_folder(
        config["backups"],
        config["code_fingerprint"],
        model_settings,
        settings,
        sorted(fn_args.train_files),
        fn_args.transform_graph_path,
        fn_args.base_model,
    )
    history = training.fit(
        network,
        train,
        validation,
        epochs=settings["epochs"],
        patience=settings["patience"],
        monitor="val_accuracy",
        folder=folder,
        history_folder=fn_args.model_run_dir,
    )
    module = classifier_export.ClassifierModule(
        _in_float32(network, model_settings),
        transform,
        EMOTIONS,
        LABEL,
        IMAGE,
        flip_averaging=model_settings["flip_averaging"],
    )
    classifier_export.export(module, fn_args.serving_model_dir, _about(config, history, fn_args.train_files))
    training.discard_backups(folder)


def _about(
    config: Mapping[str, Any], history: list[dict[str, float]], train_files: list[str]
) -> dict[str, Any]:
    """Tells what a model was made of: settings, code, data, and the metrics of the epoch that was chosen."""
    # `<examples>/Split-train/*`
    examples = Path(train_files[0]).parent.parent
    return {
        "task": "emotion",
        "classes": EMOTIONS,
        "settings": {"model": config["model"], "train": config["train"]},
        "code_fingerprint": config["code_fingerprint"],
        "data_fingerprint": Ingestion.load(examples).content_fingerprint,
        "chosen_epoch": max(history, key=lambda row: row["val_accuracy"]),
    }


def build_network(settings: Mapping[str, Any]) -> keras.Model:
    """Builds the network that the settings name.

    Args:
        settings: `network` (`report_vgg` or `compact`) and `dropout`.

    Returns:
        An uncompiled model from float32 [N, 48, 48, 1] to logits [N, 7].
    """
    build = networks.report_vgg if settings["network"] == "report_vgg" else networks.compact
    return build((SIDE, SIDE, 1), len(EMOTIONS), settings["dropout"])


def _in_float32(network: keras.Model, settings: Mapping[str, Any]) -> keras.Model:
    """Rebuilds a network for serving: half precision makes scores depend on machine and batch."""
    keras.mixed_precision.set_global_policy("float32")
    served = build_network(settings)
    served.set_weights(network.get_weights())
    return served


def warm_start(network: keras.Model, base_model: str) -> None:
    """Loads the weights of an exported model of the same layout.

    Args:
        network: The network to fill, not compiled yet: an optimiser's state is not in an exported model.
        base_model: Folder of the SavedModel that ClassifierModule wrote.
    """
    checkpoint = tf.train.Checkpoint(network=network)
    checkpoint.read(f"{base_model}/variables/variables").expect_partial().assert_existing_objects_matched()
    logger.info("weights of the last blessed model loaded")


def _datasets(
    fn_args: Any, transform: tft.TFTransformOutput, settings: Mapping[str, Any]
) -> tuple[tf.data.Dataset, tf.data.Dataset, int]:
    """Returns batches for training and validation, and the steps of an epoch."""
    augmentation = Augmentation(**settings["augmentation"])
    batch_size = settings["batch_size"]
    train = _examples(fn_args.train_files, transform)
    count = training.count_examples(fn_args.train_files)
    steps = max(1, count // batch_size)
    train = (
        training.cache_if_small(train, count)
        .unbatch()
        .shuffle(min(count, _SHUFFLE), seed=settings["seed"])
        .batch(batch_size, drop_remainder=count >= batch_size)
        # Lost by unbatch. Without it Keras finds the end of an epoch by a step too many, which may count.
        .apply(tf.data.experimental.assert_cardinality(steps))
        .map(
            lambda images, labels: (augment_batch(images, augmentation), labels),
            num_parallel_calls=training.PARALLEL,
        )
        .prefetch(training.PARALLEL)
    )
    validation = training.cache_if_small(
        _examples(fn_args.eval_files, transform), training.count_examples(fn_args.eval_files)
    ).prefetch(training.PARALLEL)
    return training.without_autotune(train), training.without_autotune(validation), steps


def _examples(files: list[str], transform: tft.TFTransformOutput) -> tf.data.Dataset:
    """Returns batches of (image, one-hot label)."""
    return training.transformed_examples(files, transform, batch_size=256).map(
        lambda features: (features[IMAGE], tf.one_hot(features[LABEL], len(EMOTIONS))),
        num_parallel_calls=training.PARALLEL,
    )
