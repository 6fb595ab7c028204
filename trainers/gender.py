"""Gender: classifiers on the features of a frozen backbone (report sections 3.3 and 5.2).

The classes are the data sets' binary labels.
"""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from data_validation.labels import GENDERS
from trainers import (
    backbones,
    classification,
    classifiers,
    embedding,
    features,
    image_training,
    preprocessing,
    training,
)
from trainers import weights as network_weights
from trainers.comparison import COMPARISON_FILE, save_comparison
from trainers.image_training import Trained
from trainers.networks import vgg
from trainers.saved_models import ClassifierModule, export

LABEL = "gender"
SPLITS = ("train", "eval", "test")
_BATCH = 64


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Decodes, resizes and scales the image as the backbone takes it; numbers the label.

    Traced by the Transform node.

    Args:
        inputs: `image/encoded` and `gender`, string [N, 1] or [N].
        custom_config: Holds the settings `model`.

    Returns:
        `image/encoded` as float32 [N, side, side, 3] in 0..1 and `gender` as int64 [N]: the index in GENDERS,
        -1 for a name that is not there.
    """
    side = backbones.side(custom_config["model"])
    return {
        preprocessing.IMAGE: preprocessing.decoded(inputs, side, channels=3),
        LABEL: preprocessing.numbered(inputs[LABEL], GENDERS),
    }


def run_fn(fn_args: Any) -> None:
    """Makes the backbone, compares classifiers on its features and exports the best. Called by the Trainer.

    The classifiers are fitted on the split `train` and chosen by their accuracy on `eval`; that on `test` is
    only reported. Decision tree and random forest are no layers of a network, so they are compared but never
    chosen.

    Args:
        fn_args: TFX's FnArgs; see `image_training.train`.
    """
    config = fn_args.custom_config
    model, seed = config["model"], config["train"]["seed"]
    classification.check_classes(_examples(fn_args), LABEL, GENDERS)
    trained = None
    more: dict[str, Any] = {}
    if model["backbone"] == "compact":
        trained = _train_compact(fn_args)
        backbone = backbones.compact_features(trained.network)
    elif model["backbone"] == "embedding":
        backbone = embedding.load_features(fn_args.base_model)
        more["backbone_fingerprint"] = embedding.record_backbone(backbone, fn_args.model_run_dir)
    else:
        backbone = backbones.pretrained_features(model, Path(config["cache"]))
    if model["flip_averaging"]:
        backbone = backbones.mirrored(backbone)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    # Features of a network that was trained here are of use to this training only, and go with its backups.
    cache = trained.backups if trained else Path(config["cache"])
    vectors, labels = _features(fn_args, transform, backbone, cache / "features")
    fitted = classifiers.fit_all(vectors, labels, len(GENDERS), seed)
    best = classifiers.best_exportable(fitted)
    save_comparison(Path(fn_args.model_run_dir) / COMPARISON_FILE, fitted, best.name, _origin(model))
    module = ClassifierModule(
        with_head(backbone, classifiers.as_network(best, backbone.output_shape[-1])),
        transform,
        LABEL,
        GENDERS,
        flip_averaging=False,  # the features are averaged
        trained=trained.network if trained else None,
    )
    about = image_training.about(
        fn_args,
        LABEL,
        classification.MONITOR if trained else None,
        trained.history if trained else [],
        classes=GENDERS,
        classifier=best.name,
        **more,
    )
    export(module, fn_args.serving_model_dir, about)
    if trained:
        training.discard_backups(trained.backups)


def _train_compact(fn_args: Any) -> Trained:
    config = fn_args.custom_config
    recipe = classification.recipe(
        LABEL, GENDERS, lambda: backbones.compact_network(config["model"], len(GENDERS)), config["train"]
    )
    return image_training.train(fn_args, recipe)


def _origin(settings: Mapping[str, Any]) -> str:
    """Tells in words what network the features are of."""
    name = settings["backbone"]
    if name == "compact":
        return (
            "those of the network compact, trained in this run on the same images and labels (its learning "
            "curves are those of a last layer that the model does not have) and then frozen"
        )
    if name == "embedding":
        return "those of the frozen trunk of the latest blessed verification model, before its last layer"
    return f"those of the frozen network {name}, its weights' sha256 {settings['weights_sha256'][:16]}..."


def with_head(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Joins a backbone and the layers that were made of a classifier.

    Args:
        backbone: float32 [N, H, W, C] to [N, D].
        head: float32 [N, D] to logits [N, classes].

    Returns:
        A model from images to logits.
    """
    images = keras.Input(backbone.input_shape[1:], name="image")
    return keras.Model(images, head(backbone(images)), name=f"{backbone.name}_{head.name}")


def _features(
    fn_args: Any, transform: tft.TFTransformOutput, backbone: keras.Model, folder: Path
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns features float32 [N, D] and labels int64 [N] of every split."""
    # With the code that builds the network: weights alone do not tell how pixels are centred.
    cache = features.FeatureCache(folder, network_weights.fingerprint(backbone, inspect.getsource(vgg)))
    examples = _examples(fn_args)
    vectors, labels = {}, {}
    for split in SPLITS:
        files = [str(examples / f"Split-{split}" / "*")]
        numbers: list[np.ndarray] = []
        vectors[split] = features.extract(
            backbone, _images(files, transform, numbers), training.count_examples(files), cache
        )
        labels[split] = np.concatenate(numbers)
    return vectors, labels


def _examples(fn_args: Any) -> Path:
    """Returns the folder of all splits: the Trainer is told of two only, as `<examples>/Split-train/*`."""
    return Path(fn_args.train_files[0]).parent.parent


def _images(
    files: list[str], transform: tft.TFTransformOutput, numbers: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Yields batches of images and notes their labels."""
    for batch in training.transformed_examples(files, transform, _BATCH).as_numpy_iterator():
        numbers.append(batch[LABEL])
        yield batch[preprocessing.IMAGE]
