"""The verification pipeline from folders of persons to a blessed, tracked, pushed model."""

import json
from collections import defaultdict
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import tensorflow as tf
from people_runs import PeopleRun, run

from components.pairs import PAIRS_FILE
from pipelines.settings import Workspace
from trainers.verification import FALSE_ACCEPT_RATES, THRESHOLDS_FILE

pytestmark = pytest.mark.e2e


def records(finished: PeopleRun, split: str) -> list[tf.train.Example]:
    folder = finished.output("FaceExampleGen", "examples") / f"Split-{split}"
    files = sorted(map(str, folder.iterdir()))
    serialized = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(one) for one in serialized]


def text(example: tf.train.Example, feature: str) -> str:
    return example.features.feature[feature].bytes_list.value[0].decode()


def test_no_person_is_in_two_splits(verification_run: PeopleRun) -> None:
    splits = defaultdict(set)
    for split in ("train", "eval", "test"):
        for example in records(verification_run, split):
            splits[text(example, "identity")].add(split)
    assert len(splits) > 15
    assert all(len(found) == 1 for found in splits.values())


def test_names_of_persons_are_nowhere(verification_run: PeopleRun, verification_samples: Path) -> None:
    names = [folder.name.encode() for folder in (verification_samples / "identities").iterdir()]
    assert len(names) > 10
    workspace = verification_run.request.workspace
    for example in records(verification_run, "train"):
        assert not any(name in example.SerializeToString() for name in names)
    kept = [*workspace.pipeline("verification").rglob("*"), *workspace.runs("verification").rglob("*")]
    files = [file for file in kept if file.is_file() and file.stat().st_size < 1 << 22]
    assert len(files) > 50
    for file in files:
        content = file.read_bytes()
        assert not any(name in content for name in names), file


def test_pairs_are_kept_by_the_names_of_the_examples(verification_run: PeopleRun) -> None:
    known = {text(example, "image/filename") for example in records(verification_run, "test")}
    file = verification_run.output("FaceExampleGen", "examples") / PAIRS_FILE
    pairs = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(pairs) == 6 * 7
    assert {pair[side] for pair in pairs for side in ("first", "second")} <= known


def test_report_has_every_set_of_pairs(verification_run: PeopleRun) -> None:
    slices = pd.read_csv(verification_run.report / "tables" / "slices.csv", index_col=0)
    assert {"split=eval", "split=test", "split=test, source=att", "split=test, source=identities"} == set(
        slices.index
    )
    assert slices["eer"].between(0.0, 1.0).all()
    for name in ("roc", "distances_test_att", "learning_curves"):
        assert (verification_run.report / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_thresholds_are_in_the_model_and_in_mlflow(verification_run: PeopleRun, tmp_path: Path) -> None:
    pushed = json.loads((verification_run.pushed / "assets.extra" / THRESHOLDS_FILE).read_text())
    assert {row["far"] for row in pushed["table"]} == {*FALSE_ACCEPT_RATES, pushed["far"]}
    workspace: Workspace = verification_run.request.workspace
    client = mlflow.MlflowClient(workspace.tracking_uri)
    table = client.download_artifacts(
        verification_run.record.mlflow_run_id, "report/tables/thresholds.csv", str(tmp_path)
    )
    rows = pd.read_csv(table, index_col="far")
    assert rows["threshold"].tolist() == pytest.approx(
        [row["threshold"] for row in pushed["table"]], abs=1e-6
    )


def test_a_second_run_has_nothing_to_do(verification_run: PeopleRun) -> None:
    again = run(verification_run.request)
    assert {node.state for node in again.record.nodes} == {"cached"}
    assert again.record.pushed_to == verification_run.record.pushed_to
