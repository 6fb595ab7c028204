"""Figures of distances between faces."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from components.evaluation.figures import save
from trainers.pair_metrics import PairDistances, roc

_BINS = 60


def draw_distances(file: Path, pairs: PairDistances, threshold: float, title: str) -> None:
    """Draws how the cosine distances of pairs of one person and of two are distributed.

    Args:
        file: PNG to write.
        pairs: Pairs of both kinds.
        threshold: The model's own.
        title: Heading.
    """
    figure, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    furthest = max(float(pairs.same[-1]), float(pairs.different[-1]), threshold)
    bins = np.linspace(0.0, furthest, _BINS + 1).tolist()
    for distances, label, color in (
        (pairs.same, "one person", "tab:blue"),
        (pairs.different, "two persons", "tab:orange"),
    ):
        # Shares, since the kinds may be very unequally frequent.
        weights = np.full(len(distances), 1.0 / len(distances))
        name = f"{label}: {len(distances):,} pairs"
        axes.hist(distances, bins, weights=weights, label=name, color=color, alpha=0.6)
    axes.axvline(threshold, color="black", linestyle=":", label=f"threshold {threshold:.3f}")
    axes.set_xlabel("cosine distance")
    axes.set_ylabel("share of the pairs")
    axes.grid(alpha=0.3)
    axes.legend()
    axes.set_title(title)
    save(figure, file)


def draw_roc(file: Path, sets: Mapping[str, PairDistances], threshold: float) -> None:
    """Draws the receiver operating characteristic of some sets of pairs.

    Args:
        file: PNG to write.
        sets: Pairs by name.
        threshold: The model's own; its point on each curve is marked.
    """
    figure, axes = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
    for name, pairs in sets.items():
        far, tar = roc(pairs)
        # Left of one pair there is nothing to see: the axis is logarithmic.
        least = 1.0 / len(pairs.different)
        (line,) = axes.step(np.maximum(far, least), tar, where="post", label=name)
        axes.plot(max(pairs.far(threshold), least), pairs.tar(threshold), "o", color=line.get_color())
    axes.set_xscale("log")
    axes.set_xlabel("false accept rate (pairs of two persons taken for one)")
    axes.set_ylabel("true accept rate")
    axes.set_ylim(0.0, 1.02)
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right")
    axes.set_title(f"ROC; dots: the model's threshold {threshold:.3f}")
    save(figure, file)


def draw_curves(file: Path, history: pd.DataFrame) -> None:
    """Draws the learning curves: the loss, which only training has, and the EER of other persons' pairs.

    Args:
        file: PNG to write.
        history: Columns `epoch`, `loss`, `accuracy` and `val_eer`.
    """
    figure, panels = plt.subplots(1, 3, figsize=(12.0, 3.6), layout="constrained")
    marker = "." if len(history) < 30 else ""
    for axes, column, label in zip(
        panels,
        ("loss", "accuracy", "val_eer"),
        ("loss, training", "persons named rightly, training", "equal error rate, selection split"),
        strict=True,
    ):
        axes.plot(history["epoch"], history[column], marker=marker)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    best = history["val_eer"].idxmin()
    panels[2].axvline(history["epoch"][best], color="grey", linestyle=":")
    panels[2].set_title(
        f"best {history['val_eer'][best]:.3f} at epoch {history['epoch'][best]:.0f}", fontsize=10
    )
    figure.suptitle("Learning curves")
    save(figure, file)
