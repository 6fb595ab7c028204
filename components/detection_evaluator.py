"""Evaluator of detection: each image goes through the model once, then detections are matched to faces.

TFX's Evaluator would batch images of different sizes and knows neither ignored regions nor landmarks.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.compat import tfx
from components.evaluation.blessing import write_blessing
from components.evaluation.detection_results import (
    POINTS,
    DetectedImage,
    DetectionResults,
    SearchSettings,
    detection_criterion,
    measure,
)
from data_validation.errors import InputError

logger = logging.getLogger("hexaface.evaluator")

SPLITS = ("eval", "test")
CASCADE_FILE = "cascade.json"
"""In the model's `assets.extra`."""
_BATCH = 8
_LOG_EVERY = 100
_EDGES = ("ymin", "xmin", "ymax", "xmax")


@tfx.dsl.components.component
def DetectionEvaluator(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    evaluation: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    thresholds: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
    baseline_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model] = None,
) -> None:
    """Measures how well faces and their landmarks are found, and blesses the model.

    Args:
        examples: The splits `eval` and `test` are looked at.
        model: The candidate; its signature `detect` takes settings.
        evaluation: Where the results are written, see `detection_results.DetectionResults`.
        blessing: As TFX's own Evaluator writes it.
        thresholds: JSON object of the evaluation settings.
        code_fingerprint: Only for the cache.
        baseline_model: The latest blessed model, if any.
    """
    del code_fingerprint
    settings = json.loads(thresholds)
    splits = {
        split: sorted(map(str, Path(artifact_utils.get_split_uri([examples], split)).iterdir()))
        for split in SPLITS
    }
    results = _measure(path_utils.serving_model_path(model.uri), splits, settings)
    baseline = None
    if baseline_model is not None:
        logger.info("the latest blessed model, for comparison")
        only_eval = {"eval": splits["eval"]}
        baseline = _measure(path_utils.serving_model_path(baseline_model.uri), only_eval, settings).selection
    criterion = detection_criterion(settings)
    found = results.selection
    change = found[criterion.metric] - baseline[criterion.metric] if baseline else None
    verdicts = criterion.judge(found[criterion.metric], change, found["box_images"])
    results.save(Path(evaluation.uri), verdicts)
    write_blessing(blessing, all(verdict.passed for verdict in verdicts), model, baseline_model)


def _measure(folder: str, splits: dict[str, list[str]], evaluation: dict[str, float]) -> DetectionResults:
    """Looks for the faces of some splits and judges what was found."""
    cascade = json.loads((Path(folder) / "assets.extra" / CASCADE_FILE).read_text(encoding="utf-8"))
    settings = SearchSettings.of(evaluation, cascade["longest_side"])
    model = tf.saved_model.load(folder)
    detect = model.signatures["detect"]
    images = [image for split, files in splits.items() for image in _detected(detect, settings, split, files)]
    return DetectionResults(settings, images, measure(images, splits))


def _detected(detect: Any, settings: SearchSettings, split: str, files: list[str]) -> Iterator[DetectedImage]:
    """Yields the images of a split with what is found in each."""
    done = 0
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH):
        parsed = tf.io.parse_example(batch, _features())
        count = len(batch)
        answer = detect(
            image_bytes=parsed["image/encoded"],
            min_face=tf.fill([count], settings.min_face),
            factor=tf.fill([count], settings.factor),
            thresholds=tf.constant([settings.thresholds] * count),
        )
        found = {name: values.numpy() for name, values in answer.items()}
        for row in range(count):
            annotated = {name: values[row].numpy() for name, values in parsed.items()}
            yield _image(split, annotated, {name: values[row] for name, values in found.items()})
        if done // _LOG_EVERY < (done + count) // _LOG_EVERY:
            logger.info("%s: %d images", split, done + count)
        done += count
    logger.info("%s: faces looked for in all %d images", split, done)


def _features() -> dict[str, Any]:
    numbers = [*(f"boxes/{edge}" for edge in _EDGES), "boxes/height", "landmarks/y", "landmarks/x"]
    return {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "source": tf.io.FixedLenFeature([], tf.string),
        "image/height": tf.io.FixedLenFeature([], tf.int64),
        "image/width": tf.io.FixedLenFeature([], tf.int64),
        "boxes/ignored": tf.io.RaggedFeature(tf.int64),
        **{name: tf.io.RaggedFeature(tf.float32) for name in numbers},
    }


def _image(split: str, annotated: dict[str, Any], found: dict[str, Any]) -> DetectedImage:
    faces = np.stack([annotated[f"boxes/{edge}"] for edge in _EDGES], axis=-1)
    points = np.stack([annotated["landmarks/y"], annotated["landmarks/x"]], axis=-1)
    if len(points) not in (0, len(POINTS) * len(faces)):
        raise InputError(
            f"landmarks/y of split {split}: expected {len(POINTS)} values for each of {len(faces)} boxes, or "
            f"none, found {len(points)}"
        )
    count = found["num_detections"]
    return DetectedImage(
        split,
        annotated["source"].decode(),
        (int(annotated["image/height"]), int(annotated["image/width"])),
        faces,
        annotated["boxes/height"],
        annotated["boxes/ignored"] > 0,
        points.reshape(-1, len(POINTS), 2),
        found["detection_boxes"][:count],
        found["detection_scores"][:count],
        found["detection_keypoints"][:count],
    )
