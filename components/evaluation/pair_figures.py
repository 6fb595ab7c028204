"""Figures of distances between faces."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from components.evaluation.figures import save
from trainers.pair_metrics import PairDistances, roc

_MOST_BINS = 60
_FEWEST_BINS = 10
# Equal embeddings have all their distances at 0.
_LEAST_WIDTH = 0.01


def draw_distances(file: Path, pairs: PairDistances, threshold: float, title: str) -> None:
    """Draws how the cosine distances of pairs of one person and of two are distributed.

    Args:
        file: PNG to write.
        pairs: Pairs of both kinds.
        threshold: The model's own.
        title: Heading.
    """
    figure, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    furthest = max(float(pairs.same[-1]), float(pairs.different[-1]), threshold, _LEAST_WIDTH)
    # Few pairs in many bins would look like a comb.
    count = int(2.0 * min(len(pairs.same), len(pairs.different)) ** 0.5)
    bins = np.linspace(0.0, furthest, min(max(count, _FEWEST_BINS), _MOST_BINS) + 1).tolist()
    for distances, label, color in (
        (pairs.same, "one person", "tab:blue"),
        (pairs.different, "two persons", "tab:orange"),
    ):
        # Shares, since the kinds may be very unequally frequent.
        weights = np.full(len(distances), 1.0 / len(distances))
        name = f"{label}: {len(distances):,} pairs"
        axes.hist(distances, bins, weights=weights, label=name, color=color, alpha=0.6)
    axes.axvline(threshold, color="black", linestyle=":", label=f"threshold {threshold:.3f}")
    axes.set_xlim(0.0, furthest)
    axes.set_xlabel("cosine distance")
    axes.set_ylabel("share of the pairs")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3)
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
    smallest = 1.0 / max(len(pairs.different) for pairs in sets.values())
    for name, pairs in sets.items():
        far, tar = roc(pairs)
        # The axis is logarithmic: a rate of 0 is drawn at that of a single pair.
        single = 1.0 / len(pairs.different)
        (line,) = axes.step(np.maximum(far, single), tar, where="post", label=name)
        axes.plot(max(pairs.far(threshold), single), pairs.tar(threshold), "o", color=line.get_color())
    axes.set_xscale("log")
    axes.set_xlim(smallest / 1.5, 1.1)
    axes.set_xlabel("false accept rate (pairs of two persons taken for one)")
    axes.set_ylabel("true accept rate")
    axes.set_ylim(0.0, 1.02)
    axes.grid(alpha=0.3)
    axes.grid(alpha=0.1, which="minor")
    axes.legend(loc="lower right")
    axes.set_title(f"ROC; dots: the model's threshold {threshold:.3f}")
    save(figure, file)


def draw_curves(file: Path, history: pd.DataFrame) -> None:
    """Draws the learning curves: the loss, which only training has, and the EER of other persons' pairs.

    That of the curves is of the pairs within batches; the Evaluator's is of all.

    Args:
        file: PNG to write.
        history: Columns `epoch`, `loss`, `accuracy` and `val_eer`.
    """
    figure, panels = plt.subplots(1, 3, figsize=(12.0, 3.6), layout="constrained")
    marker = "." if len(history) < 30 else ""
    for axes, column, label in zip(
        panels,
        ("loss", "accuracy", "val_eer"),
        ("loss, training", "persons named rightly, training", "EER within batches, selection split"),
        strict=True,
    ):
        axes.plot(history["epoch"], history[column], marker=marker)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    best = history["val_eer"].idxmin()
    panels[2].axvline(history["epoch"][best], color="grey", linestyle=":")
    panels[2].set_title(
        f"best {history['val_eer'][best]:.3f} at epoch {history['epoch'][best]:.0f}", fontsize=10
    )
    figure.suptitle("Learning curves")
    save(figure, file)
