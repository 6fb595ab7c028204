"""What was left after each cleaning rule: a table and a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from components.evaluation.figures import save
from components.readers.imdb_wiki import CLEANING_RULES
from data_validation.ingestion import Ingestion

_MOST_BARS = 15
_LONGEST_LABEL = 60


def funnel_table(account: Ingestion) -> pd.DataFrame:
    """Lists, for each source, what was found and what each step took away.

    Args:
        account: What was read.

    Returns:
        Rows in the order in which the steps were taken: `source`, `step`, `outcome` (`found`, `dropped` by a
        rule or `rejected` as unreadable), `records` that it concerns and how many are `left` after it.
    """
    rows = []
    # A source of which nothing is left has no records.
    sources = {source for _, source, _ in account.records}
    sources |= {source for left_out in (account.dropped, account.rejected) for source, _ in left_out}
    for source in sorted(sources):
        kept = sum(count for (_, name, _), count in account.records.items() if name == source)
        steps = [
            (outcome, reason, count)
            for outcome in ("dropped", "rejected")
            for (name, reason), count in sorted(getattr(account, outcome).items(), key=_order)
            if name == source
        ]
        left = kept + sum(count for _, _, count in steps)
        rows.append((source, "all records", "found", left, left))
        for outcome, reason, count in steps:
            left -= count
            rows.append((source, reason, outcome, count, left))
    table = pd.DataFrame(rows, columns=["source", "step", "outcome", "records", "left"])
    return table.set_index("source")


def _order(entry: tuple[tuple[str, str], int]) -> tuple[int, str]:
    """Sorts by the order of the cleaning rules; reasons of other kinds come after them, by name."""
    (_, reason), _ = entry
    rank = CLEANING_RULES.index(reason) if reason in CLEANING_RULES else len(CLEANING_RULES)
    return rank, reason


def draw_funnel(file: Path, table: pd.DataFrame) -> None:
    """Draws what was left after each step.

    Args:
        file: PNG to write.
        table: From `funnel_table`.
    """
    # A damaged data set may have as many reasons as records; the table lists them all.
    shown = table.groupby("source", group_keys=False).head(_MOST_BARS)
    labels = [f"{source}: {step}"[:_LONGEST_LABEL] for source, step in shown["step"].items()]
    figure, axes = plt.subplots(figsize=(8.0, 0.35 * len(shown) + 1.2), layout="constrained")
    positions = range(len(shown))
    bars = axes.barh(positions, shown["left"], color="tab:blue")
    axes.barh(
        positions,
        shown["records"].where(shown["outcome"] != "found", 0),
        left=shown["left"],
        color="tab:orange",
    )
    axes.bar_label(
        bars, [f"{left:,}" for left in shown["left"]], fontsize=8, label_type="center", color="white"
    )
    axes.set_yticks(positions, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("records left (blue), left out by the step (orange)")
    axes.set_title("What reading and cleaning left")
    save(figure, file)
