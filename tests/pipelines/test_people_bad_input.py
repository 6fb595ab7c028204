"""Bad input of the gender and age pipelines ends with one line that names the file, key or field."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import pytest
from people_runs import PeopleRun, save_weights, shrink_vgg, weights_of
from PIL import Image
from scipy.io import savemat
from test_bad_input import assert_refused, fer_csv, rows

from components.samples.people_set import write_imdb_wiki
from data_validation.errors import InputError
from pipelines import settings

# The demo's models stand on a verification model, which is not there.
COMPACT = {
    "gender": ("--set", "model.backbone=compact"),
    "age": ("--set", "model.backbone=compact", "--set", "model.trained_layers=all"),
}


def wiki_mat(folder: Path, count: int = 40, **changed: np.ndarray | None) -> Path:
    """Writes wiki.mat without images; a field that is None is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, np.ndarray | None] = {
        "dob": np.full((1, count), 712_000.0),  # in 1949
        "photo_taken": np.full((1, count), 1990.0),
        "full_path": texts(f"00/{number}.jpg" for number in range(count)),
        "gender": np.tile([0.0, 1.0], count)[np.newaxis, :count],
        "name": texts(f"Person {number}" for number in range(count)),
        "face_score": np.full((1, count), 4.0),
        "second_face_score": np.full((1, count), np.nan),
    }
    columns |= changed
    struct = {field: values for field, values in columns.items() if values is not None}
    savemat(folder / "wiki.mat", {"wiki": struct})
    return folder


def texts(values) -> np.ndarray:
    listed = list(values)
    cells = np.empty((1, len(listed)), dtype=object)
    cells[0, :] = listed
    return cells


@pytest.mark.parametrize("task", ["gender", "age"])
@pytest.mark.parametrize("field", ["dob", "gender", "full_path", "second_face_score"])
def test_metadata_without_a_field(hexaface, tmp_path: Path, task: str, field: str) -> None:
    data = wiki_mat(tmp_path / "data", **{field: None})
    assert_refused(hexaface("run", task, "--data", data), "wiki.mat", f"field '{field}' is missing")


def test_metadata_in_matlab_7_3(hexaface, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with h5py.File(tmp_path / "data" / "wiki.mat", "w", userblock_size=512) as file:
        file.create_dataset("wiki/dob", data=np.zeros(3))
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    with (tmp_path / "data" / "wiki.mat").open("r+b") as raw:
        raw.write(header)
    assert_refused(
        hexaface("run", "age", "--data", tmp_path / "data"), "wiki.mat", "MATLAB v7.3 (HDF5)", "save -v7"
    )


@pytest.mark.parametrize("task", ["gender", "age"])
def test_data_of_another_task(hexaface, tmp_path: Path, task: str) -> None:
    data = fer_csv(tmp_path / "data", rows(10))
    assert_refused(
        hexaface("run", task, "--data", data),
        f"no data set with the label '{task}'",
        "expected wiki.mat, imdb.mat"
        + (" or UTKFace/" if task == "age" else ", UTKFace/ or img_align_celeba/"),
        "found fer2013.csv",
    )


# Weights


def unknown_weights(file: Path, backbone: str) -> list[str]:
    """Arguments for weights with a hash that no file has."""
    sha256 = f"model.weights_sha256={'ab' * 32}"
    return as_arguments([f"model.backbone={backbone}", f"model.weights={file}", sha256])


def as_arguments(settings: Iterable[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def test_weights_that_do_not_exist(hexaface, tmp_path: Path) -> None:
    data = wiki_mat(tmp_path / "data")
    assert_refused(
        hexaface("run", "gender", "--data", data, *unknown_weights(tmp_path / "vgg.h5", "vgg16")),
        f"model.weights: expected a file of weights, found none at {tmp_path / 'vgg.h5'}",
    )


@pytest.mark.parametrize(("task", "backbone"), [("gender", "vgg16"), ("age", "vggface")])
def test_weights_with_another_hash(hexaface, tmp_path: Path, task: str, backbone: str) -> None:
    data = wiki_mat(tmp_path / "data")
    file = tmp_path / "vgg.h5"
    file.write_bytes(b"other weights")
    found = hashlib.sha256(b"other weights").hexdigest()
    assert_refused(
        hexaface("run", task, "--data", data, *unknown_weights(file, backbone)),
        str(file),
        f"sha256 is {found[:16]}..., expected abababababababab...",
        "model.weights_sha256",
    )


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["model.backbone=vgg16"], "model.weights: expected a file or URL"),
        (["model.backbone=vgg16", "model.weights=vgg.h5"], "model.weights_sha256: expected the hash"),
        (["model.weights_sha256=12"], "model.weights_sha256"),
    ],
)
def test_weights_without_what_makes_them_known(hexaface, chosen: list[str], message: str) -> None:
    assert_refused(hexaface("run", "gender", *as_arguments(chosen)), message)


@pytest.fixture
def vgg16_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Weights of VGG16, which is small throughout the test."""
    file = tmp_path / "vgg16.h5"
    save_weights(shrink_vgg(monkeypatch).vgg16_features(), file)
    return file


@pytest.mark.e2e
def test_weights_of_other_shapes(hexaface, gender_run: PeopleRun, vgg16_file: Path) -> None:
    """Seen by the Trainer only, which does not try again."""
    with h5py.File(vgg16_file, "r+") as content:
        layer = content["block2_conv1"]
        name = next(name for name in layer.attrs["weight_names"] if "bias" in str(name))
        value = layer[name][:-1]
        del layer[name]
        layer[name] = value
    (data,), workspace = gender_run.request.sources, gender_run.request.workspace.root
    weights = as_arguments(weights_of(vgg16_file, "vgg16"))
    assert_refused(
        hexaface("run", "gender", "--data", data, "--workspace", workspace, *weights),
        str(vgg16_file),
        "layer 'block2_conv1' does not fit layer 'block2_conv1' of the network",
    )


@pytest.mark.parametrize("task", ["gender", "age"])
def test_weights_of_another_network(vgg16_file: Path, tmp_path: Path, task: str) -> None:
    """Those of VGG16 for VGG-Face."""
    from trainers import age, backbones

    chosen = settings.load("demo", task, weights_of(vgg16_file, "vggface")).as_dict()["model"]
    with pytest.raises(InputError) as caught:
        if task == "gender":
            backbones.pretrained_features(chosen, tmp_path)
        else:
            age._pretrained(chosen, tmp_path)(age.build_network(chosen))
    assert str(caught.value).startswith(f"{vgg16_file}: ")
    assert "\n" not in str(caught.value)


# Records


@pytest.mark.e2e
def test_images_that_do_not_exist_exhaust_the_budget(hexaface, tmp_path: Path) -> None:
    data = wiki_mat(tmp_path / "data")
    assert_refused(
        hexaface("run", "age", "--data", data, *COMPACT["age"]),
        "40 of 40 records rejected (100.0%)",
        "data.max_rejected_fraction=0.01",
        "40 x image file not found",
        "first: wiki.mat:1",
    )


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("changed", "task"),
    [
        ({"gender": np.full((1, 40), np.nan)}, "gender"),
        ({"dob": np.full((1, 40), 200.0)}, "age"),
    ],
    ids=["no gender", "before year 1"],
)
def test_data_of_which_cleaning_leaves_nothing(hexaface, tmp_path: Path, changed: dict, task: str) -> None:
    data = wiki_mat(tmp_path / "data", **changed)
    assert_refused(
        hexaface("run", task, "--data", data, *COMPACT[task]),
        str(data),
        "no records for the split train, eval, test",
    )


@pytest.mark.e2e
def test_malformed_names_of_utkface(hexaface, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "UTKFace"
    folder.mkdir(parents=True)
    for number in range(37):
        noise = Image.effect_noise((64, 64), 60).convert("RGB")
        noise.save(folder / f"{20 + number}_{number % 2}_{number % 5}_2017{number:04d}.jpg")
    for name in ("39_1_20170116174525125.jpg", "20_7_0_20170116174525125.jpg", "holiday.jpg"):
        noise.save(folder / name)
    assert_refused(
        hexaface("run", "gender", "--data", tmp_path / "data", *COMPACT["gender"]),
        "3 of 40 records rejected (7.5%)",
        "data.max_rejected_fraction=0.01",
        "1 x file name: expected age_gender_race_date.jpg",
        "UTKFace/",
    )


@pytest.mark.e2e
def test_too_few_images_to_judge_on_are_no_blessing(hexaface, tmp_path: Path) -> None:
    """A model that was judged on two pictures is not pushed, whatever it got right."""
    write_imdb_wiki(tmp_path / "data", 60, seed=1)
    answer = hexaface(
        *("run", "gender", "--data", tmp_path / "data", "--set", "train.epochs=1"),
        *COMPACT["gender"],
        *("--set", "evaluation.min_accuracy=0.0", "--set", "evaluation.min_images=500"),
    )
    assert answer.code == 3, answer.err
    assert "images to judge on" in answer.out
    assert "at least 500" in answer.out
    assert not list((tmp_path / "workspace" / "models").glob("gender/*"))
