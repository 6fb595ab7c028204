"""Age estimates: the mean absolute error decides (report sections 3.2.3 and 5.6)."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow_model_analysis as tfma

from components.evaluation import age_figures, age_metrics
from components.evaluation.blessing import COUNT, Criterion, Verdict
from components.evaluation.distribution import write_distribution
from components.evaluation.evaluators import BaseNode, EvaluatorInputs
from components.evaluation.figures import draw_curves
from components.evaluation.page import Page
from components.evaluation.slices import (
    SELECTION_SLICE,
    SPLIT_NAMES,
    TEST_SLICE,
    SliceKey,
    metric_values,
)
from data_validation.ingestion import Ingestion
from data_validation.labels import AGE_GROUPS, UNKNOWN

_EXPLANATION = (
    "mae: mean absolute error. cs5: share of estimates at most five years off. bias: how much too old people "
    "are taken for. coverage: share of labels inside of the 10 to 90 % interval, 0.8 if intervals were "
    "exact. interval: its mean width."
)


class AgeAssessment:
    """Judges and reports an age model; see `assessments.Assessment`."""

    def __init__(self, label: str) -> None:
        """Sets up the assessment.

        Args:
            label: Feature with the age in years.
        """
        self._label = label

    def criterion(self, thresholds: Mapping[str, float]) -> Criterion:
        """Demands at most `max_mae`, and at most `max_mae_rise` more than the latest blessed model."""
        return Criterion(
            "mae",
            bound=thresholds["max_mae"],
            max_loss=thresholds["max_mae_rise"],
            min_images=int(thresholds["min_images"]),
            lower_is_better=True,
        )

    def eval_config(self, slices: tuple[str, ...], thresholds: Mapping[str, float]) -> tfma.EvalConfig:
        """Builds the Evaluator's configuration: both splits, and each cut further by some features."""
        criterion = self.criterion(thresholds)
        code = hashlib.sha256(Path(age_metrics.__file__).read_bytes()).hexdigest()
        statistics = [
            tfma.MetricConfig(
                class_name=age_metrics.AgeStatistic.__name__,
                module=age_metrics.__name__,
                config=f'"name": "{name}", "code": "{code}"',
                per_slice_thresholds=criterion.thresholds() if name == criterion.metric else [],
            )
            for name in age_metrics.STATISTICS
        ]
        return criterion.eval_config(statistics, slices)

    def evaluator(
        self, slices: tuple[str, ...], thresholds: Mapping[str, float], inputs: EvaluatorInputs
    ) -> BaseNode:
        """Returns TFX's Evaluator; see `assessments.Assessment`."""
        return inputs.tfma_evaluator(self.eval_config(slices, thresholds))

    def verdicts(self, evaluation_uri: str, thresholds: Mapping[str, float]) -> list[Verdict]:
        """Explains the blessing; see `assessments.Assessment`."""
        return self.criterion(thresholds).verdicts(evaluation_uri)

    def slice_metrics(self, evaluation_uri: str) -> dict[SliceKey, dict[str, float]]:
        """Reads MAE, CS@5, bias, coverage, width of the interval and support of every slice."""
        metrics: dict[SliceKey, dict[str, float]] = {}
        for key, name, is_diff, value in metric_values(evaluation_uri):
            if not is_diff:
                metrics.setdefault(key, {})["support" if name == COUNT else name] = value
        order = (*age_metrics.STATISTICS, "support")
        return {key: {name: metrics[key][name] for name in order} for key in sorted(metrics)}

    def write_results(self, page: Page, evaluation_uri: str, account: Ingestion, model_run: Path) -> None:
        """Writes the errors overall beside those of the mean age, by decade and by gender."""
        del model_run
        metrics = self.slice_metrics(evaluation_uri)
        for key in (TEST_SLICE, SELECTION_SLICE):
            split = dict(key)["split"]
            where = SPLIT_NAMES[split]
            page.heading(where.capitalize())
            rows = {
                "model": metrics[key],
                "mean age of the training split": mean_age_baseline(account, self._label, split),
            }
            table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("estimate")
            page.table(f"errors_{split}", f"Errors in years, {where}", table)
            page.text(_EXPLANATION)
            for feature, values in (("age_group", (*AGE_GROUPS, UNKNOWN)), ("gender", None)):
                table = _by(metrics, split, feature, values)
                title = f"Errors by {feature.replace('_', ' ')}, {where}"
                page.table(f"errors_{split}_by_{feature}", title, table)
                age_figures.draw_errors(page.figure(f"errors_{split}_by_{feature}", title), table, title)

    def write_data(self, page: Page, account: Ingestion) -> None:
        """Writes how the ages of the training split are distributed, by source."""
        write_distribution(page, account, "age_group", AGE_GROUPS, "age_distribution", "Ages")

    def draw_curves(self, file: Path, history: list[dict[str, float]]) -> None:
        """Draws loss and MAE of training and validation (report figure 27)."""
        draw_curves(file, pd.DataFrame(history), "mae", "mean absolute error, years", lower_is_better=True)


def mean_age_baseline(account: Ingestion, label: str, split: str) -> dict[str, float]:
    """Returns the errors of one who always says the mean age of the training split: what any model must beat.

    Args:
        account: What was read.
        label: Feature with the age.
        split: The split to judge on.

    Returns:
        `mae`, `cs5`, `bias` and `support`, as the model's.
    """
    estimate = np.array([_mean(account.distribution(label, "train"))])
    ages = account.distribution(label, split)
    errors: dict[str, float] = {}
    for name in ("mae", "cs5", "bias"):
        statistic = age_metrics.STATISTICS[name]
        errors[name] = sum(statistic(float(age), estimate) * n for age, n in ages.items()) / ages.total()
    return {**errors, "support": ages.total()}


def _mean(ages: Counter[str]) -> float:
    return sum(float(age) * count for age, count in ages.items()) / ages.total()


def _by(
    metrics: Mapping[SliceKey, Mapping[str, float]], split: str, feature: str, order: tuple[str, ...] | None
) -> pd.DataFrame:
    """Returns the metrics of a split by a feature, its values in the order given or by name."""
    rows = {
        dict(key)[feature]: values
        for key, values in metrics.items()
        if len(key) == 2 and dict(key).get("split") == split and feature in dict(key)
    }
    ordered = {value: rows[value] for value in (order or sorted(rows)) if value in rows}
    return pd.DataFrame.from_dict(ordered, orient="index").rename_axis(feature.replace("_", " "))
