"""The figure of the imbalance study: what a classifier calls generated faces, round by round."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from components.evaluation.figures import save

# Pale, so that the lines stand out; told apart also without colours, one being darker.
_MALE, _FEMALE = "#9fc0e2", "#f9e0c2"
_MEAN = "navy"


@dataclass(frozen=True)
class Panel:
    """What one generator's part shows.

    Attributes:
        male_trained: Share of the training images labelled male, 0 to 1.
        male_counts: Faces called male in each round.
        faces: Faces in each round.
        interval: 95 % interval of the mean share called male, from and to, 0 to 1.
        if_repeated: Share that the model would call male of faces that repeat the training set; NaN where
            that is not known.
    """

    male_trained: float
    male_counts: Sequence[int]
    faces: int
    interval: tuple[float, float]
    if_repeated: float


def draw_rounds(file: Path, panels: Sequence[Panel]) -> None:
    """Draws generated faces by gender as the model calls them (report figure 26), a panel a training set.

    Args:
        file: PNG to write.
        panels: One a training set, one or more.
    """
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(max(7.2, 4.4 * len(panels)), 4.8),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for place, panel in zip(axes[0], panels, strict=True):
        _draw_panel(place, panel)
    axes[0][0].set_ylabel(f"faces of {panels[0].faces}")
    handles, labels = axes[0][0].get_legend_handles_labels()
    columns = min(3, len(panels) + 1)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    figure.suptitle("Generated faces, as the gender model calls them")
    save(figure, file)


def _draw_panel(axes: plt.Axes, panel: Panel) -> None:
    male = np.asarray(panel.male_counts)
    rounds = np.arange(1, len(male) + 1)
    axes.bar(rounds, male, color=_MALE, label="called male")
    axes.bar(rounds, panel.faces - male, bottom=male, color=_FEMALE, label="called female")
    axes.axhline(panel.male_trained * panel.faces, color="black", label="male share of the training set")
    if not math.isnan(panel.if_repeated):
        axes.axhline(
            panel.if_repeated * panel.faces,
            color="black",
            linestyle=":",
            label="what the gender model would say if the training set were repeated",
        )
    axes.axhline(male.mean(), color=_MEAN, linestyle="--", label="mean called male")
    low, high = (panel.faces * end for end in panel.interval)
    axes.axhspan(low, high, color=_MEAN, alpha=0.3, linewidth=0, label="95 % interval of that mean")
    axes.set_ylim(0, panel.faces)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.02)
    axes.set_xticks(rounds[:: max(1, len(rounds) // 10)])
    axes.set_xlabel("round")
    trained, called = 100 * panel.male_trained, 100 * male.mean() / panel.faces
    axes.set_title(f"trained on {trained:.0f} % male: {called:.0f} % called male", fontsize=10)
