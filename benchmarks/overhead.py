"""How long the nodes around the Trainer take, for different numbers of images.

    python benchmarks/overhead.py 2000 20000

Draws sample data, runs the emotion pipeline with one epoch in a new workspace, prints a Markdown table. The
time to load TensorFlow and TFX is a line of its own.
"""

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console

from pipelines import local, settings
from pipelines.local import RunRequest
from pipelines.runs import RunRecord
from pipelines.samples import draw_sample
from pipelines.tasks import TASKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", type=int, nargs="+", help="numbers of images")
    counts = parser.parse_args().counts
    loading = _load()
    records = {count: _run(count) for count in counts}
    print(_table(records, loading))


def _load() -> float:
    """Imports what a run needs, so that the first run's nodes are not charged for it."""
    start = time.monotonic()
    import components.tracking  # noqa: F401
    import pipelines.face_pipeline
    import pipelines.node  # noqa: F401

    return time.monotonic() - start


def _run(count: int) -> RunRecord:
    task = TASKS["emotion"]
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        draw_sample(task.sample, data, count, seed=1, console=Console(stderr=True))
        values = settings.load("demo", task.name, ["train.epochs=1", "evaluation.min_accuracy=0"])
        workspace = settings.Workspace.at(Path(scratch) / "workspace")
        record = local.run(RunRequest(task, values, workspace, (data,)), lambda node: None)
    if record.status != "finished":
        raise SystemExit(record.error)
    return record


def _table(records: dict[int, RunRecord], loading: float) -> str:
    lines = [
        "| seconds | " + " | ".join(f"{count:,} images" for count in records) + " |",
        "| --- |" + " ---: |" * len(records),
    ]
    seconds = {count: {node.node: node.seconds for node in record.nodes} for count, record in records.items()}
    for node in next(iter(seconds.values())):
        if node != "Trainer":
            lines.append(f"| {node} | " + " | ".join(f"{row[node]:.1f}" for row in seconds.values()) + " |")
    totals = [sum(row.values()) - row["Trainer"] for row in seconds.values()]
    lines.append("| **all nodes but Trainer** | " + " | ".join(f"**{total:.1f}**" for total in totals) + " |")
    lines.append(
        "| loading TensorFlow and TFX, once | " + " | ".join(f"{loading:.1f}" for _ in records) + " |"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
