"""Rebuilds the report's tables and figures from what the pipeline measured."""

import json
from pathlib import Path

import pandas as pd

from components.artifacts import EvaluationReport as EvaluationReportArtifact
from components.compat import tfx
from components.evaluation.assessments import Assessment, assessment
from components.evaluation.blessing import Verdict
from components.evaluation.funnel import draw_funnel, funnel_table
from components.evaluation.page import Page
from components.evaluation.slices import SELECTION_SLICE, TEST_SLICE, slice_name
from components.readers.catalog import SPLIT_NOTES
from data_validation.ingestion import Ingestion
from trainers.history import HISTORY_FILE, read_history

METRICS_FILE = "metrics.json"


@tfx.dsl.components.component
def EvaluationReport(
    evaluation: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model_run: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelRun],
    report: tfx.dsl.components.OutputArtifact[EvaluationReportArtifact],
    title: tfx.dsl.components.Parameter[str],
    kind: tfx.dsl.components.Parameter[str],
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
        kind: Kind of the assessment.
        label: Label feature.
        classes: JSON list of class names.
        thresholds: JSON object of the evaluation settings.
        code_fingerprint: Only for the cache.
    """
    del code_fingerprint
    page = Page(Path(report.uri), title)
    judge = assessment(kind, label, tuple(json.loads(classes)))
    judged = judge.verdicts(evaluation.uri, json.loads(thresholds))
    account = Ingestion.load(Path(examples.uri))
    history = read_history(Path(model_run.uri) / HISTORY_FILE)
    _write_verdicts(page, judged)
    judge.write_results(page, evaluation.uri, account, Path(model_run.uri))
    slices = {slice_name(key): values for key, values in judge.slice_metrics(evaluation.uri).items()}
    _write_slices(page, slices)
    _write_history(page, judge, history)
    page.heading("Data")
    judge.write_data(page, account)
    _write_records(page, account)
    page.save()
    metrics = _metrics(slices, judged, history, account)
    (page.root / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")


def _write_verdicts(page: Page, judged: list[Verdict]) -> None:
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


def _write_slices(page: Page, slices: dict[str, dict[str, float]]) -> None:
    page.heading("Slices")
    table = pd.DataFrame.from_dict(slices, orient="index").rename_axis("slice")
    page.table("slices", "Metrics by slice", table.astype({"support": int}))


def _write_history(page: Page, judge: Assessment, history: list[dict[str, float]]) -> None:
    page.heading("Training")
    if not history:
        page.text("No network was trained: the backbone came with its weights.")
        return
    judge.draw_curves(page.figure("learning_curves", "Learning curves"), history)
    table = pd.DataFrame(history)
    page.table("history", "Every epoch", table.astype({"epoch": int}).set_index("epoch"))


def _write_records(page: Page, account: Ingestion) -> None:
    for source in sorted({source for _, source, _ in account.records} & SPLIT_NOTES.keys()):
        page.text(SPLIT_NOTES[source])
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
    if account.alignment:
        _write_alignment(page, account)
    table = funnel_table(account)
    page.table("funnel", "What reading and cleaning left", table)
    draw_funnel(page.figure("funnel", "What reading and cleaning left"), table)


def _write_alignment(page: Page, account: Ingestion) -> None:
    page.text(
        "Faces were found by the detection model and aligned by their five points. Records whose face it did "
        "not find are not left out: they stay as they are read without alignment."
    )
    rows = [
        {"split": split, "source": source, "outcome": outcome, "records": count}
        for (split, source, outcome), count in sorted(account.alignment.items())
    ]
    page.table("alignment", "Alignment by split and source", pd.DataFrame(rows).set_index("split"))


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
        "verdicts": [verdict.as_dict() for verdict in judged],
        "epochs": len(history),
        "training_seconds": sum(row["seconds"] for row in history),
        "records": account.total("records"),
        "rejected": account.total("rejected"),
        "dropped": account.total("dropped"),
        "span": account.span,
        "content_fingerprint": account.content_fingerprint,
    }
