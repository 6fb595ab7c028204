"""Detectors judged by boxes and landmarks: what is measured, what is written, what is blessed."""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.compat import tfx
from components.detection_evaluator import DetectionEvaluator
from components.evaluation.assessments import assessment
from components.evaluation.detection import landmarks_table, size_curves
from components.evaluation.detection_figures import draw_false_positives, draw_precision_recall
from components.evaluation.detection_results import (
    DetectedImage,
    DetectionResults,
    SearchSettings,
    detection_criterion,
    load_verdicts,
    measure,
    slices,
)
from components.evaluation.page import Page
from components.evaluation.report import EvaluationReport
from components.face_example_gen import to_example
from components.readers.catalog import ReaderOptions, open_readers
from components.readers.record import FaceRecord
from components.samples.detection_set import write_face_points, write_wider_face
from data_validation.errors import InputError
from data_validation.ingestion import Ingestion
from trainers.cascade import LONGEST_SIDE, Cascade, CascadeSettings
from trainers.networks.mtcnn import PROPOSAL_SIDE, PROPOSAL_STRIDE

EVAL, TEST = (("split", "eval"),), (("split", "test"),)
THRESHOLDS = {
    "min_ap": 0.9,
    "max_ap_drop": 0.0,
    "min_images": 2,
    "min_face": 15.0,
    "factor": 0.709,
    "proposal_threshold": 0.5,
    "refinement_threshold": 0.55,
    "output_threshold": 0.2,
}
SEARCH = SearchSettings(15.0, 0.709, (0.5, 0.55, 0.2), 1920)


def of(split: tuple, source: str) -> tuple:
    return (*split, ("source", source))


# Landmarks and slices


def image(**changes: Any) -> DetectedImage:
    """A picture of 100x200 with a face of 40 pixels, found exactly; its eyes are 20 pixels apart."""
    face = np.float32([[0.2, 0.2, 0.6, 0.4]])
    points = np.float32([[[0.3, 0.25], [0.3, 0.35], [0.4, 0.3], [0.5, 0.26], [0.5, 0.34]]])
    made = DetectedImage(
        split="eval",
        source="points",
        size=(100, 200),
        faces=face,
        heights=np.float32([40.0]),
        ignored=np.array([False]),
        landmarks=points,
        boxes=face,
        scores=np.float32([0.9]),
        keypoints=points,
    )
    return replace(made, **changes)


NO_POINTS, NO_BOXES = np.zeros((0, 5, 2), np.float32), np.zeros((0, 4), np.float32)
BOXED = {"source": "boxes", "landmarks": NO_POINTS}
UNDETECTED = {"boxes": NO_BOXES, "scores": np.zeros(0, np.float32), "keypoints": NO_POINTS}


def test_landmark_errors_are_shares_of_the_distance_of_the_eyes() -> None:
    moved = image().landmarks.copy()
    moved[0, 0] += (0.03, 0.0)  # 3 pixels of 20
    moved[0, 3] += (0.03, 0.02)  # 3 and 4 pixels: 5
    errors = image(keypoints=moved).landmark_errors()
    np.testing.assert_allclose(errors, [[0.15, 0.0, 0.0, 0.25, 0.0]], atol=1e-6)


def test_a_face_is_found_by_the_detection_around_its_nose() -> None:
    points = image().landmarks
    beside = np.float32([[0.2, 0.31, 0.6, 0.5]])  # the nose is at 0.3
    assert np.isnan(image(boxes=beside).landmark_errors()).all()
    # The larger box has the higher score, but less overlap.
    larger = np.float32([[0.0, 0.0, 1.0, 1.0], *image().faces])
    two = image(boxes=larger, scores=np.float32([0.9, 0.3]), keypoints=np.concatenate([points + 0.1, points]))
    assert two.landmark_errors().tolist() == [[0.0] * 5]
    assert np.isnan(image(**UNDETECTED).landmark_errors()).all()


def test_landmark_metrics_tell_what_was_not_found() -> None:
    moved = image().landmarks + np.float32([0.03, 0.0])
    images = [image(**BOXED), image(), image(keypoints=moved), image(**UNDETECTED)]
    found = measure(images, ["eval"])[EVAL]
    assert found["landmark_faces"] == 3
    assert found["landmarks_found"] == found["landmarks_under_0.1"] * 2 == pytest.approx(2 / 3)
    assert found["landmark_error"] == found["landmark_error_median"] == pytest.approx(0.075, abs=1e-6)
    assert (found["box_images"], found["landmark_images"], found["support"]) == (1, 3, 4)
    nothing = measure([image(**BOXED), image(**UNDETECTED)], ["eval"])[EVAL]
    assert (nothing["landmarks_found"], "landmark_error" in nothing) == (0.0, False)


def test_images_with_landmarks_are_not_judged_by_boxes() -> None:
    images = [image(**BOXED), image(boxes=image().boxes * 0.5)]
    found = measure(images, ["eval"])
    assert found[EVAL]["ap_20"] == 1.0
    assert found[EVAL]["faces_20"] == 1
    assert list(found) == [EVAL, of(EVAL, "boxes"), of(EVAL, "points")]
    assert not any(name.startswith("ap") for name in found[of(EVAL, "points")])
    assert found[of(EVAL, "boxes")]["ap_20"] == 1.0


def test_data_sets_are_slices_where_there_are_several() -> None:
    rows = [("test", "a"), ("eval", "a"), ("eval", "b")]
    keys = [EVAL, of(EVAL, "a"), of(EVAL, "b"), TEST]
    assert list(slices(image(split=split, source=source) for split, source in rows)) == keys


def test_sizes_without_faces_have_no_metrics() -> None:
    found = measure([image(**BOXED)], ["eval"])[EVAL]
    assert next(iter(found)) == "ap_20"
    assert "ap_10" in found
    assert "ap_50" not in found


@pytest.mark.parametrize(
    ("images", "count"),
    [
        ([image(**BOXED, heights=np.float32([19.9]))], 1),
        ([image(**BOXED, ignored=np.array([True]))], 1),
        ([image()], 0),
        ([image(**BOXED, split="test")], 0),
    ],
    ids=["too small", "ignored", "of landmarks", "of another split"],
)
def test_a_split_without_faces_to_judge_by_is_refused(images: list, count: int) -> None:
    with pytest.raises(InputError) as caught:
        measure(images, ["eval"])
    assert str(caught.value) == (
        "split eval: expected faces of 20 pixels or more in images without landmarks, found none in "
        f"{count} such images"
    )


def test_results_are_read_back(tmp_path: Path) -> None:
    images = [image(**BOXED), image(**UNDETECTED), image(split="test")]
    results = DetectionResults(SEARCH, images, measure(images, ["eval"]))
    verdicts = detection_criterion(THRESHOLDS).judge(0.95, None, 30)
    results.save(tmp_path / "deep" / "folder", verdicts)
    again = DetectionResults.load(tmp_path / "deep" / "folder")
    assert again.settings == SEARCH
    assert again.metrics == results.metrics
    assert load_verdicts(tmp_path / "deep" / "folder") == verdicts
    for saved, loaded in zip(images, again.images, strict=True):
        for field in dataclasses.fields(DetectedImage):
            before, after = getattr(saved, field.name), getattr(loaded, field.name)
            np.testing.assert_array_equal(before, after)
            assert np.asarray(before).dtype == np.asarray(after).dtype


# What is blessed


@pytest.mark.parametrize(
    ("precision", "change", "count", "failed"),
    [
        (0.9, 0.0, 2, None),
        (1.0, None, 20, None),
        (0.95, 0.3, 20, None),
        (0.89, None, 20, "ap_20"),
        (1.0, -0.01, 20, "ap_20 against the latest blessed model"),
        (1.0, None, 1, "images to judge on"),
    ],
)
def test_verdicts(precision: float, change: float | None, count: int, failed: str | None) -> None:
    verdicts = detection_criterion(THRESHOLDS).judge(precision, change, count)
    assert [verdict.metric for verdict in verdicts if not verdict.passed] == ([failed] if failed else [])
    assert [verdict.rule for verdict in verdicts] == ["at least 0.9", "at most 0 lower", "at least 2"]


# The node


@dataclass(frozen=True)
class Scenes:
    """Examples as FaceExampleGen writes them, and the records of them."""

    folder: Path
    records: list[FaceRecord]

    def of(self, split: str, source: str) -> list[FaceRecord]:
        return [each for each in self.records if (each.split, each.source) == (split, source)]

    def heights(self, split: str, least: float) -> np.ndarray:
        """Heights of the faces that count."""
        found = [
            each.ragged["boxes/height"][each.ragged["boxes/ignored"] == 0]
            for each in self.of(split, "wider_face")
        ]
        return np.array([height for rows in found for height in rows if height >= least])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    data = tmp_path_factory.mktemp("data")
    write_wider_face(data, 20, seed=2)
    write_face_points(data, 4, seed=2)
    readers = open_readers(data, ReaderOptions(label="boxes"))
    records = [reader.load(item) for reader in readers for item in reader.items()]
    output = tmp_path_factory.mktemp("examples")
    for split in ("eval", "test"):
        (output / f"Split-{split}").mkdir()
        with tf.io.TFRecordWriter(str(output / f"Split-{split}" / "data_tfrecord.gz"), "GZIP") as writer:
            for record in records:
                if record.split == split:
                    writer.write(to_example(record).SerializeToString())
    counts = Counter((each.split, each.source, tuple(sorted(each.labels.items()))) for each in records)
    flags = Counter(
        (each.split, each.source, name, str(value))
        for each in records
        for name in ("boxes/ignored", "boxes/clipped")
        for value in each.ragged[name]
    )
    account = Ingestion(span=0, content_fingerprint="0" * 64, records=dict(counts), flags=dict(flags))
    account.save(output)
    return Scenes(output, records)


def truth(record: FaceRecord) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [F, 4] of a record's faces and points [F, 5, 2], 0 where it has none."""
    edges = np.stack([record.ragged[f"boxes/{edge}"] for edge in ("ymin", "xmin", "ymax", "xmax")], axis=1)
    boxes = edges[record.ragged["boxes/ignored"] == 0]
    points = np.stack([record.ragged["landmarks/y"], record.ragged["landmarks/x"]], axis=1)
    return boxes, points.reshape(-1, 5, 2) if len(points) else np.zeros((len(boxes), 5, 2), np.float32)


class Oracle(tf.Module):
    """Knows the pictures: answers with their faces, if it is asked with THRESHOLDS.

    The k-th of a picture's faces has the score 1 - k / 100; every second is left out by one that knows half.
    """

    def __init__(self, records: list[FaceRecord], step: int) -> None:
        super().__init__()
        answers = [truth(record) for record in records]
        most = max(len(boxes) for boxes, _ in answers)
        self.boxes = tf.constant([filled(boxes[::step], most) for boxes, _ in answers])
        self.points = tf.constant([filled(points[::step], most) for _, points in answers])
        self.counts = tf.constant([len(boxes[::step]) for boxes, _ in answers])
        keys = tf.lookup.KeyValueTensorInitializer(
            tf.constant([record.image for record in records]), tf.range(len(records), dtype=tf.int32)
        )
        self.places = tf.lookup.StaticHashTable(keys, -1)

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, name="image_bytes"),
            tf.TensorSpec([None], tf.float32, name="min_face"),
            tf.TensorSpec([None], tf.float32, name="factor"),
            tf.TensorSpec([None, 3], tf.float32, name="thresholds"),
        ],
    )
    def detect(
        self, image_bytes: tf.Tensor, min_face: tf.Tensor, factor: tf.Tensor, thresholds: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        rows = self.places.lookup(image_bytes)
        asked = tf.concat([min_face[:, None], factor[:, None], thresholds], axis=1)
        expected = tf.constant([[SEARCH.min_face, SEARCH.factor, *SEARCH.thresholds]])
        right = tf.reduce_all(tf.abs(asked - expected) < 1e-6, axis=1)
        boxes = tf.gather(self.boxes, rows)
        scores = 1.0 - tf.range(boxes.shape[1], dtype=tf.float32) / 100.0
        return {
            "detection_boxes": boxes,
            "detection_keypoints": tf.gather(self.points, rows),
            "detection_scores": tf.repeat(scores[None], tf.shape(rows)[0], axis=0),
            "num_detections": tf.where(right, tf.gather(self.counts, rows), 0),
        }


def filled(rows: np.ndarray, most: int) -> np.ndarray:
    return np.pad(rows, [(0, most - len(rows)), *[(0, 0)] * (rows.ndim - 1)])


def saved(module: tf.Module, signatures: Mapping[str, Any], folder: Path) -> Path:
    tf.saved_model.save(module, str(folder / "Format-Serving"), signatures=signatures)
    extra = folder / "Format-Serving" / "assets.extra"
    extra.mkdir(exist_ok=True)
    (extra / "cascade.json").write_text(json.dumps({"longest_side": LONGEST_SIDE}))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, scenes: Scenes) -> dict[str, Path]:
    """One that knows all faces, one that knows half of them, and one that finds nothing."""
    folder = tmp_path_factory.mktemp("models")
    oracles = {"all": Oracle(scenes.records, 1), "half": Oracle(scenes.records, 2)}
    blind = Oracle(scenes.records, 1)
    blind.counts = tf.zeros_like(blind.counts)
    return {
        name: saved(each, {"detect": each.detect.get_concrete_function()}, folder / name)
        for name, each in {**oracles, "none": blind}.items()
    }


@dataclass(frozen=True)
class Judged:
    results: DetectionResults
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


@pytest.fixture
def judge(scenes: Scenes, tmp_path: Path) -> Callable[..., Judged]:
    """Runs the node as TFX does."""
    standard = tfx.types.standard_artifacts

    def run(model: Path, baseline: Path | None = None, **changes: float) -> Judged:
        examples = artifact(standard.Examples, scenes.folder)
        examples.split_names = json.dumps(["train", "eval", "test"])
        inputs = {"examples": [examples], "model": [artifact(standard.Model, model, 2)]}
        if baseline:
            inputs["baseline_model"] = [artifact(standard.Model, baseline, 1)]
        evaluation = artifact(standard.ModelEvaluation, tmp_path / "evaluation")
        blessing = artifact(standard.ModelBlessing, tmp_path / "blessing")
        DetectionEvaluator.EXECUTOR_SPEC.executor_class().Do(
            inputs,
            {"evaluation": [evaluation], "blessing": [blessing]},
            {"thresholds": json.dumps({**THRESHOLDS, **changes}), "code_fingerprint": "x"},
        )
        folder = tmp_path / "evaluation"
        failed = [each.metric for each in load_verdicts(folder) if not each.passed]
        return Judged(DetectionResults.load(folder), failed, blessing, evaluation)

    return run


def test_one_who_knows_all_faces_is_blessed(judge, scenes: Scenes, models: dict[str, Path]) -> None:
    judged = judge(models["all"])
    keys = [
        key for split in (EVAL, TEST) for key in (split, of(split, "face_points"), of(split, "wider_face"))
    ]
    assert list(judged.results.metrics) == keys
    assert judged.results.settings == SEARCH
    for split in ("eval", "test"):
        found = judged.results.metrics[("split", split),]
        for size in (10, 20, 50):
            assert found[f"ap_{size}"] == found[f"recall_{size}_at_0.1_fp"] == 1.0
            assert found[f"faces_{size}"] == len(scenes.heights(split, size)) > 0
        assert found["box_images"] == len(scenes.of(split, "wider_face"))
        assert found["landmark_images"] == found["landmark_faces"] == len(scenes.of(split, "face_points"))
        assert (found["landmark_error"], found["landmarks_found"]) == (0.0, 1.0)
    assert (judged.failed, judged.marks) == ([], ["BLESSED"])
    assert judged.blessing.get_int_custom_property("current_model_id") == 2


def test_one_who_knows_half_of_the_faces_is_refused(judge, scenes: Scenes, models: dict[str, Path]) -> None:
    judged = judge(models["half"], baseline=models["all"])
    found = judged.results.selection
    seen = [
        height
        for record in scenes.of("eval", "wider_face")
        for height in record.ragged["boxes/height"][record.ragged["boxes/ignored"] == 0][::2]
        if height >= 20.0
    ]
    recall = len(seen) / found["faces_20"]
    assert 0.0 < recall < 1.0
    assert found["recall_20_at_0.1_fp"] == pytest.approx(recall)
    # Nothing is wrong, so the precision is 1 up to this recall.
    assert found["ap_20"] == pytest.approx((int(recall * 100 + 1e-9) + 1) / 101)
    assert judged.failed == ["ap_20", "ap_20 against the latest blessed model"]
    assert judged.marks == ["NOT_BLESSED"]
    assert judged.blessing.get_int_custom_property("baseline_model_id") == 1


def test_one_who_finds_nothing_is_refused_and_reported(
    judge, models: dict[str, Path], tmp_path: Path
) -> None:
    judged = judge(models["none"], min_images=3)
    found = judged.results.selection
    assert found["ap_20"] == found["recall_50_at_1_fp"] == found["landmarks_found"] == 0.0
    # Two images have boxes; the one with landmarks is not counted.
    assert judged.failed == ["ap_20", "images to judge on"]
    assert judged.marks == ["NOT_BLESSED"]
    curves = size_curves(judged.results.images, "eval")
    for number, draw in enumerate((draw_precision_recall, draw_false_positives)):
        draw(tmp_path / f"{number}.png", curves, "nothing", str(SEARCH))
        assert (tmp_path / f"{number}.png").stat().st_size > 0
    table = landmarks_table(judged.results)
    assert table["found"].tolist() == [0.0] * 4
    assert table["error"].isna().all()


def all_proposed(images: tf.Tensor) -> dict[str, tf.Tensor]:
    """In P-Net's place: no window is more of a face than another."""
    places = 0.0 * tf.nn.avg_pool2d(images[..., :1], PROPOSAL_SIDE, PROPOSAL_STRIDE, "VALID")
    return {"face": tf.repeat(places, 2, axis=-1), "box": tf.repeat(places, 4, axis=-1)}


def all_kept(images: tf.Tensor) -> dict[str, tf.Tensor]:
    """In R-Net's and O-Net's place: windows are kept as they are."""
    values = {"face": 2, "box": 4, "landmarks": 10}
    return {name: tf.zeros([images.shape[0], width]) for name, width in values.items()}


def test_a_cascade_is_asked_by_its_signature(judge, scenes: Scenes, tmp_path: Path) -> None:
    settings = CascadeSettings(most_of_step=4, most_proposals=4, most_refined=4, most_faces=3)
    cascade = Cascade(all_proposed, all_kept, all_kept, settings)
    # The signature alone: there are no variables to save.
    folder = saved(
        tf.Module(), {"detect": cascade.detect_by_settings.get_concrete_function()}, tmp_path / "m"
    )
    # The model's own thresholds, 0.6 and more, would let nothing through; nor is its min_face 48.
    asked = {
        "min_face": 48.0,
        "proposal_threshold": 0.4,
        "refinement_threshold": 0.4,
        "output_threshold": 0.4,
    }
    judged = judge(folder, **asked, min_ap=0.0)
    assert judged.failed == []
    assert judged.results.settings.longest_side == LONGEST_SIDE
    found = [each for each in judged.results.images if len(each.boxes)]
    assert len(found) > len(scenes.of("eval", "wider_face"))
    assert {score for each in found for score in each.scores.tolist()} == {0.5}
    sides = [each.boxes[:, 2:] - each.boxes[:, :2] for each in found]
    least = min(float((side * each.size).min()) for side, each in zip(sides, found, strict=True))
    assert least == pytest.approx(48.0, abs=1.0)


# The report

HISTORY = [
    {
        "epoch": epoch,
        "stage": stage,
        "seconds": 1.0,
        **{f"{part}{name}": 0.5 for part in ("", "val_") for name in ("loss", "average_precision")},
    }
    for epoch, stage in enumerate((1, 1, 2, 3), start=1)
]


def test_report(judge, scenes: Scenes, models: dict[str, Path], tmp_path: Path) -> None:
    judged = judge(models["half"])
    run, report = tmp_path / "run", tmp_path / "report"
    run.mkdir()
    (run / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in HISTORY))
    standard = tfx.types.standard_artifacts
    inputs = {
        "evaluation": [judged.evaluation],
        "examples": [artifact(standard.Examples, scenes.folder)],
        "model_run": [artifact(standard.ModelRun, run)],
    }
    parameters = {
        "title": "Detection",
        "kind": "detection",
        "label": "boxes",
        "classes": "[]",
        "thresholds": json.dumps(THRESHOLDS),
        "code_fingerprint": "x",
    }
    output = {"report": [artifact(EvaluationReport.SPEC_CLASS.OUTPUTS["report"].type, report)]}
    EvaluationReport.EXECUTOR_SPEC.executor_class().Do(inputs, output, parameters)
    page = (report / "report.html").read_text()
    searched = (
        "IoU 0.5, min_face 15 px, factor 0.709, thresholds 0.5, 0.55, 0.2; images as stored, at most 1920 px"
    )
    # Beside both splits' table and two figures, the landmarks, and for the slices.
    assert page.count(searched) == 8
    figures = {file.stem for file in (report / "figures").iterdir()}
    curves = {
        f"{name}_{split}" for name in ("precision_recall", "false_positives") for split in ("eval", "test")
    }
    assert figures == {*curves, "learning_curves", "faces_distribution", "funnel"}
    table = (report / "tables" / "detection_eval.csv").read_text().splitlines()
    assert table[0] == "faces of at least (px),data set,ap,recall at 0.1 fp,recall at 1 fp,faces,images"
    assert [row.split(",")[:2] for row in table[1:]] == [
        [size, source] for size in ("10", "20", "50") for source in ("all", "wider_face")
    ]
    metrics = json.loads((report / "metrics.json").read_text())
    assert metrics["selection"] == judged.results.selection
    assert next(iter(metrics["test"])) == "ap_20"


def test_data_of_every_split_is_counted(scenes: Scenes, tmp_path: Path) -> None:
    page = Page(tmp_path, "Detection")
    assessment("detection", "boxes", ()).write_data(page, Ingestion.load(scenes.folder))
    rows = (tmp_path / "tables" / "boxes.csv").read_text().splitlines()
    assert rows[0] == "split,source,images,without faces,faces,ignored boxes,clipped boxes"
    records = scenes.of("train", "wider_face")
    empty = sum(not len(truth(record)[0]) for record in records)
    faces = sum(len(truth(record)[0]) for record in records)
    ignored, clipped = (
        sum(int(record.ragged[f"boxes/{flag}"].sum()) for record in records)
        for flag in ("ignored", "clipped")
    )
    assert min(empty, ignored, clipped) > 0
    assert f"train,wider_face,{len(records)},{empty},{faces},{ignored},{clipped}" in rows
