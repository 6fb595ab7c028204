"""The gender and age pipelines from wiki.mat and its images to blessed, tracked, pushed models."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import people_runs
import pytest
import tensorflow as tf
from people_runs import EPOCHS, PeopleRun
from scipy.io import loadmat

from components.readers.imdb_wiki import (
    BEFORE_YEAR_1,
    LOW_SCORE,
    NO_FACE,
    NO_GENDER,
    SECOND_FACE,
    TOO_OLD,
)
from components.tracking import BACKBONE_TAG, PIPELINE_RUN_TAG
from data_validation.labels import AGE_GROUPS, GENDERS, UNKNOWN
from trainers import embedding, weights
from trainers.comparison import COMPARISON_FILE, load_comparison
from trainers.history import HISTORY_FILE, read_history

pytestmark = pytest.mark.e2e

CLASSIFIERS = ["logistic regression", "MLP", "decision tree", "random forest"]
SPLITS = ("train", "eval", "test")


@pytest.fixture(params=["gender", "age"])
def finished(request: pytest.FixtureRequest) -> PeopleRun:
    return request.getfixturevalue(f"{request.param}_run")


@pytest.fixture(scope="module")
def names(people_samples: Path) -> dict[str, str]:
    """Names of the persons by the names of their records."""
    struct = loadmat(people_samples / "wiki_crop" / "wiki.mat")["wiki"][0, 0]
    return {f"wiki.mat:{number}": str(cell[0]) for number, cell in enumerate(struct["name"].flat, start=1)}


def table(finished: PeopleRun, name: str) -> pd.DataFrame:
    assert (finished.report / "tables" / f"{name}.html").is_file()
    return pd.read_csv(finished.report / "tables" / f"{name}.csv", index_col=0)


def metrics(finished: PeopleRun) -> dict:
    return json.loads((finished.report / "metrics.json").read_text())


def assert_figures(finished: PeopleRun, *names: str) -> None:
    page = (finished.report / "report.html").read_text()
    for name in names:
        assert (finished.report / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"figures/{name}.png" in page


def examples(finished: PeopleRun, split: str) -> list[tf.train.Example]:
    folder = finished.output("FaceExampleGen", "examples") / f"Split-{split}"
    files = sorted(map(str, folder.iterdir()))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(record) for record in records]


# Both


def test_finishes_and_pushes(finished: PeopleRun) -> None:
    record, request = finished.record, finished.request
    assert record.status == "finished", record.error
    assert {node.state for node in record.nodes} == {"ran"}
    assert record.blessed
    assert [verdict["passed"] for verdict in record.verdicts] == [True] * 4
    assert finished.pushed.parent == request.workspace.serving / request.task.name
    assert (finished.pushed / "saved_model.pb").is_file()


def test_mlflow_run_is_complete(finished: PeopleRun) -> None:
    record, name = finished.record, finished.request.task.name
    client = mlflow.MlflowClient(finished.request.workspace.tracking_uri)
    tracked = client.get_run(record.mlflow_run_id)
    assert tracked.info.status == "FINISHED"
    assert tracked.data.tags[PIPELINE_RUN_TAG] == record.run_id
    assert tracked.data.params["train.epochs"] == str(EPOCHS[name])
    headline = {"gender": "accuracy", "age": "mae"}[name]
    found = tracked.data.metrics
    assert found[f"evaluation/split_test/{headline}"] == pytest.approx(record.test[headline])
    assert found["serving/grpc_p50_ms"] > 0
    curve = client.get_metric_history(record.mlflow_run_id, f"curve/val_{headline}")
    assert [point.step for point in curve] == list(range(1, EPOCHS[name] + 1))
    artifacts = {file.path for file in client.list_artifacts(record.mlflow_run_id, "report")}
    assert {"report/report.html", "report/metrics.json"} <= artifacts
    version = client.get_model_version_by_alias(name, "champion")
    assert version.tags["hexaface.pushed_to"] == record.pushed_to


def test_second_run_is_answered_from_cache(finished: PeopleRun) -> None:
    people_runs.run(finished.request)  # whatever other tests ran in between
    again = people_runs.run(finished.request)
    assert {node.state for node in again.record.nodes} == {"cached"}
    assert again.record.pushed_to == finished.record.pushed_to


def test_no_person_is_in_two_splits(finished: PeopleRun, names: dict[str, str]) -> None:
    sides = defaultdict(set)
    for split in SPLITS:
        for example in examples(finished, split):
            (record,) = example.features.feature["image/filename"].bytes_list.value
            sides[names[record.decode()]].add(split)
    assert all(len(splits) == 1 for splits in sides.values())
    # Each person has four pictures, one of which may be faulty.
    assert len(sides) == people_runs.RECORDS // 4
    assert set(Counter(split for splits in sides.values() for split in splits)) == set(SPLITS)


def test_persons_are_named_nowhere(finished: PeopleRun, names: dict[str, str]) -> None:
    persons = {name.encode() for name in names.values()}
    written = [example.SerializeToString() for split in SPLITS for example in examples(finished, split)]
    folders = (finished.output("FaceExampleGen", "examples"), finished.report)
    texts = [file for folder in folders for file in folder.rglob("*") if file.suffix not in (".gz", ".png")]
    written += [file.read_bytes() for file in texts if file.is_file()]
    assert len(written) > people_runs.RECORDS * 0.9
    for content in written:
        # All names begin alike, so most of them need no look of their own.
        assert b"Person " not in content or not any(name in content for name in persons)


@pytest.mark.parametrize(
    ("task", "rules"),
    [
        ("gender", [NO_FACE, LOW_SCORE, SECOND_FACE, NO_GENDER]),
        ("age", [NO_FACE, LOW_SCORE, SECOND_FACE, NO_GENDER, BEFORE_YEAR_1, TOO_OLD]),
    ],
)
def test_funnel_counts_what_each_rule_left_out(
    request: pytest.FixtureRequest, task: str, rules: list[str]
) -> None:
    finished = request.getfixturevalue(f"{task}_run")
    funnel = table(finished, "funnel")
    assert set(funnel.index) == {"wiki"}
    assert funnel["step"].tolist() == ["all records", *rules]
    assert funnel["outcome"].tolist() == ["found"] + ["dropped"] * len(rules)
    # 6 % of the records are faulty, each kind as often as the others.
    assert funnel["records"].tolist() == [people_runs.RECORDS] + [3] * len(rules)
    assert funnel["left"].tolist() == [people_runs.RECORDS - 3 * step for step in range(len(rules) + 1)]
    assert metrics(finished)["dropped"] == 3 * len(rules)
    assert metrics(finished)["records"] == funnel["left"].iloc[-1]
    assert metrics(finished)["rejected"] == 0
    assert sum(len(examples(finished, split)) for split in SPLITS) == funnel["left"].iloc[-1]
    assert_figures(finished, "funnel")


def test_slices_are_by_all_that_is_known_of_a_person(finished: PeopleRun) -> None:
    slices = metrics(finished)["slices"]
    for feature in ("source", "gender", "age_group", "race"):
        for split in ("eval", "test"):
            support = [
                values["support"]
                for name, values in slices.items()
                if name.startswith(f"split={split}, {feature}=")
            ]
            assert sum(support) == slices[f"split={split}"]["support"] > 0, (split, feature)
    assert {f"split=test, gender={gender}" for gender in GENDERS} <= set(slices)
    assert slices["split=test, race=unknown"] == slices["split=test"]
    assert slices["split=test, source=wiki"] == slices["split=test"]
    assert metrics(finished)["test"] == slices["split=test"]


def test_history_and_curves_are_in_the_report(finished: PeopleRun) -> None:
    metric = {"gender": "accuracy", "age": "mae"}[finished.request.task.name]
    history = table(finished, "history")
    assert history.index.tolist() == list(range(1, EPOCHS[finished.request.task.name] + 1))
    assert {"loss", "val_loss", metric, f"val_{metric}"} <= set(history.columns)
    assert history["loss"].iloc[1:].min() < history["loss"].iloc[0]
    kept = read_history(finished.output("Trainer", "model_run") / HISTORY_FILE)
    assert history[f"val_{metric}"].tolist() == pytest.approx(
        [row[f"val_{metric}"] for row in kept], abs=1e-6
    )
    assert_figures(finished, "learning_curves")


# Gender


@pytest.mark.parametrize("split", ["test", "eval"])
def test_four_classifiers_are_compared(gender_run: PeopleRun, split: str) -> None:
    compared = table(gender_run, f"classifiers_{split}")
    assert compared.index.tolist() == CLASSIFIERS
    assert compared.columns.tolist() == ["accuracy", "precision", "recall", "f1", "exportable", "seconds"]
    assert compared["exportable"].tolist() == ["yes", "yes", "no", "no"]
    assert compared[["accuracy", "precision", "recall", "f1"]].stack().between(0, 1).all()


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_each_classifier_has_its_table_and_confusion_matrix(gender_run: PeopleRun, classifier: str) -> None:
    name = classifier.replace(" ", "_")
    per_class = table(gender_run, f"per_class_test_{name}")
    assert per_class.index.tolist() == list(GENDERS)
    assert per_class["support"].sum() == gender_run.record.test["support"]
    right = (per_class["recall"] * per_class["support"]).sum() / per_class["support"].sum()
    compared = table(gender_run, "classifiers_test")
    assert compared.loc[classifier, "accuracy"] == pytest.approx(right, abs=1e-5)
    assert_figures(gender_run, f"confusion_test_{name}")


def test_chosen_is_the_better_of_those_that_can_be_exported(gender_run: PeopleRun) -> None:
    chosen = load_comparison(gender_run.output("Trainer", "model_run") / COMPARISON_FILE).chosen
    exportable = table(gender_run, "classifiers_eval").query("exportable == 'yes'")["accuracy"]
    assert chosen == exportable.idxmax()
    about = json.loads((gender_run.pushed / "assets.extra" / "about.json").read_text())
    assert about["classifier"] == chosen
    assert f"The model is the {chosen}" in (gender_run.report / "report.html").read_text()


@pytest.mark.parametrize("split", ["test", "eval"])
def test_exported_model_and_scikit_learn_agree_through_the_whole_pipeline(
    gender_run: PeopleRun, split: str
) -> None:
    """What the Evaluator measured at the SavedModel is what scikit-learn predicted in the Trainer."""
    comparison = load_comparison(gender_run.output("Trainer", "model_run") / COMPARISON_FILE)
    chosen = table(gender_run, f"classifiers_{split}").loc[comparison.chosen]
    assert metrics(gender_run)["slices"][f"split={split}"]["accuracy"] == pytest.approx(
        chosen["accuracy"], abs=1e-6
    )
    averages = table(gender_run, f"averages_{split}")
    assert averages.loc["weighted average", "f1"] == pytest.approx(chosen["f1"], abs=1e-6)


def test_gender_report_has_tables_and_figures(gender_run: PeopleRun) -> None:
    per_class = table(gender_run, "per_class_test")
    assert per_class.index.tolist() == list(GENDERS)
    assert per_class["support"].sum() == gender_run.record.test["support"]
    assert table(gender_run, "class_distribution")["wiki"].sum() == len(examples(gender_run, "train"))
    assert_figures(gender_run, "confusion_test", "confusion_test_normalised", "class_distribution")


# Age


def test_age_stands_on_the_trunk_of_the_verification_model(
    verification_run: PeopleRun, age_run: PeopleRun
) -> None:
    assert "EmbeddingResolver" in [node.node for node in age_run.record.nodes]
    trunk = embedding.load_features(str(verification_run.output("Trainer", "model") / "Format-Serving"))
    expected = weights.fingerprint(trunk)
    about = json.loads((age_run.pushed / "assets.extra" / "about.json").read_text())
    assert about["backbone_fingerprint"] == expected
    client = mlflow.MlflowClient(age_run.request.workspace.tracking_uri)
    assert client.get_run(age_run.record.mlflow_run_id).data.tags[BACKBONE_TAG] == expected
    # Frozen: the model that is served has the trunk's weights as they were.
    served = {
        variable.name: variable.numpy()
        for variable in tf.saved_model.load(str(age_run.pushed)).trained.variables
    }
    assert all(np.array_equal(served[weight.name], weight.numpy()) for weight in trunk.weights)


def test_gender_on_a_network_of_its_own_tells_no_trunk(gender_run: PeopleRun) -> None:
    assert "EmbeddingResolver" not in [node.node for node in gender_run.record.nodes]
    about = json.loads((gender_run.pushed / "assets.extra" / "about.json").read_text())
    assert "backbone_fingerprint" not in about
    client = mlflow.MlflowClient(gender_run.request.workspace.tracking_uri)
    assert BACKBONE_TAG not in client.get_run(gender_run.record.mlflow_run_id).data.tags


@pytest.mark.parametrize("split", ["test", "eval"])
def test_errors_stand_beside_those_of_the_mean_age(age_run: PeopleRun, split: str) -> None:
    errors = table(age_run, f"errors_{split}")
    assert errors.index.tolist() == ["model", "mean age of the training split"]
    model, baseline = errors.loc["model"], errors.loc["mean age of the training split"]
    judged = metrics(age_run)["slices"][f"split={split}"]
    assert model["mae"] == pytest.approx(judged["mae"], abs=1e-5)
    assert model["support"] == baseline["support"] == judged["support"]
    assert baseline[["coverage", "interval"]].isna().all()
    ages = {name: [years(example) for example in examples(age_run, name)] for name in ("train", split)}
    mean = sum(ages["train"]) / len(ages["train"])
    expected = sum(abs(age - mean) for age in ages[split]) / len(ages[split])
    assert baseline["mae"] == pytest.approx(expected, abs=1e-5)
    assert model["mae"] < 0.8 * baseline["mae"], "the model has learned nothing"


def years(example: tf.train.Example) -> int:
    return example.features.feature["age"].int64_list.value[0]


@pytest.mark.parametrize("split", ["test", "eval"])
def test_errors_by_decade_and_by_gender(age_run: PeopleRun, split: str) -> None:
    whole = metrics(age_run)["slices"][f"split={split}"]
    decades = table(age_run, f"errors_{split}_by_age_group")
    assert set(decades.index) <= set(AGE_GROUPS)
    assert decades.index.tolist() == sorted(decades.index, key=AGE_GROUPS.index)
    genders = table(age_run, f"errors_{split}_by_gender")
    assert genders.index.tolist() == list(GENDERS)
    for by in (decades, genders):
        assert by["support"].sum() == whole["support"]
        for metric in ("mae", "cs5", "bias", "coverage", "interval"):
            mean = (by[metric] * by["support"]).sum() / whole["support"]
            assert mean == pytest.approx(whole[metric], abs=1e-4), metric
    assert_figures(age_run, f"errors_{split}_by_age_group", f"errors_{split}_by_gender")


def test_age_metrics_are_within_their_ranges(age_run: PeopleRun) -> None:
    for name, values in metrics(age_run)["slices"].items():
        assert 0 <= values["coverage"] <= 1, name
        assert 0 <= values["cs5"] <= 1, name
        assert 0 <= values["interval"] <= 100, name
        assert abs(values["bias"]) <= values["mae"] + 1e-6 <= 100, name
    assert_figures(age_run, "age_distribution")
    distribution = table(age_run, "age_distribution")
    assert distribution["wiki"].sum() == len(examples(age_run, "train"))
    assert UNKNOWN not in distribution.index
