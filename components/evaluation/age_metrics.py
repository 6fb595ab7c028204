"""Metrics of age estimates, as TFMA computes them on every slice."""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

# Years within which an estimate counts as right in CS@5, the field's cumulative score (Geng, Zhou and
# Smith-Miles, "Automatic Age Estimation Based on Facial Aging Patterns", TPAMI 2007).
CUMULATIVE_SCORE_YEARS = 5.0

# What each metric is the mean of, from the label and the signature's estimates: age, low and high.
STATISTICS: dict[str, Callable[[float, np.ndarray], float]] = {
    # Mean absolute error, years.
    "mae": lambda label, estimate: abs(estimate[0] - label),
    # Share of estimates that are at most five years off.
    "cs5": lambda label, estimate: float(abs(estimate[0] - label) <= CUMULATIVE_SCORE_YEARS),
    # How much too old people are taken for, years.
    "bias": lambda label, estimate: estimate[0] - label,
    # Share of labels inside of the interval; 0.8 if the intervals were exact.
    "coverage": lambda label, estimate: float(estimate[1] <= label <= estimate[2]),
    # Mean width of the intervals, years: without it, coverage says little.
    "interval": lambda label, estimate: estimate[2] - estimate[1],
}


class AgeStatistic(metric_types.Metric):
    """The mean of one of STATISTICS; the metric's name says of which."""

    def __init__(self, name: str, code: str = "") -> None:
        """Sets up the metric.

        Args:
            name: A key of STATISTICS.
            code: Hash of this module: a part of the Evaluator's parameters, so that changed code is not
                answered from its cache.

        Raises:
            ValueError: There is no such statistic.
        """
        if name not in STATISTICS:
            raise ValueError(f"name: expected one of {', '.join(STATISTICS)}, found {name!r}")
        super().__init__(metric_util.merge_per_key_computations(_computations), name=name, code=code)


def _computations(
    name: str, eval_config: Any = None, model_name: str = "", output_name: str = "", **_: Any
) -> metric_types.MetricComputations:
    key = metric_types.MetricKey(name=name, model_name=model_name, output_name=output_name)
    return [metric_types.MetricComputation([key], None, _Mean(key, eval_config))]


class _Mean(beam.CombineFn):
    """Sums a statistic up; an accumulator is its sum and the number of examples."""

    def __init__(self, key: metric_types.MetricKey, eval_config: Any) -> None:
        self._key = key
        self._eval_config = eval_config

    def create_accumulator(self) -> tuple[float, int]:
        return 0.0, 0

    def add_input(self, accumulator: Any, element: Any) -> Any:
        total, count = accumulator
        for label, estimate, _ in metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            flatten=False,
        ):
            total += STATISTICS[self._key.name](float(np.ravel(label)[0]), np.ravel(estimate))
            count += 1
        return total, count

    def merge_accumulators(self, accumulators: Iterable[Any]) -> tuple[float, int]:
        totals, counts = zip(*accumulators, strict=True)
        return sum(totals), sum(counts)

    def extract_output(self, accumulator: Any) -> dict[metric_types.MetricKey, float]:
        total, count = accumulator
        return {self._key: total / count if count else float("nan")}
