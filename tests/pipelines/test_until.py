"""Runs that end before the pipeline does."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from test_aligned_data import pushed
from test_bad_input import assert_refused

from data_validation.errors import InputError
from pipelines import runs, settings, sources
from pipelines.settings import Workspace
from pipelines.tasks import TASKS

_COMPACT = ("model.backbone=compact", "model.trained_layers=all")
_OTHERS = ("model.backbone=embedding", "data.align=true")


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
    # As the record of a part in which a verdict was reached.
    verdict = {"metric": "accuracy", "slice": "split eval", "rule": ">= 0.9", "found": "0.4", "passed": False}
    refused = dataclasses.replace(record, refusal="the blessing was refused", verdicts=(verdict,))
    refused.save(place)
    code, text, _ = hexaface(*run, "--until", "CuratedSchema")
    assert (code, text.splitlines()[-1]) == (3, "  not blessed: the blessing was refused")
    assert "failed" in text
    values = settings.load("demo", "emotion")
    others = sources.other_models(values, place)
    keys = {runs.run_key(values, place, [emotion_samples], others, until) for until in ("", record.until)}
    assert record.key in keys and len(keys) == 2
    answer = hexaface(*run, "--until", "CuratedSchema", "--from", "Trainer")
    assert_refused(answer, "--from Trainer: expected one of CuratedSchema")
    answer = hexaface(*run, "--until", "GenderResolver")
    assert_refused(answer, "--until GenderResolver: expected one of", "FaceExampleGen, StatisticsGen")


@pytest.mark.parametrize("option", ["--from", "--until"])
def test_a_misspelt_node_is_told_before_models_are_missed(hexaface: Callable, option: str) -> None:
    words = f"{option} Trainor: expected one of DetectorResolver, FaceExampleGen,"
    for data in ((), ("--data", "nowhere")):
        answer = hexaface("run", "synthesis", *data, option, "Trainor")
        assert_refused(answer, words, "did you mean Trainer?")


def test_nodes_that_need_no_other_models(tmp_path: Path) -> None:
    """The lists that are looked up before TFX is loaded say what the graph says."""
    place = Workspace.at(tmp_path)
    # Then it is asked about generated faces.
    pushed(place, "gender", tmp_path / "models" / "1")
    models = ([*_COMPACT], [*_COMPACT, "train.warm_start=true"], [*_COMPACT, *_OTHERS])
    age, nodes = _needed("age", models, place)
    assert age["Trainer"] == sources.BEFORE_TRAINING | {"Trainer", "EmbeddingResolver"}
    assert age["Evaluator"] == sources.BEFORE_EVALUATION | {"Evaluator", "EmbeddingResolver"}
    synthesis, more = _needed("synthesis", ([], ["train.warm_start=true"]), place)
    # No faces are to be aligned.
    never = {"DetectorResolver"}
    witnesses = {"EmbeddingResolver", "GenderResolver"}
    assert synthesis["Trainer"] == (sources.BEFORE_TRAINING - never) | {"Trainer"}
    assert synthesis["Evaluator"] == (sources.BEFORE_EVALUATION - never) | {"Evaluator"} | witnesses
    assert nodes | more == set(sources.NODES)


def _needed(
    task: str, variants: Iterable[list[str]], place: Workspace
) -> tuple[dict[str, set[str]], set[str]]:
    """What two nodes depend on with some settings, and all nodes that there are."""
    from pipelines import node
    from pipelines.face_pipeline import build_pipeline

    needed: dict[str, set[str]] = {"Trainer": set(), "Evaluator": set()}
    every: set[str] = set()
    for changes in variants:
        pipeline = build_pipeline(TASKS[task], settings.load("demo", task, changes), place, [place.root])
        graph = node.compile_pipeline(pipeline, "run")
        every |= set(node.node_ids(graph))
        for last, found in needed.items():
            found |= node.upstream(graph, last)
    return needed, every


def test_models_of_later_nodes_are_not_asked_for(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path)
    values = settings.load("demo", "age", ["model.backbone=embedding"])
    for until in ("", "Trainer", "Evaluator", "EmbeddingResolver"):
        with pytest.raises(InputError, match="no blessed verification model"):
            sources.other_models(values, place, until)
    assert sources.other_models(values, place, "Transform") == ("",) * 4
    # The Evaluator's witness, which the Trainer does not need.
    values = settings.load("demo", "synthesis")
    for until in ("", "Evaluator", "EmbeddingResolver"):
        with pytest.raises(InputError, match="no blessed verification model"):
            sources.other_models(values, place, until)
    assert sources.other_models(values, place, "Trainer") == ("",) * 4


def test_a_study_is_a_part_of_its_own(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path)
    for part, home in ((place, tmp_path), (place.for_samples(), tmp_path / "demo")):
        study = part.for_study("imbalance", "male-30")
        assert study.root == home / "studies" / "imbalance" / "male-30"
        # MLflow's store and the cache are the workspace's; models and records are not.
        assert (study.home, study.cache, study.tracking_uri) == (tmp_path, part.cache, part.tracking_uri)
        assert study.serving.is_relative_to(study.root) and study.metadata.parent == study.root
        assert study.experiment("synthesis") == f"imbalance-study{'-demo' if part.demo else ''}"
