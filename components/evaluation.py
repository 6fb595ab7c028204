"""What the Evaluator computes for a classifier, and how its results are read back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma

SliceKey = tuple[tuple[str, str], ...]

SELECTION_SLICE: SliceKey = (("split", "eval"),)
TEST_SLICE: SliceKey = (("split", "test"),)


def classifier_config(
    label: str, slices: tuple[str, ...], min_accuracy: float, max_accuracy_drop: float
) -> tfma.EvalConfig:
    """Builds the Evaluator's configuration.

    Blessing is judged on the `eval` split; the `test` split is only reported. Accuracy is blessed, the
    confusion matrix gives all tables.

    Args:
        label: Feature that the signature `transform_label` numbers.
        slices: Features by which the two splits are cut further.
        min_accuracy: Least accuracy of a blessed model, 0 to 1.
        max_accuracy_drop: How much worse than the baseline it may be, 0 to 1.

    Returns:
        The configuration.
    """
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": min_accuracy}),
        change_threshold=tfma.GenericChangeThreshold(
            direction=tfma.MetricDirection.HIGHER_IS_BETTER, absolute={"value": -max_accuracy_drop}
        ),
    )
    selection = tfma.SlicingSpec(feature_values=dict(SELECTION_SLICE))
    accuracy = tfma.MetricConfig(
        class_name="SparseCategoricalAccuracy",
        config='"name": "accuracy"',
        per_slice_thresholds=[tfma.PerSliceMetricThreshold(slicing_specs=[selection], threshold=threshold)],
    )
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(
                signature_name="examples",
                preprocessing_function_names=["transform_label"],
                label_key=label,
                model_type="tf_generic",
            )
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    accuracy,
                    tfma.MetricConfig(class_name="ExampleCount", config='"name": "example_count"'),
                    tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot"),
                ]
            )
        ],
        slicing_specs=[
            tfma.SlicingSpec(feature_keys=["split"]),
            *(tfma.SlicingSpec(feature_keys=["split", feature]) for feature in slices),
        ],
    )


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
        matrices[_normalise(slice_key)] = matrix
    return matrices


def _candidate_plots(evaluation_uri: str) -> list[Any]:
    """Reads the plots of the new model: TFMA names it only where a baseline stands beside it."""
    alone = tfma.load_eval_result(evaluation_uri)
    if alone.plots:
        return alone.plots
    return tfma.load_eval_result(evaluation_uri, model_name=tfma.constants.CANDIDATE_KEY).plots


def _normalise(slice_key: Any) -> SliceKey:
    pairs = [(str(feature), str(value)) for feature, value in slice_key]
    return tuple(sorted(pairs, key=lambda pair: (pair[0] != "split", pair)))


@dataclass(frozen=True)
class Verdict:
    """A threshold of the blessing, and how the model stands to it.

    Attributes:
        metric: Name of the metric.
        slice: Where it is judged.
        rule: What is demanded.
        value: What was found; None where the rule does not apply (no earlier blessed model).
        passed: Whether the model satisfies it.
    """

    metric: str
    slice: str
    rule: str
    value: float | None
    passed: bool

    @property
    def found(self) -> str:
        """The value as text."""
        return "no earlier blessed model" if self.value is None else f"{self.value:.4f}"


def verdicts(evaluation_uri: str, min_accuracy: float, max_accuracy_drop: float) -> list[Verdict]:
    """Explains the blessing: every threshold, the value found and whether it passed.

    Args:
        evaluation_uri: The Evaluator's output.
        min_accuracy: As given to `classifier_config`.
        max_accuracy_drop: As given to `classifier_config`.

    Returns:
        One verdict a threshold.

    Raises:
        RuntimeError: The Evaluator judged otherwise than the thresholds say.
    """
    values: dict[bool, float] = {}
    for metrics in tfma.load_metrics(evaluation_uri):
        key = tuple(
            (single.column, single.bytes_value.decode()) for single in metrics.slice_key.single_slice_keys
        )
        if key == SELECTION_SLICE:
            for entry in metrics.metric_keys_and_values:
                # The difference to the baseline carries the candidate's name too.
                if entry.key.name == "accuracy" and entry.key.model_name in (
                    "",
                    tfma.constants.CANDIDATE_KEY,
                ):
                    values[entry.key.is_diff] = entry.value.double_value.value
    where = "split eval"
    change = values.get(True)
    judged = [
        Verdict(
            "accuracy", where, f"at least {min_accuracy:g}", values[False], values[False] >= min_accuracy
        ),
        Verdict(
            "accuracy against the latest blessed model",
            where,
            f"at most {max_accuracy_drop:g} lower",
            change,
            change is None or change >= -max_accuracy_drop,
        ),
    ]
    blessed = tfma.load_validation_result(evaluation_uri).validation_ok
    if blessed != all(verdict.passed for verdict in judged):
        raise RuntimeError(f"the Evaluator's verdict is {blessed}, its explanation says otherwise: {judged}")
    return judged
