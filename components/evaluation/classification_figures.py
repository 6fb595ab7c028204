"""Tables and figures of a classifier, as the HexaFace report prints them."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd


def per_class_table(matrix: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Precision, recall, F1 and support of every class (report tables 3 and 5).

    Args:
        matrix: Confusion matrix [C, C], rows true, columns predicted.
        classes: Class names.

    Returns:
        One row a class; a ratio without cases is 0.
    """
    hits, predicted, actual = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    precision, recall = _ratio(hits, predicted), _ratio(hits, actual)
    return pd.DataFrame(
        {
            "precision": precision,
            "recall": recall,
            "f1": _ratio(2 * precision * recall, precision + recall),
            "support": actual.astype(int),
        },
        index=pd.Index(classes, name="class"),
    )


def averages_table(per_class: pd.DataFrame, matrix: np.ndarray) -> pd.DataFrame:
    """Accuracy, macro and weighted averages (report tables 4 and 6).

    Args:
        per_class: From `per_class_table`.
        matrix: The same confusion matrix.

    Returns:
        Rows `accuracy`, `macro average` and `weighted average`; accuracy stands in the column f1.
    """
    support = int(matrix.sum())
    scores = per_class[["precision", "recall", "f1"]]
    weights = per_class["support"] / max(support, 1)
    return pd.DataFrame(
        [
            {"f1": accuracy(matrix), "support": support},
            {**scores.mean().to_dict(), "support": support},
            {**scores.mul(weights, axis=0).sum().to_dict(), "support": support},
        ],
        index=pd.Index(["accuracy", "macro average", "weighted average"], name="average"),
        columns=per_class.columns,
    )


def accuracy(matrix: np.ndarray) -> float:
    """Returns the share of a confusion matrix that lies on its diagonal, 0 where it is empty."""
    return float(_ratio(np.trace(matrix), matrix.sum()))


def weighted_averages(matrix: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """Accuracy and weighted averages, a row of the report's table 11.

    Args:
        matrix: Confusion matrix [C, C], rows true, columns predicted.
        classes: Class names.

    Returns:
        `accuracy`, `precision`, `recall` and `f1`.
    """
    averages = averages_table(per_class_table(matrix, classes), matrix)
    weighted = averages.loc["weighted average", ["precision", "recall", "f1"]].to_dict()
    return {"accuracy": accuracy(matrix), **weighted}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def draw_confusion(
    file: Path, matrix: np.ndarray, classes: Sequence[str], title: str, normalised: bool
) -> None:
    """Draws a confusion matrix (report figures 12 to 15).

    Args:
        file: PNG to write.
        matrix: Confusion matrix, rows true.
        classes: Class names.
        title: Heading.
        normalised: Show shares of each true class instead of counts.
    """
    shares = _ratio(matrix, np.broadcast_to(matrix.sum(axis=1, keepdims=True), matrix.shape))
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape):
        text = f"{shares[row, column]:.2f}" if normalised else f"{matrix[row, column]:.0f}"
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    figure.colorbar(image, label="share of the true class")
    _save(figure, file)


def draw_curves(file: Path, history: pd.DataFrame, metric: str, name: str, lower_is_better: bool) -> None:
    """Draws learning curves (report figures 5 and 27): loss and a metric of training and validation.

    Args:
        file: PNG to write.
        history: Columns `epoch`, `loss`, `val_loss`, the metric and `val_<metric>`.
        metric: Column by which the best epoch was chosen.
        name: The metric in words.
        lower_is_better: Whether the metric is an error.
    """
    figure, panels = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
    marker = "." if len(history) < 30 else ""
    for axes, column, label in zip(panels, ("loss", metric), ("loss", name), strict=True):
        axes.plot(history["epoch"], history[column], label="training", marker=marker)
        axes.plot(history["epoch"], history[f"val_{column}"], label="validation", marker=marker)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    values = history[f"val_{metric}"]
    best = values.idxmin() if lower_is_better else values.idxmax()
    panels[1].axvline(history["epoch"][best], color="grey", linestyle=":")
    panels[1].set_title(f"best {values[best]:.3f} at epoch {history['epoch'][best]:.0f}", fontsize=10)
    figure.suptitle("Learning curves")
    _save(figure, file)


def draw_distribution(file: Path, counts: pd.DataFrame, title: str) -> None:
    """Draws class distributions (report figures 3 and 4): each source, and all combined.

    Args:
        file: PNG to write.
        counts: Rows the classes, columns the sources.
        title: Heading.
    """
    panels = [*counts.columns, "combined"] if len(counts.columns) > 1 else list(counts.columns)
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.8 * len(panels), 3.6), layout="constrained", squeeze=False
    )
    for panel, name in zip(axes[0], panels, strict=True):
        values = counts.sum(axis=1) if name == "combined" else counts[name]
        bars = panel.bar(counts.index, values, color="tab:blue")
        panel.bar_label(bars, fontsize=8)
        panel.margins(y=0.12)
        panel.tick_params(axis="x", rotation=45)
        panel.set_title(f"{name}: {int(values.sum())} images")
        panel.set_ylabel("images")
    figure.suptitle(title)
    _save(figure, file)


def _save(figure: plt.Figure, file: Path) -> None:
    figure.savefig(file, dpi=110)
    plt.close(figure)
