"""Classifiers: accuracy decides, the confusion matrix gives all tables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_model_analysis as tfma

from components.evaluation import classification_figures as figures
from components.evaluation.blessing import Criterion, Verdict
from components.evaluation.distribution import write_distribution
from components.evaluation.evaluators import BaseNode, EvaluatorInputs
from components.evaluation.figures import draw_curves
from components.evaluation.page import Page
from components.evaluation.slices import (
    SELECTION_SLICE,
    SPLIT_NAMES,
    TEST_SLICE,
    SliceKey,
    normalise,
)
from data_validation.ingestion import Ingestion
from trainers.comparison import COMPARISON_FILE, load_comparison


class ClassificationAssessment:
    """Judges and reports a classifier; see `assessments.Assessment`."""

    def __init__(self, label: str, classes: tuple[str, ...]) -> None:
        """Sets up the assessment.

        Args:
            label: Feature with the class name.
            classes: Class names in the model's order.
        """
        self._label = label
        self._classes = list(classes)

    def criterion(self, thresholds: Mapping[str, float]) -> Criterion:
        """Demands `min_accuracy`, and at most `max_accuracy_drop` less than the latest blessed model."""
        return Criterion(
            "accuracy",
            bound=thresholds["min_accuracy"],
            max_loss=thresholds["max_accuracy_drop"],
            min_images=int(thresholds["min_images"]),
        )

    def eval_config(self, slices: tuple[str, ...], thresholds: Mapping[str, float]) -> tfma.EvalConfig:
        """Builds the Evaluator's configuration: both splits, and each cut further by some features."""
        criterion = self.criterion(thresholds)
        accuracy = tfma.MetricConfig(
            class_name="SparseCategoricalAccuracy",
            config='"name": "accuracy"',
            per_slice_thresholds=criterion.thresholds(),
        )
        return criterion.eval_config(
            [accuracy, tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot")], slices
        )

    def evaluator(
        self, slices: tuple[str, ...], thresholds: Mapping[str, float], inputs: EvaluatorInputs
    ) -> BaseNode:
        """Returns TFX's Evaluator; see `assessments.Assessment`."""
        return inputs.tfma_evaluator(self.eval_config(slices, thresholds))

    def verdicts(self, evaluation_uri: str, thresholds: Mapping[str, float]) -> list[Verdict]:
        """Explains the blessing; see `assessments.Assessment`."""
        return self.criterion(thresholds).verdicts(evaluation_uri)

    def slice_metrics(self, evaluation_uri: str) -> dict[SliceKey, dict[str, float]]:
        """Reads accuracy, macro F1 and support of every slice."""
        metrics = {}
        for key, matrix in sorted(confusion_matrices(evaluation_uri, len(self._classes)).items()):
            per_class = figures.per_class_table(matrix, self._classes)
            metrics[key] = {
                "accuracy": figures.accuracy(matrix),
                # Of the classes that are there: a slice by the label itself has one.
                "macro_f1": float(per_class["f1"][per_class["support"] > 0].mean()),
                "support": int(matrix.sum()),
            }
        return metrics

    def write_results(self, page: Page, evaluation_uri: str, account: Ingestion, model_run: Path) -> None:
        """Writes the tables by class and the confusion matrices, and how other classifiers compare."""
        del account
        matrices = confusion_matrices(evaluation_uri, len(self._classes))
        for key in (TEST_SLICE, SELECTION_SLICE):
            self._write_split(page, dict(key)["split"], matrices[key])
        if (model_run / COMPARISON_FILE).is_file():
            self._write_comparison(page, model_run / COMPARISON_FILE)

    def _write_split(self, page: Page, split: str, matrix: np.ndarray) -> None:
        where = SPLIT_NAMES[split]
        page.heading(where.capitalize())
        per_class = figures.per_class_table(matrix, self._classes)
        page.table(f"per_class_{split}", f"Precision, recall and F1 by class, {where}", per_class)
        page.table(
            f"averages_{split}", f"Accuracy and averages, {where}", figures.averages_table(per_class, matrix)
        )
        for normalised, suffix in ((False, ""), (True, "_normalised")):
            caption = f"Confusion matrix{', normalised' if normalised else ''}, {where}"
            file = page.figure(f"confusion_{split}{suffix}", caption)
            figures.draw_confusion(file, matrix, self._classes, caption, normalised)

    def _write_comparison(self, page: Page, file: Path) -> None:
        """Writes the report's tables 7 to 11 and figures 16 to 19: classifiers on the same features."""
        comparison = load_comparison(file)
        page.heading("Classifiers compared")
        page.text(
            f"All were fitted on the same features of the training split: {comparison.features}. The model "
            f"is the {comparison.chosen}, chosen by accuracy on the selection split among those that can be "
            "exported as layers; the test split only tells how it went."
        )
        for split in ("test", "eval"):
            where = SPLIT_NAMES[split]
            matrices = {entry.name: np.array(entry.confusion[split]) for entry in comparison.results}
            rows = {
                entry.name: {
                    **figures.weighted_averages(matrices[entry.name], self._classes),
                    "exportable": "yes" if entry.exportable else "no",
                    "seconds": round(entry.seconds, 1),
                }
                for entry in comparison.results
            }
            table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("classifier")
            page.table(f"classifiers_{split}", f"Classifiers compared, {where}", table)
        for entry in comparison.results:
            name = entry.name.replace(" ", "_")
            matrix = np.array(entry.confusion["test"])
            per_class = figures.per_class_table(matrix, self._classes)
            page.table(f"per_class_test_{name}", f"{entry.name}, by class, test split", per_class)
            caption = f"Confusion matrix of the {entry.name}, test split"
            figures.draw_confusion(
                page.figure(f"confusion_test_{name}", caption), matrix, self._classes, caption, False
            )

    def write_data(self, page: Page, account: Ingestion) -> None:
        """Writes the class distribution of the training split, by source."""
        write_distribution(
            page, account, self._label, self._classes, "class_distribution", "Class distribution"
        )

    def draw_curves(self, file: Path, history: list[dict[str, float]]) -> None:
        """Draws loss and accuracy of training and validation (report figure 5)."""
        draw_curves(file, pd.DataFrame(history), "accuracy", "accuracy", lower_is_better=False)


def confusion_matrices(evaluation_uri: str, classes: int) -> dict[SliceKey, np.ndarray]:
    """Reads the confusion matrix of every slice.

    Args:
        evaluation_uri: The Evaluator's output.
        classes: Number of classes.

    Returns:
        By slice, sorted as (feature, value) pairs with `split` first: float64 [classes, classes], rows the
        true and columns the predicted class.
    """
    matrices = {}
    for slice_key, outputs in _candidate_plots(evaluation_uri):
        plots = outputs[""][""]["multiClassConfusionMatrixAtThresholds"]["matrices"]
        matrix = np.zeros((classes, classes))
        # The first threshold counts the highest score as the prediction.
        for entry in plots[0].get("entries", []):
            # The JSON form leaves out zeros.
            row, column = entry.get("actualClassId", 0), entry.get("predictedClassId", 0)
            matrix[row, column] = entry["numWeightedExamples"]
        matrices[normalise(slice_key)] = matrix
    return matrices


def _candidate_plots(evaluation_uri: str) -> list[Any]:
    """Reads the plots of the new model: TFMA names it only where a baseline stands beside it."""
    alone = tfma.load_eval_result(evaluation_uri)
    if alone.plots:
        return alone.plots
    return tfma.load_eval_result(evaluation_uri, model_name=tfma.constants.CANDIDATE_KEY).plots
