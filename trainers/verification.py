"""Verification: one tower for two faces, a threshold with a known error rate (report sections 3.6, 4.4)."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from data_validation.errors import InputError
from data_validation.ingestion import Ingestion
from trainers import backbones, embedding, image_training, preprocessing, training
from trainers.image_training import Recipe
from trainers.margin import NOBODY, EmbeddingTrainer, MarginSoftmax
from trainers.pair_metrics import MOST_IMAGES, PairDistances, all_pairs, operating_point, within_bound
from trainers.saved_models import ABOUT_FOLDER, GraphModule, export
from trainers.training import Monitor

LABEL = "identity"
MONITOR = Monitor("val_eer", lower_is_better=True)
THRESHOLDS_FILE = "thresholds.json"
FALSE_ACCEPT_RATES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
"""Rows of the table of thresholds."""
_BATCH = 64


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Decodes, resizes and scales the image as the backbone takes it. Traced by the Transform node.

    Args:
        inputs: `image/encoded` and `identity`, string [N, 1] or [N].
        custom_config: Holds the settings `model`.

    Returns:
        `image/encoded` as float32 [N, side, side, 3] in 0..1 and `identity` as string [N].
    """
    return {
        preprocessing.IMAGE: preprocessing.decoded(
            inputs, embedding.side(custom_config["model"]), channels=3
        ),
        LABEL: tf.reshape(inputs[LABEL], [-1]),
    }


def run_fn(fn_args: Any) -> None:
    """Trains the tower, chooses the threshold on the selection split and exports. Called by the Trainer.

    Args:
        fn_args: TFX's FnArgs; see `image_training.train`.

    Raises:
        InputError: The data have too few persons to train on or to choose a threshold on.
    """
    config = fn_args.custom_config
    model = config["model"]
    # `<examples>/Split-train/*`
    persons = _persons(Path(fn_args.train_files[0]).parent.parent)
    trained = None
    if model["backbone"] == "compact":
        trained = image_training.train(fn_args, recipe(config, persons))
        tower = trained.network
    else:
        tower = _pretrained(model, Path(config["cache"]))
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    network = embedding.embedding_network(tower, model["flip_averaging"])
    vectors, names = _embeddings(network, fn_args.eval_files, transform)
    compared = within_bound(names)
    pairs = all_pairs(vectors[compared], names[compared])
    if not pairs.complete:
        raise InputError(
            f"{LABEL}: expected pairs of one person and of two among the first {MOST_IMAGES} images of the "
            f"selection split, found {len(pairs.same)} and {len(pairs.different)}"
        )
    thresholds = threshold_table(pairs, model["far"])
    if thresholds["threshold"] < 0.0:
        raise InputError(
            f"model.far: no threshold keeps to {model['far']:g}: too many pairs of two persons in the "
            "selection split show the same picture"
        )
    account = image_training.about(
        fn_args, "verification", MONITOR if trained else None, trained.history if trained else []
    )
    module = VerificationModule(network, transform, thresholds["threshold"], tower)
    export(module, fn_args.serving_model_dir, account)
    # In the model for those who use it, in the run for the report.
    for folder in (Path(fn_args.serving_model_dir) / ABOUT_FOLDER, Path(fn_args.model_run_dir)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / THRESHOLDS_FILE).write_text(json.dumps(thresholds, indent=1) + "\n", encoding="utf-8")
    if trained:
        training.discard_backups(trained.backups)


def recipe(config: Mapping[str, Any], persons: list[str]) -> Recipe:
    """Describes the training: a softmax over persons with a margin, judged by pairs of other persons.

    Args:
        config: Settings `model` and `train`.
        persons: The persons of the training split.

    Returns:
        The recipe.
    """
    settings = config["train"]
    numbers = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(persons, np.arange(len(persons))), default_value=NOBODY
    )
    return Recipe(
        label=LABEL,
        build=lambda: EmbeddingTrainer(embedding.build_tower(config["model"]), len(persons)),
        target=numbers.lookup,
        loss=lambda: MarginSoftmax(settings["scale"], settings["margin"]),
        metrics=lambda: ["accuracy"],
        monitor=MONITOR,
        validation_target=lambda names: names,
        kept=lambda network: network.tower,
    )


def threshold_table(pairs: PairDistances, far: float) -> dict[str, Any]:
    """Chooses the threshold, and tells what others would do.

    Args:
        pairs: Cosine distances of pairs of persons that the network was not trained on.
        far: The false accept rate that the threshold is for.

    Returns:
        JSON-serialisable: `distance`, `threshold`, `far`, and `table`, a row (`pair_metrics.OperatingPoint`)
        for each of FALSE_ACCEPT_RATES and for `far`.
    """
    rates = sorted({*FALSE_ACCEPT_RATES, far}, reverse=True)
    return {
        "distance": "cosine",
        "threshold": operating_point(pairs, far).threshold,
        "far": far,
        "same_pairs": len(pairs.same),
        "different_pairs": len(pairs.different),
        "table": [dataclasses.asdict(operating_point(pairs, rate)) for rate in rates],
    }


class VerificationModule(GraphModule):
    """Answers with the distances of two faces and whether they match, or with the embedding of one.

    Attributes:
        network: Images to embeddings of length 1; both sides of a pair go through it.
    """

    def __init__(
        self,
        network: keras.Model,
        transform: tft.TFTransformOutput,
        threshold: float,
        tower: keras.Model,
    ) -> None:
        """Puts the parts together.

        Args:
            network: See there.
            transform: Output of the Transform node.
            threshold: Largest cosine distance of a match.
            tower: The network within `network` that was trained.
        """
        super().__init__(network, transform, tower)
        self._threshold = tf.constant(threshold, tf.float32)

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, name="image_bytes_a"),
            tf.TensorSpec([None], tf.string, name="image_bytes_b"),
        ],
    )
    def serve_pairs(self, image_bytes_a: tf.Tensor, image_bytes_b: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded images [N] and [N] to distances, matches and the threshold."""
        count = tf.shape(image_bytes_a)[0]
        same_count = tf.debugging.assert_equal(
            count,
            tf.shape(image_bytes_b)[0],
            "image_bytes_a, image_bytes_b: expected as many images on both sides",
        )
        with tf.control_dependencies([same_count]):
            both = self._embedding(self.from_bytes(tf.concat([image_bytes_a, image_bytes_b], axis=0)))
        squared = tf.reduce_sum(tf.math.squared_difference(both[:count], both[count:]), axis=1)
        # For vectors of length 1, half of it is 1 - cosine, and exactly 0 for equal images.
        cosine = squared / 2.0
        return {
            "cosine_distance": cosine,
            "euclidean_distance": tf.sqrt(squared),
            "is_match": cosine <= self._threshold,
            "threshold": tf.fill([count], self._threshold),
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def embed(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded images [N] to embeddings [N, D]."""
        return {"embedding": self._embedding(self.from_bytes(image_bytes))}

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, None, None, None], tf.uint8, name="pixels")]
    )
    def embed_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Raw pixels [N, H, W, 1 or 3] to embeddings [N, D]."""
        return {"embedding": self._embedding(self.from_pixels(pixels))}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def embed_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised tf.Examples [N] to embeddings [N, D], for the Evaluator."""
        return {"embedding": self._embedding(self.from_examples(examples, preprocessing.IMAGE))}

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures by name."""
        return {
            "serving_default": self.serve_pairs.get_concrete_function(),
            "embed": self.embed.get_concrete_function(),
            "pixels": self.embed_pixels.get_concrete_function(),
            "examples": self.embed_examples.get_concrete_function(),
        }

    def _embedding(self, images: tf.Tensor) -> tf.Tensor:
        return self.network(images, training=False)


def _persons(examples: Path) -> list[str]:
    """Returns the persons of the training split.

    Raises:
        InputError: There are too few to train on, or in another split to compare: hours of training later
            it would be late to say so.
    """
    account = Ingestion.load(examples)
    persons = sorted(account.distribution(LABEL, "train"))
    if len(persons) < 2:
        raise InputError(f"{LABEL}: expected two persons in the training split, found {len(persons)}")
    for split, name in (("eval", "selection"), ("test", "test")):
        # Images are compared within a data set.
        sources = sorted({source for where, source, _ in account.records if where == split})
        found = [account.distribution(LABEL, split, source) for source in sources]
        if not any(len(each) > 1 and max(each.values()) > 1 for each in found):
            counts = sum(found, Counter())
            raise InputError(
                f"{LABEL}: expected a data set with two persons, and one of them with two images, in the "
                f"{name} split; found {len(counts)} persons with {counts.total()} images"
            )
    return persons


def _pretrained(settings: Mapping[str, Any], folder: Path) -> keras.Model:
    """Builds the tower with the user's weights, frozen."""
    tower = embedding.build_tower(settings)
    backbones.load_pretrained(tower, settings, folder)
    tower.trainable = False
    return tower


def _embeddings(
    network: keras.Model, files: list[str], transform: tft.TFTransformOutput
) -> tuple[np.ndarray, np.ndarray]:
    """Returns embeddings float32 [N, D] and persons [N] of a split."""
    step = tf.function(lambda images: network(images, training=False), autograph=False, reduce_retracing=True)
    vectors, persons = [], []
    for batch in training.transformed_examples(files, transform, _BATCH):
        vectors.append(step(batch[preprocessing.IMAGE]).numpy())
        persons.append(batch[LABEL].numpy())
    return np.concatenate(vectors), np.concatenate(persons)
