"""How the labels of the training split are distributed."""

from collections.abc import Sequence

import pandas as pd

from components.evaluation.figures import draw_distribution
from components.evaluation.page import Page
from data_validation.ingestion import Ingestion


def write_distribution(
    page: Page, account: Ingestion, feature: str, values: Sequence[str], name: str, caption: str
) -> None:
    """Writes a table and a figure of how often each value occurs, by source and in all.

    Args:
        page: Where to write.
        account: What was read.
        feature: A label.
        values: Its values, in the order of the table.
        name: Of the files.
        caption: Title; the split is added.
    """
    sources = sorted({source for _, source, _ in account.records})
    training = {source: account.distribution(feature, "train", source) for source in sources}
    counts = pd.DataFrame(
        {source: [training[source][value] for value in values] for source in sources},
        index=pd.Index(values, name=feature.replace("_", " ")),
    )
    caption = f"{caption} of the training split"
    draw_distribution(page.figure(name, caption), counts, caption)
    if len(sources) > 1:
        counts["combined"] = counts.sum(axis=1)
    page.table(name, caption, counts)
