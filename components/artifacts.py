"""Artifact types of the project's own components."""

from components.compat import tfx


class EvaluationReport(tfx.dsl.Artifact):
    """A folder with `report.html`, `metrics.json`, `tables/` (CSV and HTML) and `figures/` (PNG)."""

    TYPE_NAME = "HexafaceEvaluationReport"
