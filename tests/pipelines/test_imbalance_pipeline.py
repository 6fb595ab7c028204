"""The imbalance study from CelebA's form to its report, by small generators and a gender model."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from people_runs import PeopleRun

from components.readers import celeba
from data_validation.ingestion import Ingestion
from pipelines import runs
from pipelines.imbalance_report import RESULTS_FILE
from pipelines.imbalance_study import part_name
from pipelines.settings import Workspace

pytestmark = pytest.mark.e2e

BALANCES = (0.4, 0.6)
# A third of them is held back, 20 at least.
IMAGES = 100
OVERRIDES = (
    "model.generator_width=4",
    "model.discriminator_width=4",
    "train.epochs=1",
    "train.batch_size=16",
    f"data.max_images={IMAGES}",
    "run.backoff_seconds=0",
)


@pytest.fixture
def samples(tmp_path: Path, synthesis_samples: Path) -> Path:
    """The samples of the pipeline's own tests with more held back: a study takes a part of them only."""
    folder = tmp_path / "samples"
    folder.mkdir()
    for name in (celeba.FOLDER_NAME, celeba.ATTRIBUTES):
        (folder / name).symlink_to(synthesis_samples / name)
    names = sorted(file.name for file in (folder / celeba.FOLDER_NAME).iterdir())
    sides = ("1", "2", "0")
    lines = (f"{name} {sides[number % 3]}\n" for number, name in enumerate(names))
    (folder / celeba.PARTITION).write_text("".join(lines))
    return folder


def test_a_study_and_the_same_again(hexaface: Callable, gender_run: PeopleRun, samples: Path) -> None:
    assert gender_run.record.pushed_to, gender_run.record.error
    place = gender_run.request.workspace
    study = ["study", "imbalance", "--data", samples, "--workspace", place.root]
    study += [word for share in BALANCES for word in ("--male", share)]
    study += [word for override in OVERRIDES for word in ("--set", override)]
    study += ["--faces", 4, "--rounds", 2, "--real", 20]
    code, text, error = hexaface(*study)
    assert code == 0, error
    folder = place.studies("imbalance")
    assert f"report: {folder / 'report.html'}" in text
    results = json.loads((folder / RESULTS_FILE).read_text())
    assert results["gender_model"] == f"gender/{gender_run.pushed.name}"
    assert [len(each["male_counts"]) for each in results["balances"]] == [2, 2]
    assert 0 < results["real"]["images"] <= 20
    for name in ("rounds", *(f"faces_{part_name(share)}" for share in BALANCES)):
        assert (folder / "figures" / f"{name}.png").is_file()
    check_trainings(place, results)
    # Only what is measured is measured again, and comes out the same.
    _, text, _ = hexaface(*study)
    assert text.count("Trainer: cached (0.0 s)") == 2 and ": ran (" not in text
    again = json.loads((folder / RESULTS_FILE).read_text())
    assert {**again, "date": ""} == {**results, "date": ""}


def check_trainings(place: Workspace, results: dict) -> None:
    """Trainings differ in nothing but their data, of which there are as many, and push nothing."""
    abouts = []
    for share, balance in zip(BALANCES, results["balances"], strict=True):
        part = place.for_study("imbalance", part_name(share))
        record = runs.latest(part, "synthesis")
        assert record is not None
        assert (record.status, record.until, record.pushed_to) == ("finished", "Trainer", "")
        assert not part.serving.exists()
        model = next(Path(node.outputs["model"]) for node in record.nodes if node.node == "Trainer")
        abouts.append(json.loads((model / "Format-Serving/assets.extra/about.json").read_text()))
        outputs = next(node.outputs for node in record.nodes if node.node == "FaceExampleGen")
        account = Ingestion.load(Path(outputs["examples"]))
        # Drawn from as many images; which of them are for training says the partition.
        assert account.total("records") == IMAGES
        assert balance["training_images"] == account.split_total("train")
    first, second = abouts
    assert first["settings"] == second["settings"]
    assert first["settings"]["train"]["seed"] == 1
    assert first["data_fingerprint"] != second["data_fingerprint"]
    assert results["balances"][0]["training_male"] < results["balances"][1]["training_male"]
