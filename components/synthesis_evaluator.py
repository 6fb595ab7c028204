"""Evaluator of synthesis: sets of generated and of real images are compared by their features.

TFX's Evaluator looks at one example at a time, and no example has a generated image that belongs to it.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.compat import tfx
from components.evaluation.blessing import write_blessing
from components.evaluation.slices import SliceKey
from components.evaluation.synthesis_extractors import Extractor, gender_judge, open_extractor
from components.evaluation.synthesis_results import (
    Look,
    Pictures,
    Reference,
    SynthesisResults,
    drawn,
    gender_metrics,
    synthesis_verdicts,
)
from data_validation.errors import InputError
from data_validation.face_sizes import LEAST_HELD_BACK
from data_validation.labels import UNKNOWN
from trainers.imaging import decode_batch
from trainers.synthesis import MOST_FACES

logger = logging.getLogger("hexaface.evaluator")

SPLITS = ("eval", "test")
SEED = 1
"""Of all that is random here: latents, noise, which real images are taken, parts of the kernel distance."""
SEARCHED_PER_IMAGE, MOST_SEARCHED = 5, 10_000
"""Training images among which the nearest to a generated one is looked for: so many for each image that is
compared, and at most so many, but never fewer than are compared. Features of all of a large data set would
take longer than all else."""
SHOWN = 64
"""Generated images in the report's grid."""
SHOWN_PAIRS = 16
"""Generated images that the report shows beside their nearest training image."""

_LOG_EVERY = 1024
_IMAGE, _GENDER = "image/encoded", "gender"

Judge = Callable[[np.ndarray], np.ndarray]


@tfx.dsl.components.component
def SynthesisEvaluator(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    evaluation: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    thresholds: tfx.dsl.components.Parameter[str],
    cache: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
    baseline_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model] = None,
    embedding_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model] = None,
    gender_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model] = None,
) -> None:
    """Measures how near generated faces are to real ones and how varied, and blesses the model.

    Args:
        examples: All three splits; `eval` and `test` are what is compared with.
        model: The candidate, with the signatures `latents` and `pixels`.
        evaluation: Where the results are written, see `synthesis_results.SynthesisResults`.
        blessing: As TFX's own Evaluator writes it.
        thresholds: JSON object of the evaluation settings.
        cache: Folder where downloaded weights are kept.
        code_fingerprint: Only for the cache.
        baseline_model: The latest blessed model, if any.
        embedding_model: The verification model whose embeddings are the features; not for `inception`.
        gender_model: Tells how many generated faces it takes for female; left out where there is none.
    """
    del code_fingerprint
    settings = json.loads(thresholds)
    extractor = open_extractor(settings, _folder(embedding_model), Path(cache))
    judge = gender_judge(_folder(gender_model)) if gender_model is not None else None
    splits = {
        split: sorted(map(str, Path(artifact_utils.get_split_uri([examples], split)).iterdir()))
        for split in ("train", *SPLITS)
    }
    results, reference = _measure(Generator(_folder(model)), splits, settings, extractor, judge)
    baseline = None
    if baseline_model is not None:
        logger.info("the latest blessed model, for comparison")
        generator = Generator(_folder(baseline_model))
        features = _looked_at("generated", generator.first(reference.count), extractor).features
        baseline = reference.measure(features)
    verdicts = synthesis_verdicts(settings, results.selection, baseline)
    results.save(Path(evaluation.uri), verdicts)
    write_blessing(blessing, all(verdict.passed for verdict in verdicts), model, baseline_model)


def _folder(model: Any) -> str:
    return path_utils.serving_model_path(model.uri) if model is not None else ""


class Generator:
    """A model that draws images, the same ones each time.

    Attributes:
        size: Height and width of its images.
    """

    def __init__(self, folder: str) -> None:
        """Loads it.

        Args:
            folder: Of its SavedModel.
        """
        self._model = tf.saved_model.load(folder)
        height, width = self._batch(0).shape[1:3]
        self.size = (height, width)

    def first(self, count: int) -> Iterator[np.ndarray]:
        """Yields the first images in batches, uint8 [_, H, W, 3]."""
        for start in range(0, count, MOST_FACES):
            yield self._batch(start // MOST_FACES)[: count - start]

    def pictures(self, rows: Iterable[int]) -> np.ndarray:
        """Returns some of the images, uint8 [n, H, W, 3]."""
        return np.stack([self._batch(int(row) // MOST_FACES)[int(row) % MOST_FACES] for row in rows])

    def _batch(self, number: int) -> np.ndarray:
        signatures = self._model.signatures
        seed, count = tf.constant(SEED + number, tf.int64), tf.constant(MOST_FACES, tf.int32)
        latent = signatures["latents"](seed=seed, count=count)["latent"]
        return signatures["pixels"](latent=latent)["pixels"].numpy()


@dataclass(frozen=True, eq=False)
class LookedAt:
    """Features [n, D] of images, and what the gender model takes them for, text [n] (empty without one)."""

    features: np.ndarray
    genders: np.ndarray


def _looked_at(
    what: str,
    batches: Iterable[np.ndarray],
    extractor: Extractor,
    judge: Judge | None = None,
) -> LookedAt:
    features, genders, done = [], [np.array([], "U1")], 0
    for pixels in batches:
        features.append(extractor(pixels))
        if judge:
            genders.append(judge(pixels))
        if done // _LOG_EVERY < (done + len(pixels)) // _LOG_EVERY:
            logger.info("%s: %d images", what, done + len(pixels))
        done += len(pixels)
    logger.info("%s: features of all %d images", what, done)
    return LookedAt(np.concatenate(features), np.concatenate(genders))


def _measure(
    generator: Generator,
    splits: dict[str, list[str]],
    settings: dict[str, Any],
    extractor: Extractor,
    judge: Judge | None,
) -> tuple[SynthesisResults, Reference]:
    """Compares generated images with both splits; returns also the reference that decides."""
    labels = {split: _labels(files) for split, files in splits.items()}
    rows = _chosen({split: len(found) for split, found in labels.items()}, settings["images"])
    # The composition of the training split is that of its labels.
    judges = {"train": None, "eval": judge, "test": judge}
    real = {
        split: _looked_at(split, _pixels(files, rows[split], generator.size), extractor, judges[split])
        for split, files in splits.items()
    }
    most = max(len(rows[split]) for split in SPLITS)
    noise = _looked_at("noise", _noise(most, generator.size), extractor).features
    generated = _looked_at("generated", generator.first(most), extractor, judge)
    training = real["train"].features
    references = {split: Reference(split, real[split].features, training, noise, SEED) for split in SPLITS}
    metrics: dict[SliceKey, dict[str, float]] = {}
    for split, reference in references.items():
        found = reference.measure(generated.features)
        if judge:
            ours, theirs = generated.genders[: reference.count], real[split].genders
            found = _before_support(found, gender_metrics(ours, theirs, labels[split][rows[split]]))
        metrics[("split", split),] = found
    reference = references["eval"]
    features = generated.features[: reference.count]
    pictures = _shown(generator, features, reference, splits["train"], rows["train"])
    look = Look(extractor.name, SEED, searched=len(rows["train"]), training=len(labels["train"]))
    counts = Counter(labels["train"].tolist())
    return SynthesisResults(look, metrics, counts, pictures, settings["max_position"]), reference


def _chosen(counts: Mapping[str, int], images: int) -> dict[str, np.ndarray]:
    """Chooses the rows of each split that are looked at.

    Args:
        counts: Of its images, by split.
        images: How many of each kind are compared at most.

    Raises:
        InputError: There are too few to compare.
    """
    searched = max(images, min(SEARCHED_PER_IMAGE * images, MOST_SEARCHED))
    rows = {"train": drawn(counts["train"], searched, SEED)}
    for split in SPLITS:
        # As many as there are of the training split.
        rows[split] = drawn(counts[split], min(images, len(rows["train"])), SEED)
        if len(rows[split]) < LEAST_HELD_BACK:
            raise InputError(
                f"split {split}: expected at least {LEAST_HELD_BACK} images, and as many training images; "
                f"found {counts[split]} and {counts['train']}"
            )
    return rows


def _before_support(metrics: dict[str, float], more: dict[str, float]) -> dict[str, float]:
    """Adds metrics; `support` stays the last."""
    *others, support = metrics.items()
    return dict([*others, *more.items(), support])


def _labels(files: list[str]) -> np.ndarray:
    """Returns the gender labels of a split, text [n]; `unknown` where an example has none."""
    feature = {_GENDER: tf.io.FixedLenFeature([], tf.string, UNKNOWN)}
    found = [np.array([], "U1")]
    for batch in _records(files).batch(_LOG_EVERY):
        values = tf.io.parse_example(batch, feature)[_GENDER].numpy()
        found.append(np.array([value.decode() for value in values]))
    return np.concatenate(found)


def _pixels(files: list[str], rows: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yields real images as training takes them, in whole numbers as generated ones are.

    Args:
        files: Of the split.
        rows: Which images, rising.
        size: Height and width.

    Yields:
        uint8 [_, H, W, 3].
    """
    chosen = np.zeros(rows[-1] + 1 if len(rows) else 0, bool)
    chosen[rows] = True
    mask = tf.constant(chosen)
    records = _records(files).take(len(chosen)).enumerate().filter(lambda row, _: mask[row])
    feature = {_IMAGE: tf.io.FixedLenFeature([], tf.string)}
    for _, batch in records.batch(MOST_FACES):
        encoded = tf.io.parse_example(batch, feature)[_IMAGE]
        images = decode_batch(encoded, *size, 3)
        yield tf.cast(tf.round(images * 255.0), tf.uint8).numpy()


def _records(files: list[str]) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(files, compression_type="GZIP")


def _noise(count: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yields images of uniform noise, uint8 [_, H, W, 3]."""
    random = np.random.default_rng(SEED)
    for start in range(0, count, MOST_FACES):
        yield random.integers(0, 256, (min(MOST_FACES, count - start), *size, 3), np.uint8)


def _shown(
    generator: Generator, features: np.ndarray, reference: Reference, files: list[str], rows: np.ndarray
) -> Pictures:
    """Chooses what the report shows: the first generated images, and those nearest to training images."""
    _, ratios, places = reference.to_training(features)
    closest = np.argsort(ratios, kind="stable")[:SHOWN_PAIRS]
    wanted, order = np.unique(rows[places[closest]], return_inverse=True)
    found = np.concatenate(list(_pixels(files, wanted, generator.size)))
    return Pictures(
        generator.pictures(range(min(SHOWN, len(features)))),
        generator.pictures(closest),
        found[order],
        ratios[closest],
    )
