"""Optimisers and learning-rate schedules by the names that settings use."""

from collections.abc import Mapping
from typing import Any

import tf_keras as keras


def build_schedule(
    settings: Mapping[str, Any], steps_per_epoch: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Builds the learning-rate schedule.

    Args:
        settings: `schedule` (`constant` or `cosine`), `learning_rate`, `epochs` and `warmup_epochs`.
        steps_per_epoch: Batches an epoch.

    Returns:
        The constant rate, or a cosine decay to zero (Loshchilov and Hutter, "SGDR", ICLR 2017, without
        restarts) after a linear warm-up.
    """
    rate = settings["learning_rate"]
    if settings["schedule"] == "constant":
        return rate
    warmup = int(settings["warmup_epochs"] * steps_per_epoch)
    decay = max(1, settings["epochs"] * steps_per_epoch - warmup)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(rate, decay)
    return keras.optimizers.schedules.CosineDecay(0.0, decay, warmup_target=rate, warmup_steps=warmup)


def build_optimizer(
    settings: Mapping[str, Any], rate: float | keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """Builds the optimiser.

    Args:
        settings: `optimizer` (`sgd` with Nesterov momentum, or `adamw`), `momentum`, `weight_decay`.
        rate: Learning rate or schedule.

    Returns:
        The optimiser; weight decay leaves biases and normalisation alone.
    """
    decay = settings["weight_decay"] or None
    if settings["optimizer"] == "sgd":
        optimizer = keras.optimizers.SGD(
            rate, momentum=settings["momentum"], nesterov=True, weight_decay=decay
        )
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=settings["weight_decay"])
    if decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
