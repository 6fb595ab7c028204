"""The commands beside `run`, as a person types them."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from pipelines import doctor


def test_sample_and_describe(hexaface, tmp_path: Path) -> None:
    data, sheet = tmp_path / "data", tmp_path / "sheet.png"
    assert hexaface("data", "sample", "emotion", "--out", data, "--count", 80)[0] == 0
    with (data / "fer2013.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) + len(list(data.glob("FERG_DB_256/*/*/*.png"))) == 80
    code, text, _ = hexaface("data", "describe", data, "--sheet", sheet)
    assert code == 0
    assert "fer2013: 60 images, 0 that cannot be read" in text
    assert "ferg: 20 images" in text
    assert "surprise" in text
    for source in ("fer2013", "ferg"):
        assert Image.open(sheet.with_stem(f"sheet-{source}")).width > 300


def test_describe_counts_what_cannot_be_read(hexaface, tmp_path: Path) -> None:
    row = "0," + " ".join(["7"] * 2303) + ",Training"
    (tmp_path / "fer2013.csv").write_text(f"emotion,pixels,Usage\n{row}\n{row}\n")
    code, text, _ = hexaface("data", "describe", tmp_path)
    assert code == 0
    assert "2 that cannot be read" in text
    assert "2 x pixels: expected 2304 values, found 2303" in text


def test_describe_names_the_newest_span(hexaface, tmp_path: Path) -> None:
    for span, count in (("span-2", 1), ("span-10", 3)):
        (tmp_path / span).mkdir()
        row = "0," + " ".join(["7"] * 2304) + ",Training\n"
        (tmp_path / span / "fer2013.csv").write_text("emotion,pixels,Usage\n" + row * count)
    _, text, _ = hexaface("data", "describe", tmp_path)
    assert "span 10" in text
    assert "3 images" in text


def test_doctor_finds_the_installation_in_order(hexaface, monkeypatch: pytest.MonkeyPatch) -> None:
    # The size of the machine is not the installation's matter.
    monkeypatch.setattr(doctor, "_MEMORY_GIB", 0)
    monkeypatch.setattr(doctor, "_FREE_GIB", 0)
    code, text, _ = hexaface("doctor")
    assert code == 0, text
    assert "1.16.0" in text
    assert "failed" not in text


def test_doctor_fails_on_a_bad_workspace(hexaface, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, text, _ = hexaface("doctor", "--workspace", tmp_path / "file" / "below")
    assert code == 1
    assert "failed" in text


def test_track_with_nothing_waiting(hexaface) -> None:
    code, text, _ = hexaface("track")
    assert code == 0
    assert "nothing is waiting" in text
