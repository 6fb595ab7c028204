"""Figures of generated faces and of how they stand to real ones."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator
from PIL import Image

from components.evaluation.figures import save
from data_validation.face_sizes import SYNTHESIS_HEIGHT
from trainers.face_grid import GAP, face_grid

_COLUMNS = 8
_PAPER = 255
_PAIR_COLUMNS = 8


def draw_faces(file: Path, images: np.ndarray, title: str, settings: str) -> None:
    """Draws images side by side, each pixel as it is.

    Args:
        file: PNG to write.
        images: uint8 [n, H, W, 3].
        title: Heading.
        settings: How they were made; the second line.
    """
    grid = face_grid(images, min(_COLUMNS, len(images)))
    height, width = grid.shape[:2]
    figure, axes = plt.subplots(figsize=(6.4, 6.4 * height / width + 0.6), layout="constrained")
    axes.imshow(grid, interpolation="nearest")
    axes.axis("off")
    axes.set_title(settings, fontsize=8)
    figure.suptitle(title)
    save(figure, file)


def draw_progress(file: Path, samples: Path, title: str) -> None:
    """Draws what the same noise gave after some epochs, each about twice the one before.

    Args:
        file: PNG to write.
        samples: Folder with a grid of each epoch, see `trainers.sample_grids`; its first row is taken.
        title: Heading.
    """
    grids = dict(enumerate(sorted(samples.glob("epoch-*.jpg")), start=1))
    chosen = sorted({min(2**power, len(grids)) for power in range(len(grids).bit_length() + 1)})
    figure, rows = plt.subplots(
        len(chosen), 1, figsize=(6.4, 0.95 * len(chosen) + 0.5), layout="constrained", squeeze=False
    )
    for axes, epoch in zip(rows[:, 0], chosen, strict=True):
        with Image.open(grids[epoch]) as grid:
            axes.imshow(np.asarray(grid.crop((0, 0, grid.width, SYNTHESIS_HEIGHT + 2 * GAP))))
        axes.set_ylabel(f"epoch {epoch} ", rotation=0, ha="right", va="center", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    figure.suptitle(title)
    save(figure, file)


def draw_pairs(
    file: Path, generated: np.ndarray, nearest: np.ndarray, ratios: np.ndarray, title: str, settings: str
) -> None:
    """Draws generated images above the training images that are nearest to them.

    Args:
        file: PNG to write.
        generated: uint8 [n, H, W, 3].
        nearest: uint8 [n, H, W, 3].
        ratios: Distances as shares of a stranger's, [n].
        title: Heading.
        settings: How they were looked at; the second line.
    """
    rows = -(-len(generated) // _PAIR_COLUMNS)
    columns = min(_PAIR_COLUMNS, len(generated))
    figure, panels = plt.subplots(
        rows, columns, figsize=(1.2 * columns + 0.6, 3.1 * rows + 0.7), layout="constrained", squeeze=False
    )
    for axes in panels.flat:
        axes.axis("off")
    for axes, ours, theirs, ratio in zip(panels.flat, generated, nearest, ratios, strict=False):
        axes.imshow(np.concatenate([ours, np.full_like(ours[:GAP], _PAPER), theirs]), interpolation="nearest")
        axes.set_title(f"{ratio:.2f}", fontsize=9)
    figure.suptitle(f"{title}\n{settings}", fontsize=10)
    save(figure, file)


def draw_positions(
    file: Path, metrics: Mapping[str, Mapping[str, float]], limit: float, settings: str
) -> None:
    """Draws where the Frechet distance of each split lies between floor and ceiling.

    Args:
        file: PNG to write.
        metrics: By name of the split; see `synthesis_results.Reference.measure`.
        limit: The position up to which a model is blessed.
        settings: How images were looked at; the second line.
    """
    figure, axes = plt.subplots(figsize=(8.0, 1.2 * len(metrics) + 1.3), layout="constrained")
    positions = [each["frechet_position"] for each in metrics.values()]
    for row, each in enumerate(reversed(list(metrics.values()))):
        axes.plot([0.0, 1.0], [row, row], color="lightgrey", linewidth=12, solid_capstyle="butt", zorder=1)
        axes.annotate(
            f"training images\n{each['frechet_floor']:.4g}", (0.0, row + 0.14), ha="center", fontsize=8
        )
        axes.annotate(f"noise\n{each['frechet_ceiling']:.4g}", (1.0, row + 0.14), ha="center", fontsize=8)
        position = each["frechet_position"]
        axes.plot(position, row, "o", color="tab:blue", markersize=10, zorder=3)
        axes.annotate(
            f"generated {each['frechet']:.4g} at {position:.3f}",
            (position, row - 0.14),
            ha="center",
            va="top",
            fontsize=8,
            color="tab:blue",
        )
    axes.axvline(limit, color="tab:red", linestyle=":", zorder=2)
    axes.annotate(f" blessed up to {limit:g}", (limit, -0.55), fontsize=8, color="tab:red")
    names = [f"{name}\n{each['support']:.0f} of each kind" for name, each in metrics.items()]
    axes.set_yticks(range(len(metrics)), names[::-1])
    axes.set_ylim(-0.6, len(metrics) - 0.35)
    axes.set_xlim(min(0.0, *positions) - 0.2, max(1.0, *positions, limit) + 0.2)
    axes.set_xlabel("position of the Frechet distance (0: as training images, 1: as noise)")
    axes.set_title(settings, fontsize=8)
    figure.suptitle("Frechet distance to held-back images")
    save(figure, file)


def draw_composition(file: Path, shares: Mapping[str, float], title: str, settings: str) -> None:
    """Draws shares of women and men, a bar a set of images.

    Args:
        file: PNG to write.
        shares: Share of `female` by name of the set; the rest is `male`.
        title: Heading.
        settings: How images were looked at; the second line.
    """
    figure, axes = plt.subplots(figsize=(8.0, 0.55 * len(shares) + 1.7), layout="constrained")
    names, female = list(shares), np.array(list(shares.values()))
    for values, left, name, colour in (
        (female, np.zeros(len(female)), "female", "tab:orange"),
        (1.0 - female, female, "male", "tab:blue"),
    ):
        bars = axes.barh(names, values, left=left, label=name, color=colour, height=0.6)
        labels = [f"{value:.0%}" if value >= 0.04 else "" for value in values]
        axes.bar_label(bars, labels, label_type="center", fontsize=8, color="white")
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("share of the images")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_title(settings, fontsize=8)
    figure.suptitle(title)
    save(figure, file)


def draw_curves(file: Path, history: pd.DataFrame) -> None:
    """Draws the losses of both networks, and what the discriminator says of real and generated images.

    Args:
        file: PNG to write.
        history: Columns `epoch`, `generator_loss`, `discriminator_loss`, `real_score`, `fake_score`.
    """
    figure, panels = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained")
    marker = "." if len(history) < 30 else ""
    drawn = (
        ("loss", {"generator_loss": "generator", "discriminator_loss": "discriminator"}),
        ("mean probability of being real", {"real_score": "real images", "fake_score": "generated images"}),
    )
    for axes, (name, columns) in zip(panels, drawn, strict=True):
        for column, label in columns.items():
            axes.plot(history["epoch"], history[column], label=label, marker=marker)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.legend()
    panels[1].set_ylim(0.0, 1.0)
    panels[1].axhline(0.5, color="grey", linestyle=":")
    panels[0].set_title("neither falls for ever: each learns from the other", fontsize=9)
    panels[1].set_title("the discriminator's answers; 0.5: it cannot tell", fontsize=9)
    figure.suptitle("Learning curves")
    save(figure, file)
