"""The kinds of assessment by name: one a kind of answer, shared by all tasks that answer so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import tensorflow_model_analysis as tfma

from components.evaluation.age import AgeAssessment
from components.evaluation.blessing import Criterion
from components.evaluation.classification import ClassificationAssessment
from components.evaluation.page import Page
from components.evaluation.slices import SliceKey
from data_validation.ingestion import Ingestion

Thresholds = Mapping[str, float]


class Assessment(Protocol):
    """How models of a kind are judged and reported."""

    def criterion(self, thresholds: Thresholds) -> Criterion:
        """Returns what decides on the blessing, from a task's evaluation settings."""

    def eval_config(self, slices: tuple[str, ...], thresholds: Thresholds) -> tfma.EvalConfig:
        """Builds the Evaluator's configuration; slices are features by which both splits are cut further."""

    def slice_metrics(self, evaluation_uri: str) -> dict[SliceKey, dict[str, float]]:
        """Reads the metrics of every slice, the headline first, and `support`, the number of images."""

    def write_results(self, page: Page, evaluation_uri: str, account: Ingestion, model_run: Path) -> None:
        """Writes tables and figures of both splits."""

    def write_data(self, page: Page, account: Ingestion) -> None:
        """Writes what the labels of the training split are like."""

    def draw_curves(self, file: Path, history: list[dict[str, float]]) -> None:
        """Draws the learning curves into a PNG."""


def assessment(kind: str, label: str, classes: tuple[str, ...]) -> Assessment:
    """Returns an assessment.

    Args:
        kind: `classification` or `age`.
        label: Feature with the label.
        classes: Class names in the model's order.
    """
    if kind == "age":
        return AgeAssessment(label)
    return ClassificationAssessment(label, classes)
