"""Runs that end before the pipeline does."""

from collections.abc import Callable
from pathlib import Path

import pytest
from test_bad_input import assert_refused

from data_validation.errors import InputError
from pipelines import runs, settings, sources
from pipelines.settings import Workspace
from pipelines.tasks import TASKS

_COMPACT = ("model.backbone=compact", "model.trained_layers=all")


def test_a_part_of_a_run(hexaface: Callable, tmp_path: Path, emotion_samples: Path) -> None:
    run = ("run", "emotion", "--data", emotion_samples)
    code, text, error = hexaface(*run, "--until", "CuratedSchema")
    assert (code, error) == (0, "")
    assert "CuratedSchema: ran (" in text and "FaceExampleGen" not in text
    place = Workspace.at(tmp_path / "workspace")
    record = runs.latest(place, "emotion")
    assert record is not None
    assert (record.status, record.until, record.pushed_to, record.blessed) == (
        "finished",
        "CuratedSchema",
        "",
        False,
    )
    assert [node.node for node in record.nodes] == ["CuratedSchema"]
    assert text.splitlines()[-2:] == [
        "emotion: ran until CuratedSchema",
        f"  schema: {record.nodes[0].outputs['schema']}",
    ]
    # Nothing has changed; but a run of another part is another run.
    assert "CuratedSchema: cached (0.0 s)" in hexaface(*run, "--until", "CuratedSchema").out
    values = settings.load("demo", "emotion")
    others = sources.other_models(values, place)
    keys = {runs.run_key(values, place, [emotion_samples], others, until) for until in ("", record.until)}
    assert record.key in keys and len(keys) == 2
    answer = hexaface(*run, "--until", "CuratedSchema", "--from", "Trainer")
    assert_refused(answer, "--from Trainer: expected one of CuratedSchema")
    answer = hexaface(*run, "--until", "Trainor")
    assert_refused(answer, "--until Trainor: expected one of", "FaceExampleGen, StatisticsGen")


def test_nodes_that_need_no_other_models(tmp_path: Path) -> None:
    """The lists that are looked up before TFX is loaded say what the graph says."""
    from pipelines import node
    from pipelines.face_pipeline import build_pipeline

    place = Workspace.at(tmp_path)
    needed: dict[str, set[str]] = {"Trainer": set(), "Evaluator": set()}
    for changes in ([], ["train.warm_start=true"], ["model.backbone=embedding", "data.align=true"]):
        values = settings.load("demo", "age", [*_COMPACT, *changes])
        pipeline = build_pipeline(TASKS["age"], values, place, [tmp_path])
        graph = node.compile_pipeline(pipeline, "run")
        for last, found in needed.items():
            found |= node.upstream(graph, last)
    assert needed["Trainer"] == sources.BEFORE_TRAINING | {"Trainer", "EmbeddingResolver"}
    assert needed["Evaluator"] == sources.BEFORE_EVALUATION | {"Evaluator"}


def test_models_of_later_nodes_are_not_asked_for(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path)
    values = settings.load("demo", "age", ["model.backbone=embedding"])
    for until in ("", "Trainer", "Evaluator", "EmbeddingResolver"):
        with pytest.raises(InputError, match="no blessed verification model"):
            sources.other_models(values, place, until)
    assert sources.other_models(values, place, "Transform") == ("", "")


def test_a_study_is_a_part_of_its_own(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path)
    for part, home in ((place, tmp_path), (place.for_samples(), tmp_path / "demo")):
        study = part.for_study("imbalance", "male-30")
        assert study.root == home / "studies" / "imbalance" / "male-30"
        # MLflow's store and the cache are the workspace's; models and records are not.
        assert (study.home, study.cache, study.tracking_uri) == (tmp_path, part.cache, part.tracking_uri)
        assert study.serving.is_relative_to(study.root) and study.metadata.parent == study.root
        assert study.experiment("synthesis") == f"imbalance-study{'-demo' if part.demo else ''}"
