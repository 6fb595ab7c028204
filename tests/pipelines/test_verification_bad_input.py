"""Bad input of the verification pipeline, and of models that stand on its trunk, ends with one line."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_bad_input import assert_refused, fer_csv, rows
from test_people_bad_input import as_arguments, wiki_mat

from data_validation.errors import InputError
from data_validation.ingestion import Ingestion
from pipelines import cli, sources
from pipelines.settings import Workspace, load

EMBEDDING = "model.backbone=embedding"
WEIGHTS = ("model.weights=vgg.h5", f"model.weights_sha256={'ab' * 32}")


# A trunk that is not there


@pytest.mark.parametrize("task", ["gender", "age"])
def test_embedding_without_a_verification_model(hexaface, tmp_path: Path, task: str) -> None:
    data = wiki_mat(tmp_path / "data")
    workspace = tmp_path / "workspace"
    assert_refused(
        hexaface("run", task, "--data", data, "--set", EMBEDDING),
        f"error: {workspace}: no blessed verification model for {EMBEDDING}; run "
        "`hexaface run verification --data DIR` first, or set model.backbone=compact",
    )
    # Nothing was begun.
    assert not [file for file in workspace.rglob("*") if file.is_file()]


def test_drawn_samples_need_a_model_of_drawn_samples(tmp_path: Path) -> None:
    """What `--data` has made is no trunk for a demo, and the other way round."""
    workspace = Workspace.at(tmp_path)
    model = load("demo", "gender", [EMBEDDING]).model
    for place, command in (
        (workspace, "verification --data DIR`"),
        (workspace.for_samples(), "verification`"),
    ):
        with pytest.raises(InputError) as caught:
            sources.embedding(model, place)
        assert str(caught.value).startswith(f"{place.root}: no blessed verification model")
        assert f"`hexaface run {command} first" in str(caught.value)


def test_missing_trunk_is_told_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    data = wiki_mat(tmp_path / "data")
    code = (
        "import sys; from pipelines import cli\n"
        f"sys.argv = ['hexaface', 'run', 'gender', '--data', {str(data)!r}, '--set', {EMBEDDING!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as ended: print(ended.code, sorted({'tensorflow', 'tfx'} & set(sys.modules)))"
    )
    environment = {"HEXAFACE_HOME": str(tmp_path / "workspace"), "PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "2 []", ended.stderr


# Settings that do not go together


@pytest.mark.parametrize(
    ("task", "chosen", "message"),
    [
        *(
            (task, [EMBEDDING, weight], f"{weight.split('=')[0]}: expected none for {EMBEDDING}, found ")
            for task in ("gender", "age")
            for weight in WEIGHTS
        ),
        ("gender", [EMBEDDING, "train.warm_start=true"], f"train.warm_start: {EMBEDDING} is frozen"),
        ("age", [EMBEDDING, "train.warm_start=true"], f"train.warm_start: {EMBEDDING} begins with"),
        ("verification", [EMBEDDING], "model.backbone: expected 'compact' or 'vggface', found 'embedding'"),
        ("verification", ["model.backbone=vggface"], "model.weights: expected a file or URL"),
        ("verification", ["data.att_box=[1,2,3]"], "data.att_box: expected left, top, width and height"),
        ("verification", ["data.att_box=[0,0,0,9]"], "data.att_box: expected left, top, width and height"),
        (
            "verification",
            ["data.att_box=[-5,0,92,92]"],
            "data.att_box.0: expected greater than or equal to 0",
        ),
        ("verification", ["data.att_box=whole"], "data.att_box: expected a list, found 'whole'"),
        ("gender", ["data.att_box=[0,5,92,101]"], "unknown setting data.att_box"),
    ],
)
def test_settings_that_do_not_go_together(hexaface, task: str, chosen: list[str], message: str) -> None:
    assert_refused(hexaface("run", task, *as_arguments(chosen)), message)


# Data without persons


def test_folder_without_identities(hexaface, tmp_path: Path) -> None:
    (tmp_path / "data" / "empty").mkdir(parents=True)
    assert_refused(
        hexaface("run", "verification", "--data", tmp_path / "data"),
        f"{tmp_path / 'data'}: no known data set; expected s1/1.pgm, pairs.txt, identities/ or "
        "<person>/<image>.jpg",
    )


def test_data_of_another_task(hexaface, tmp_path: Path) -> None:
    assert_refused(
        hexaface("run", "verification", "--data", fer_csv(tmp_path / "data", rows(10))),
        "no data set with the label 'identity'",
        "expected s1/1.pgm, pairs.txt, identities/ or <person>/<image>.jpg, found fer2013.csv",
    )


def test_pairs_that_are_malformed(hexaface, tmp_path: Path) -> None:
    (tmp_path / "lfw").mkdir()
    (tmp_path / "pairs.txt").write_text("1\nAnn\t1\t2\n")
    assert_refused(
        hexaface("run", "verification", "--data", tmp_path),
        f"{tmp_path / 'pairs.txt'}, line 1: expected 1 pairs of two persons as counted, found 0",
    )


@pytest.mark.parametrize(
    ("persons", "words"),
    [
        ({"train": "a", "eval": "bbc"}, "expected two persons in the training split, found 1"),
        ({"train": "ab", "eval": "ccc"}, "found 1 persons with 3 images"),
        ({"train": "ab", "eval": "cde"}, "found 3 persons with 3 images"),
    ],
)
def test_too_few_persons_are_found_before_training(
    tmp_path: Path, persons: dict[str, str], words: str
) -> None:
    from trainers import verification

    records = Counter(
        (split, "identities", (("identity", who),)) for split, names in persons.items() for who in names
    )
    Ingestion(span=0, content_fingerprint="0" * 64, records=dict(records)).save(tmp_path)
    arguments = SimpleNamespace(
        train_files=[f"{tmp_path}/Split-train/*"], custom_config={"model": {"backbone": "compact"}}
    )
    with pytest.raises(InputError, match=words):
        verification.run_fn(arguments)


@pytest.mark.parametrize(
    ("persons", "found"), [(["a", "a", "a"], "3 and 0"), (["a", "b", "c"], "0 and 3")], ids=["one", "no pair"]
)
@pytest.mark.parametrize("split", ["eval", "test"])
def test_a_split_without_pairs_of_a_kind_is_named(split: str, persons: list[str], found: str) -> None:
    from components.evaluation.pair_results import EmbeddedImages, compare

    def images(names: list[str]) -> EmbeddedImages:
        vectors = np.eye(4, dtype=np.float32)[: len(names)]
        return EmbeddedImages(vectors, np.array(names), np.full(len(names), "identities"), np.array(names))

    good = images(["a", "a", "b"])
    with pytest.raises(InputError) as caught:
        compare({"eval": good, "test": good, split: images(persons)}, [], threshold=0.1)
    assert str(caught.value) == f"split {split}: expected pairs of one person and of two, found {found}"


def test_demo_skips_what_stands_on_a_model_that_is_not_there(
    hexaface, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "TASKS", {"gender": cli.TASKS["gender"]})
    code, out, err = hexaface("demo")
    assert code == cli.EXIT_NOT_BLESSED
    assert "gender skipped:" in err and "no blessed verification model" in err
    assert "What was trained" in out
