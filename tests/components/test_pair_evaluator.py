"""Embeddings judged by pairs: which pairs are compared, what is found of them, what is blessed."""

import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.compat import tfx
from components.evaluation.blessing import write_blessing
from components.evaluation.page import Page
from components.evaluation.pair_results import (
    EmbeddedImages,
    PairResults,
    PairSet,
    compare,
    load_verdicts,
    pair_criterion,
)
from components.evaluation.pairs import PairAssessment
from components.face_example_gen import to_example
from components.pair_evaluator import PairEvaluator
from components.pairs import ListedPair, save_pairs
from components.readers.catalog import ReaderOptions, open_readers
from components.readers.identity import pseudonym
from components.readers.record import FaceRecord, hash_split
from components.samples.identities import write_att, write_identities
from data_validation.errors import InputError
from data_validation.ingestion import Ingestion
from trainers.pair_metrics import PairDistances

EVAL, TEST = (("split", "eval"),), (("split", "test"),)


def of(split: tuple, source: str) -> tuple:
    return (*split, ("source", source))


# Which pairs are compared


def images(*rows: tuple[str, str, str, float]) -> EmbeddedImages:
    """Rows of source, person, file and the angle of the embedding in degrees."""
    sources, persons, files, angles = map(np.array, zip(*rows, strict=True))
    turns = np.radians(angles.astype(float))
    vectors = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    names = np.array([f"{person}/{file}" for person, file in zip(persons, files, strict=True)])
    return EmbeddedImages(vectors, names, sources, persons)


def cosine(degrees: float) -> float:
    return 1.0 - np.cos(np.radians(degrees))


FOLDERS = [
    ("identities", "p", "1", 0.0),
    ("identities", "p", "2", 10.0),
    ("identities", "q", "1", 90.0),
]
# The same names as in the other set, at other places; `d` has no picture.
LISTED = [
    ("lfw", "p", "1", 200.0),
    ("lfw", "p", "2", 220.0),
    ("lfw", "b", "1", 260.0),
    ("lfw", "b", "2", 261.0),
    ("lfw", "e", "1", 300.0),
]
PAIRS = [
    ListedPair("lfw", "p/1", "p/2", same=True, fold=0),
    ListedPair("lfw", "p/1", "b/1", same=False, fold=0),
    ListedPair("lfw", "b/1", "b/2", same=True, fold=1),
    ListedPair("lfw", "p/2", "b/2", same=False, fold=1),
    ListedPair("lfw", "b/1", "d/1", same=False, fold=1),
]


@pytest.fixture
def results() -> PairResults:
    found = {"eval": images(*FOLDERS), "test": images(*LISTED, *FOLDERS)}
    return compare(found, PAIRS, threshold=cosine(20.0))


def test_sets_are_of_splits_and_of_data_sets_where_there_are_several(results: PairResults) -> None:
    assert list(results.sets) == [EVAL, TEST, of(TEST, "identities"), of(TEST, "lfw")]


def test_without_a_list_every_image_is_compared_with_every_other(results: PairResults) -> None:
    for key in (EVAL, of(TEST, "identities")):
        found = results.sets[key]
        assert found.pairs.same == pytest.approx([cosine(10)], abs=1e-6)
        assert found.pairs.different == pytest.approx([cosine(80), cosine(90)], abs=1e-6)
        assert (found.images, found.missing, found.listed, found.cross_validation) == (3, 0, False, None)


def test_with_a_list_no_others_are_compared(results: PairResults) -> None:
    found = results.sets[of(TEST, "lfw")]
    assert found.pairs.same == pytest.approx([cosine(1), cosine(20)], abs=1e-6)
    assert found.pairs.different == pytest.approx([cosine(41), cosine(60)], abs=1e-6)
    # `e` is in no pair; the picture of `d` is missing.
    assert (found.images, found.missing, found.listed) == (4, 1, True)


def test_folds_are_those_of_the_list(results: PairResults) -> None:
    # The pairs of 1 and 41 degrees part at 28.7, in the middle of their cosines, and so 20 from 60; those of
    # 20 and 60 at 43.9: they take 41 for one person.
    found = results.sets[of(TEST, "lfw")].cross_validation
    assert (found.mean, found.deviation, found.folds, found.pairs) == (0.75, 0.25, 2, 4)


def test_a_split_has_the_pairs_of_its_data_sets_together(results: PairResults) -> None:
    whole, parts = results.sets[TEST], [results.sets[of(TEST, name)] for name in ("identities", "lfw")]
    for kind in ("same", "different"):
        distances = getattr(whole.pairs, kind)
        assert distances.tolist() == sorted(np.concatenate([getattr(part.pairs, kind) for part in parts]))
    assert (whole.images, whole.missing, whole.listed, whole.cross_validation) == (7, 1, None, None)


def test_images_of_two_data_sets_are_never_compared() -> None:
    found = compare({"test": images(*FOLDERS, *LISTED)}, [], threshold=0.1)
    assert len(found.sets[TEST].pairs.same) + len(found.sets[TEST].pairs.different) == 3 + 10
    assert found.sets[TEST].listed is False


def test_a_data_set_that_lacks_a_kind_is_in_its_split_only() -> None:
    alone = ("att", "z", "1", 40.0), ("att", "z", "2", 45.0)
    found = compare({"test": images(*FOLDERS, *alone)}, [], threshold=0.1)
    assert list(found.sets) == [TEST, of(TEST, "identities")]
    assert len(found.sets[TEST].pairs.same) == 2


def test_lists_without_folds_are_cut_into_ten_parts_if_they_can() -> None:
    rows = [("lfw", f"p{n}", str(m), 30.0 * n + m) for n in range(11) for m in (1, 2)]
    kinds = [
        [ListedPair("lfw", f"p{n}/1", f"p{n}/2", same=True, fold=0) for n in range(11)],
        [ListedPair("lfw", f"p{n}/1", f"p{(n + 1) % 11}/2", same=False, fold=0) for n in range(11)],
    ]
    found = compare({"test": images(*rows)}, [*kinds[0], *kinds[1]], threshold=0.1)
    assert found.sets[TEST].cross_validation.folds == 10
    assert found.sets[TEST].cross_validation.mean == 1.0
    few = compare({"test": images(*rows)}, [*kinds[0][:9], *kinds[1][:9]], threshold=0.1)
    assert few.sets[TEST].cross_validation is None
    assert (len(few.sets[TEST].pairs.same), few.sets[TEST].listed) == (9, True)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (FOLDERS[:2], "1 and 0"),
        (FOLDERS[1:], "0 and 1"),
        (FOLDERS[:1], "0 and 0"),
    ],
    ids=["one person", "nobody twice", "one image"],
)
def test_a_split_that_lacks_a_kind_of_pairs_is_refused(rows: list, found: str) -> None:
    with pytest.raises(InputError) as caught:
        compare({"eval": images(*FOLDERS), "test": images(*rows)}, [], threshold=0.1)
    assert str(caught.value) == f"split test: expected pairs of one person and of two, found {found}"


# What is found


def test_metrics_are_those_of_the_pairs(results: PairResults) -> None:
    metrics = results.sets[of(TEST, "lfw")].metrics(cosine(45.0))
    assert metrics == {
        "eer": 0.0,  # 1 and 20 degrees below 41 and 60
        **dict.fromkeys(("tar_at_far_0.1", "tar_at_far_0.01", "tar_at_far_0.001"), 1.0),
        "far": 0.5,
        "tar": 1.0,
        "same_pairs": 2.0,
        "different_pairs": 2.0,
        "missing_pairs": 1.0,
        "accuracy": 0.75,
        "accuracy_deviation": 0.25,
        "support": 4.0,
    }
    names = list(metrics)
    assert (names[0], names[-1]) == ("eer", "support")
    assert not any(name.startswith("accuracy") for name in results.sets[EVAL].metrics(0.1))


def test_rates_of_mixed_pairs() -> None:
    same, different = np.float32([0.1, 0.12, 0.3, 0.6]), np.float32([0.25, 0.7, 0.8, 0.9, *[1.0] * 16])
    metrics = PairSet(PairDistances(same, different), images=9).metrics(threshold=0.25)
    assert metrics["far"] == 1 / 20
    assert metrics["tar"] == 2 / 4
    assert metrics["tar_at_far_0.1"] == 1.0  # two of 20 may be accepted
    assert metrics["tar_at_far_0.01"] == 2 / 4  # none may
    assert metrics["eer"] == pytest.approx((1 / 20 + 0) / 2)  # at 0.6


def test_selection_is_what_blesses(results: PairResults) -> None:
    assert results.selection == results.sets[EVAL].metrics(results.threshold)


def test_results_are_read_back(results: PairResults, tmp_path: Path) -> None:
    verdicts = pair_criterion(THRESHOLDS).judge(0.1, None, 30)
    results.save(tmp_path / "deep" / "folder", verdicts)
    again = PairResults.load(tmp_path / "deep" / "folder")
    assert again.threshold == results.threshold
    assert list(again.sets) == list(results.sets)
    for key, each in results.sets.items():
        for kind in ("same", "different"):
            saved, loaded = getattr(each.pairs, kind), getattr(again.sets[key].pairs, kind)
            assert saved.dtype == loaded.dtype == np.float32
            assert saved.tolist() == loaded.tolist()
        assert replace(again.sets[key], pairs=each.pairs).__dict__ == each.__dict__
    assert load_verdicts(tmp_path / "deep" / "folder") == verdicts
    assert PairAssessment("identity").slice_metrics(str(tmp_path / "deep" / "folder")) == {
        key: each.metrics(results.threshold) for key, each in results.sets.items()
    }


# What is blessed

THRESHOLDS = {"max_eer": 0.2, "max_eer_rise": 0.05, "min_images": 20}


@pytest.mark.parametrize(
    ("eer", "rise", "count", "failed"),
    [
        (0.2, 0.05, 20, None),
        (0.1, None, 500, None),
        (0.1, -0.3, 500, None),
        (0.201, None, 500, "eer"),
        (0.1, 0.051, 500, "eer against the latest blessed model"),
        (0.1, None, 19, "images to judge on"),
    ],
)
def test_verdicts(eer: float, rise: float | None, count: int, failed: str | None) -> None:
    verdicts = pair_criterion(THRESHOLDS).judge(eer, rise, count)
    assert [verdict.metric for verdict in verdicts if not verdict.passed] == ([failed] if failed else [])
    assert [verdict.rule for verdict in verdicts] == ["at most 0.2", "at most 0.05 higher", "at least 20"]
    assert {verdict.slice for verdict in verdicts} == {"split eval"}
    assert [verdict.value for verdict in verdicts] == [eer, rise, count]


def artifact(kind: type, folder: Path, number: int = 0) -> Any:
    made = kind()
    made.uri, made.id = str(folder), number
    return made


@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize("blessed", [False, True])
def test_blessing_is_marked_as_by_tfx(tmp_path: Path, blessed: bool, compared: bool) -> None:
    """File and properties of `tfx.components.evaluator.executor`, which resolvers and the Pusher look at."""
    from tfx.components.evaluator import constants
    from tfx.components.util import model_utils

    standard = tfx.types.standard_artifacts
    blessing = artifact(standard.ModelBlessing, tmp_path / "blessing")
    model = artifact(standard.Model, tmp_path / "model", 7)
    baseline = artifact(standard.Model, tmp_path / "baseline", 5) if compared else None
    write_blessing(blessing, blessed, model, baseline)
    marks = [file.name for file in (tmp_path / "blessing").iterdir()]
    assert marks == [constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME]
    assert model_utils.is_model_blessed(blessing) == blessed
    assert blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY) == blessed
    for key, value in (
        (constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, 7),
        (constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, 5 if compared else 0),
    ):
        assert blessing.get_int_custom_property(key) == value
    for key, value in (
        (constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, str(tmp_path / "model")),
        (constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, str(tmp_path / "baseline") if compared else ""),
    ):
        assert blessing.get_string_custom_property(key) == value


# The node


@dataclass(frozen=True)
class Faces:
    """Examples of the splits `eval` and `test` as FaceExampleGen writes them, and the records of them.

    Attributes:
        missing: How many listed pairs have the picture that is gone.
        alone: The person with a single picture.
    """

    folder: Path
    records: list[FaceRecord]
    missing: int
    alone: str


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Faces:
    """Persons of two data sets: one has a single picture, and a picture of a listed pair is gone."""
    data = tmp_path_factory.mktemp("data")
    folders = write_identities(data, 6, seed=4)
    single = next(
        name
        for name in map("Single_{}".format, itertools.count())
        if hash_split(pseudonym("identities", name)) == "test"
    )
    (folders / single).mkdir()
    next(folders.glob("*/001.jpg")).rename(folders / single / "001.jpg")
    att = write_att(data, seed=4, persons=7)
    readers = open_readers(data, ReaderOptions(label="identity"))
    pairs = next(reader for reader in readers if reader.source == "att").pairs()
    (att / pairs[0].first).unlink()
    records = [reader.load(item) for reader in readers for item in reader.items()]
    output = tmp_path_factory.mktemp("examples")
    for split in ("eval", "test"):
        (output / f"Split-{split}").mkdir()
        with tf.io.TFRecordWriter(str(output / f"Split-{split}" / "data_tfrecord.gz"), "GZIP") as writer:
            for record in records:
                if record.split == split:
                    writer.write(to_example(record).SerializeToString())
    save_pairs(readers, output)
    missing = sum(pairs[0].first in (pair.first, pair.second) for pair in pairs)
    counts = Counter(
        (record.split, record.source, tuple(sorted(record.labels.items()))) for record in records
    )
    Ingestion(span=0, content_fingerprint="0" * 64, records=dict(counts)).save(output)
    return Faces(output, records, missing, pseudonym("identities", single))


def toy(folder: Path, side: int, threshold: float = 0.02) -> Path:
    """Saves a model whose embedding is the colours of side x side parts of the picture."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def embed(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        def one(encoded: tf.Tensor) -> tf.Tensor:
            image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
            return tf.image.resize(tf.cast(image, tf.float32) / 255.0, (side, side), antialias=True)

        features = {"image/encoded": tf.io.FixedLenFeature([], tf.string)}
        encoded = tf.io.parse_example(examples, features)["image/encoded"]
        colours = tf.map_fn(one, encoded, fn_output_signature=tf.float32)
        return {"embedding": tf.math.l2_normalize(tf.reshape(colours, [-1, side * side * 3]), axis=1)}

    signatures = {"examples": embed.get_concrete_function()}
    tf.saved_model.save(tf.Module(), str(folder / "Format-Serving"), signatures=signatures)
    extra = folder / "Format-Serving" / "assets.extra"
    extra.mkdir(exist_ok=True)
    (extra / "thresholds.json").write_text(json.dumps({"threshold": threshold}))
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model that looks at the picture, and one that looks at its mean colour."""
    folder = tmp_path_factory.mktemp("models")
    return {"looks": toy(folder / "looks", 7), "blinks": toy(folder / "blinks", 1)}


@dataclass(frozen=True)
class Judged:
    results: PairResults
    failed: list[str]
    blessing: Any
    evaluation: Path


@pytest.fixture
def judge(faces: Faces, models: dict[str, Path], tmp_path: Path) -> Callable[..., Judged]:
    """Runs the node as TFX does."""
    standard = tfx.types.standard_artifacts

    def run(model: str, baseline: str = "", **changes: float) -> Judged:
        examples = artifact(standard.Examples, faces.folder)
        examples.split_names = json.dumps(["train", "eval", "test"])
        inputs = {"examples": [examples], "model": [artifact(standard.Model, models[model], 2)]}
        if baseline:
            inputs["baseline_model"] = [artifact(standard.Model, models[baseline], 1)]
        evaluation = artifact(standard.ModelEvaluation, tmp_path / "evaluation")
        blessing = artifact(standard.ModelBlessing, tmp_path / "blessing")
        thresholds = {"max_eer": 0.45, "max_eer_rise": 0.0, "min_images": 12, **changes}
        PairEvaluator.EXECUTOR_SPEC.executor_class().Do(
            inputs,
            {"evaluation": [evaluation], "blessing": [blessing]},
            {"label": "identity", "thresholds": json.dumps(thresholds), "code_fingerprint": "x"},
        )
        failed = [each.metric for each in load_verdicts(tmp_path / "evaluation") if not each.passed]
        return Judged(PairResults.load(tmp_path / "evaluation"), failed, blessing, tmp_path / "evaluation")

    return run


def marks(judged: Judged) -> list[str]:
    return [file.name for file in Path(judged.blessing.uri).iterdir()]


def test_node_compares_and_blesses(judge, faces: Faces) -> None:
    judged = judge("looks")
    assert list(judged.results.sets) == [EVAL, TEST, of(TEST, "att"), of(TEST, "identities")]
    assert judged.results.threshold == 0.02
    assert judged.failed == []
    assert marks(judged) == ["BLESSED"]
    assert judged.blessing.get_int_custom_property("current_model_id") == 2
    assert 0.0 < judged.results.selection["eer"] < 0.45
    persons = Counter(record.labels["identity"] for record in faces.records if record.split == "eval")
    count = persons.total()
    same = sum(number * (number - 1) // 2 for number in persons.values())
    assert judged.results.selection["support"] == count
    assert judged.results.selection["same_pairs"] == same
    assert judged.results.selection["different_pairs"] == count * (count - 1) // 2 - same


def test_distances_are_those_of_the_pictures(judge, faces: Faces, models: dict[str, Path]) -> None:
    """One by one, as a client would compare them."""
    embed = tf.saved_model.load(str(models["looks"] / "Format-Serving")).signatures["examples"]
    chosen = [record for record in faces.records if record.split == "eval"]
    vectors = [
        embed(examples=tf.constant([to_example(record).SerializeToString()]))["embedding"].numpy()[0]
        for record in chosen
    ]
    distances: dict[bool, list[float]] = {True: [], False: []}
    for one, other in itertools.combinations(range(len(chosen)), 2):
        same = chosen[one].labels == chosen[other].labels
        distances[same].append(1.0 - float(vectors[one] @ vectors[other]))
    found = judge("looks").results.sets[EVAL].pairs
    assert found.same == pytest.approx(sorted(distances[True]), abs=1e-5)
    assert found.different == pytest.approx(sorted(distances[False]), abs=1e-5)


def test_a_listed_pair_without_its_file_is_counted(judge, faces: Faces) -> None:
    found = judge("looks").results.sets[of(TEST, "att")]
    assert found.missing == faces.missing > 0
    assert len(found.pairs.same) + len(found.pairs.different) + found.missing == 42
    assert found.cross_validation.folds == 10


def test_a_person_with_one_picture_is_the_other_side_of_pairs(judge, faces: Faces, tmp_path: Path) -> None:
    chosen = [r.labels["identity"] for r in faces.records if (r.split, r.source) == ("test", "identities")]
    assert chosen.count(faces.alone) == 1
    found = judge("looks").results.sets[of(TEST, "identities")]
    assert found.images == len(chosen)
    assert len(found.pairs.same) + len(found.pairs.different) == len(chosen) * (len(chosen) - 1) // 2
    page = Page(tmp_path / "report", "Verification")
    PairAssessment("identity").write_data(page, Ingestion.load(faces.folder))
    rows = (tmp_path / "report" / "tables" / "persons.csv").read_text().splitlines()
    assert rows[0] == "split,source,persons,images,with one image"
    assert f"test,identities,3,{len(chosen)},1" in rows
    assert "test,att,7,69,0" in rows


@pytest.mark.parametrize(
    ("changes", "failed"),
    [({"max_eer": 0.0}, "eer"), ({"min_images": 500}, "images to judge on")],
    ids=["too many errors", "too few images"],
)
def test_node_refuses(judge, changes: dict, failed: str) -> None:
    judged = judge("looks", **changes)
    assert judged.failed == [failed]
    assert marks(judged) == ["NOT_BLESSED"]
    assert judged.blessing.get_int_custom_property("blessed") == 0


def test_a_model_that_is_worse_than_the_last_one_is_refused(judge) -> None:
    judged = judge("blinks", baseline="looks", max_eer=1.0)
    assert judged.failed == ["eer against the latest blessed model"]
    assert judged.blessing.get_int_custom_property("baseline_model_id") == 1
    (change,) = [each.value for each in load_verdicts(judged.evaluation) if "against" in each.metric]
    assert change > 0.0


@pytest.mark.parametrize("baseline", ["looks", "blinks"])
def test_a_model_that_is_not_worse_is_blessed(judge, baseline: str) -> None:
    judged = judge("looks", baseline=baseline)
    (change,) = [each.value for each in load_verdicts(judged.evaluation) if "against" in each.metric]
    assert change < 0.0 if baseline == "blinks" else change == 0.0
    assert marks(judged) == ["BLESSED"]
