"""Figures of age estimates."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from components.evaluation.figures import save


def draw_errors(file: Path, errors: pd.DataFrame, title: str) -> None:
    """Draws the mean absolute error and the bias of groups of people.

    Args:
        file: PNG to write.
        errors: A row a group with `mae`, `bias` (years) and `support`.
        title: Heading.
    """
    figure, axes = plt.subplots(figsize=(max(4.8, 0.9 * len(errors) + 1.5), 4.2), layout="constrained")
    bars = axes.bar(errors.index, errors["mae"], color="tab:blue", label="mean absolute error")
    axes.bar_label(bars, [f"{error:.1f}" for error in errors["mae"]], fontsize=8, padding=2)
    axes.plot(errors.index, errors["bias"], "D", color="tab:orange", label="bias (taken for older: above 0)")
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xticks(
        range(len(errors)),
        [f"{group}\n{count:.0f}" for group, count in errors["support"].items()],
    )
    axes.set_xlabel(f"{errors.index.name}, and images")
    axes.set_ylabel("years")
    axes.margins(y=0.15)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    axes.set_title(title)
    save(figure, file)
