"""One run of each pipeline, shared by the tests of pipelines, models and serving."""

import os
from pathlib import Path

import detection_runs
import people_runs
import pytest
import synthesis_runs
import verification_runs
from emotion_runs import IMAGES, OVERRIDES, EmotionRun, run
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from people_runs import PeopleRun

from pipelines import settings
from pipelines.local import RunRequest
from pipelines.tasks import TASKS

# The size of a terminal, which xdist's processes inherit: consoles would keep it from their import on.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

# How long an example takes says how busy the machine is, and no more. Before any test is read: what a test
# does not say itself, it takes from here.
hypothesis_settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
hypothesis_settings.load_profile("tests")

# Runs of pipelines by what they are made of. Tests that share one stay in one process, or it is made twice.
# The longest come first.
_SHARED = {
    "people": {"people_workspace", "verification_run", "gender_run", "age_run", "synthesis_run"},
    "emotion": {"emotion_run"},
    "detection": {"detection_run"},
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Says what `make test` may run side by side: files, but those that share a run together.

    Before xdist looks at the marks, which it does no later than other plugins' hooks.
    """
    fixtures: dict[Path, set[str]] = {}
    for item in items:
        fixtures.setdefault(item.path, set()).update(getattr(item, "fixturenames", ()))
    groups = {
        path: next((name for name, shared in _SHARED.items() if shared & used), path.stem)
        for path, used in fixtures.items()
    }
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item.path]))
    order = {name: place for place, name in enumerate(_SHARED)}
    items.sort(key=lambda item: order.get(groups[item.path], len(order)))


@pytest.fixture(scope="session")
def detection_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that finds red and green things; who changes it makes a copy."""
    import toy_detection

    return toy_detection.save(tmp_path_factory.mktemp("detection") / str(toy_detection.VERSION))


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


@pytest.fixture(scope="session")
def people_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from components.samples.people_set import write_imdb_wiki

    return write_imdb_wiki(tmp_path_factory.mktemp("people"), people_runs.RECORDS, seed=1).parent


@pytest.fixture(scope="session")
def people_workspace(tmp_path_factory: pytest.TempPathFactory) -> settings.Workspace:
    """Where all pipelines of people run, as a person would have it."""
    return settings.Workspace.at(tmp_path_factory.mktemp("people_workspace"))


@pytest.fixture(scope="session")
def verification_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return verification_runs.write_samples(tmp_path_factory.mktemp("persons"))


@pytest.fixture(scope="session")
def verification_run(verification_samples: Path, people_workspace: settings.Workspace) -> PeopleRun:
    return people_runs.run(verification_runs.request(people_workspace, verification_samples))


@pytest.fixture(scope="session")
def gender_run(people_samples: Path, people_workspace: settings.Workspace) -> PeopleRun:
    return people_runs.run(people_runs.request("gender", people_workspace, people_samples))


@pytest.fixture(scope="session")
def age_run(
    people_samples: Path, people_workspace: settings.Workspace, verification_run: PeopleRun
) -> PeopleRun:
    # The age model stands on the trunk of the verification model.
    assert verification_run.record.pushed_to, verification_run.record.error
    return people_runs.run(people_runs.request("age", people_workspace, people_samples))


@pytest.fixture(scope="session")
def detection_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detection_runs.write_samples(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="session")
def detection_run(tmp_path_factory: pytest.TempPathFactory, detection_samples: Path) -> PeopleRun:
    workspace = settings.Workspace.at(tmp_path_factory.mktemp("detection_workspace"))
    return people_runs.run(detection_runs.request(workspace, detection_samples))


@pytest.fixture(scope="session")
def synthesis_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesis_runs.write_samples(tmp_path_factory.mktemp("celebrities"))


@pytest.fixture(scope="session")
def synthesis_run(
    synthesis_samples: Path,
    people_workspace: settings.Workspace,
    verification_run: PeopleRun,
    gender_run: PeopleRun,
) -> PeopleRun:
    # Its faces are judged by features of the one model, and the other says what they are.
    for other in (verification_run, gender_run):
        assert other.record.pushed_to, other.record.error
    return people_runs.run(synthesis_runs.request(people_workspace, synthesis_samples))
