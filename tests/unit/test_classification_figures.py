import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import classification_report, confusion_matrix, precision_recall_fscore_support

from components.evaluation.classification_figures import (
    accuracy,
    averages_table,
    draw_confusion,
    per_class_table,
)
from components.evaluation.figures import draw_curves, draw_distribution

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def labels(seed, never_predicted=(), without_support=()):
    random = np.random.default_rng(seed)
    true = random.choice([number for number in range(7) if number not in without_support], 300)
    predicted = np.where(random.random(300) < 0.5, true, random.integers(0, 7, 300))
    replacement = next(number for number in range(7) if number not in never_predicted)
    return true, np.where(np.isin(predicted, never_predicted), replacement, predicted)


CASES = [
    labels(1),
    labels(2, never_predicted=[3]),
    labels(3, without_support=[1]),
    labels(4, never_predicted=[1], without_support=[1]),
    labels(5, never_predicted=[0, 6], without_support=[2]),
    (np.arange(7), np.arange(7)),
    (np.arange(7), np.roll(np.arange(7), 1)),
]


@pytest.mark.parametrize(("true", "predicted"), CASES)
def test_tables_equal_those_of_scikit_learn(true, predicted):
    matrix = confusion_matrix(true, predicted, labels=range(7)).astype(float)
    per_class = per_class_table(matrix, CLASSES)
    expected = precision_recall_fscore_support(true, predicted, labels=range(7), zero_division=0)
    assert list(per_class.index) == list(CLASSES)
    assert list(per_class.columns) == ["precision", "recall", "f1", "support"]
    np.testing.assert_allclose(per_class.to_numpy().T, expected, rtol=1e-12)

    averages = averages_table(per_class, matrix)
    report = classification_report(
        true, predicted, labels=range(7), target_names=CLASSES, zero_division=0, output_dict=True
    )
    assert list(averages.columns) == list(per_class.columns)
    for ours, theirs in (("macro average", "macro avg"), ("weighted average", "weighted avg")):
        row = report[theirs]
        wanted = [row["precision"], row["recall"], row["f1-score"], row["support"]]
        np.testing.assert_allclose(averages.loc[ours].astype(float), wanted, rtol=1e-12)
    hit = float(np.mean(true == predicted))
    assert averages.loc["accuracy", "f1"] == pytest.approx(hit)
    assert averages.loc["accuracy", "support"] == len(true)
    assert averages.loc["accuracy", ["precision", "recall"]].isna().all()
    assert accuracy(matrix) == pytest.approx(hit)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12))
def test_small_tables_equal_those_of_scikit_learn(pairs):
    true, predicted = zip(*pairs, strict=True)
    table = per_class_table(confusion_matrix(true, predicted, labels=range(3)), list("abc"))
    expected = precision_recall_fscore_support(true, predicted, labels=range(3), zero_division=0)
    np.testing.assert_allclose(table.to_numpy().T, expected, rtol=1e-12)


def test_an_empty_matrix_has_zeros_everywhere():
    matrix = np.zeros((7, 7))
    per_class = per_class_table(matrix, CLASSES)
    assert (per_class.to_numpy() == 0).all()
    averages = averages_table(per_class, matrix)
    assert (averages.loc[["macro average", "weighted average"]].to_numpy() == 0).all()
    assert averages.loc["accuracy", "f1"] == 0.0


def test_support_is_whole_numbers():
    assert per_class_table(np.eye(7) * 3, CLASSES)["support"].tolist() == [3] * 7
    assert per_class_table(np.eye(7) * 3, CLASSES)["support"].dtype.kind == "i"


# Figures


def picture(file, width, height):
    with Image.open(file) as image:
        assert image.format == "PNG"
        assert width[0] <= image.width <= width[1]
        assert height[0] <= image.height <= height[1]
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("normalised", [False, True])
def test_confusion_figure(tmp_path, normalised):
    matrix = confusion_matrix(*CASES[3], labels=range(7)).astype(float)
    draw_confusion(tmp_path / "confusion.png", matrix, CLASSES, "Test", normalised)
    drawn = picture(tmp_path / "confusion.png", (500, 1200), (400, 1000))
    # Paper, ink and the blue of the cells.
    assert drawn.max() == 255
    assert drawn.min() < 40
    assert (drawn[..., 2] - drawn[..., 0]).max() > 60


def test_confusion_figures_show_counts_or_shares(tmp_path):
    matrix = np.diag([10.0] * 7)
    for normalised in (False, True):
        draw_confusion(tmp_path / f"{normalised}.png", matrix, CLASSES, "Test", normalised)
    counts, shares = (picture(tmp_path / f"{kind}.png", (500, 1200), (400, 1000)) for kind in (False, True))
    assert counts.shape != shares.shape or (counts != shares).any()


@pytest.mark.parametrize("epochs", [1, 5, 60])
def test_curves_figure(tmp_path, epochs):
    random = np.random.default_rng(0)
    history = pd.DataFrame(
        random.random((epochs, 4)), columns=["loss", "val_loss", "accuracy", "val_accuracy"]
    ).assign(epoch=range(1, epochs + 1))
    draw_curves(tmp_path / "curves.png", history, "accuracy", "accuracy", lower_is_better=False)
    assert picture(tmp_path / "curves.png", (800, 1600), (300, 800)).min() < 60


@pytest.mark.parametrize("sources", [["fer2013"], ["fer2013", "ferg"]])
def test_distribution_figure(tmp_path, sources):
    counts = pd.DataFrame({source: np.arange(7) * 10 for source in sources}, index=CLASSES)
    draw_distribution(tmp_path / "classes.png", counts, "Classes")
    panels = len(sources) + (len(sources) > 1)
    drawn = picture(tmp_path / "classes.png", (400 * panels, 700 * panels), (300, 700))
    assert (drawn[..., 2] - drawn[..., 0]).max() > 60


def test_figures_are_closed_again(tmp_path):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    draw_confusion(tmp_path / "confusion.png", np.eye(7), CLASSES, "Test", True)
    assert plt.get_fignums() == before
