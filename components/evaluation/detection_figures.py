"""Figures of what a detector finds."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from components.evaluation.detection_ranking import Curve
from components.evaluation.figures import save

_FEWEST_FALSE_POSITIVES, _MOST_FALSE_POSITIVES = 0.01, 100.0


def draw_precision_recall(file: Path, curves: Mapping[str, Curve], title: str, settings: str) -> None:
    """Draws precision against recall.

    Args:
        file: PNG to write.
        curves: By name.
        title: Heading.
        settings: How faces were looked for; the second line.
    """
    figure, axes = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
    for name, each in curves.items():
        axes.plot(each.recall, each.precision, label=name)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel("recall (share of the faces found)")
    axes.set_ylabel("precision (share of the detections that are faces)")
    axes.legend(loc="lower left")
    _finish(figure, axes, title, settings)
    save(figure, file)


def draw_false_positives(file: Path, curves: Mapping[str, Curve], title: str, settings: str) -> None:
    """Draws recall against false positives an image, as FDDB does.

    Args:
        file: PNG to write.
        curves: By name.
        title: Heading.
        settings: How faces were looked for; the second line.
    """
    figure, axes = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
    for name, each in curves.items():
        # The axis is logarithmic: no false positives are drawn at its left end.
        shown = np.maximum(each.false_positives, _FEWEST_FALSE_POSITIVES)
        axes.step(shown, each.recall, where="post", label=name)
    axes.set_xscale("log")
    axes.set_xlim(_FEWEST_FALSE_POSITIVES, _MOST_FALSE_POSITIVES)
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel("false positives an image")
    axes.set_ylabel("recall (share of the faces found)")
    axes.legend(loc="lower right")
    _finish(figure, axes, title, settings)
    save(figure, file)


def draw_curves(file: Path, history: pd.DataFrame) -> None:
    """Draws the learning curves, a column a stage: above the loss, below the average precision of samples.

    That of the curves is of samples cut out for the stage; the Evaluator's is of whole images.

    Args:
        file: PNG to write.
        history: Columns `epoch`, `stage` (1, 2, 3), and of `loss`, `average_precision`, and `val_` of these
            two, those that there are.
    """
    stages = sorted(history["stage"].unique())
    figure, panels = plt.subplots(
        2, len(stages), figsize=(4.0 * len(stages), 6.0), layout="constrained", squeeze=False
    )
    for column, stage in enumerate(stages):
        rows = history[history["stage"] == stage]
        marker = "." if len(rows) < 30 else ""
        for axes, name in zip(panels[:, column], ("loss", "average_precision"), strict=True):
            for part, of in ((name, "training"), (f"val_{name}", "validation")):
                if part in rows:
                    axes.plot(rows["epoch"], rows[part], label=of, marker=marker)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylabel(name.replace("_", " "))
            axes.grid(alpha=0.3)
            axes.legend()
        panels[0, column].set_title(f"stage {stage:.0f}", fontsize=10)
    figure.suptitle("Learning curves")
    save(figure, file)


def _finish(figure: plt.Figure, axes: plt.Axes, title: str, settings: str) -> None:
    axes.grid(alpha=0.3)
    axes.set_title(settings, fontsize=8)
    figure.suptitle(title)
