"""The commands beside `run`, as a person types them."""

import csv
from collections.abc import Sequence
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


def persons(folder: Path, counts: Sequence[int]) -> Path:
    """Folders of persons with so many pictures each."""
    for person, count in enumerate(counts):
        for number in range(count):
            file = folder / f"Person_{person:03d}" / f"{number:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (person * 3, number * 40, 90)).save(file)
    return folder


def table(text: str) -> dict[str, list[str]]:
    """The rows of the table of identities by their names."""
    rows = text[text.index("identity") :].splitlines()[1:]
    return {row[:24].strip(): row[24:].split() for row in rows}


def test_describe_sums_up_labels_with_many_values(hexaface, tmp_path: Path) -> None:
    code, text, _ = hexaface("data", "describe", persons(tmp_path / "data", [3] + [2] * 59))
    assert code == 0
    assert "identities: 121 images, 0 that cannot be read" in text
    rows = table(text)
    values = list(map(int, rows["different values"]))
    assert values[3] == sum(values[:3]) == 60
    assert list(map(int, rows["images"]))[3] == 121
    assert rows["images a value (median)"][3] == "2"
    assert len(rows) < 10


@pytest.mark.parametrize(("count", "rows"), [(20, 20), (21, 3)])
def test_describe_lists_up_to_twenty_values(hexaface, tmp_path: Path, count: int, rows: int) -> None:
    _, text, _ = hexaface("data", "describe", persons(tmp_path / "data", [1] * count))
    lines = text.splitlines()
    first, last = (
        next(n for n, line in enumerate(lines) if line.startswith(w)) for w in ("identity", "sizes")
    )
    assert last - first - 1 == rows


@pytest.mark.parametrize(("counts", "median"), [([1] * 11 + [4] * 11, "2.5"), ([1] * 12 + [4] * 10, "1")])
def test_describe_tells_the_median_of_images(
    hexaface, tmp_path: Path, counts: list[int], median: str
) -> None:
    _, text, _ = hexaface("data", "describe", persons(tmp_path / "data", counts))
    assert table(text)["images a value (median)"][3] == median


def test_sheet_shows_twenty_labels_and_says_so(hexaface, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    _, text, _ = hexaface("data", "describe", persons(tmp_path / "data", [3] + [2] * 59), "--sheet", sheet)
    assert f"drawn: {sheet} (the first 20 of 60 labels, the others are left out)" in text
    with Image.open(sheet) as image:
        # 41 pictures, eight in a row.
        assert image.height == 6 * (96 + 16 + 6) + 6


def test_sheet_of_few_labels_leaves_none_out(hexaface, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    _, text, _ = hexaface("data", "describe", persons(tmp_path / "data", [2] * 20), "--sheet", sheet)
    assert text.count(f"drawn: {sheet}\n") == 1


def test_describe_knows_persons_only_where_nothing_else_is(hexaface, tmp_path: Path) -> None:
    """A data set that is malformed is told, and not passed over for the folders beside it."""
    data = persons(tmp_path / "identities", [1] * 3).parent
    (data / "fer2013.csv").write_text("emotion,pixels\n")
    code, _, error = hexaface("data", "describe", data)
    assert code == 2
    assert "fer2013.csv" in error and "missing column Usage" in error


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
