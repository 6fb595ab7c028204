"""How age models are judged and reported, and what reports say about cleaning."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tensorflow_model_analysis as tfma
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from components.evaluation.age import AgeAssessment, mean_age_baseline
from components.evaluation.age_figures import draw_errors
from components.evaluation.age_metrics import STATISTICS, AgeStatistic
from components.evaluation.classification_figures import weighted_averages
from components.evaluation.funnel import draw_funnel, funnel_table
from components.evaluation.page import Page
from components.readers.imdb_wiki import CLEANING_RULES
from data_validation.ingestion import Ingestion
from data_validation.labels import AGE_GROUPS, age_group

# Label, age, low and high end of the interval, gender.
ESTIMATES = [
    (30, 30.0, 25.0, 35.0, "female"),
    (30, 35.0, 28.0, 40.0, "female"),  # just within five years
    (60, 54.5, 50.0, 59.5, "male"),  # just not, and outside of its interval
    (80, 60.0, 55.0, 80.0, "male"),  # at the end of its interval
]
EXPECTED = {
    "all": {"mae": 7.625, "cs5": 0.5, "bias": -5.125, "coverage": 0.75, "interval": 14.125},
    "female": {"mae": 2.5, "cs5": 1.0, "bias": 2.5, "coverage": 1.0, "interval": 11.0},
    "male": {"mae": 12.75, "cs5": 0.0, "bias": -12.75, "coverage": 0.5, "interval": 17.25},
}


# Metrics


def test_statistics_through_the_evaluator() -> None:
    """As the pipeline computes them, on slices."""
    columns = zip(*ESTIMATES, strict=True)
    labels, *estimates, genders = [list(column) for column in columns]
    data = pd.DataFrame(
        {
            "age": np.array(labels, np.int64),
            "estimates": [np.array(row, np.float32) for row in zip(*estimates, strict=True)],
            "gender": genders,
        }
    )
    judged = AgeAssessment("age").eval_config((), {"max_mae": 10.0, "max_mae_rise": 0.2, "min_images": 20})
    metrics = [
        tfma.MetricConfig(class_name=metric.class_name, module=metric.module, config=metric.config)
        for metric in judged.metrics_specs[0].metrics
    ]
    config = tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(label_key="age", prediction_key="estimates")],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
        slicing_specs=[tfma.SlicingSpec(), tfma.SlicingSpec(feature_keys=["gender"])],
    )
    result = tfma.analyze_raw_data(data, config)
    found = {(key[0][1] if key else "all"): values[""][""] for key, values in result.slicing_metrics}
    assert set(found) == set(EXPECTED)
    for name, expected in EXPECTED.items():
        values = {metric: found[name][metric]["doubleValue"] for metric in expected}
        assert values == pytest.approx(expected)
    assert found["all"]["example_count"]["doubleValue"] == 4


def test_unknown_statistic_is_refused() -> None:
    with pytest.raises(ValueError, match=r"name: expected one of mae, cs5, .* found 'rmse'"):
        AgeStatistic("rmse")


def test_criterion_is_an_upper_bound_of_the_error() -> None:
    criterion = AgeAssessment("age").criterion({"max_mae": 7.5, "max_mae_rise": 0.2, "min_images": 20})
    assert (criterion.metric, criterion.bound, criterion.max_loss) == ("mae", 7.5, 0.2)
    assert criterion.lower_is_better
    (threshold,) = criterion.thresholds()
    assert threshold.threshold.value_threshold.upper_bound.value == 7.5
    assert threshold.threshold.change_threshold.absolute.value == 0.2
    assert threshold.threshold.change_threshold.direction == tfma.MetricDirection.LOWER_IS_BETTER
    count = criterion.eval_config([], ()).metrics_specs[0].metrics[-1]
    (enough,) = count.per_slice_thresholds
    assert enough.threshold.value_threshold.lower_bound.value == 20


# The account of what was read


def account(*rows: tuple[str, str, int, str, int], **outcomes: dict[tuple[str, str], int]) -> Ingestion:
    """Rows of split, source, age, gender and count."""
    records: dict[tuple[str, str, tuple[tuple[str, str], ...]], int] = {}
    for split, source, age, gender, count in rows:
        labels = (("age", str(age)), ("age_group", age_group(age)), ("gender", gender))
        records[split, source, labels] = count
    return Ingestion(span=0, content_fingerprint="0" * 64, records=records, **outcomes)


READ = account(
    ("train", "wiki", 20, "male", 3),
    ("train", "wiki", 40, "female", 1),
    ("train", "utkface", 65, "male", 1),  # mean age: (60 + 40 + 65) / 5 = 33
    ("test", "wiki", 30, "male", 2),
    ("test", "wiki", 60, "male", 1),
    ("eval", "wiki", 33, "female", 4),
    dropped={
        ("wiki", "age above 100"): 1,
        ("wiki", "no face found"): 5,
        ("utkface", "age above 100"): 2,
        ("wiki", "gender unknown"): 2,
    },
    rejected={("wiki", "image file not found"): 2, ("wiki", "a file that is no image"): 1},
)


def test_baseline_always_says_the_mean_age_of_the_training_split() -> None:
    assert mean_age_baseline(READ, "age", "test") == pytest.approx(
        {"mae": (3 + 3 + 27) / 3, "cs5": 2 / 3, "bias": (3 + 3 - 27) / 3, "support": 3}
    )
    assert mean_age_baseline(READ, "age", "eval") == {"mae": 0, "cs5": 1, "bias": 0, "support": 4}


def test_baseline_has_no_interval() -> None:
    assert set(STATISTICS) - set(mean_age_baseline(READ, "age", "test")) == {"coverage", "interval"}


def test_funnel_lists_rules_in_their_order_and_adds_up() -> None:
    table = funnel_table(READ)
    assert table.reset_index().to_numpy().tolist() == [
        ["utkface", "all records", "found", 3, 3],
        ["utkface", "age above 100", "dropped", 2, 1],
        ["wiki", "all records", "found", 22, 22],
        ["wiki", "no face found", "dropped", 5, 17],
        ["wiki", "gender unknown", "dropped", 2, 15],
        ["wiki", "age above 100", "dropped", 1, 14],
        ["wiki", "a file that is no image", "rejected", 1, 13],
        ["wiki", "image file not found", "rejected", 2, 11],
    ]


def test_funnel_knows_every_rule() -> None:
    dropped = {("wiki", rule): 1 for rule in sorted(CLEANING_RULES)}
    table = funnel_table(account(("train", "wiki", 20, "male", 1), dropped=dropped))
    assert tuple(table["step"][1:]) == CLEANING_RULES
    assert table["left"].tolist() == list(range(9, 0, -1))


def test_funnel_of_clean_data_has_one_row() -> None:
    assert len(funnel_table(account(("train", "wiki", 20, "male", 1)))) == 1


# Tables and figures


def assert_drawn(file: Path) -> None:
    with Image.open(file) as image:
        assert image.format == "PNG"
        assert min(image.size) > 100
        assert np.asarray(image.convert("L")).min() < 100
    assert plt.get_fignums() == []


def test_errors_figure(tmp_path: Path) -> None:
    errors = pd.DataFrame(
        {"mae": [3.0, 9.5], "bias": [-1.0, 2.0], "support": [10.0, 3.0]},
        index=pd.Index(["female", "male"], name="gender"),
    )
    draw_errors(tmp_path / "errors.png", errors, "Errors")
    assert_drawn(tmp_path / "errors.png")


@pytest.mark.parametrize("reasons", [0, 3, 200])
def test_funnel_figure_has_room_for_any_number_of_reasons(tmp_path: Path, reasons: int) -> None:
    rejected = {("wiki", f"reason {number} of some length {'x' * 100}"): 1 for number in range(reasons)}
    table = funnel_table(account(("train", "wiki", 20, "male", 7), rejected=rejected))
    assert len(table) == reasons + 1
    draw_funnel(tmp_path / "funnel.png", table)
    assert_drawn(tmp_path / "funnel.png")
    with Image.open(tmp_path / "funnel.png") as image:
        assert image.height < 1500


def test_curves_show_the_error(tmp_path: Path) -> None:
    history = [
        {"epoch": epoch, "loss": 4.0 / epoch, "val_loss": 4.0 / epoch, "mae": 9.0 / epoch, "val_mae": 9.0}
        for epoch in (1, 2, 3)
    ]
    AgeAssessment("age").draw_curves(tmp_path / "curves.png", history)
    assert_drawn(tmp_path / "curves.png")


def test_data_are_shown_by_age_group_and_source(tmp_path: Path) -> None:
    AgeAssessment("age").write_data(Page(tmp_path, "Age"), READ)
    table = pd.read_csv(tmp_path / "tables" / "age_distribution.csv", index_col="age group")
    assert table.index.tolist() == list(AGE_GROUPS)
    assert {name: table[name].sum() for name in table} == {"utkface": 1, "wiki": 4, "combined": 5}
    assert table["wiki"]["20-29"] == 3
    assert_drawn(tmp_path / "figures" / "age_distribution.png")


@pytest.mark.parametrize("seed", range(5))
def test_weighted_averages_equal_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    true = random.choice(3, 60, p=[0.6, 0.3, 0.1])
    predicted = np.where(random.random(60) < 0.7, true, random.integers(0, 2, 60))
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, predicted, average="weighted", zero_division=0
    )
    expected = {"precision": precision, "recall": recall, "f1": f1}
    found = weighted_averages(confusion_matrix(true, predicted, labels=range(3)), ["a", "b", "c"])
    assert found == pytest.approx({"accuracy": accuracy_score(true, predicted), **expected})


def test_weighted_averages_of_nothing_are_zero() -> None:
    assert set(weighted_averages(np.zeros((2, 2)), ["a", "b"]).values()) == {0.0}
