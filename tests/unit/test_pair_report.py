"""What a report says of pairs: tables and figures of saved results."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from components.evaluation.page import Page
from components.evaluation.pair_figures import draw_distances, draw_roc
from components.evaluation.pair_results import PairResults, PairSet
from components.evaluation.pairs import REPORT_THRESHOLDS, PairAssessment, rates_table, report_table
from data_validation.ingestion import Ingestion
from trainers.pair_metrics import CrossValidation, PairDistances
from trainers.verification import threshold_table

EVAL, TEST = (("split", "eval"),), (("split", "test"),)
FEW = PairDistances(np.float32([0.03, 0.06, 0.10, 0.31]), np.float32([0.09, 0.25, 0.45, 0.60]))
# At the thresholds 0.2, 0.3, 0.4 and 0.5, right ones of four pairs of one person and four of two. Euclidean
# distances of so much are cosine distances of 0.02, 0.045, 0.08 and 0.125.
COSINE = [(3 + 3) / 8, (3 + 2) / 8, (4 + 2) / 8, (4 + 1) / 8]
EUCLIDEAN = [(0 + 4) / 8, (1 + 4) / 8, (2 + 4) / 8, (3 + 3) / 8]
# 1000 pairs of two persons at 0.001, 0.002 and so on.
MANY = PairDistances(
    np.float32([0.0001, 0.0015, 0.0502, 0.9]), np.arange(1, 1001, dtype=np.float32) / np.float32(1000)
)


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "tables" / f"{name}.csv", index_col=0)


def assert_drawn(file: Path, *colours: str) -> None:
    """A figure in ink on paper, with some of matplotlib's colours."""
    with Image.open(file) as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.min() < 60 and pixels.max() == 255
    bluer = pixels[..., 2] - pixels[..., 0]
    for colour, seen in (("blue", bluer.max() > 60), ("orange", bluer.min() < -60)):
        assert seen == (colour in colours)
    assert plt.get_fignums() == []


# Tables


def test_accuracies_at_the_report_s_thresholds() -> None:
    table = report_table(PairSet(FEW, images=8))
    assert table.index.tolist() == [0.2, 0.3, 0.4, 0.5] == list(REPORT_THRESHOLDS)
    assert table["cosine"].tolist() == COSINE
    assert table["euclidean"].tolist() == EUCLIDEAN


DISTANCES = st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=9)


@given(DISTANCES, DISTANCES)
def test_both_distances_are_thresholded_as_they_are(same: list[float], different: list[float]) -> None:
    pairs = PairDistances(*(np.sort(np.float32(each)) for each in (same, different)))
    table = report_table(PairSet(pairs, images=1))
    for threshold in REPORT_THRESHOLDS:
        for name, values in (
            ("cosine", lambda distances: np.float64(distances)),
            ("euclidean", lambda distances: np.sqrt(2.0 * np.float64(distances))),
        ):
            near, far = values(same), values(different)
            if np.abs(np.concatenate([near, far]) - threshold).min() < 1e-6:
                continue  # as near as float32 tells
            right = (near <= threshold).sum() + (far > threshold).sum()
            assert table[name][threshold] == pytest.approx(right / (len(near) + len(far)))


def test_rates_have_the_pairs_behind_them() -> None:
    table = rates_table(PairSet(MANY, images=9))
    assert table.index.tolist() == [0.1, 0.01, 0.001]
    assert table["of them accepted"].tolist() == [100, 10, 1]
    assert table["pairs of one person"].tolist() == [4] * 3
    assert table["pairs of two"].tolist() == [1000] * 3
    assert table["tar"].tolist() == [0.75, 0.5, 0.5]
    for rate, cosine, euclidean in table[["cosine threshold", "euclidean threshold"]].itertuples():
        assert rate <= cosine < rate + 0.001
        assert euclidean == pytest.approx((2 * cosine) ** 0.5)


def test_rates_of_too_few_pairs_say_so() -> None:
    table = rates_table(PairSet(FEW, images=8))
    assert table["of them accepted"].tolist() == [0, 0, 0]
    assert table["pairs of two"].tolist() == [4, 4, 4]
    assert not table.isna().any().any()


def test_thresholds_of_equal_pictures_of_two_persons_are_numbers() -> None:
    """Not even a distance of 0 may be accepted then."""
    table = rates_table(PairSet(PairDistances(np.float32([0.0]), np.float32([0.0, 0.5])), images=3))
    assert table["tar"].tolist() == [0.0] * 3
    assert table["euclidean threshold"].tolist() == [0.0] * 3


# The report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two data sets in the test split, written."""
    folder = tmp_path_factory.mktemp("run")
    folds = CrossValidation(mean=0.8125, deviation=0.25, folds=2, pairs=8)
    results = PairResults(
        0.12,
        {
            EVAL: PairSet(MANY, images=40),
            TEST: PairSet(FEW, images=20, missing=2, listed=None),
            (*TEST, ("source", "att")): PairSet(
                FEW, images=8, missing=2, listed=True, cross_validation=folds
            ),
            (*TEST, ("source", "identities")): PairSet(MANY, images=12),
        },
    )
    results.save(folder / "evaluation", [])
    (folder / "model_run").mkdir()
    thresholds = threshold_table(MANY, 0.02)
    (folder / "model_run" / "thresholds.json").write_text(json.dumps(thresholds))
    page = Page(folder / "report", "Verification")
    account = Ingestion(span=0, content_fingerprint="0" * 64)
    PairAssessment("identity").write_results(page, str(folder / "evaluation"), account, folder / "model_run")
    page.save()
    return folder / "report"


def test_every_set_of_pairs_has_its_tables_and_figure(report: Path) -> None:
    names = ("eval", "test", "test_att", "test_identities")
    tables = {f"{kind}_{name}" for kind in ("report", "rates") for name in names} | {"thresholds"}
    assert {file.stem for file in report.glob("tables/*.csv")} == tables
    assert {file.stem for file in report.glob("figures/*")} == {
        "roc",
        *(f"distances_{each}" for each in names),
    }
    for name in names:
        assert_drawn(report / "figures" / f"distances_{name}.png", "blue", "orange")
    assert_drawn(report / "figures" / "roc.png", "blue", "orange")


def test_tables_are_those_of_the_pairs(report: Path) -> None:
    for name in ("test", "test_att"):
        table = read(report, f"report_{name}")
        assert table.index.tolist() == [0.2, 0.3, 0.4, 0.5]
        assert table["cosine"].tolist() == COSINE
        assert table["euclidean"].tolist() == EUCLIDEAN
    assert read(report, "rates_eval")["of them accepted"].tolist() == [100, 10, 1]


def test_page_says_which_pairs_were_compared(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert (
        "4 pairs of one person and 1,000 of two, 40 images; every image with every other of its data set.</p>"
    ) in page
    assert "20 images; as data sets list them, else every image with every other of its data set." in page
    assert (
        "8 images; listed by the data set. 2 listed pairs are left out, because an image of theirs is not "
        "there. Accuracy over 2 folds: 0.8125, deviation 0.2500.</p>"
    ) in page
    for heading in ("Selection split", "Test split", "Test split, att", "Test split, identities"):
        assert f"<h2>{heading}</h2>" in page


def test_page_tells_the_model_s_threshold_and_what_others_would_do(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert "a cosine distance of at most 0.0210, chosen on the selection split for a false" in page
    table = read(report, "thresholds")
    assert table["false_accepts"][0.02] == 20
    assert table["different_pairs"].tolist() == [1000] * len(table)
    assert table.index.is_monotonic_decreasing and {0.1, 0.02, 0.0001} <= set(table.index)


def test_data_tell_persons_by_split_and_source(tmp_path: Path) -> None:
    rows = {
        ("train", "identities", "a"): 3,
        ("train", "identities", "b"): 1,
        ("train", "identities", "c"): 1,
        ("eval", "identities", "d"): 2,
        ("test", "att", "e"): 10,
    }
    records = {(split, source, (("identity", who),)): count for (split, source, who), count in rows.items()}
    account = Ingestion(span=0, content_fingerprint="0" * 64, records=records)
    PairAssessment("identity").write_data(Page(tmp_path, "Verification"), account)
    assert read(tmp_path, "persons").reset_index().to_numpy().tolist() == [
        ["eval", "identities", 1, 2, 0],
        ["test", "att", 1, 10, 0],
        ["train", "identities", 3, 5, 2],
    ]


# Figures


@pytest.mark.parametrize("epochs", [1, 6, 80])
def test_curves(tmp_path: Path, epochs: int) -> None:
    history = [
        {"epoch": float(epoch), "loss": 9.0 / epoch, "accuracy": 1.0 - 0.9 / epoch, "val_eer": 0.4 / epoch}
        for epoch in range(1, epochs + 1)
    ]
    PairAssessment("identity").draw_curves(tmp_path / "curves.png", history)
    assert_drawn(tmp_path / "curves.png", "blue")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width > 3 * image.height


@pytest.mark.parametrize(
    "pairs",
    [
        PairDistances(np.float32([0.1]), np.float32([0.5])),
        PairDistances(np.zeros(5, np.float32), np.zeros(9, np.float32)),
        PairDistances(np.float32([1.9, 2.0]), np.float32([0.0, 0.1])),
    ],
    ids=["two pairs", "all embeddings equal", "all wrong"],
)
def test_strange_pairs_can_be_drawn(tmp_path: Path, pairs: PairDistances) -> None:
    draw_distances(tmp_path / "distances.png", pairs, 0.0, "Distances")
    draw_roc(tmp_path / "roc.png", {"pairs": pairs}, 0.0)
    with Image.open(tmp_path / "distances.png") as image:
        left = np.asarray(image.convert("RGB")).astype(int)
    # There are bars, whatever the distances.
    assert ((left[..., 0] - left[..., 2]) > 40).sum() > 500
    assert_drawn(tmp_path / "roc.png", "blue")
