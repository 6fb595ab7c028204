"""When a model is blessed, and the verdict in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow_model_analysis as tfma

from components.evaluation.slices import SELECTION_SLICE, metric_values, slice_name, slicing_specs
from trainers.saved_models import LABEL_OUTPUT

COUNT = "example_count"


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
        return "no earlier blessed model" if self.value is None else f"{self.value:.4f}".removesuffix(".0000")


@dataclass(frozen=True)
class Criterion:
    """The metric that decides, judged on the selection split and never on the test split.

    Attributes:
        metric: Its name.
        bound: Least value, or the largest of an error.
        max_loss: How much worse than the latest blessed model it may be, 0 or more.
        min_images: Least number of images to judge on.
        lower_is_better: Whether the metric is an error.
    """

    metric: str
    bound: float
    max_loss: float
    min_images: int
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
        return _on_selection(tfma.MetricThreshold(value_threshold=value, change_threshold=change))

    def eval_config(self, metrics: Sequence[tfma.MetricConfig], slices: tuple[str, ...]) -> tfma.EvalConfig:
        """Builds the Evaluator's configuration.

        Args:
            metrics: What is computed; that of the criterion has its `thresholds`.
            slices: Features by which both splits are cut further.

        Returns:
            The configuration: these metrics and the number of images.
        """
        enough = tfma.GenericValueThreshold(lower_bound={"value": self.min_images})
        count = tfma.MetricConfig(
            class_name="ExampleCount",
            config=f'"name": "{COUNT}"',
            per_slice_thresholds=_on_selection(tfma.MetricThreshold(value_threshold=enough)),
        )
        model = tfma.ModelSpec(
            signature_name="examples",
            preprocessing_function_names=["transform_label"],
            label_key=LABEL_OUTPUT,
            model_type="tf_generic",
        )
        return tfma.EvalConfig(
            model_specs=[model],
            metrics_specs=[tfma.MetricsSpec(metrics=[*metrics, count])],
            slicing_specs=slicing_specs(slices),
        )

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
            (name, is_diff): value
            for key, name, is_diff, value in metric_values(evaluation_uri)
            if key == SELECTION_SLICE
        }
        where = slice_name(SELECTION_SLICE).replace("=", " ")
        value, change = found[self.metric, False], found.get((self.metric, True))
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
            Verdict(
                "images to judge on",
                where,
                f"at least {self.min_images}",
                found[COUNT, False],
                found[COUNT, False] >= self.min_images,
            ),
        ]
        blessed = tfma.load_validation_result(evaluation_uri).validation_ok
        if blessed != all(verdict.passed for verdict in judged):
            raise RuntimeError(
                f"the Evaluator's verdict is {blessed}, its explanation says otherwise: {judged}"
            )
        return judged


def _on_selection(threshold: tfma.MetricThreshold) -> list[tfma.PerSliceMetricThreshold]:
    selection = tfma.SlicingSpec(feature_values=dict(SELECTION_SLICE))
    return [tfma.PerSliceMetricThreshold(slicing_specs=[selection], threshold=threshold)]
