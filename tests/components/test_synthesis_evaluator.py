"""Generators judged by features: what is measured, what is written, what is blessed."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import tensorflow as tf
import toy_generator
from toy_generator import face_like

from components.compat import tfx
from components.evaluation.page import Page
from components.evaluation.report import EvaluationReport
from components.evaluation.synthesis_extractors import extractor_note, inception, open_extractor
from components.evaluation.synthesis_results import (
    Reference,
    SynthesisResults,
    drawn,
    gender_metrics,
    load_verdicts,
    synthesis_verdicts,
)
from components.synthesis_evaluator import SynthesisEvaluator
from components.tracking import log_report
from data_validation.errors import InputError
from data_validation.ingestion import Ingestion

EVAL, TEST = (("split", "eval"),), (("split", "test"),)
THRESHOLDS = {
    "extractor": "embedding",
    "extractor_weights": "",
    "extractor_weights_sha256": "",
    "images": 60,
    "max_position": 0.5,
    "max_position_rise": 0.05,
    "min_diversity": 0.5,
    "max_similar": 0.5,
    "max_copies": 0.5,
    "min_images": 40,
}
COUNTS = {"train": 150, "eval": 50, "test": 45}
standard = tfx.types.standard_artifacts


# What is measured


def features(seed: int, count: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (count, 6)).astype(np.float32)


def test_position_lies_between_floor_and_ceiling() -> None:
    held, training, noise = features(1, 50), features(2, 120), features(3, 50, 4.0)
    reference = Reference("eval", held, training, noise, seed=1)
    floor = reference.measure(training[drawn(120, 50, seed=1)])
    assert (floor["frechet_position"], floor["frechet"]) == (0.0, floor["frechet_floor"])
    ceiling = reference.measure(noise)
    assert (ceiling["frechet_position"], ceiling["kernel_distance"]) == (1.0, ceiling["kernel_ceiling"])
    halfway = reference.measure(features(4, 50, 2.0))
    assert 0.1 < halfway["frechet_position"] < 0.5  # a squared distance: about a quarter
    assert 0.0 < halfway["frechet_floor"] < halfway["frechet"] < halfway["frechet_ceiling"]
    assert next(iter(halfway)) == "frechet_position"
    assert halfway["support"] == 50
    assert -0.05 < reference.measure(held)["frechet_position"] < 0.0


def test_a_generator_of_one_face_is_not_diverse() -> None:
    reference = Reference("eval", features(1, 50), features(2, 120), features(3, 50, 4.0), seed=1)
    one = reference.measure(np.repeat(features(4, 1), 50, axis=0))
    assert (one["diversity"], one["similar"]) == (0.0, 1.0)
    many = reference.measure(features(5, 50))
    assert many["diversity"] == pytest.approx(1.0, abs=0.15)
    assert many["similar"] < 0.1


def test_copies_are_nearer_than_strangers() -> None:
    training = features(2, 120)
    reference = Reference("eval", features(1, 50), training, features(3, 50, 4.0), seed=1)
    copied = reference.measure(training[50:100])
    assert (copied["training_ratio"], copied["copies"]) == (0.0, 1.0)
    strange = reference.measure(features(5, 50))
    assert strange["training_ratio"] == pytest.approx(1.0, abs=0.2)
    assert strange["copies"] < 0.1
    _, ratios, places = reference.to_training(training[[7, 3]])
    assert (ratios.tolist(), places.tolist()) == ([0.0, 0.0], [7, 3])


def test_an_extractor_that_takes_noise_for_faces_is_refused() -> None:
    with pytest.raises(InputError, match=r"evaluation\.extractor: .* split test than training .* found 0\."):
        Reference("test", features(1, 50), features(2, 120, 3.0), features(3, 50), seed=1)


def test_rows_are_drawn_by_lot() -> None:
    rows = drawn(300, 100, seed=1)
    assert len(set(rows.tolist())) == 100
    assert (np.diff(rows) > 0).all()
    # Of data that repeat every third row, each kind is there.
    assert min(Counter((rows % 3).tolist()).values()) > 20
    assert drawn(300, 100, seed=2).tolist() != rows.tolist() == drawn(300, 100, seed=1).tolist()
    assert drawn(3, 5, seed=1).tolist() == [0, 1, 2]


def test_gender_metrics_count_known_labels() -> None:
    generated = np.array(["female", "female", "male", "female"])
    held = np.array(["female", "male", "male", "female"])
    found = gender_metrics(generated, held, np.array(["female", "female", "unknown", "male"]))
    assert found == {
        "female_generated": 0.75,
        "female_held_back": 0.5,
        "female_held_back_labelled": pytest.approx(2 / 3),
        "gender_accuracy": pytest.approx(1 / 3),
    }
    unknown = gender_metrics(generated, held, np.array(["unknown"] * 4))
    assert list(unknown) == ["female_generated", "female_held_back"]


@pytest.mark.parametrize(
    ("changed", "baseline", "failed"),
    [
        ({}, None, []),
        ({"frechet_position": 0.3, "diversity": 0.9}, 0.25, []),
        ({"frechet_position": 0.51}, None, ["frechet_position"]),
        ({"frechet_position": 0.4}, 0.3, ["frechet_position against the latest blessed model"]),
        ({"diversity": 0.49}, None, ["diversity"]),
        ({"similar": 0.51}, None, ["similar"]),
        ({"copies": 0.51}, None, ["copies"]),
        ({"support": 39.0}, None, ["images to judge on"]),
    ],
)
def test_verdicts(changed: dict[str, float], baseline: float | None, failed: list[str]) -> None:
    just = {"frechet_position": 0.5, "diversity": 0.5, "similar": 0.5, "copies": 0.5, "support": 40.0}
    before = None if baseline is None else {"frechet_position": baseline}
    verdicts = synthesis_verdicts(THRESHOLDS, {**just, **changed}, before)
    assert [verdict.metric for verdict in verdicts if not verdict.passed] == failed
    rules = [
        "at most 0.5",
        "at most 0.05 higher",
        "at least 0.5",
        "at most 0.5",
        "at most 0.5",
        "at least 40",
    ]
    assert [verdict.rule for verdict in verdicts] == rules


# The node


@dataclass(frozen=True)
class Faces:
    """Examples, and what is in them."""

    folder: Path
    images: dict[str, np.ndarray]
    genders: dict[str, list[str]]


def example(image: np.ndarray, gender: str) -> bytes:
    feature = {
        "image/encoded": tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[tf.io.encode_png(image).numpy()])
        ),
        "gender": tf.train.Feature(bytes_list=tf.train.BytesList(value=[gender.encode()])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Faces:
    """Two thirds are female and red, a tenth is labelled wrongly, and every twentieth label is unknown."""
    folder = tmp_path_factory.mktemp("examples")
    images, genders = {}, {}
    for seed, (split, count) in enumerate(COUNTS.items()):
        female = [row % 3 > 0 for row in range(count)]
        images[split] = face_like(seed, count, female)
        wrong = [row % 10 == 5 for row in range(count)]
        genders[split] = [
            "unknown" if row % 20 == 0 else "female" if tint != error else "male"
            for row, (tint, error) in enumerate(zip(female, wrong, strict=True))
        ]
        (folder / f"Split-{split}").mkdir()
        # In two files: rows are counted over all of them.
        for part in range(2):
            file = str(folder / f"Split-{split}" / f"data-{part}.gz")
            with tf.io.TFRecordWriter(file, "GZIP") as writer:
                half = slice(part * count // 2, (part + 1) * count // 2)
                for image, gender in zip(images[split][half], genders[split][half], strict=True):
                    writer.write(example(image, gender))
    records = Counter(
        (split, "celeba", (("face", "yes"), ("gender", gender)))
        for split, found in genders.items()
        for gender in found
    )
    Ingestion(span=0, content_fingerprint="0" * 64, records=dict(records)).save(folder)
    return Faces(folder, images, genders)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, faces: Faces) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    banks = {
        "strangers": face_like(9, 200),
        "copies": faces.images["train"],
        "one": face_like(9, 1),
    }
    for name, bank in banks.items():
        toy_generator.save_generator(folder / name / "Format-Serving", bank)
    toy_generator.save_embedding(folder / "embedding" / "Format-Serving")
    toy_generator.save_gender(folder / "gender" / "Format-Serving")
    return {name: folder / name for name in (*banks, "embedding", "gender")}


@dataclass(frozen=True)
class Judged:
    results: SynthesisResults
    failed: list[str]
    blessing: Any
    evaluation: Any

    @property
    def marks(self) -> list[str]:
        return [file.name for file in Path(self.blessing.uri).iterdir()]


def artifact(kind: type, folder: Path, number: int = 0) -> Any:
    made = kind()
    made.uri, made.id = str(folder), number
    return made


@pytest.fixture(scope="module")
def judge(
    faces: Faces, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Judged]:
    """Runs the node as TFX does."""

    def run(
        name: str, baseline: str = "", gender: bool = True, data: Path = faces.folder, **changes: float
    ) -> Judged:
        examples = artifact(standard.Examples, data)
        examples.split_names = json.dumps(list(COUNTS))
        inputs = {
            "examples": [examples],
            "model": [artifact(standard.Model, models[name], 2)],
            "embedding_model": [artifact(standard.Model, models["embedding"], 3)],
        }
        if baseline:
            inputs["baseline_model"] = [artifact(standard.Model, models[baseline], 1)]
        if gender:
            inputs["gender_model"] = [artifact(standard.Model, models["gender"], 4)]
        output = tmp_path_factory.mktemp(name)
        evaluation = artifact(standard.ModelEvaluation, output / "evaluation")
        blessing = artifact(standard.ModelBlessing, output / "blessing")
        SynthesisEvaluator.EXECUTOR_SPEC.executor_class().Do(
            inputs,
            {"evaluation": [evaluation], "blessing": [blessing]},
            {
                "thresholds": json.dumps({**THRESHOLDS, **changes}),
                "cache": str(output / "cache"),
                "code_fingerprint": "x",
            },
        )
        folder = Path(evaluation.uri)
        failed = [each.metric for each in load_verdicts(folder) if not each.passed]
        return Judged(SynthesisResults.load(folder), failed, blessing, evaluation)

    return run


@pytest.fixture(scope="module")
def strangers(judge: Callable[..., Judged]) -> Judged:
    """Faces that are like those of the splits, and none of them."""
    return judge("strangers")


@pytest.fixture(scope="module")
def one(judge: Callable[..., Judged]) -> Judged:
    """The same face each time; the blessed model before it knew many."""
    return judge("one", baseline="strangers", gender=False)


def test_faces_of_strangers_are_blessed(strangers: Judged, faces: Faces) -> None:
    judged = strangers
    assert (judged.failed, judged.marks) == ([], ["BLESSED"])
    assert judged.blessing.get_int_custom_property("current_model_id") == 2
    assert list(judged.results.metrics) == [EVAL, TEST]
    for key in (EVAL, TEST):
        found = judged.results.metrics[key]
        assert found["support"] == COUNTS[dict(key)["split"]]
        assert found["frechet_floor"] < found["frechet"] < 0.3 * found["frechet_ceiling"]
        assert found["diversity"] == pytest.approx(1.0, abs=0.15)
        assert found["training_ratio"] == pytest.approx(1.0, abs=0.3)
        # The toy knows all of them; a tenth of the labels is wrong.
        assert found["gender_accuracy"] == pytest.approx(0.9, abs=0.02)
        assert found["female_held_back"] == pytest.approx(2 / 3, abs=0.02)
        assert found["female_generated"] == pytest.approx(0.5, abs=0.15)
        assert list(found)[-1] == "support"
    assert judged.results.labels == dict(Counter(faces.genders["train"]))
    look = judged.results.look
    assert (look.seed, look.searched, look.training) == (1, 150, 150)
    assert look.extractor.startswith("embedding ")


def test_the_same_images_are_judged_each_time(judge, strangers: Judged) -> None:
    again = judge("strangers")
    assert again.results.metrics == strangers.results.metrics
    np.testing.assert_array_equal(again.results.pictures.generated, strangers.results.pictures.generated)
    assert len(again.results.pictures.generated) == again.results.selection["support"] == 50


def test_copies_of_training_images_are_told_and_refused(judge, faces: Faces) -> None:
    judged = judge("copies", gender=False)
    assert (judged.failed, judged.marks) == (["copies"], ["NOT_BLESSED"])
    found = judged.results
    # Batches of other sizes may differ in the last digit.
    assert found.selection["training_ratio"] == pytest.approx(0.0, abs=1e-5)
    assert found.selection["copies"] == 1.0
    pictures = found.pictures
    np.testing.assert_allclose(pictures.ratios, np.zeros(16), atol=1e-5)
    # Found again in the files: the very images.
    np.testing.assert_array_equal(pictures.closest, pictures.nearest)
    rows = [(faces.images["train"] == image).all(axis=(1, 2, 3)).any() for image in pictures.nearest]
    assert all(rows)


def test_one_face_is_refused_against_a_baseline(one: Judged) -> None:
    assert one.failed[-2:] == ["diversity", "similar"]
    assert "frechet_position against the latest blessed model" in one.failed
    assert one.marks == ["NOT_BLESSED"]
    assert one.blessing.get_int_custom_property("baseline_model_id") == 1
    assert one.results.selection["diversity"] == pytest.approx(0.0, abs=1e-5)
    assert one.results.selection["similar"] == 1.0


def test_too_few_images_to_compare_are_refused(judge, faces: Faces, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for split, count in {"train": 30, "eval": 19, "test": 30}.items():
        (few / f"Split-{split}").mkdir(parents=True)
        with tf.io.TFRecordWriter(str(few / f"Split-{split}" / "data.gz"), "GZIP") as writer:
            for image in faces.images["train"][:count]:
                writer.write(example(image, "female"))
    with pytest.raises(InputError) as caught:
        judge("strangers", data=few)
    assert str(caught.value) == (
        "split eval: expected at least 20 images, and as many training images; found 19 and 30"
    )


# Inception


@pytest.mark.slow
def test_inception_with_weights_of_a_file(tmp_path: Path) -> None:
    network = inception()
    network.save_weights(tmp_path / "weights.h5")
    sha256 = hashlib.sha256((tmp_path / "weights.h5").read_bytes()).hexdigest()
    settings = {
        "extractor": "inception",
        "extractor_weights": str(tmp_path / "weights.h5"),
        "extractor_weights_sha256": sha256,
    }
    extractor = open_extractor(settings, "", tmp_path)
    assert extractor.name == f"inception {sha256[:8]}"
    pixels = face_like(1, 2)
    resized = tf.image.resize(tf.cast(pixels, tf.float32), (299, 299), antialias=True) / 127.5 - 1.0
    np.testing.assert_allclose(extractor(pixels), network(resized, training=False), rtol=1e-4, atol=1e-5)
    assert extractor(pixels).shape == (2, 2048)
    assert "Frechet inception distances use other weights" in extractor_note(extractor.name)


def test_weights_of_an_extractor_that_are_not_there(tmp_path: Path) -> None:
    settings = {
        "extractor": "inception",
        "extractor_weights": str(tmp_path / "none.h5"),
        "extractor_weights_sha256": "0" * 64,
    }
    with pytest.raises(InputError) as caught:
        open_extractor(settings, "", tmp_path)
    assert str(caught.value) == (
        f"evaluation.extractor_weights: expected a file of weights, found none at {tmp_path}/none.h5"
    )


def test_features_of_embeddings_have_a_mean_square_of_one(models: dict[str, Path], tmp_path: Path) -> None:
    folder = str(models["embedding"] / "Format-Serving")
    found = open_extractor({"extractor": "embedding"}, folder, tmp_path)(face_like(1, 5))
    assert found.shape == (5, 16)
    np.testing.assert_allclose(np.square(found).mean(axis=1), 1.0, rtol=1e-5)


# The report

HISTORY = [
    {
        "epoch": epoch,
        "seconds": 1.0,
        "generator_loss": 1.5 + 0.1 * epoch,
        "discriminator_loss": 1.2 - 0.05 * epoch,
        "real_score": 0.6 + 0.02 * epoch,
        "fake_score": 0.4 - 0.02 * epoch,
        "generator_rate": 0.0002,
        "discriminator_rate": 0.0002,
    }
    for epoch in range(1, 6)
]


def write_report(judged: Judged, faces: Faces, folder: Path) -> Path:
    run, report = folder / "run", folder / "report"
    run.mkdir()
    (run / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in HISTORY))
    inputs = {
        "evaluation": [judged.evaluation],
        "examples": [artifact(standard.Examples, faces.folder)],
        "model_run": [artifact(standard.ModelRun, run)],
    }
    parameters = {
        "title": "Synthesis",
        "kind": "synthesis",
        "label": "face",
        "classes": "[]",
        "thresholds": json.dumps(THRESHOLDS),
        "code_fingerprint": "x",
    }
    output = {"report": [artifact(EvaluationReport.SPEC_CLASS.OUTPUTS["report"].type, report)]}
    EvaluationReport.EXECUTOR_SPEC.executor_class().Do(inputs, output, parameters)
    return report


def test_report(strangers: Judged, faces: Faces, tmp_path: Path) -> None:
    judged = strangers
    report = write_report(judged, faces, tmp_path)
    figures = {file.stem for file in (report / "figures").iterdir()}
    assert figures == {"samples", "positions", "composition", "learning_curves", "funnel"}
    page = (report / "report.html").read_text()
    # Beside the tables of both splits, and the composition.
    assert page.count(f"{judged.results.look}, 50 images of each kind") == 2
    assert page.count(f"{judged.results.look}, 45 images of each kind") == 1
    assert "Searched were 150 of 150 training images" in page
    assert "embeddings of the latest blessed verification model" in page
    table = (report / "tables" / "distances_eval.csv").read_text().splitlines()
    assert table[0] == "compared,frechet,position,kernel distance,standard error"
    assert [row.split(",")[0] for row in table[1:]] == [
        "training images (floor)",
        "generated images",
        "noise (ceiling)",
    ]
    labels = (report / "tables" / "gender_distribution.csv").read_text().splitlines()
    counts = Counter(faces.genders["train"])
    assert labels[1] == f"celeba,{counts['female']},{counts['male']},{counts['unknown']}"
    metrics = json.loads((report / "metrics.json").read_text())
    assert metrics["selection"] == judged.results.selection
    assert next(iter(metrics["test"])) == "frechet_position"


def test_report_without_a_gender_model(one: Judged, faces: Faces, tmp_path: Path) -> None:
    report = write_report(one, faces, tmp_path)
    assert "There was no blessed gender model" in (report / "report.html").read_text()
    assert not (report / "figures" / "composition.png").exists()


def test_training_faces_stay_in_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A database would take seconds to make.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    page = Page(tmp_path / "report", "Synthesis")
    page.figure("samples", "a").write_bytes(b"a")
    page.private_figure("nearest_training", "b").write_bytes(b"b")
    page.save()
    client = mlflow.MlflowClient(str(tmp_path / "store"))
    run = client.create_run(client.create_experiment("synthesis")).info.run_id
    log_report(client, run, tmp_path / "report")
    sent = {file.name for file in (tmp_path / "store").rglob("*") if file.is_file()}
    assert {"report.html", "samples.png"} <= sent
    assert "nearest_training.png" not in sent
