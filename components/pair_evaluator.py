"""Evaluator of embeddings: each image goes through the network once, then pairs are compared.

TFX's Evaluator looks at one example at a time. Pairs of examples would hold each image hundreds of times.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.compat import tfx
from components.evaluation.blessing import write_blessing
from components.evaluation.pair_results import (
    EmbeddedImages,
    PairResults,
    compare,
    pair_criterion,
)
from components.pairs import ListedPair, load_pairs
from trainers.verification import THRESHOLDS_FILE

logger = logging.getLogger("hexaface.evaluator")

SPLITS = ("eval", "test")
_BATCH = 64


@tfx.dsl.components.component
def PairEvaluator(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    evaluation: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    label: tfx.dsl.components.Parameter[str],
    thresholds: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
    baseline_model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model] = None,
) -> None:
    """Measures how well distances tell persons apart, and blesses the model.

    Args:
        examples: The splits `eval` and `test` are looked at, and the pairs that lie beside them.
        model: The candidate; its signature `examples` answers with `embedding`.
        evaluation: Where the results are written, see `pair_results.PairResults`.
        blessing: As TFX's own Evaluator writes it.
        label: Feature that tells the person.
        thresholds: JSON object of the evaluation settings.
        code_fingerprint: Only for the cache.
        baseline_model: The latest blessed model, if any.
    """
    del code_fingerprint
    splits = {
        split: sorted(map(str, Path(artifact_utils.get_split_uri([examples], split)).iterdir()))
        for split in SPLITS
    }
    listed = load_pairs(Path(examples.uri))
    results = _measure(path_utils.serving_model_path(model.uri), splits, label, listed)
    baseline = None
    if baseline_model is not None:
        logger.info("the latest blessed model, for comparison")
        only_eval = {"eval": splits["eval"]}
        baseline = _measure(
            path_utils.serving_model_path(baseline_model.uri), only_eval, label, listed
        ).selection
    criterion = pair_criterion(json.loads(thresholds))
    found = results.selection
    change = found[criterion.metric] - baseline[criterion.metric] if baseline else None
    verdicts = criterion.judge(found[criterion.metric], change, found["support"])
    results.save(Path(evaluation.uri), verdicts)
    write_blessing(blessing, all(verdict.passed for verdict in verdicts), model, baseline_model)


def _measure(folder: str, splits: dict[str, list[str]], label: str, listed: list[ListedPair]) -> PairResults:
    """Embeds the images of some splits and compares the pairs."""
    model = tf.saved_model.load(folder)
    embed = model.signatures["examples"]
    threshold = json.loads((Path(folder) / "assets.extra" / THRESHOLDS_FILE).read_text(encoding="utf-8"))
    images = {
        split: _embedded(lambda batch: embed(examples=batch)["embedding"], files, label)
        for split, files in splits.items()
    }
    return compare(images, listed, threshold["threshold"])


def _embedded(embed: Callable[[tf.Tensor], tf.Tensor], files: list[str], label: str) -> EmbeddedImages:
    vectors: list[np.ndarray] = []
    texts: dict[str, list[str]] = {name: [] for name in ("image/filename", "source", label)}
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in texts}
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH):
        vectors.append(embed(batch).numpy())
        for name, values in tf.io.parse_example(batch, features).items():
            texts[name].extend(value.decode() for value in values.numpy())
    names, sources, persons = (np.array(texts[name]) for name in ("image/filename", "source", label))
    logger.info("%d images embedded", len(names))
    return EmbeddedImages(np.concatenate(vectors), names, sources, persons)
