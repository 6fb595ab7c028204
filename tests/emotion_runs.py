"""Small runs of the emotion pipeline on drawn faces, for the tests of pipelines and models."""

from dataclasses import dataclass, replace

from pipelines import local, settings
from pipelines.local import RunRequest
from pipelines.runs import NodeRecord, RunRecord

# Enough for a model that is clearly better than chance (1/7), in well under a minute.
IMAGES = 420
EPOCHS = 14
OVERRIDES = (
    f"train.epochs={EPOCHS}",
    "train.batch_size=16",
    "evaluation.min_accuracy=0.3",
    "run.backoff_seconds=0",
)


@dataclass(frozen=True)
class EmotionRun:
    """A finished run: what was asked, what came of it, and the states that nodes went through."""

    request: RunRequest
    record: RunRecord
    changes: list[NodeRecord]


def run(request: RunRequest, *overrides: str, **changes: object) -> EmotionRun:
    """Runs a request, with further settings and changes of the request itself."""
    if overrides:
        changes["settings"] = settings.load("demo", "emotion", (*OVERRIDES, *overrides))
    request = replace(request, **changes)  # type: ignore[arg-type]
    seen: list[NodeRecord] = []
    return EmotionRun(request, local.run(request, seen.append), seen)
