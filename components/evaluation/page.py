"""A report page that collects tables and figures, each also as its own file."""

import os
from html import escape
from pathlib import Path

import pandas as pd

PRIVATE_FOLDER = "private"
"""Of the report; MLflow does not get it."""

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}"
    "td,th{padding:.2rem .7rem;border-bottom:1px solid #ccc;text-align:right}"
    "figure{margin:1rem 0}figcaption{font-weight:600}img{max-width:100%}"
)


class Page:
    """Collects tables (CSV and HTML) and figures (PNG) into `report.html`."""

    def __init__(self, root: Path, title: str) -> None:
        """Makes the folders.

        Args:
            root: Folder of the report.
            title: Heading.
        """
        self.root = root
        self._title = escape(title)
        self._parts: list[str] = []
        for folder in ("tables", "figures"):
            os.makedirs(root / folder, exist_ok=True)

    def heading(self, text: str) -> None:
        """Begins a section."""
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Adds a paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def table(self, name: str, caption: str, table: pd.DataFrame) -> None:
        """Adds a table.

        Args:
            name: Of its files.
            caption: Its title.
            table: Rows and columns; numbers are shown with four digits.
        """
        html = table.to_html(float_format=lambda value: f"{value:.4g}", na_rep="", border=0)
        table.to_csv(self.root / "tables" / f"{name}.csv", float_format="%.6f")
        (self.root / "tables" / f"{name}.html").write_text(html, encoding="utf-8")
        self._parts.append(f"<figure><figcaption>{escape(caption)}</figcaption>{html}</figure>")

    def figure(self, name: str, caption: str) -> Path:
        """Adds a figure.

        Args:
            name: Of its file.
            caption: For those who cannot see it.

        Returns:
            The file to draw it into.
        """
        self._parts.append(f'<figure><img src="figures/{name}.png" alt="{escape(caption)}"></figure>')
        return self.root / "figures" / f"{name}.png"

    def private_figure(self, name: str, caption: str) -> Path:
        """Adds a figure that shows persons: it stays beside the page and goes nowhere else.

        Args:
            name: Of its file.
            caption: For those who cannot see it, as in copies of the page.

        Returns:
            The file to draw it into.
        """
        os.makedirs(self.root / PRIVATE_FOLDER, exist_ok=True)
        self._parts.append(
            f'<figure><img src="{PRIVATE_FOLDER}/{name}.png" alt="{escape(caption)}"></figure>'
        )
        return self.root / PRIVATE_FOLDER / f"{name}.png"

    def save(self) -> None:
        """Writes the page."""
        body = "\n".join(self._parts)
        (self.root / "report.html").write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{self._title}</title>'
            f"<style>{_STYLE}</style><h1>{self._title}</h1>\n{body}\n</html>\n",
            encoding="utf-8",
        )
