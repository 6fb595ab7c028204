"""Tables and figures of a classifier, as the HexaFace report prints them."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from components.evaluation.figures import save


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
    save(figure, file)
