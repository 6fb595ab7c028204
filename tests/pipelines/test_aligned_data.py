"""With `data.align`, the detection pipeline's model finds the faces that other pipelines read."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from test_bad_input import assert_refused, fer_csv, rows
from test_people_bad_input import wiki_mat

from components.compat import tfx
from components.face_example_gen import FaceExampleGenExecutor
from data_validation.errors import InputError
from pipelines import cli, face_pipeline, runs, sources
from pipelines.face_pipeline import build_pipeline
from pipelines.node import NodeOutcome, compile_pipeline, node_ids, run_node
from pipelines.runs import RunRecord, run_key
from pipelines.settings import Workspace, load
from pipelines.task_settings import DataSettings
from pipelines.tasks import TASKS

ALIGN = "data.align=true"
standard = tfx.types.standard_artifacts


def pushed(place: Workspace, task: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    RunRecord(task, f"{task}-1", "key", "finished", seconds=1.0, nodes=(), pushed_to=str(folder)).save(place)


# A model that is not there


@pytest.mark.parametrize("task", TASKS)
def test_only_pictures_of_one_face_can_be_aligned(task: str) -> None:
    assert not sources.aligns(load("cpu", task).data)
    # CelebA comes aligned.
    if task in (sources.DETECTION, "synthesis"):
        with pytest.raises(InputError, match=r"unknown setting data\.align"):
            load("cpu", task, [ALIGN])
    else:
        assert sources.aligns(load("cpu", task, [ALIGN]).data)
    assert not sources.aligns(DataSettings())


def test_alignment_without_a_detection_model(hexaface, tmp_path: Path) -> None:
    data = wiki_mat(tmp_path / "data")
    workspace = tmp_path / "workspace"
    assert_refused(
        hexaface("run", "age", "--data", data, "--set", ALIGN),
        f"error: {workspace}: no blessed detection model for {ALIGN}; run "
        "`hexaface run detection --data DIR` first, or set data.align=false",
    )
    # Nothing was begun.
    assert not [file for file in workspace.rglob("*") if file.is_file()]


def test_demo_needs_the_model_of_drawn_samples(hexaface, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "sample_folder", None)  # none are drawn
    assert_refused(
        hexaface("run", "age", "--set", ALIGN),
        f"error: {Workspace.at(None).for_samples().root}: no blessed detection model for {ALIGN}; run "
        "`hexaface run detection` first, or set data.align=false",
    )


def test_the_models_that_a_run_needs(tmp_path: Path) -> None:
    place = Workspace.at(tmp_path)
    aligned, plain = load("demo", "emotion", [ALIGN]), load("demo", "emotion")
    assert sources.other_models(plain, place) == ("", "", "", "")
    with pytest.raises(InputError, match="no blessed detection model"):
        sources.detector(aligned.data, place)
    pushed(place, "detection", tmp_path / "models" / "1")
    assert sources.detector(aligned.data, place) == str(tmp_path / "models" / "1")
    assert sources.detector(plain.data, place) == ""
    (tmp_path / "data").mkdir()
    keys = {run_key(aligned, place, [tmp_path / "data"], (model, "")) for model in ("a", "b")}
    assert len(keys) == 2


@pytest.mark.parametrize("task", TASKS)
def test_a_run_depends_on_all_code_of_its_nodes(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run would be found unchanged while one of its nodes is not."""
    of_nodes: set[str] = set()
    of_run: set[str] = set()
    for module, places in ((face_pipeline, of_nodes), (runs, of_run)):
        monkeypatch.setattr(module, "code_fingerprint", lambda *names, to=places: to.update(names) or "x")
    settings, place = load("demo", task), Workspace.at(tmp_path)
    build_pipeline(TASKS[task], settings, place, [tmp_path])
    run_key(settings, place, [])
    assert "serving/alignment.py" in of_nodes
    rooms = tuple(f"{name}/" for name in of_run)
    assert [name for name in of_nodes if not f"{name}/".startswith(rooms)] == []


# A model that is there


@tfx.dsl.components.component
def Copy(
    folder: tfx.dsl.components.Parameter[str],
    model: tfx.dsl.components.OutputArtifact[standard.Model],
) -> None:
    """In the place of the detection pipeline's Trainer."""
    shutil.copytree(folder, Path(model.uri) / "Format-Serving")


@tfx.dsl.components.component
def Bless(
    model: tfx.dsl.components.InputArtifact[standard.Model],
    blessing: tfx.dsl.components.OutputArtifact[standard.ModelBlessing],
) -> None:
    """In the place of the detection pipeline's Evaluator."""
    blessing.set_int_custom_property("current_model_id", model.id)
    blessing.set_int_custom_property("blessed", 1)


@tfx.dsl.components.component
def BlessServed(
    model: tfx.dsl.components.InputArtifact[standard.Model],
    blessing: tfx.dsl.components.OutputArtifact[standard.InfraBlessing],
) -> None:
    """In the place of the detection pipeline's InfraValidator."""
    blessing.set_int_custom_property("current_model_id", model.id)
    blessing.set_int_custom_property("blessed", 1)


def push_detector(workspace: Workspace, folder: Path, run_id: str) -> None:
    """Leaves in ML Metadata what a run of the detection pipeline leaves there."""
    trainer = Copy(folder=str(folder)).with_id("Trainer")
    model = trainer.outputs["model"]
    pipeline = tfx.dsl.Pipeline(
        pipeline_name=sources.DETECTION,
        pipeline_root=str(workspace.pipeline(sources.DETECTION)),
        components=[
            trainer,
            Bless(model=model).with_id("Evaluator"),
            BlessServed(model=model).with_id("InfraValidator"),
        ],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(workspace.metadata)
        ),
    )
    representation = compile_pipeline(pipeline, run_id)
    for name in node_ids(representation):
        run_node(representation, name, use_cache=False)


def read(workspace: Workspace, data: Path, run_id: str, *overrides: str) -> NodeOutcome:
    """Runs what reads the data in the emotion pipeline; returns what came of FaceExampleGen."""
    settings = load("demo", "emotion", overrides)
    pipeline = build_pipeline(TASKS["emotion"], settings, workspace, [data])
    representation = compile_pipeline(pipeline, run_id)
    names = [name for name in node_ids(representation) if name in ("DetectorResolver", "FaceExampleGen")]
    assert names == [*(["DetectorResolver"] if overrides else []), "FaceExampleGen"]
    return [run_node(representation, name, use_cache=True) for name in names][-1]


def test_the_latest_detection_model_finds_the_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through ML Metadata, as in a run: another model makes the node run again, the same one does not."""
    given = []

    def note(self: Any, inputs: dict[str, Any], outputs: dict[str, Any], properties: dict[str, Any]) -> None:
        models = [Path(model.uri) / "Format-Serving" / "name" for model in inputs.get("detector", [])]
        given.append([model.read_text() for model in models])

    # What it does with the model is tested with the other tests of data.
    monkeypatch.setattr(FaceExampleGenExecutor, "Do", note)
    workspace = Workspace.at(tmp_path / "workspace")
    data = fer_csv(tmp_path / "data", rows(10))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)

    assert not read(workspace, data, "run-0").cached
    push_detector(workspace, tmp_path / "first", "detection-0")
    assert not read(workspace, data, "run-1", ALIGN).cached
    assert read(workspace, data, "run-2", ALIGN).cached
    push_detector(workspace, tmp_path / "second", "detection-1")
    assert not read(workspace, data, "run-3", ALIGN).cached
    assert given == [[], ["first"], ["second"]]
