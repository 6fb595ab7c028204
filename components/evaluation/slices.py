"""Slices of an evaluation, and a model's metrics on each."""

from collections.abc import Iterator
from typing import Any

import tensorflow_model_analysis as tfma

SliceKey = tuple[tuple[str, str], ...]

SELECTION_SLICE: SliceKey = (("split", "eval"),)
TEST_SLICE: SliceKey = (("split", "test"),)
SPLIT_NAMES = {"eval": "selection split", "test": "test split"}


def slicing_specs(features: tuple[str, ...]) -> list[tfma.SlicingSpec]:
    """Cuts each split as a whole, and by each of some features.

    Args:
        features: Names of features of the examples.
    """
    return [
        tfma.SlicingSpec(feature_keys=["split"]),
        *(tfma.SlicingSpec(feature_keys=["split", feature]) for feature in features),
    ]


def normalise(slice_key: Any) -> SliceKey:
    """Returns TFMA's key of a slice as (feature, value) pairs of text, `split` first."""
    pairs = [(str(feature), str(value)) for feature, value in slice_key]
    return tuple(sorted(pairs, key=lambda pair: (pair[0] != "split", pair)))


def slice_name(key: SliceKey) -> str:
    """Returns a slice as text: `split=test, source=ferg`, or `all`."""
    return ", ".join(f"{feature}={value}" for feature, value in key) or "all"


def metric_values(evaluation_uri: str) -> Iterator[tuple[SliceKey, str, bool, float]]:
    """Reads the metrics of the new model.

    Args:
        evaluation_uri: The Evaluator's output.

    Yields:
        Slice, name of the metric, whether it is the difference to the baseline, and the value; metrics that
        are no numbers are left out.
    """
    for metrics in tfma.load_metrics(evaluation_uri):
        key = normalise((single.column, _value(single)) for single in metrics.slice_key.single_slice_keys)
        for entry in metrics.metric_keys_and_values:
            # TFMA names the new model only where a baseline stands beside it; the difference to that carries
            # the new model's name too.
            ours = entry.key.model_name in ("", tfma.constants.CANDIDATE_KEY)
            if ours and entry.value.WhichOneof("type") == "double_value":
                yield key, entry.key.name, entry.key.is_diff, entry.value.double_value.value


def _value(single: Any) -> str:
    kind = single.WhichOneof("kind")
    value = getattr(single, kind)
    return value.decode() if kind == "bytes_value" else str(value)
