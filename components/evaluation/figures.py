"""Figures that reports of different kinds share: learning curves and distributions."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd


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
    save(figure, file)


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
    save(figure, file)


def save(figure: plt.Figure, file: Path) -> None:
    """Writes a figure as PNG and forgets it."""
    figure.savefig(file, dpi=110)
    plt.close(figure)
