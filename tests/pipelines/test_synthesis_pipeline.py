"""The synthesis pipeline from CelebA's form to a blessed, tracked, pushed generator, and what it draws."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import synthesis_runs
import tensorflow as tf
from model_servers import model_server
from people_runs import PeopleRun, run
from PIL import Image

from data_validation.errors import InputError
from data_validation.ingestion import Ingestion
from serving.client import Client, InvalidArgument

pytestmark = pytest.mark.e2e


def examples(finished: PeopleRun, split: str) -> list[tf.train.Example]:
    folder = finished.output("FaceExampleGen", "examples") / f"Split-{split}"
    files = sorted(map(str, folder.iterdir()))
    serialized = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    return [tf.train.Example.FromString(one) for one in serialized]


def test_a_generator_is_pushed_with_what_made_it(synthesis_run: PeopleRun) -> None:
    assert synthesis_run.record.blessed, synthesis_run.record.error
    about = json.loads((synthesis_run.pushed / "assets.extra" / "about.json").read_text())
    assert about["task"] == "synthesis"
    assert about["settings"]["train"]["epochs"] == synthesis_runs.EPOCHS
    ingestion = Ingestion.load(synthesis_run.output("FaceExampleGen", "examples"))
    assert about["data_fingerprint"] == ingestion.content_fingerprint
    train = len(examples(synthesis_run, "train"))
    assert about["steps"] == synthesis_runs.EPOCHS * (train // 16)
    assert about["last_epoch"]["epoch"] == synthesis_runs.EPOCHS


def test_verdicts_are_on_images_that_no_network_was_trained_on(synthesis_run: PeopleRun) -> None:
    rules = {verdict["metric"]: verdict for verdict in synthesis_run.record.verdicts}
    assert {"frechet_position", "diversity", "images to judge on"} <= set(rules)
    assert {verdict["slice"] for verdict in rules.values() if verdict["metric"] == "frechet_position"} == {
        "split eval"
    }
    held_back = len(examples(synthesis_run, "eval"))
    assert rules["images to judge on"]["value"] == min(20, held_back)


def test_the_report_shows_faces_and_where_they_stand(synthesis_run: PeopleRun) -> None:
    page = (synthesis_run.report / "report.html").read_text()
    for word in ("floor", "ceiling", "kernel distance", "embedding", "female"):
        assert word in page
    figures = [file.name for file in (synthesis_run.report / "figures").iterdir()]
    assert {"learning_curves.png", "progress.png", "samples.png"} <= set(figures)
    for file in (synthesis_run.report / "figures").iterdir():
        with Image.open(file) as picture:
            picture.verify()
    links = re.findall(r'src="([^"]+\.png)"', page)
    assert links and all((synthesis_run.report / link).is_file() for link in links)


def test_mlflow_has_a_grid_of_every_epoch_and_no_picture_of_a_person(
    synthesis_run: PeopleRun, tmp_path: Path
) -> None:
    client = mlflow.MlflowClient(synthesis_run.request.workspace.tracking_uri)
    run_id = synthesis_run.record.mlflow_run_id
    grids = [item.path for item in client.list_artifacts(run_id, "samples")]
    assert grids == [f"samples/epoch-{epoch:04d}.jpg" for epoch in range(1, synthesis_runs.EPOCHS + 1)]
    curve = client.get_metric_history(run_id, "curve/discriminator_loss")
    assert [point.step for point in curve] == list(range(1, synthesis_runs.EPOCHS + 1))
    sent = Path(client.download_artifacts(run_id, "report", str(tmp_path)))
    assert (synthesis_run.report / "private").is_dir()
    assert not (sent / "private").exists()


def test_the_balance_of_a_run_is_that_of_its_setting(
    synthesis_run: PeopleRun, synthesis_samples: Path
) -> None:
    workspace = synthesis_run.request.workspace.for_study("imbalance", "male-30")
    request = synthesis_runs.request(workspace, synthesis_samples, "data.balance.male=0.3")
    balanced = run(replace(request, until_node="AnomalyGate"))
    genders = pd.Series(
        [
            example.features.feature["gender"].bytes_list.value[0].decode()
            for split in ("train", "eval", "test")
            for example in examples(balanced, split)
        ]
    ).value_counts()
    assert genders["male"] == round(0.3 * genders.sum())


def test_the_model_server_draws_and_refuses(synthesis_run: PeopleRun) -> None:
    base = synthesis_run.pushed.parent
    with (
        model_server("--model_name=synthesis", f"--model_base_path={base}") as server,
        Client(server.address) as client,
    ):
        faces = client.generate(seed=7, count=5)
        assert faces == client.generate(seed=7, count=64)[:5]
        with Image.open(io.BytesIO(faces[0])) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (64, 76))
        latent = np.zeros((2, 100), np.float32)
        assert len(set(client.generate_from(latent))) == 1
        with pytest.raises(ValueError, match="count: expected 1 to"):
            client.generate(seed=7, count=0)
        with pytest.raises(InvalidArgument, match=r"count: expected 1 to 64, found.*10000"):
            client.generate(seed=7, count=10_000)
        with pytest.raises(InvalidArgument, match=r"latent: expected at most 1024 rows"):
            client.generate_from(np.zeros((1025, 100), np.float32))


def test_losses_that_are_no_numbers_end_a_run_at_once(
    synthesis_run: PeopleRun, synthesis_samples: Path
) -> None:
    workspace = synthesis_run.request.workspace.for_study("imbalance", "diverged")
    rates = ("train.generator_rate=1e30", "train.discriminator_rate=1e30", "run.retries=2")
    with pytest.raises(
        InputError, match=r"train\.generator_rate=1e\+30, .* at step \d+; try lower rates"
    ) as caught:
        run(replace(synthesis_runs.request(workspace, synthesis_samples, *rates), until_node="Trainer"))
    assert "\n" not in str(caught.value)
    (log,) = workspace.runs("synthesis").glob("*.log")
    assert "trying again" not in log.read_text()
    assert not list((workspace.pipeline("synthesis") / "backups").rglob("ckpt*"))


def test_a_second_run_has_nothing_to_do(synthesis_run: PeopleRun) -> None:
    again = run(synthesis_run.request)
    assert {node.state for node in again.record.nodes} == {"cached"}
    assert again.record.pushed_to == synthesis_run.record.pushed_to
