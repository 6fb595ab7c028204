"""One run of the emotion pipeline, shared by the tests of pipelines and models."""

from pathlib import Path

import pytest
from emotion_runs import IMAGES, OVERRIDES, EmotionRun, run

from pipelines import settings
from pipelines.local import RunRequest
from pipelines.tasks import TASKS


@pytest.fixture(scope="session")
def emotion_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from components.samples import emotion

    folder = tmp_path_factory.mktemp("data") / "emotion"
    folder.mkdir()
    emotion.write_fer2013_csv(folder, IMAGES - 84, seed=1)
    emotion.write_ferg(folder, 84, seed=1)
    return folder


@pytest.fixture(scope="session")
def emotion_run(tmp_path_factory: pytest.TempPathFactory, emotion_samples: Path) -> EmotionRun:
    workspace = settings.Workspace.at(tmp_path_factory.mktemp("workspace"))
    request = RunRequest(
        TASKS["emotion"], settings.load("demo", "emotion", OVERRIDES), workspace, (emotion_samples,)
    )
    return run(request)
