"""When a model is blessed, and the verdict in words."""

from dataclasses import dataclass

import tensorflow_model_analysis as tfma

from components.evaluation.slices import SELECTION_SLICE, metric_values, slice_name


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


@dataclass(frozen=True)
class Criterion:
    """The metric that decides, judged on the selection split and never on the test split.

    Attributes:
        metric: Its name.
        bound: Least value, or the largest of an error.
        max_loss: How much worse than the latest blessed model it may be, 0 or more.
        lower_is_better: Whether the metric is an error.
    """

    metric: str
    bound: float
    max_loss: float
    lower_is_better: bool = False

    def thresholds(self) -> list[tfma.PerSliceMetricThreshold]:
        """Returns the criterion as the Evaluator takes it."""
        direction = tfma.MetricDirection
        bound = {"value": self.bound}
        if self.lower_is_better:
            value = tfma.GenericValueThreshold(upper_bound=bound)
            change = tfma.GenericChangeThreshold(
                direction=direction.LOWER_IS_BETTER, absolute={"value": self.max_loss}
            )
        else:
            value = tfma.GenericValueThreshold(lower_bound=bound)
            change = tfma.GenericChangeThreshold(
                direction=direction.HIGHER_IS_BETTER, absolute={"value": -self.max_loss}
            )
        return [
            tfma.PerSliceMetricThreshold(
                slicing_specs=[tfma.SlicingSpec(feature_values=dict(SELECTION_SLICE))],
                threshold=tfma.MetricThreshold(value_threshold=value, change_threshold=change),
            )
        ]

    def verdicts(self, evaluation_uri: str) -> list[Verdict]:
        """Explains the blessing: every threshold, the value found and whether it passed.

        Args:
            evaluation_uri: The Evaluator's output.

        Returns:
            One verdict a threshold.

        Raises:
            RuntimeError: The Evaluator judged otherwise than the thresholds say.
        """
        found = {
            is_diff: value
            for key, name, is_diff, value in metric_values(evaluation_uri)
            if key == SELECTION_SLICE and name == self.metric
        }
        where = slice_name(SELECTION_SLICE).replace("=", " ")
        value, change = found[False], found.get(True)
        sign = -1.0 if self.lower_is_better else 1.0
        bound, worse = ("most", "higher") if self.lower_is_better else ("least", "lower")
        judged = [
            Verdict(
                self.metric, where, f"at {bound} {self.bound:g}", value, sign * (value - self.bound) >= 0.0
            ),
            Verdict(
                f"{self.metric} against the latest blessed model",
                where,
                f"at most {self.max_loss:g} {worse}",
                change,
                change is None or sign * change >= -self.max_loss,
            ),
        ]
        blessed = tfma.load_validation_result(evaluation_uri).validation_ok
        if blessed != all(verdict.passed for verdict in judged):
            raise RuntimeError(
                f"the Evaluator's verdict is {blessed}, its explanation says otherwise: {judged}"
            )
        return judged
