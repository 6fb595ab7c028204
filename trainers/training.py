"""The training loop that the tasks share: strategy, data sets, callbacks, resume."""

import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from trainers.devices import has_bfloat16
from trainers.history import HISTORY_FILE, read_history, write_history
from trainers.live_metrics import LiveMetrics

logger = logging.getLogger("hexaface.trainer")

# Parallel calls and prefetched batches.
PARALLEL = max(2, os.cpu_count() or 1)
# Decoded images are kept in memory up to this many bytes; larger sets are decoded every epoch.
CACHE_BYTES = 2 << 30
# Records among which the next is chosen.
SHUFFLE = 50_000


def strategy(precision: str) -> tf.distribute.Strategy:
    """Chooses the devices and the arithmetic of a training; call it before building the network.

    Args:
        precision: `float32`, `bfloat16` or `auto`: half precision on GPUs, bfloat16 on processors that
            compute in it, else float32. Weights are float32 in any case.

    Returns:
        MirroredStrategy over the GPUs, or the default strategy where there is none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if precision == "auto":
        half = "float16" if gpus else "bfloat16" if has_bfloat16() else ""
        precision = f"mixed_{half}" if half else "float32"
    elif precision == "bfloat16":
        precision = "mixed_bfloat16"
    keras.mixed_precision.set_global_policy(precision)
    logger.info("training on %d GPUs in %s", len(gpus), precision)
    if not gpus:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy()


def transformed_examples(
    patterns: list[str],
    transform: tft.TFTransformOutput,
    batch_size: int,
    pick: Callable[[tf.data.Dataset], tf.data.Dataset] = lambda records: records,
) -> tf.data.Dataset:
    """Reads examples and applies the transform graph, as serving does.

    Args:
        patterns: File patterns of gzipped TFRecords of tf.Example.
        transform: Output of the Transform node.
        batch_size: Examples a batch while decoding.
        pick: Chooses or reorders the records while they are small: serialised, before they are decoded.

    Returns:
        Batches of transformed features by name, in file order unless `pick` changes it.
    """
    files = sorted(tf.io.gfile.glob(patterns))
    specification = transform.raw_feature_spec()
    layer = transform.transform_features_layer()

    def apply(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return layer(tf.io.parse_example(serialized, specification))

    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return pick(records).batch(batch_size).map(apply, num_parallel_calls=PARALLEL)


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Turns tf.data's tuning off, for a data set that is iterated epoch after epoch.

    Issue: an iterator's end waits for its tuning thread, which sleeps up to a minute between looks: trainings
    stood still with all threads waiting for 10 to 60 s between epochs (TensorFlow 2.16, seen in a debugger).
    Solution: no tuning; the numbers of parallel calls are fixed (PARALLEL).
    Can go: when the tuning thread wakes up as its iterator ends.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def shuffled_batches(
    examples: Callable[[Callable[[tf.data.Dataset], tf.data.Dataset]], tf.data.Dataset],
    count: int,
    settings: Mapping[str, Any],
) -> tuple[tf.data.Dataset, int]:
    """Makes the batches of a training, in another order each epoch.

    Args:
        examples: Returns batches of decoded examples; takes what chooses and reorders the records.
        count: How many records there are.
        settings: `batch_size`, `images_per_epoch` and `seed` of the settings `train`.

    Returns:
        Batches, and the steps of an epoch.
    """
    batch_size = settings["batch_size"]
    images = min(count, settings["images_per_epoch"] or count)
    steps = max(1, images // batch_size)

    def pick(records: tf.data.Dataset) -> tf.data.Dataset:
        # Anew each epoch, so that the first images are other ones each time.
        if count <= SHUFFLE or images == count:
            return records.shuffle(min(count, SHUFFLE), seed=settings["seed"]).take(images)
        return _sample(records, images, count, settings["seed"]).shuffle(SHUFFLE, seed=settings["seed"])

    decoded = examples(lambda records: records)
    in_memory = fits_in_memory(decoded, count)
    # Where they do not fit, encoded images are shuffled: decoded ones would fill the memory.
    shuffled = pick(decoded.cache().unbatch()) if in_memory else examples(pick).unbatch()
    batches = shuffled.batch(batch_size, drop_remainder=images >= batch_size)
    # Lost by unbatch. Without it Keras finds the end of an epoch by a step too many, which may count.
    return batches.apply(tf.data.experimental.assert_cardinality(steps)), steps


def _sample(records: tf.data.Dataset, images: int, count: int, seed: int) -> tf.data.Dataset:
    """Takes so many of the records, other ones each epoch, in their order.

    Where not all fit into the buffer of shuffling, an epoch of the first ones would never reach the last.
    Each record is drawn by chance; what is missing at the end comes from the beginning again.
    """
    share = int(images / count * 2**32)
    draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)  # whole numbers below 2**32
    kept = tf.data.Dataset.zip((records, draws)).filter(lambda _, draw: draw < share)
    return kept.map(lambda record, _: record).repeat().take(images)


def count_examples(patterns: list[str]) -> int:
    """Counts the records of gzipped TFRecord files."""
    files = sorted(tf.io.gfile.glob(patterns))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP")
    return int(records.batch(4096).map(tf.shape).map(lambda shape: shape[0]).reduce(0, lambda a, b: a + b))


def fits_in_memory(dataset: tf.data.Dataset, examples: int) -> bool:
    """Tells whether the examples of a batched data set may be kept in memory: they take up to CACHE_BYTES.

    Args:
        dataset: Batches.
        examples: How many examples it has in all.
    """
    specs = tf.nest.flatten(dataset.element_spec)
    per_example = sum(spec.dtype.size * math.prod(spec.shape[1:]) for spec in specs)
    return per_example * examples <= CACHE_BYTES


def backup_folder(root: str, *identity: Any) -> Path:
    """Names the folder in which a training keeps its state, the same for the same inputs.

    Args:
        root: Folder of all backups.
        identity: All that the training depends on: files, settings, code. JSON-serialisable.

    Returns:
        The folder; a killed run that is started again finds its state there.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return Path(root) / digest


@dataclass(frozen=True)
class Monitor:
    """The metric by which the best epoch is chosen.

    Attributes:
        metric: Name in the history, e.g. `val_accuracy`.
        lower_is_better: Whether it is an error.
    """

    metric: str
    lower_is_better: bool = False

    def best(self, rows: Sequence[Mapping[str, float]]) -> int:
        """Returns the number, from 1, of the first best row of a history; 0 where there is none."""
        values = [row[self.metric] * (-1.0 if self.lower_is_better else 1.0) for row in rows]
        return values.index(max(values)) + 1 if values else 0


class EpochLog(keras.callbacks.Callback):
    """Appends each epoch's metrics to a file and says how far the training is.

    The file lives in the backup folder, so that a resumed training has its whole curve.
    """

    def __init__(
        self,
        folder: Path,
        epochs: int,
        more: Callable[[], Mapping[str, float]] = lambda: MappingProxyType({}),
    ) -> None:
        """Sets up the callback.

        Args:
            folder: Backup folder.
            epochs: Upper bound.
            more: Returns what each row tells before the metrics: learning rates and the like.
        """
        super().__init__()
        self._file = folder / HISTORY_FILE
        self._epochs = epochs
        self._more = more
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Starts the clock."""
        del epoch, logs
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Writes a line; an epoch that is trained again after a resume replaces its older line."""
        seconds = time.monotonic() - self._start
        row = {"epoch": epoch + 1, "seconds": round(seconds, 3), **self._more()}
        row |= {key: float(value) for key, value in (logs or {}).items()}
        earlier = [entry for entry in read_history(self._file) if entry["epoch"] <= epoch]
        write_history(self._file, [*earlier, row])
        shown = "  ".join(f"{key} {row[key]:.4f}" for key in row if key not in ("epoch", "seconds"))
        left = (self._epochs - epoch - 1) * seconds
        logger.info("epoch %d/%d  %.0f s  %s  (%.0f s left)", epoch + 1, self._epochs, seconds, shown, left)


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the best epoch on disk, through kills and resumes, and stops when patience ends.

    Keras's EarlyStopping forgets its best epoch when the process dies; this one reads it from the history.
    """

    def __init__(self, folder: Path, monitor: Monitor, patience: int) -> None:
        """Sets up the callback.

        Args:
            folder: Backup folder.
            monitor: What tells the best epoch.
            patience: Epochs without a better value after which training stops.
        """
        super().__init__()
        self._folder = folder
        self._monitor = monitor
        self._patience = patience

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Saves a better epoch's weights; stops after `patience` worse ones."""
        del epoch, logs
        rows = self._rows()
        best = self._monitor.best(rows)
        if best == len(rows):
            temporary = self._folder / "next.weights.h5"
            self.model.save_weights(temporary)
            os.replace(temporary, self._file(best))
        # The best before this epoch is kept too: after a kill, this epoch may be trained again and be worse.
        keep = {self._file(best), self._file(self._monitor.best(rows[:-1]))}
        for file in set(self._folder.glob("best-*.weights.h5")) - keep:
            file.unlink()
        if self.exhausted():
            logger.info("no better %s for %d epochs: stopping", self._monitor.metric, self._patience)
            self.model.stop_training = True

    def exhausted(self) -> bool:
        """Tells whether the last `patience` epochs brought nothing better."""
        rows = self._rows()
        return bool(rows) and len(rows) - self._monitor.best(rows) >= self._patience

    def restore(self) -> None:
        """Loads the best epoch's weights into the model."""
        rows = self._rows()
        if rows:
            self.model.load_weights(self._file(self._monitor.best(rows)))

    def _rows(self) -> list[dict[str, float]]:
        return read_history(self._folder / HISTORY_FILE)

    def _file(self, epoch: int) -> Path:
        return self._folder / f"best-{epoch}.weights.h5"


def fit(
    model: keras.Model,
    train: tf.data.Dataset,
    validation: tf.data.Dataset,
    *,
    epochs: int,
    patience: int,
    monitor: Monitor,
    folder: Path,
    history_folder: str,
    earlier: Sequence[dict[str, float]] = (),
    more: Mapping[str, float] = MappingProxyType({}),
) -> list[dict[str, float]]:
    """Trains a compiled model to its best epoch; a killed training goes on where it was.

    Args:
        model: Compiled model.
        train: Batches of (inputs, labels).
        validation: The same, for choosing the epoch.
        epochs: Upper bound.
        patience: See `BestWeights`.
        monitor: What tells the best epoch.
        folder: Backup folder of exactly this training (`backup_folder`).
        history_folder: Where the history is left for reports.
        earlier: Rows of networks that were trained before, which this history goes on from.
        more: What else each row tells.

    Returns:
        A row an epoch, the earlier ones first; the model holds the weights of the best epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    best = BestWeights(folder, monitor, patience)

    def rows() -> list[dict[str, float]]:
        own = read_history(folder / HISTORY_FILE)
        return [*earlier, *({**row, "epoch": row["epoch"] + len(earlier)} for row in own)]

    def rates() -> dict[str, float]:
        return {"learning_rate": float(keras.backend.get_value(model.optimizer.learning_rate)), **more}

    callbacks = [
        EpochLog(folder, epochs, rates),
        best,
        LiveMetrics(rows),
        backup(folder),
    ]
    tell_resumed(folder)
    best.set_model(model)
    if not best.exhausted():
        spare_autograph(model)
        model.fit(train, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0)
    best.restore()
    history = rows()
    write_history(Path(history_folder) / HISTORY_FILE, history)
    return history


def backup(folder: Path) -> keras.callbacks.Callback:
    """Returns the callback that keeps the state of a training after each epoch and goes on from it.

    Args:
        folder: Backup folder of exactly this training (`backup_folder`).
    """
    return keras.callbacks.BackupAndRestore(str(folder / "state"), delete_checkpoint=False)


def tell_resumed(folder: Path) -> None:
    """Says so if a training goes on where another was interrupted."""
    epochs = len(read_history(folder / HISTORY_FILE))
    if epochs:
        logger.info("going on after epoch %d of an interrupted training", epochs)


def spare_autograph(model: keras.Model) -> None:
    """Keeps AutoGraph away from Keras's own code.

    Issue: the first `fit` spends 16 CPU seconds converting 139 functions of tf_keras, which TensorFlow does
    not know as its own since Keras moved out of it.
    Solution: mark the step functions as not to be converted; Keras has nothing in them that needs it.
    Can go: when tf_keras is on AutoGraph's list of modules to leave alone.
    """
    model.train_step = tf.autograph.experimental.do_not_convert(model.train_step)
    model.test_step = tf.autograph.experimental.do_not_convert(model.test_step)


def discard_backups(folder: Path) -> None:
    """Deletes the state of a training whose model has been exported, and of those that were given up before.

    Args:
        folder: Backup folder of the training that has ended. Its siblings are of other settings, data or code
            of the same task, of which one run goes on at a time.
    """
    for state in folder.parent.iterdir():
        shutil.rmtree(state, ignore_errors=True)
