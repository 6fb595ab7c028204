"""The synthesis pipeline takes models of others: by one it compares images, another it asks about them."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
from test_aligned_data import pushed
from test_bad_input import assert_refused

from data_validation.errors import InputError
from pipelines import cli, sources
from pipelines.face_pipeline import build_pipeline
from pipelines.runs import run_key
from pipelines.settings import Workspace, load
from pipelines.tasks import TASKS

TASK = TASKS["synthesis"]
SHA256 = hashlib.sha256(b"weights").hexdigest()
INSTEAD = (
    "evaluation.extractor=inception with evaluation.extractor_weights and evaluation.extractor_weights_sha256"
)


def inception(weights: Path) -> list[str]:
    settings = {"extractor": "inception", "extractor_weights": weights, "extractor_weights_sha256": SHA256}
    return [f"evaluation.{name}={value}" for name, value in settings.items()]


def test_demo_without_a_verification_model(hexaface, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "sample_folder", None)  # none are drawn
    assert_refused(
        hexaface("run", "synthesis"),
        f"error: {Workspace.at(None).for_samples().root}: no blessed verification model for "
        f"evaluation.extractor=embedding; run `hexaface run verification` first, or set {INSTEAD}",
    )


def test_the_models_that_are_taken(tmp_path: Path) -> None:
    place, settings = Workspace.at(tmp_path), load("demo", "synthesis")
    with pytest.raises(InputError) as caught:
        sources.other_models(settings, place)
    assert str(caught.value) == (
        f"{place.root}: no blessed verification model for evaluation.extractor=embedding; run "
        f"`hexaface run verification --data DIR` first, or set {INSTEAD}"
    )
    embedding, gender = str(tmp_path / "models" / "v"), str(tmp_path / "models" / "g")
    pushed(place, "verification", Path(embedding))
    assert sources.other_models(settings, place) == ("", "", embedding, "")
    pushed(place, "gender", Path(gender))
    assert sources.other_models(settings, place) == ("", "", embedding, gender)
    other = load("demo", "synthesis", inception(tmp_path / "w.h5"))
    assert sources.other_models(other, place) == ("", "", "", gender)
    # Only by those who draw faces.
    assert sources.other_models(load("demo", "emotion"), place) == ("",) * 4
    (tmp_path / "data").mkdir()
    keys = {run_key(settings, place, [tmp_path / "data"], ("", "", embedding, each)) for each in ("", gender)}
    assert len(keys) == 2


def test_weights_of_inception_are_looked_at_first(tmp_path: Path) -> None:
    settings = load("demo", "synthesis", inception(tmp_path / "w.h5"))
    with pytest.raises(InputError, match=r"evaluation\.extractor_weights: expected a file of weights"):
        sources.check_weights(settings)
    (tmp_path / "w.h5").write_bytes(b"other")
    with pytest.raises(InputError, match=r"w\.h5: sha256 is .* \(evaluation\.extractor_weights_sha256\)"):
        sources.check_weights(settings)
    (tmp_path / "w.h5").write_bytes(b"weights")
    sources.check_weights(settings)
    sources.check_weights(load("demo", "synthesis"))


def node_names(place: Workspace, overrides: list[str]) -> list[str]:
    # The graph does not depend on which schema is curated.
    task = dataclasses.replace(TASK, schema="gender.pbtxt")
    pipeline = build_pipeline(task, load("demo", "synthesis", overrides), place, [place.root])
    names = [node.id for node in pipeline.components]
    evaluator = pipeline.components[names.index("Evaluator")]
    return sorted(name for name in evaluator.inputs if name.endswith("_model")) + [
        name for name in names if name.endswith("Resolver") and name != "LatestBlessedResolver"
    ]


def test_the_evaluator_is_given_the_models_that_there_are(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path)
    assert node_names(place, []) == ["baseline_model", "embedding_model", "EmbeddingResolver"]
    pushed(place, "gender", tmp_path / "models" / "g")
    assert node_names(place, []) == [
        *("baseline_model", "embedding_model", "gender_model"),
        *("EmbeddingResolver", "GenderResolver"),
    ]
    assert node_names(place, inception(tmp_path / "w.h5")) == [
        *("baseline_model", "gender_model"),
        "GenderResolver",
    ]
