"""Synthesis: a DCGAN that draws faces of noise (report sections 3.1 and 4.5)."""

import logging
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from data_validation.errors import InputError
from data_validation.face_sizes import LEAST_HELD_BACK, SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH
from trainers import image_training, training
from trainers.adversarial import AdversarialModel, noise, settle
from trainers.history import HISTORY_FILE, SAMPLES_FOLDER, read_history, write_history
from trainers.imaging import decode_batch
from trainers.live_metrics import LiveMetrics
from trainers.networks import dcgan
from trainers.preprocessing import IMAGE
from trainers.sample_grids import COLUMNS, ROWS, SampleGrids
from trainers.saved_models import export

logger = logging.getLogger("hexaface.trainer")

MOST_FACES = 64
"""That one request of the signatures `sample` and `latents` gives."""
MOST_ROWS = 1024
"""Of latent vectors that one run of the graph takes, be it several requests in one batch: a row of 400 bytes
needs a megabyte while it is drawn."""
BATCH = 16
"""Faces that `sample` draws at a time: sums over batches of other sizes may round another way."""
_READ_BATCH = 256
_GRID_SEED = 7


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Decodes and resizes the image and scales it to what the generator draws (report section 3.1.1).

    Args:
        inputs: `image/encoded`, string [N, 1] or [N].
        custom_config: Not used.

    Returns:
        `image/encoded` as float32 [N, 76, 64, 3], values -1 to 1.
    """
    del custom_config
    return {
        IMAGE: decode_batch(
            tf.reshape(inputs[IMAGE], [-1]), SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH, dcgan.CHANNELS
        )
        * 2.0
        - 1.0
    }


def run_fn(fn_args: Any) -> None:
    """Trains generator and discriminator and exports the generator. Called by the Trainer.

    Args:
        fn_args: TFX's FnArgs; see `image_training.train`.

    Raises:
        InputError: The losses are no longer finite; it names the step, the rates and what to try.
    """
    config = fn_args.custom_config
    settings = config["train"]
    _check_held_back(fn_args.eval_files)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    backups = training.backup_folder(
        config["backups"],
        config["code_fingerprint"],
        config["model"],
        settings,
        sorted(fn_args.train_files),
        fn_args.transform_graph_path,
        fn_args.base_model,
    )
    keras.utils.set_random_seed(settings["seed"])
    try:
        with training.strategy(settings["precision"]).scope():
            model = _build(config["model"], settings)
            if settings["warm_start"] and fn_args.base_model:
                image_training.warm_start(model.networks, fn_args.base_model)
        _fit(model, _batches(fn_args, transform, settings), settings, backups, fn_args.model_run_dir)
    finally:
        # Or another attempt would read its data in half precision.
        keras.mixed_precision.set_global_policy("float32")
    generator = dcgan.generator(config["model"]["generator_width"])
    generator.set_weights(model.average.get_weights())
    settle(generator)
    about = image_training.about(
        fn_args, "synthesis", None, [], steps=model.steps, last_epoch=_last_epoch(fn_args.model_run_dir)
    )
    export(SynthesisModule(generator, model.networks), fn_args.serving_model_dir, about)
    training.discard_backups(backups)


def _check_held_back(files: list[str]) -> None:
    """Refuses data by which no generator could be judged, before it is trained for long."""
    held_back = training.count_examples(files)
    if held_back < LEAST_HELD_BACK:
        raise InputError(
            f"split eval: expected at least {LEAST_HELD_BACK} images to judge by, found {held_back}"
        )


def _build(model: Mapping[str, Any], settings: Mapping[str, Any]) -> AdversarialModel:
    built = AdversarialModel(
        lambda: dcgan.generator(model["generator_width"]),
        dcgan.discriminator(model["discriminator_width"], model["dropout"], model["spectral_norm"]),
        settings,
    )
    built.compile(settings["generator_rate"], settings["discriminator_rate"], settings["beta_1"])
    return built


def _batches(fn_args: Any, transform: tft.TFTransformOutput, settings: Mapping[str, Any]) -> tf.data.Dataset:
    """Returns batches of images float32 [N, 76, 64, 3], values -1 to 1; an epoch is one pass."""

    def examples(pick: Callable[[tf.data.Dataset], tf.data.Dataset]) -> tf.data.Dataset:
        batches = training.transformed_examples(fn_args.train_files, transform, _READ_BATCH, pick)
        return batches.map(lambda features: features[IMAGE], num_parallel_calls=training.PARALLEL)

    count = training.count_examples(fn_args.train_files)
    batches, _ = training.shuffled_batches(examples, count, settings)
    if settings["flip"]:
        batches = batches.map(tf.image.random_flip_left_right, num_parallel_calls=training.PARALLEL)
    return training.without_autotune(batches.prefetch(training.PARALLEL))


def _fit(
    model: AdversarialModel,
    batches: tf.data.Dataset,
    settings: Mapping[str, Any],
    folder: Path,
    model_run: str,
) -> None:
    """Trains to the last epoch; a killed training goes on where it was, with images in a first epoch's order.

    There is no best epoch to go back to: losses of networks that learn from each other tell nothing of the
    faces, and the average over the last steps is steadier than any single epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    latent = noise(_GRID_SEED, 0, ROWS * COLUMNS)
    history, pictures = folder / HISTORY_FILE, folder / SAMPLES_FOLDER

    def draw() -> np.ndarray:
        settle(model.average)
        return to_pixels(model.average(latent, training=False)).numpy()

    training.tell_resumed(folder)
    training.spare_autograph(model)
    model.fit(
        batches,
        epochs=settings["epochs"],
        callbacks=[
            FiniteLosses(),
            training.EpochLog(folder, settings["epochs"], lambda: model.rates),
            LiveMetrics(lambda: read_history(history)),
            SampleGrids(draw, pictures),
            training.backup(folder),
        ],
        verbose=0,
    )
    write_history(Path(model_run) / HISTORY_FILE, read_history(history))
    shutil.copytree(pictures, Path(model_run) / SAMPLES_FOLDER, dirs_exist_ok=True)


def _last_epoch(model_run: str) -> dict[str, float]:
    return read_history(Path(model_run) / HISTORY_FILE)[-1]


class FiniteLosses(keras.callbacks.Callback):
    """Ends a training whose losses or weights are no longer numbers: nothing that comes after would be."""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Looks at the losses.

        Raises:
            InputError: They are no numbers.
        """
        del batch
        lost = [f"{name} {value:g}" for name, value in (logs or {}).items() if not math.isfinite(value)]
        if lost:
            self._stop("losses", ", ".join(lost))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Looks at the weights, before they are kept.

        Raises:
            InputError: They are no numbers: the last step may have made them so, after its losses.
        """
        del epoch, logs
        if not self.model.finite:
            self._stop("weights", "others")

    def _stop(self, what: str, found: str) -> None:
        rates = ", ".join(f"train.{name}={rate:g}" for name, rate in self.model.rates.items())
        raise InputError(
            f"{rates}: expected finite {what}, found {found} at step {self.model.steps}; try lower rates, "
            "model.spectral_norm=true, train.label_smoothing=0.1 or train.precision=float32"
        )


def to_pixels(images: tf.Tensor) -> tf.Tensor:
    """Turns what the generator draws into pixels.

    Args:
        images: float32 [...], values -1 to 1.

    Returns:
        uint8 [...].
    """
    return tf.cast(tf.round((images + 1.0) * 127.5), tf.uint8)


class SynthesisModule(tf.Module):
    """The generator with all that serving needs inside its graph."""

    def __init__(self, generator: keras.Model, trained: tf.Module) -> None:
        """Puts the parts together.

        Args:
            generator: See `trainers.networks.dcgan`; float32.
            trained: Where a warm start finds the weights of all networks.
        """
        super().__init__()
        self.network = generator
        self.trained = trained

    def draw_alike(self, latent: tf.Tensor) -> tf.Tensor:
        """Draws in batches of one size, so that a face does not depend on how many others are drawn.

        Args:
            latent: float32 [N, 100], N a multiple of BATCH.

        Returns:
            uint8 [N, 76, 64, 3].
        """
        batches = tf.reshape(latent, [-1, BATCH, dcgan.LATENT])
        images = tf.map_fn(
            self.draw,
            batches,
            fn_output_signature=tf.TensorSpec(
                [BATCH, SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH, dcgan.CHANNELS], tf.uint8
            ),
        )
        return tf.reshape(images, [-1, SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH, dcgan.CHANNELS])

    def draw(self, latent: tf.Tensor) -> tf.Tensor:
        """Returns faces, uint8 [N, 76, 64, 3], of at most MOST_ROWS latent vectors, float32 [N, 100]."""
        rows = tf.shape(latent)[0]
        few = tf.debugging.Assert(
            rows <= MOST_ROWS, [f"latent: expected at most {MOST_ROWS} rows, found", rows]
        )
        finite = tf.debugging.Assert(
            tf.reduce_all(tf.math.is_finite(latent)), ["latent: expected finite numbers, found others"]
        )
        with tf.control_dependencies([few, finite]):
            return to_pixels(self.network(tf.identity(latent), training=False))

    @staticmethod
    def encode(pixels: tf.Tensor) -> tf.Tensor:
        """Returns PNG files, string [N], of faces, uint8 [N, 76, 64, 3]."""
        return tf.map_fn(tf.io.encode_png, pixels, fn_output_signature=tf.string)

    @staticmethod
    def latent(seed: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Draws latent vectors; the first of a larger count are those of a smaller one.

        Args:
            seed: int64 [].
            count: int32 [], 1 to MOST_FACES.

        Returns:
            float32 [count, 100], standard normal.
        """
        allowed = tf.debugging.Assert(
            (count >= 1) & (count <= MOST_FACES), [f"count: expected 1 to {MOST_FACES}, found", count]
        )
        with tf.control_dependencies([allowed]):
            # All of them every time, whatever the count: rows do not depend on how many are asked for.
            return noise(seed, 0, MOST_FACES)[:count]

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, dcgan.LATENT], tf.float32, name="latent")]
    )
    def serve_latent(self, latent: tf.Tensor) -> dict[str, tf.Tensor]:
        """Latent vectors [N, 100] to PNG files [N]."""
        return {"image_bytes": self.encode(self.draw(latent))}

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, dcgan.LATENT], tf.float32, name="latent")]
    )
    def serve_pixels(self, latent: tf.Tensor) -> dict[str, tf.Tensor]:
        """Latent vectors [N, 100] to pixels [N, 76, 64, 3]."""
        return {"pixels": self.draw(latent)}

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([], tf.int64, name="seed"), tf.TensorSpec([], tf.int32, name="count")],
    )
    def serve_sample(self, seed: tf.Tensor, count: tf.Tensor) -> dict[str, tf.Tensor]:
        """A seed to the PNG files of its first faces."""
        wanted = self.latent(seed, count)
        batches = tf.math.floordiv(count + BATCH - 1, BATCH)
        padded = tf.pad(wanted, [[0, batches * BATCH - count], [0, 0]])
        return {"image_bytes": self.encode(self.draw_alike(padded)[:count])}

    @tf.function(
        autograph=False,
        input_signature=[tf.TensorSpec([], tf.int64, name="seed"), tf.TensorSpec([], tf.int32, name="count")],
    )
    def serve_latents(self, seed: tf.Tensor, count: tf.Tensor) -> dict[str, tf.Tensor]:
        """A seed to the latent vectors of its first faces."""
        return {"latent": self.latent(seed, count)}

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures by the names that serving and the Evaluator use."""
        return {
            "serving_default": self.serve_latent.get_concrete_function(),
            "pixels": self.serve_pixels.get_concrete_function(),
            "sample": self.serve_sample.get_concrete_function(),
            "latents": self.serve_latents.get_concrete_function(),
        }
