"""The kinds of assessment by name: one a kind of answer, shared by all tasks that answer so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from components.evaluation.age import AgeAssessment
from components.evaluation.blessing import Verdict
from components.evaluation.classification import ClassificationAssessment
from components.evaluation.detection import DetectionAssessment
from components.evaluation.evaluators import BaseNode, EvaluatorInputs
from components.evaluation.page import Page
from components.evaluation.pairs import PairAssessment
from components.evaluation.slices import SliceKey
from components.evaluation.synthesis import SynthesisAssessment
from data_validation.ingestion import Ingestion

Thresholds = Mapping[str, float]


class Assessment(Protocol):
    """How models of a kind are judged and reported."""

    def evaluator(self, slices: tuple[str, ...], thresholds: Thresholds, inputs: EvaluatorInputs) -> BaseNode:
        """Returns the node that measures and blesses, with the outputs `evaluation` and `blessing`.

        Args:
            slices: Features by which both splits are cut further.
            thresholds: A task's evaluation settings.
            inputs: What is judged.
        """

    def verdicts(self, evaluation_uri: str, thresholds: Thresholds) -> list[Verdict]:
        """Explains the blessing from a task's evaluation settings: one verdict a threshold."""

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
        kind: `classification`, `age`, `pairs`, `detection` or `synthesis`.
        label: Feature with the label.
        classes: Class names in the model's order.
    """
    if kind == "age":
        return AgeAssessment(label)
    if kind == "pairs":
        return PairAssessment(label)
    if kind == "detection":
        return DetectionAssessment(label)
    if kind == "synthesis":
        return SynthesisAssessment()
    return ClassificationAssessment(label, classes)
