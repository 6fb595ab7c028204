"""The imbalance study, with small generators whose balance is known and a gender model that errs."""

import dataclasses
import html
import io
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import toy_synthesis
from PIL import Image
from test_bad_input import assert_refused

from components.evaluation.shares import Rates
from components.readers.catalog import SPLIT_NOTES
from data_validation.errors import InputError
from data_validation.ingestion import Ingestion
from pipelines import settings, study_cli
from pipelines.classifier import Classifier
from pipelines.face_sheets import sheet
from pipelines.generator import Generator
from pipelines.imbalance_report import RESULTS_FILE, balance_rows, metrics, write_report
from pipelines.imbalance_study import (
    RealResult,
    StudyOptions,
    StudyResult,
    TrainedGenerator,
    balanced,
    common_size,
    gender_model,
    held_back,
    measure,
    part_name,
)
from pipelines.pushed_model import PushedModel
from pipelines.settings import Workspace

OPTIONS = StudyOptions(faces=20, rounds=4, seed=5, real=100)
# Shares of men that the toy makes with these shifts: its first latent is normal.
SHIFTS = {0.3: -1.0, 0.7: 1.0}
MODEL = f"gender/{toy_synthesis.VERSION}"


def picture(value: int, size: tuple[int, int] = (89, 109)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def write_examples(folder: Path, male: int, female: int) -> Path:
    """Examples as FaceExampleGen writes them, bright faces for men; one woman of four is as bright."""
    (folder / "Split-train").mkdir(parents=True)
    genders = ["male"] * male + ["female"] * female + ["unknown"]
    write_split(folder, "train", [(gender, b"not looked at") for gender in genders])
    # By these the gender model may have chosen its classifier.
    write_split(folder, "eval", [("male", picture(100 + number)) for number in range(30)])
    men = [("male", picture(150 + number)) for number in range(40)]
    women = [("female", picture(20 + number if number % 4 else 190 + number)) for number in range(48)]
    write_split(folder, "test", [*men, *women, ("unknown", picture(9))])
    Ingestion(
        span=0,
        content_fingerprint=f"of {male} and {female}",
        records={("train", "celeba", (("gender", "male"),)): male},
    ).save(folder)
    return folder


def write_split(folder: Path, split: str, faces: list[tuple[str, bytes]]) -> None:
    (folder / f"Split-{split}").mkdir(exist_ok=True)
    file = folder / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"
    with tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for gender, image in faces:
            values = {"gender": gender.encode(), "image/encoded": image}
            features = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for name, value in values.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[TrainedGenerator]:
    folder = tmp_path_factory.mktemp("trained")
    return [
        TrainedGenerator(
            male,
            toy_synthesis.save(folder / part_name(male), shift),
            write_examples(
                folder / f"{part_name(male)}-examples", round(100 * male), round(100 - 100 * male)
            ),
        )
        for male, shift in SHIFTS.items()
    ]


@pytest.fixture(scope="module")
def saved_gender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_synthesis.save_gender(tmp_path_factory.mktemp("gender") / str(toy_synthesis.VERSION))


@pytest.fixture(scope="module")
def classifier(saved_gender: Path) -> Classifier:
    return Classifier(PushedModel(saved_gender, "sample"), "gender")


@pytest.fixture(scope="module")
def measured(trained: list[TrainedGenerator], classifier: Classifier) -> tuple[StudyResult, float]:
    """The results, and how many faces the gender model was said to have been asked about."""
    advanced: list[float] = []
    return measure(trained, classifier, OPTIONS, advanced.append), sum(advanced)


# ---- measuring


def test_what_generators_make_is_counted(measured: tuple[StudyResult, float]) -> None:
    result, asked = measured
    few, many = result.balances
    assert [(each.male_wanted, each.training_images, each.training_male) for each in (few, many)] == [
        (0.3, 100, 0.3),
        (0.7, 100, 0.7),
    ]
    assert few.data_fingerprint == "of 30 and 70"
    assert len(few.male_counts) == len(many.male_counts) == 4
    # Phi(-1) and Phi(1) of the faces are bright, nearly: 80 faces each.
    assert few.share == pytest.approx(0.16, abs=0.12)
    assert many.share == pytest.approx(0.84, abs=0.12)
    assert few.interval.low <= few.share <= few.interval.high < many.interval.low
    assert asked == 2 * 80 + result.real.images


def test_the_same_seeds_give_the_same_counts(
    trained: list[TrainedGenerator], classifier: Classifier, measured: tuple[StudyResult, float]
) -> None:
    later = dataclasses.replace(OPTIONS, seed=6, rounds=3)
    again = measure(trained[:1], classifier, later, lambda count: None)
    assert again.balances[0].male_counts == measured[0].balances[0].male_counts[1:]


def test_the_gender_models_own_errors_are_measured(measured: tuple[StudyResult, float]) -> None:
    real = measured[0].real
    # Both generators' data hold the same faces, which count once.
    assert (real.images, real.labelled_male) == (88, pytest.approx(40 / 88))
    assert (real.called_male, real.accuracy) == (pytest.approx(52 / 88), pytest.approx(76 / 88))
    assert real.rates == (1.0, 0.75, 40, 48)
    assert real.sources == ("celeba",)


def test_real_faces_are_always_the_same_ones(trained: list[TrainedGenerator]) -> None:
    examples = [each.examples for each in trained]
    every, some = held_back(examples, 100), held_back(examples[1:], 5)
    assert (len(every), some) == (88, every[:5])


def test_copies_of_training_images_are_not_held_back(tmp_path: Path, trained: list[TrainedGenerator]) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(trained[0].examples, folder)
    write_split(folder, "train", [("male", picture(150)), ("unknown", picture(21))])
    examples = [trained[1].examples, folder]
    left = {face.image for face in held_back(examples, 100)}
    every = {face.image for face in held_back(examples[:1], 100)}
    assert left == every - {picture(150), picture(21)}
    write_split(folder, "train", [("male", face) for face in sorted(every)])
    with pytest.raises(InputError, match="in no training set, found none"):
        held_back([folder], 100)


def test_data_without_genders(
    tmp_path: Path, trained: list[TrainedGenerator], classifier: Classifier
) -> None:
    folder = write_examples(tmp_path / "examples", 0, 0)
    without = dataclasses.replace(trained[0], examples=folder)
    with pytest.raises(InputError, match="examples: gender: expected female or male in the training split"):
        measure([without], classifier, OPTIONS, lambda count: None)
    write_split(folder, "test", [("unknown", picture(9))])
    with pytest.raises(InputError, match="gender: expected labelled faces in the split test"):
        held_back([folder], 10)


# ---- results


def test_the_report(
    tmp_path: Path,
    classifier: Classifier,
    measured: tuple[StudyResult, float],
    trained: list[TrainedGenerator],
) -> None:
    result, _ = measured
    about = {"date": "2020-04-01T00:00:00Z", "settings": {"train": {"epochs": 3}}}
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "faces_male-99.png").touch()
    write_report(tmp_path, result, OPTIONS, classifier, about)
    page = (tmp_path / "report.html").read_text()
    rows = balance_rows(result)
    for text in (
        *(MODEL, "settings.train.epochs", "45.5 %", "59.1 %", *rows[0].values()),
        "about four fifths of which are for training",
        "Whether the gender model was trained on some of them is not known here",
        html.escape(SPLIT_NOTES["celeba"]),
    ):
        assert text in page, text
    # Raw and corrected, (p + 0.75 - 1) / 0.75, side by side.
    share = result.balances[1].share
    corrected = (share + 0.75 - 1) / 0.75
    assert rows[1]["called male (mean)"] == f"{100 * share:.1f} %"
    assert rows[1]["corrected"] == f"{100 * corrected:.1f} %"
    assert rows[1]["called male if repeated"] == f"{100 * (0.7 + 0.3 * 0.25):.1f} %"
    with Image.open(tmp_path / "figures" / "rounds.png") as chart:
        assert chart.width > 900
    # The first faces of the first round, in a square; none of an earlier study.
    assert len(list((tmp_path / "figures").iterdir())) == 3
    for each, trained_generator in zip(result.balances, trained, strict=True):
        name = part_name(each.male_wanted)
        assert f'src="figures/faces_{name}.png"' in page
        faces = Generator(trained_generator.model, name, "").faces(OPTIONS.seed, 16)
        with Image.open(tmp_path / "figures" / f"faces_{name}.png") as drawn:
            np.testing.assert_array_equal(np.asarray(drawn), np.asarray(sheet(faces, 2)))
            assert "generated" in drawn.info["Description"]
    values = json.loads((tmp_path / RESULTS_FILE).read_text())
    found = values["balances"][1]["corrected"]
    assert found["share"] == found["estimate"] == pytest.approx(corrected)
    assert values["balances"][1]["male_counts"] == list(result.balances[1].male_counts)
    assert values["real"]["specificity"] == 0.75
    assert metrics(result)["male-70/called_male"] == share


def test_a_gender_model_that_knows_one_class_only(
    tmp_path: Path, classifier: Classifier, measured: tuple[StudyResult, float]
) -> None:
    only_men = RealResult(5, 1.0, 1.0, 1.0, Rates(1.0, math.nan, 5, 0))
    result = dataclasses.replace(measured[0], real=only_men)
    row = balance_rows(result)[0]
    assert (row["corrected"], row["called male if repeated"]) == ("undefined", "-")
    write_report(tmp_path, result, OPTIONS, classifier, {"date": "today"})
    text = (tmp_path / RESULTS_FILE).read_text()
    assert "NaN" not in text and json.loads(text)["balances"][0]["corrected"] is None
    assert "male-30/corrected_male" not in metrics(result)


def test_a_share_that_cannot_be(
    tmp_path: Path, classifier: Classifier, measured: tuple[StudyResult, float]
) -> None:
    """Of real women, it calls one of two male; but of the generated faces of both nearly none."""
    real = RealResult(800, 0.5, 0.75, 0.75, Rates(1.0, 0.5, 400, 400))
    balance = dataclasses.replace(measured[0].balances[0], male_counts=(1, 0, 0, 1))
    result = dataclasses.replace(measured[0], balances=(balance, balance), real=real)
    row = balance_rows(result)[0]
    assert row["corrected"] == "outside 0 to 100 %: the model errs otherwise on these faces"
    assert (row["95 % corrected"], "male-30/corrected_male" in metrics(result)) == ("", False)
    write_report(tmp_path, result, OPTIONS, classifier, {"date": "today"})
    found = json.loads((tmp_path / RESULTS_FILE).read_text())["balances"][0]["corrected"]
    assert found == {"estimate": pytest.approx((0.025 - 0.5) / 0.5), "share": None, "interval": None}


def test_mlflow_gets_it_and_may_be_away(
    tmp_path: Path,
    classifier: Classifier,
    measured: tuple[StudyResult, float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = Workspace.at(tmp_path).for_samples()
    folder, about = place.studies("imbalance"), {"date": "2020-04-01T00:00:00Z", "settings": {"a": 1}}
    write_report(folder, measured[0], OPTIONS, classifier, about)
    # A generator's workspace lies there too, and is no part of the report.
    (folder / "male-30").mkdir()
    study_cli._track(place, folder, measured[0], about)
    client = mlflow.MlflowClient(place.tracking_uri)
    experiment = client.get_experiment_by_name("imbalance-study-demo")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.data.params["settings.a"]) == ("FINISHED", "1")
    assert run.data.metrics["male-30/called_male"] == measured[0].balances[0].share
    kept = {file.path for file in client.list_artifacts(run.info.run_id, "report")}
    assert kept == {f"report/{name}" for name in ("report.html", RESULTS_FILE, "tables", "figures")}
    capsys.readouterr()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'no' / 'such' / 'folder'}/mlflow.db")
    (tmp_path / "no").write_text("a file")
    study_cli._track(place, folder, measured[0], about)
    assert "MLflow does not answer, this study is not tracked" in capsys.readouterr().err


# ---- what is asked


@pytest.mark.parametrize(
    ("folders", "balances", "most", "size"),
    [
        # All balances can be had with 70 men and 70 women, of 100.
        ([(80, 70)], (0.3, 0.5, 0.7), 0, 100),
        ([(80, 70)], (0.3, 0.5, 0.7), 60, 60),
        ([(400, 600)], (0.5,), 0, 800),
        ([(400, 600)], (0.0, 1.0), 0, 400),
        ([(400, 600), (30, 70)], (0.3,), 0, 100),
        ([(0, 600)], (0.0, 0.5), 0, 0),
    ],
)
def test_common_size(
    folders: list[tuple[int, int]], balances: tuple[float, ...], most: int, size: int
) -> None:
    counts = [{"male": male, "female": female} for male, female in folders]
    assert common_size(counts, balances, most) == size


def test_balanced_settings() -> None:
    values = settings.load("demo", "synthesis", ["train.epochs=3"])
    changed = balanced(values, 0.3, 500)
    assert (changed.data.balance.male, changed.data.max_images) == (0.3, 500)
    assert changed.train == values.train
    assert [part_name(share) for share in (0.3, 0.55, 1.0)] == ["male-30", "male-55", "male-100"]


def test_the_gender_model_knows_such_faces(tmp_path: Path, saved_gender: Path) -> None:
    place = Workspace.at(tmp_path)
    shutil.copytree(saved_gender, toy_synthesis.place_of(place.for_samples(), "gender"))
    with pytest.raises(InputError, match=re.escape("run `hexaface run gender --data DIR` first")):
        gender_model(place)
    assert gender_model(place.for_samples()).source == "sample"
    shutil.copytree(saved_gender, toy_synthesis.place_of(place, "gender"))
    assert (gender_model(place).source, gender_model(place.for_samples()).source) == ("real", "sample")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--male", "1.5"), "--male 1.5: expected a share from 0 to 1"),
        (("--male", "nan"), "--male nan: expected a share from 0 to 1"),
        (("--male", "0.3", "--male", "0.3"), "--male 0.3: given twice"),
        (("--male", "0", *("--male", "0.1") * 9), "--male: expected at most 9 balances, found 10"),
        (("--faces", "0"), "--faces 0: expected 1 to 1000"),
        (("--rounds", "1"), "--rounds 1: expected 2 to 1000"),
        (("--seed", "-1"), "--seed -1: expected 0 to"),
        (("--real", "0"), "--real 0: expected 1 to 100000"),
        (("--set", "data.balance.male=0.5"), "data.balance.male: expected none, since the study sets it"),
        (("--set", "train.epoch=1"), "unknown setting train.epoch"),
        ((), "no gender model of drawn faces has been pushed, and the study asks it about faces; run "),
        (("--data", "DIR"), "DIR: expected a data folder, found nothing"),
    ],
)
def test_wrong_words(hexaface: Callable, arguments: tuple[str, ...], words: str) -> None:
    assert_refused(hexaface("study", "imbalance", *arguments), words)


@pytest.fixture
def workspace(tmp_path: Path, saved_gender: Path) -> Workspace:
    """The workspace of the `hexaface` fixture, with a gender model of real data."""
    place = Workspace.at(tmp_path / "workspace")
    shutil.copytree(saved_gender, toy_synthesis.place_of(place, "gender"))
    return place


def write_celeba(folder: Path, men: int, women: int, attributes: bool = True) -> Path:
    """Images that nobody decodes."""
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06d}.jpg" for number in range(men + women)]
    for name in names:
        (folder / "img_align_celeba" / name).touch()
    lines = [f"{name} {1 if number < men else -1}" for number, name in enumerate(names)]
    if attributes:
        (folder / "list_attr_celeba.txt").write_text("\n".join([str(len(names)), "Male", *lines, ""]))
    return folder


def test_faces_of_real_data_are_asked_of_a_model_of_real_data(hexaface: Callable, tmp_path: Path) -> None:
    folder = write_celeba(tmp_path / "data", 3, 3)
    answer = hexaface("study", "imbalance", "--data", folder)
    assert_refused(answer, "no gender model of real data has been pushed", "`hexaface run gender --data DIR`")


def test_data_without_attributes(hexaface: Callable, workspace: Workspace, tmp_path: Path) -> None:
    folder = write_celeba(tmp_path / "data", 3, 3, attributes=False)
    answer = hexaface("study", "imbalance", "--data", folder)
    assert_refused(answer, f"error: {folder}: expected list_attr_celeba.txt, found none")


def test_the_smallest_folder_is_named(hexaface: Callable, workspace: Workspace, tmp_path: Path) -> None:
    large, small = write_celeba(tmp_path / "large", 40, 40), write_celeba(tmp_path / "small", 3, 20)
    study = ("study", "imbalance", "--data", large, "--data", small, "--set", "train.batch_size=16")
    words = f"(twice train.batch_size), found 6: {small} has 3 male and 20 female"
    assert_refused(hexaface(*study, "--male", 0.5), "--male: expected at least 32 images", words)
    answer = hexaface(*study[:4], *study[6:], "--male", 0.5, "--set", "data.max_images=31")
    assert_refused(answer, "data.max_images: expected at least 32 (twice train.batch_size), found 31")


def test_generated_and_real_faces_have_one_size() -> None:
    from pipelines.imbalance_study import as_small

    (small,) = as_small([picture(120)], 76, 64)
    with Image.open(io.BytesIO(small)) as image:
        assert image.size == (64, 76)
        np.testing.assert_array_equal(np.asarray(image), 120)
