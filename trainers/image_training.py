"""Training of a network on images with one label each: what such tasks have in common."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from data_validation.errors import InputError
from data_validation.ingestion import Ingestion
from trainers import training
from trainers.augmentation import Augmentation, augment_batch
from trainers.optimizers import build_optimizer, build_schedule
from trainers.preprocessing import IMAGE
from trainers.training import Monitor

logger = logging.getLogger("hexaface.trainer")

_READ_BATCH = 256


@dataclass(frozen=True)
class Recipe:
    """What a task's training consists of.

    Attributes:
        label: Transformed feature with the label.
        build: Builds the network, uncompiled: float32 [N, H, W, C] in 0..1 to logits. Called once more under
            float32 for the export.
        target: Turns a batch of transformed labels into what the loss takes.
        loss: Makes the loss.
        metrics: Makes the metrics.
        monitor: What tells the best epoch.
        load: Loads the weights to begin with into a network that was built; None to begin with random ones.
        validation_target: As `target`, for validation; None for the same.
        kept: The part of the network that is exported, and that a warm start fills.
    """

    label: str
    build: Callable[[], keras.Model]
    target: Callable[[tf.Tensor], tf.Tensor]
    loss: Callable[[], keras.losses.Loss]
    metrics: Callable[[], list[Any]]
    monitor: Monitor
    load: Callable[[keras.Model], None] | None = None
    validation_target: Callable[[tf.Tensor], tf.Tensor] | None = None
    kept: Callable[[keras.Model], keras.Model] = lambda network: network


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        network: Holds the weights of the best epoch, in float32 throughout: half precision makes scores
            depend on machine and batch.
        transform: Output of the Transform node.
        history: A row an epoch.
        backups: Folder of the training's state, to be discarded once the model is exported.
    """

    network: keras.Model
    transform: tft.TFTransformOutput
    history: list[dict[str, float]]
    backups: Path


def train(fn_args: Any, recipe: Recipe) -> Trained:
    """Trains a network as the settings say; a killed training goes on where it was.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds the settings `model` and `train`, the folder of backups
            and the fingerprint of the code.
        recipe: What to train.

    Returns:
        The trained network. The history is left in the folder of the model run.
    """
    config = fn_args.custom_config
    settings = config["train"]
    keras.utils.set_random_seed(settings["seed"])
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    train_set, validation, steps = _datasets(fn_args, transform, recipe, settings)
    with training.strategy(settings["precision"]).scope():
        network = recipe.build()
        if recipe.load:
            recipe.load(network)
        if settings["warm_start"] and fn_args.base_model:
            warm_start(recipe.kept(network), fn_args.base_model)
        network.compile(
            optimizer=build_optimizer(settings, build_schedule(settings, steps)),
            loss=recipe.loss(),
            metrics=recipe.metrics(),
        )
    folder = training.backup_folder(
        config["backups"],
        config["code_fingerprint"],
        config["model"],
        settings,
        sorted(fn_args.train_files),
        fn_args.transform_graph_path,
        fn_args.base_model,
    )
    history = training.fit(
        network,
        train_set,
        validation,
        epochs=settings["epochs"],
        patience=settings["patience"],
        monitor=recipe.monitor,
        folder=folder,
        history_folder=fn_args.model_run_dir,
    )
    keras.mixed_precision.set_global_policy("float32")
    served = recipe.build()
    served.set_weights(network.get_weights())
    return Trained(recipe.kept(served), transform, history, folder)


def about(
    fn_args: Any, task: str, trained_by: Monitor | None, history: list[dict[str, float]], **more: Any
) -> dict[str, Any]:
    """Tells what a model was made of: settings, code, data, and the metrics of the epoch that was chosen.

    Args:
        fn_args: TFX's FnArgs.
        task: Name of the task.
        trained_by: What told the best epoch; None where no network was trained.
        history: A row an epoch.
        more: What else the task tells, JSON-serialisable.

    Returns:
        A JSON-serialisable account.
    """
    config = fn_args.custom_config
    # `<examples>/Split-train/*`
    examples = Path(fn_args.train_files[0]).parent.parent
    return {
        "task": task,
        **more,
        "settings": {"model": config["model"], "train": config["train"]},
        "code_fingerprint": config["code_fingerprint"],
        "data_fingerprint": Ingestion.load(examples).content_fingerprint,
        "chosen_epoch": history[trained_by.best(history) - 1] if trained_by else None,
    }


def warm_start(network: tf.Module, base_model: str, setting: str = "train.warm_start") -> None:
    """Loads the weights of an exported model of the same layout.

    Args:
        network: The network to fill, not compiled yet: an optimiser's state is not in an exported model.
        base_model: Folder of the exported SavedModel.
        setting: What asked for it, for messages.

    Raises:
        InputError: Its network is of another layout.
    """
    checkpoint = tf.train.Checkpoint(trained=network)
    try:
        status = checkpoint.read(f"{base_model}/variables/variables").expect_partial()
        status.assert_existing_objects_matched()
    except (ValueError, AssertionError) as error:
        raise InputError(
            f"{setting}: the model in {base_model} has another network than {network.name} of these settings "
            "and this code; change the setting, or train that model again"
        ) from error
    logger.info("weights of the last blessed model loaded (%s)", setting)


def _datasets(
    fn_args: Any, transform: tft.TFTransformOutput, recipe: Recipe, settings: Mapping[str, Any]
) -> tuple[tf.data.Dataset, tf.data.Dataset, int]:
    """Returns batches for training and validation, and the steps of an epoch."""
    augmentation = Augmentation(**settings["augmentation"])

    def examples(pick: Callable[[tf.data.Dataset], tf.data.Dataset]) -> tf.data.Dataset:
        return _examples(fn_args.train_files, transform, recipe.label, recipe.target, pick=pick)

    batches, steps = training.shuffled_batches(
        examples, training.count_examples(fn_args.train_files), settings
    )
    train_set = batches.map(
        lambda images, labels: (augment_batch(images, augmentation), labels),
        num_parallel_calls=training.PARALLEL,
    ).prefetch(training.PARALLEL)
    validation = _examples(
        fn_args.eval_files, transform, recipe.label, recipe.validation_target or recipe.target
    )
    if training.fits_in_memory(validation, training.count_examples(fn_args.eval_files)):
        validation = validation.cache()
    validation = validation.prefetch(training.PARALLEL)
    return training.without_autotune(train_set), training.without_autotune(validation), steps


def _examples(
    files: list[str],
    transform: tft.TFTransformOutput,
    label: str,
    target: Callable[[tf.Tensor], tf.Tensor],
    **options: Any,
) -> tf.data.Dataset:
    """Returns batches of (image, what the loss takes); options of `training.transformed_examples`."""
    return training.transformed_examples(files, transform, _READ_BATCH, **options).map(
        lambda features: (features[IMAGE], target(features[label])),
        num_parallel_calls=training.PARALLEL,
    )
