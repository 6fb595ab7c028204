"""What a person sees of a run: a table that fills while nodes run, and what came of it."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from data_validation.ingestion import REJECTED_FILE, Ingestion
from pipelines.local import OnChange
from pipelines.runs import NodeRecord, RunRecord

# What of a model's metrics the summary shows, in its words.
_HEADLINES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "mae": "MAE",
    "cs5": "CS@5",
    "ap_20": "AP, 20 px and more",
    "landmark_error": "landmark error",
    "eer": "EER",
    "tar_at_far_0.01": "TAR at FAR 1 %",
    "frechet_position": "Frechet position, 0 best",
    "diversity": "diversity",
}
_STYLES = {"ran": "green", "cached": "cyan", "failed": "bold red", "retrying": "yellow", "waiting": "dim"}


class _LastMessage(logging.Handler):
    """Remembers the last line that a node logged for people."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class _MessageOnly(logging.Formatter):
    """Leaves traces of errors to the log file."""

    def format(self, record: logging.LogRecord) -> str:
        return f"  {record.getMessage()}"


class RunTable:
    """The nodes of a run: state, seconds, and what they produced or are doing."""

    def __init__(self, title: str, workspace: Path) -> None:
        """Makes an empty table.

        Args:
            title: Heading.
            workspace: Locations are shown relative to it.
        """
        self._title = title
        self._workspace = workspace
        self._nodes: dict[str, NodeRecord] = {}
        self._started: dict[str, float] = {}
        self.message = _LastMessage()

    def change(self, node: NodeRecord) -> None:
        """Notes a node's new state."""
        if node.state == "running":
            self._started[node.node] = time.monotonic()
            self.message.text = ""
        self._nodes[node.node] = node

    def __rich__(self) -> RenderableType:
        if not self._nodes:
            return Spinner("dots", f"{self._title}: loading TensorFlow and TFX")
        table = Table(title=self._title, title_justify="left", box=None, pad_edge=False)
        table.add_column("node", no_wrap=True)
        table.add_column("state", no_wrap=True, min_width=8)
        table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("produced", overflow="fold")
        for node in self._nodes.values():
            table.add_row(node.node, self._state(node), self._seconds(node), self._produced(node))
        return table

    def _state(self, node: NodeRecord) -> RenderableType:
        if node.state == "running":
            return Spinner("dots", "running")
        return Text(node.state, _STYLES[node.state])

    def _seconds(self, node: NodeRecord) -> str:
        if node.state in ("running", "retrying"):
            return f"{time.monotonic() - self._started[node.node]:.0f}"
        return "" if node.state == "waiting" else f"{node.seconds:.1f}"

    def _produced(self, node: NodeRecord) -> Text:
        # Text, not str: rich would read square brackets in a path or message as its markup.
        if node.state in ("running", "retrying"):
            return Text(self.message.text)
        lines = (f"{name}: {_short(uri, self._workspace)}" for name, uri in sorted(node.outputs.items()))
        return Text("\n".join(lines))


def _short(location: str, workspace: Path) -> str:
    path = Path(location)
    return str(path.relative_to(workspace)) if path.is_relative_to(workspace) else location


@contextmanager
def show_run(console: Console, title: str, workspace: Path) -> Iterator[OnChange]:
    """Shows a run's table while it runs; where output is no terminal, a line a finished node and an epoch.

    Args:
        console: Where to show it.
        title: Heading.
        workspace: Locations are shown relative to it.

    Yields:
        What to tell of changes.
    """
    logger = logging.getLogger("hexaface")
    logger.setLevel(logging.INFO)
    table = RunTable(title, workspace)
    if console.is_terminal:
        with _handling(logger, table.message), Live(table, console=console, refresh_per_second=4):
            yield table.change
        return
    handler = logging.StreamHandler(console.file)
    handler.setFormatter(_MessageOnly())
    console.print(title, markup=False)

    def print_line(node: NodeRecord) -> None:
        if node.state in ("ran", "cached", "failed"):
            console.print(f"  {node.node}: {node.state} ({node.seconds:.1f} s)", highlight=False)

    with _handling(logger, handler):
        yield print_line


@contextmanager
def _handling(logger: logging.Logger, handler: logging.Handler) -> Iterator[None]:
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def summary(records: Sequence[RunRecord]) -> Group:
    """Returns what came of some runs: metrics, blessing and where the models were pushed.

    Args:
        records: Runs.

    Returns:
        A table with a row a run, the sum of several, and below it a line a run with the model's folder.
    """
    table = Table(title="What was trained", title_justify="left")
    table.add_column("task")
    for heading in ("selection split", "test split", "blessed", "seconds"):
        table.add_column(heading, justify="right")
    folders = []
    seconds = [record.seconds for record in records]
    for record in records:
        table.add_row(
            record.task,
            _headline(record.selection),
            _headline(record.test),
            Text("yes", "green") if record.blessed else Text("no", "red"),
            f"{record.seconds:.0f}",
        )
        # Below the table: a path in a narrow column cannot be copied.
        where = record.pushed_to or f"not pushed: {record.refusal}"
        folders.append(Text(f"{record.task}: {where}", overflow="fold"))
    if len(seconds) > 1:
        table.add_section()
        table.add_row("all", "", "", "", f"{sum(seconds):.0f}")
    return Group(table, *folders)


def _headline(metrics: Mapping[str, float]) -> str:
    return "\n".join(f"{name} {metrics[key]:.3f}" for key, name in _HEADLINES.items() if key in metrics)


def rejections(record: RunRecord) -> str:
    """Says how many records could not be read and where they are listed; nothing where all were read."""
    read = (node.outputs["examples"] for node in record.nodes if node.node == "FaceExampleGen")
    examples = next(read, None)
    if examples is None:  # a run of other nodes only
        return ""
    count = Ingestion.load(Path(examples)).total("rejected")
    return f"{count} records could not be read, see {Path(examples) / REJECTED_FILE}" if count else ""


def verdict_table(record: RunRecord) -> Table:
    """Returns the thresholds of a run's blessing with the values found and the verdicts."""
    table = Table(title="Blessing", title_justify="left", box=None, pad_edge=False)
    for heading in ("metric", "judged on", "demanded", "found", "verdict"):
        table.add_column(heading)
    for verdict in record.verdicts:
        table.add_row(
            verdict["metric"],
            verdict["slice"],
            verdict["rule"],
            verdict["found"],
            Text("passed", "green") if verdict["passed"] else Text("failed", "red"),
        )
    return table
