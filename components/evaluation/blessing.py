"""When a model is blessed, and the verdict in words."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

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

    def as_dict(self) -> dict[str, Any]:
        """Returns it as records and reports hold it: with `found`."""
        return {**asdict(self), "found": self.found}


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
        judged = self.judge(found[self.metric, False], found.get((self.metric, True)), found[COUNT, False])
        blessed = tfma.load_validation_result(evaluation_uri).validation_ok
        if blessed != all(verdict.passed for verdict in judged):
            raise RuntimeError(
                f"the Evaluator's verdict is {blessed}, its explanation says otherwise: {judged}"
            )
        return judged

    def judge(self, value: float, change: float | None, images: float) -> list[Verdict]:
        """Judges a model.

        Args:
            value: The metric on the selection split.
            change: By how much it is larger than the latest blessed model's; None where there is none.
            images: How many images it was judged on.

        Returns:
            One verdict a threshold.
        """
        where = slice_name(SELECTION_SLICE).replace("=", " ")
        sign = -1.0 if self.lower_is_better else 1.0
        bound, worse = ("most", "higher") if self.lower_is_better else ("least", "lower")
        return [
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
                images,
                images >= self.min_images,
            ),
        ]


def write_blessing(blessing: Any, blessed: bool, model: Any, baseline: Any | None) -> None:
    """Fills a ModelBlessing as TFX's own Evaluator does, so that resolvers and the Pusher take it.

    Args:
        blessing: The ModelBlessing artifact.
        blessed: The verdict.
        model: The artifact of the model that was judged.
        baseline: The artifact of the model that it was compared with; None where there was none.
    """
    for name, artifact in (("current_model", model), ("baseline_model", baseline)):
        if artifact is not None:
            blessing.set_string_custom_property(name, artifact.uri)
            blessing.set_int_custom_property(f"{name}_id", artifact.id)
    blessing.set_int_custom_property("blessed", int(blessed))
    os.makedirs(blessing.uri, exist_ok=True)
    with open(os.path.join(blessing.uri, "BLESSED" if blessed else "NOT_BLESSED"), "w"):
        pass  # an empty file is the mark


def _on_selection(threshold: tfma.MetricThreshold) -> list[tfma.PerSliceMetricThreshold]:
    selection = tfma.SlicingSpec(feature_values=dict(SELECTION_SLICE))
    return [tfma.PerSliceMetricThreshold(slicing_specs=[selection], threshold=threshold)]
