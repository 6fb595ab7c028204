"""The page for people who run the portal."""

import math
from dataclasses import dataclass
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from serving.portal.model_server import client
from serving.portal.operations import figures, states
from serving.portal.web.applications import APPLICATIONS

# What is looked at first of each model: title, name of the metric on the test split.
_METRICS = {
    "detection": (("AP, faces of 20 px and more", "ap_20"), ("landmark error", "landmark_error")),
    "verification": (("EER", "eer"), ("TAR at FAR 1 %", "tar_at_far_0.01")),
    "gender": (("accuracy", "accuracy"), ("macro F1", "macro_f1")),
    "age": (("mean error in years", "mae"), ("within 5 years", "cs5")),
    "emotion": (("accuracy", "accuracy"), ("macro F1", "macro_f1")),
    "synthesis": (("Frechet distance", "frechet"), ("diversity", "diversity")),
}
_TEST = "evaluation/split_test/"
_SOURCES = {"real": "real pictures", "sample": "drawn pictures"}
_TITLES = {application.name: application.title for application in APPLICATIONS}


@dataclass(frozen=True)
class Row:
    """A version of a model, as the page shows it.

    Attributes:
        title: Of the application.
        version: See there.
        source: What it was trained on, in words.
        figures: What MLflow knows of it; None for nothing.
        metrics: Titles and values.
        link: Of its run in the dashboard; empty for none.
    """

    title: str
    version: states.Version
    source: str
    figures: figures.Figures | None
    metrics: tuple[tuple[str, str], ...]
    link: str


@never_cache
@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """Which models are served, and what they are worth."""
    found = states.look(client(), settings.HOME, _TITLES)
    answer = figures.find(settings.MLFLOW_URI, found.versions)
    rows = [_row(version, answer.figures.get((version.model, version.number))) for version in found.versions]
    context = {
        "rows": rows,
        "running": found.running,
        "problem": answer.problem,
        "waiting": answer.waiting,
    }
    return render(request, "portal/status.html", {**context, "dashboard": _dashboard()})


def _row(version: states.Version, known: figures.Figures | None) -> Row:
    return Row(
        title=_TITLES[version.model],
        version=version,
        source=_SOURCES.get(version.source, ""),
        figures=known,
        metrics=_metrics(known) if known else (),
        link=_link(known) if known else "",
    )


def _metrics(known: figures.Figures) -> tuple[tuple[str, str], ...]:
    found = [(title, known.metrics.get(_TEST + name)) for title, name in _METRICS[known.model]]
    return tuple(
        (title, f"{value:.3f}") for title, value in found if value is not None and math.isfinite(value)
    )


def _link(known: figures.Figures) -> str:
    base = _dashboard()
    return f"{base}/#/experiments/{quote(known.experiment_id)}/runs/{quote(known.run_id)}" if base else ""


def _dashboard() -> str:
    return settings.DASHBOARD.rstrip("/")
