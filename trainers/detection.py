"""Detection: MTCNN, three networks in a row, exported as one graph (report sections 3.4, 4.3).

They are trained one after the other. Each learns from what those before it take for faces, which is found by
running the graph's own functions over the training images.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from data_validation.errors import InputError
from trainers import image_training, training
from trainers.cascade import LONGEST_SIDE, SAMPLES, Cascade, CascadeSettings, Network, Networks
from trainers.detection_data import FEATURES, Split, read_split, with_proposals
from trainers.detection_losses import EARLY_WEIGHTS, OUTPUT_WEIGHTS
from trainers.detection_samples import mirrored_points
from trainers.detection_stages import MONITOR, Stage, train_stage
from trainers.networks.mtcnn import (
    BOX,
    FACE,
    LANDMARKS,
    OUTPUT_SIDE,
    PROPOSAL_SIDE,
    REFINEMENT_SIDE,
    output_network,
    proposal_network,
    refinement_network,
)
from trainers.saved_models import ABOUT_FOLDER, export

logger = logging.getLogger("hexaface.trainer")

CASCADE_FILE = "cascade.json"
"""In the model's assets.extra: the settings that hold if a request does not say otherwise."""

# P-Net sees an image made smaller by the mean over each pixel's area; 4 x 4 places come near to that.
_PROPOSAL_SAMPLES = 4
# While looking for samples: faces from this side on, and all that P-Net and R-Net think possible. R-Net's is
# low: else it leaves some ten windows of background an image, too few for O-Net to learn from.
_MINING_FACE = 12.0
_MINING_THRESHOLDS = (0.4, 0.05)


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Passes images and boxes on: images differ in size, and the cascade itself resizes them.

    Args:
        inputs: Features of the schema.
        custom_config: Not used.

    Returns:
        `image/encoded` string [N], and the ragged features of `trainers.detection_data.FEATURES`.
    """
    del custom_config
    return {name: inputs[name] for name in FEATURES}


def run_fn(fn_args: Any) -> None:
    """Trains the three networks and exports the cascade. Called by the Trainer.

    Args:
        fn_args: TFX's FnArgs; see `image_training.train`.

    Raises:
        InputError: There are no scenes, or no images with landmarks, to learn from or to choose by.
    """
    config = fn_args.custom_config
    model, settings = config["model"], config["train"]
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    train, validation = (read_split(files, transform) for files in (fn_args.train_files, fn_args.eval_files))
    _check(train, "training")
    _check(validation, "selection")
    backups = training.backup_folder(
        config["backups"],
        config["code_fingerprint"],
        model,
        settings,
        sorted(fn_args.train_files),
        fn_args.transform_graph_path,
        fn_args.base_model,
    )
    cascade, history = _train(train, validation, model, settings, backups, fn_args)
    best = {f"stage {number}": _chosen(history, number) for number in (1, 2, 3)}
    account = image_training.about(fn_args, "detection", None, [], chosen_epochs=best)
    export(cascade, fn_args.serving_model_dir, account)
    told = {**dataclasses.asdict(cascade.settings), "longest_side": LONGEST_SIDE}
    file = Path(fn_args.serving_model_dir) / ABOUT_FOLDER / CASCADE_FILE
    file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    training.discard_backups(backups)


def _train(
    train: Split,
    validation: Split,
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
    backups: Path,
    fn_args: Any,
) -> tuple[Cascade, list[dict[str, float]]]:
    """Trains P-Net, R-Net and O-Net; each learns from what those before it propose."""
    chosen = _cascade_settings(model)
    stages = (
        Stage(1, proposal_network, PROPOSAL_SIDE, _PROPOSAL_SAMPLES, EARLY_WEIGHTS),
        Stage(2, lambda: refinement_network(model["dropout"]), REFINEMENT_SIDE, SAMPLES, EARLY_WEIGHTS),
        Stage(3, lambda: output_network(model["dropout"]), OUTPUT_SIDE, SAMPLES, OUTPUT_WEIGHTS),
    )
    networks = Networks(*(stage.build() for stage in stages))
    cascade = Cascade(*networks.in_order, chosen)
    warm = settings["warm_start"] and fn_args.base_model
    if warm:
        image_training.warm_start(networks, fn_args.base_model)
    history: list[dict[str, float]] = []
    for stage, network in zip(stages, networks.in_order, strict=True):
        found, history = train_stage(
            stage,
            _mined(cascade, train, stage.number),
            _mined(cascade, validation, stage.number),
            settings,
            backups / f"stage-{stage.number}",
            fn_args.model_run_dir,
            history,
            initial=network if warm else None,
        )
        network.set_weights(found.get_weights())
    output = mirror_averaged(networks.output) if model["flip_averaging"] else networks.output
    served = Cascade(networks.proposal, networks.refinement, output, chosen, trained=networks)
    return served, history


def mirror_averaged(network: Network) -> Network:
    """Returns a network that averages what it finds in a window and in the window's mirror image.

    Args:
        network: O-Net.
    """

    def averaged(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.shape(pixels)[0]
        both = network(tf.concat([pixels, tf.reverse(pixels, [2])], axis=0))
        top, left, bottom, right = tf.unstack(both[BOX][count:], axis=1)
        points = mirrored_points(tf.reshape(both[LANDMARKS][count:], [-1, 5, 2]))
        mirrored = {
            FACE: both[FACE][count:],
            BOX: tf.stack([top, -right, bottom, -left], axis=1),
            LANDMARKS: tf.reshape(points, [-1, 10]),
        }
        return {name: (both[name][:count] + values) / 2.0 for name, values in mirrored.items()}

    return averaged


def _cascade_settings(model: Mapping[str, Any]) -> CascadeSettings:
    thresholds = tuple(model[f"{name}_threshold"] for name in ("proposal", "refinement", "output"))
    return CascadeSettings(min_face=model["min_face"], factor=model["factor"], thresholds=thresholds)


def _check(split: Split, name: str) -> None:
    """Refuses a split that a network cannot be trained or chosen by."""
    if not split.scenes.images:
        raise InputError(
            f"boxes: expected images with boxes only (WIDER FACE) in the {name} split, found none"
        )
    if not split.points.images:
        raise InputError(
            f"landmarks: expected images with landmarks (CNN_FacePoint) in the {name} split, found none"
        )
    if not int(tf.reduce_sum(1 - split.scenes.ignored.flat_values)):
        raise InputError(f"boxes: expected faces in the {name} split, found none that is not ignored")


def _mined(cascade: Cascade, split: Split, number: int) -> Split:
    """Adds what the networks before this one take for faces; nothing for P-Net, which is the first."""
    if number == 1:
        return split
    scenes = with_proposals(
        split.scenes,
        lambda image: cascade.windows_for(number, image, _MINING_FACE, _MINING_THRESHOLDS),
    )
    logger.info("%d windows proposed in %d images", scenes.proposed.flat_values.shape[0], scenes.images)
    return Split(scenes, split.points)


def _chosen(history: list[dict[str, float]], stage: int) -> dict[str, float]:
    """Returns the row of the epoch that was chosen for a stage."""
    rows = [row for row in history if row["stage"] == stage]
    return rows[MONITOR.best(rows) - 1]
