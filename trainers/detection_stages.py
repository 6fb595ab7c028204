"""Training of one of MTCNN's networks: the paper's losses in Keras's loop."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from trainers import training
from trainers.augmentation import Augmentation
from trainers.detection_data import SCENE_WINDOWS, Split, Windows, training_windows, validation_windows
from trainers.detection_losses import NEGATIVE, POSITIVE, TaskWeights, losses
from trainers.detection_samples import Samples
from trainers.networks.mtcnn import FACE
from trainers.optimizers import build_optimizer, build_schedule
from trainers.training import Monitor

MONITOR = Monitor("val_average_precision")
_LOSSES = ("loss", "face", "box", "landmarks")


@dataclass(frozen=True)
class Stage:
    """One of the three networks.

    Attributes:
        number: 1, 2 or 3.
        build: Builds the network, uncompiled.
        side: Height and width of its windows, pixels.
        samples: See `trainers.boxes.crops`.
        weights: Alpha.
    """

    number: int
    build: Callable[[], keras.Model]
    side: int
    samples: int
    weights: TaskWeights


class StageTrainer(keras.Model):
    """A functional model of MTCNN that learns from windows of all kinds.

    It measures the losses, and how well the network ranks faces above background: the average precision.

    Attributes:
        network: The model that it was made of.
    """

    def __init__(self, network: keras.Model, weights: TaskWeights) -> None:
        """Wraps a network.

        Args:
            network: See `trainers.networks.mtcnn`.
            weights: Alpha.
        """
        super().__init__(network.input, network.output)
        # Its weights are those of this model, without the metrics'.
        self.network = network
        self._weights = weights
        self._means = [keras.metrics.Mean(name) for name in _LOSSES]
        self._precision = keras.metrics.AUC(curve="PR", name="average_precision")

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What is reset between epochs."""
        return [*self._means, self._precision]

    def train_step(self, data: Samples) -> dict[str, tf.Tensor]:
        """Learns from a batch."""
        with tf.GradientTape() as tape:
            outputs = self(data.pixels, training=True)
            found = losses(outputs, data.targets, self._weights)
        self.optimizer.minimize(found["loss"], self.trainable_variables, tape=tape)
        return self._measured(outputs, data, found)

    def test_step(self, data: Samples) -> dict[str, tf.Tensor]:
        """Validates a batch, by all samples and not only the hard ones."""
        outputs = self(data.pixels, training=False)
        return self._measured(outputs, data, losses(outputs, data.targets, self._weights, hard_share=1.0))

    def _measured(
        self, outputs: Mapping[str, tf.Tensor], data: Samples, found: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        for mean in self._means:
            mean.update_state(found[mean.name])
        # Of scenes alone: pictures with landmarks show large faces, which are easy.
        is_face, is_background = (tf.equal(data.targets.kind, kind) for kind in (POSITIVE, NEGATIVE))
        scores = tf.nn.softmax(tf.reshape(outputs[FACE], [-1, 2]))[:, 1]
        counted = tf.cast(is_face | is_background, tf.float32)
        self._precision.update_state(is_face, scores, sample_weight=counted)
        return {metric.name: metric.result() for metric in self.metrics}


def train_stage(
    stage: Stage,
    train: Split,
    validation: Split,
    settings: Mapping[str, Any],
    folder: Path,
    history_folder: str,
    earlier: list[dict[str, float]],
    initial: keras.Model | None = None,
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Trains a network to its best epoch; a killed training goes on where it was.

    Args:
        stage: Which one.
        train: Images to learn from, with what earlier networks propose.
        validation: Images to choose the epoch by.
        settings: The settings `train`.
        folder: Backup folder of exactly this stage.
        history_folder: Where the history is left for reports.
        earlier: Rows of the history of earlier stages.
        initial: A network with the weights to begin with; None to begin with random ones.

    Returns:
        The network, in float32, and the rows of all stages so far.
    """
    keras.utils.set_random_seed(settings["seed"] + stage.number)
    windows = Windows(stage.side, stage.samples, settings["batch_size"], settings["seed"])
    shown = settings["images_per_epoch"] or train.scenes.images * sum(SCENE_WINDOWS)
    steps = max(1, math.ceil(shown / settings["batch_size"]))
    with training.strategy(settings["precision"]).scope():
        model = StageTrainer(stage.build(), stage.weights)
        if initial is not None:
            model.network.set_weights(initial.get_weights())
        model.compile(optimizer=build_optimizer(settings, build_schedule(settings, steps)))
    try:
        history = training.fit(
            model,
            training_windows(train, windows, steps, Augmentation(**settings["augmentation"])),
            validation_windows(validation, windows),
            epochs=settings["epochs"],
            patience=settings["patience"],
            monitor=MONITOR,
            folder=folder,
            history_folder=history_folder,
            earlier=earlier,
            more={"stage": float(stage.number)},
        )
    finally:
        # Or another attempt would read its data in half precision.
        keras.mixed_precision.set_global_policy("float32")
    network = stage.build()
    network.set_weights(model.network.get_weights())
    return network, history
