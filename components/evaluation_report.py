"""Rebuilds the report's tables and figures from what the pipeline measured."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from components import classification_report as classification
from components.artifacts import EvaluationReport as EvaluationReportArtifact
from components.compat import tfx
from components.evaluation import SELECTION_SLICE, TEST_SLICE, SliceKey, Verdict, confusion_matrices, verdicts
from data_validation.ingestion import Ingestion
from trainers.history import HISTORY_FILE, read_history

METRICS_FILE = "metrics.json"
_SPLIT_NAMES = {"eval": "selection split", "test": "test split"}


@tfx.dsl.components.component
def EvaluationReport(
    evaluation: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model_run: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelRun],
    report: tfx.dsl.components.OutputArtifact[EvaluationReportArtifact],
    title: tfx.dsl.components.Parameter[str],
    label: tfx.dsl.components.Parameter[str],
    classes: tfx.dsl.components.Parameter[str],
    thresholds: tfx.dsl.components.Parameter[str],
    code_fingerprint: tfx.dsl.components.Parameter[str],
) -> None:
    """Writes tables (CSV and HTML), figures (PNG), `metrics.json` and one page with all of them.

    Args:
        evaluation: The Evaluator's results.
        examples: For the counts of what was read.
        model_run: For the learning curves.
        report: Where to write.
        title: Heading of the page.
        label: Label feature.
        classes: JSON list of class names.
        thresholds: JSON object with `min_accuracy` and `max_accuracy_drop`.
        code_fingerprint: Only for the cache.
    """
    del code_fingerprint
    page = _Page(Path(report.uri), title)
    names = json.loads(classes)
    matrices = confusion_matrices(evaluation.uri, len(names))
    judged = verdicts(evaluation.uri, **json.loads(thresholds))
    account = Ingestion.load(Path(examples.uri))
    history = read_history(Path(model_run.uri) / HISTORY_FILE)
    _write_verdicts(page, judged)
    for key in (TEST_SLICE, SELECTION_SLICE):
        _write_split(page, key, matrices[key], names)
    slices = _slice_metrics(matrices, names)
    _write_slices(page, slices)
    _write_history(page, history)
    _write_data(page, account, label, names)
    page.save()
    metrics = _metrics(slices, judged, history, account)
    (page.root / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")


class _Page:
    """Collects tables and figures, each also as its own file."""

    def __init__(self, root: Path, title: str) -> None:
        self.root = root
        self._title = title
        self._parts: list[str] = []
        for folder in ("tables", "figures"):
            os.makedirs(root / folder, exist_ok=True)

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{text}</h2>")

    def table(self, name: str, caption: str, table: pd.DataFrame) -> None:
        html = table.to_html(float_format=lambda value: f"{value:.4f}", na_rep="", border=0)
        table.to_csv(self.root / "tables" / f"{name}.csv", float_format="%.6f")
        (self.root / "tables" / f"{name}.html").write_text(html, encoding="utf-8")
        self._parts.append(f"<figure><figcaption>{caption}</figcaption>{html}</figure>")

    def figure(self, name: str, caption: str) -> Path:
        """Adds a figure and returns the file to draw it into."""
        self._parts.append(f'<figure><img src="figures/{name}.png" alt="{caption}"></figure>')
        return self.root / "figures" / f"{name}.png"

    def save(self) -> None:
        style = (
            "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
            "table{border-collapse:collapse}"
            "td,th{padding:.2rem .7rem;border-bottom:1px solid #ccc;text-align:right}"
            "figure{margin:1rem 0}figcaption{font-weight:600}img{max-width:100%}"
        )
        body = "\n".join(self._parts)
        (self.root / "report.html").write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{self._title}</title>'
            f"<style>{style}</style><h1>{self._title}</h1>\n{body}\n</html>\n",
            encoding="utf-8",
        )


def _write_verdicts(page: _Page, judged: list[Verdict]) -> None:
    page.heading("Blessing")
    rows = [
        {
            "metric": verdict.metric,
            "judged on": verdict.slice,
            "demanded": verdict.rule,
            "found": verdict.found,
            "verdict": "passed" if verdict.passed else "failed",
        }
        for verdict in judged
    ]
    page.table("blessing", "Thresholds and verdicts", pd.DataFrame(rows).set_index("metric"))


def _write_split(page: _Page, key: SliceKey, matrix: np.ndarray, classes: list[str]) -> None:
    split = dict(key)["split"]
    where = _SPLIT_NAMES[split]
    page.heading(where.capitalize())
    per_class = classification.per_class_table(matrix, classes)
    page.table(f"per_class_{split}", f"Precision, recall and F1 by class, {where}", per_class)
    page.table(
        f"averages_{split}",
        f"Accuracy and averages, {where}",
        classification.averages_table(per_class, matrix),
    )
    for normalised, suffix in ((False, ""), (True, "_normalised")):
        caption = f"Confusion matrix{', normalised' if normalised else ''}, {where}"
        file = page.figure(f"confusion_{split}{suffix}", caption)
        classification.draw_confusion(file, matrix, classes, caption, normalised)


def _slice_metrics(matrices: dict[SliceKey, np.ndarray], classes: list[str]) -> dict[str, dict[str, float]]:
    metrics = {}
    for key, matrix in sorted(matrices.items()):
        per_class = classification.per_class_table(matrix, classes)
        metrics[slice_name(key)] = {
            "accuracy": classification.accuracy(matrix),
            "macro_f1": float(per_class["f1"].mean()),
            "support": int(matrix.sum()),
        }
    return metrics


def _write_slices(page: _Page, slices: dict[str, dict[str, float]]) -> None:
    page.heading("Slices")
    table = pd.DataFrame.from_dict(slices, orient="index").rename_axis("slice")
    page.table("slices", "Accuracy by slice", table.astype({"support": int}))


def slice_name(key: SliceKey) -> str:
    """Returns a slice as text: `split=test, source=ferg`, or `all`."""
    return ", ".join(f"{feature}={value}" for feature, value in key) or "all"


def _write_history(page: _Page, history: list[dict[str, float]]) -> None:
    page.heading("Training")
    table = pd.DataFrame(history)
    classification.draw_curves(page.figure("learning_curves", "Learning curves"), table, "Learning curves")
    page.table("history", "Every epoch", table.astype({"epoch": int}).set_index("epoch"))


def _write_data(page: _Page, account: Ingestion, label: str, classes: list[str]) -> None:
    page.heading("Data")
    sources = sorted({source for _, source, _ in account.records})
    training = {source: account.distribution(label, "train", source) for source in sources}
    counts = pd.DataFrame(
        {source: [training[source][name] for name in classes] for source in sources},
        index=pd.Index(classes, name="class"),
    )
    caption = "Class distribution of the training split"
    classification.draw_distribution(page.figure("class_distribution", caption), counts, caption)
    if len(sources) > 1:
        counts["combined"] = counts.sum(axis=1)
    page.table("class_distribution", caption, counts)
    kept = pd.DataFrame(
        [
            {"split": split, "source": source, "records": count}
            for (split, source, _), count in account.records.items()
        ]
    )
    page.table(
        "records",
        "Records by split and source",
        kept.pivot_table("records", "split", "source", "sum", fill_value=0),
    )
    left_out = [
        {"outcome": outcome, "source": source, "reason": reason, "records": count}
        for outcome in ("rejected", "dropped")
        for (source, reason), count in sorted(getattr(account, outcome).items())
    ]
    columns = ["outcome", "source", "reason", "records"]
    page.table("left_out", "Records left out", pd.DataFrame(left_out, columns=columns).set_index("outcome"))


def _metrics(
    slices: dict[str, dict[str, float]],
    judged: list[Verdict],
    history: list[dict[str, float]],
    account: Ingestion,
) -> dict[str, object]:
    return {
        "slices": slices,
        "selection": slices[slice_name(SELECTION_SLICE)],
        "test": slices[slice_name(TEST_SLICE)],
        "verdicts": [{**dataclasses.asdict(verdict), "found": verdict.found} for verdict in judged],
        "epochs": len(history),
        "training_seconds": sum(row["seconds"] for row in history),
        "records": account.total("records"),
        "rejected": account.total("rejected"),
        "dropped": account.total("dropped"),
        "span": account.span,
        "content_fingerprint": account.content_fingerprint,
    }
