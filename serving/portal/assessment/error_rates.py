"""What the threshold of a verification model stands for, as the file beside the model tells."""

import json
import math
from pathlib import Path
from typing import Any, TypeGuard

from serving.client import Verification
from serving.portal.assessment.answers import ErrorRate
from serving.rollout.errors import RolloutError
from serving.rollout.model_config import pushed_models, workspace_roots

_FILE = Path("assets.extra") / "thresholds.json"
# The model answers in float32.
_TOLERANCE = 1e-5


def find(home: Path, result: Verification) -> ErrorRate | None:
    """Looks up what the threshold of an answer stands for.

    Args:
        home: The workspace whose models are served.
        result: The answer.

    Returns:
        The rates; None where the model is not in the workspace, the workspace cannot be read, or the model's
        file tells another threshold.
    """
    try:
        model = pushed_models(workspace_roots(home)).get("verification")
    except RolloutError:
        # The workspace cannot be read; the model has answered all the same.
        return None
    folder = model.versions.get(result.model_version) if model and result.model_version is not None else None
    values = _read(folder / _FILE) if folder else {}
    threshold, far = values.get("threshold"), values.get("far")
    if not _is_number(threshold) or not _is_number(far):
        return None
    if not math.isclose(threshold, result.threshold, rel_tol=_TOLERANCE):
        return None
    return ErrorRate(far, _table(values.get("table")))


def _table(rows: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(rows, list):
        return ()
    pairs = [(row.get("far"), row.get("threshold")) for row in rows if isinstance(row, dict)]
    return tuple(sorted((far, limit) for far, limit in pairs if _is_number(far) and _is_number(limit)))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(file: Path) -> dict[str, Any]:
    """Returns the file's object; empty where it is not there or holds something else."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
