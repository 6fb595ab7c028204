"""Bad input ends with one line that names the file, key or field, and exit code 2."""

import io
import shutil
import socket
from pathlib import Path

import pytest
from PIL import Image


def assert_refused(answer, *parts: str) -> None:
    code, _, error = answer
    assert code == 2, error
    assert error.startswith("error: ")
    assert len(error.strip().splitlines()) == 1, error
    for part in parts:
        assert part in error


def fer_csv(folder: Path, rows: list[str], header: str = "emotion,pixels,Usage") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fer2013.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def rows(count: int, pixels: int = 2304) -> list[str]:
    usages = ["Training"] * 8 + ["PublicTest", "PrivateTest"]
    grey = " ".join(str(value % 256) for value in range(pixels))
    return [f"{index % 7},{grey},{usages[index % 10]}" for index in range(count)]


def test_missing_column(hexaface, tmp_path: Path) -> None:
    data = fer_csv(tmp_path / "data", [], header="emotion,pixels")
    assert_refused(hexaface("run", "emotion", "--data", data), "fer2013.csv", "missing column Usage")


def test_empty_directory(hexaface, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_refused(
        hexaface("run", "emotion", "--data", empty), str(empty), "no known data set", "fer2013.csv"
    )


def test_missing_directory(hexaface, tmp_path: Path) -> None:
    assert_refused(hexaface("run", "emotion", "--data", tmp_path / "nowhere"), "nowhere", "found nothing")


def test_unknown_task(hexaface) -> None:
    assert_refused(hexaface("run", "emotio"), "'emotio'", "did you mean emotion?")


def test_profile_with_a_typo(hexaface, tmp_path: Path) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_text("emotion:\n  train:\n    epoch: 3\n")
    assert_refused(
        hexaface("run", "emotion", "--profile", profile), "train.epoch", "did you mean train.epochs?"
    )


def test_unknown_profile(hexaface) -> None:
    assert_refused(hexaface("run", "emotion", "--profile", "dem"), "'dem'", "did you mean demo?")


def test_wrong_type(hexaface) -> None:
    assert_refused(
        hexaface("run", "emotion", "--set", "train.epochs=many"), "train.epochs", "integer", "'many'"
    )


def test_unwritable_workspace(hexaface, tmp_path: Path) -> None:
    # Root may write into a folder without permission, but not below a file.
    (tmp_path / "file").write_text("")
    workspace = tmp_path / "file" / "workspace"
    assert_refused(hexaface("run", "emotion", "--workspace", workspace), str(workspace), "folder to write to")


def test_sample_never_overwrites(hexaface, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "note.txt").write_text("mine")
    assert_refused(hexaface("data", "sample", "emotion", "--out", tmp_path / "data"), "one that exists")
    assert (tmp_path / "data" / "note.txt").read_text() == "mine"


def test_sample_of_nothing(hexaface, tmp_path: Path) -> None:
    assert_refused(hexaface("data", "sample", "emotion", "--out", tmp_path / "x", "--count", 0), "--count 0")
    assert not (tmp_path / "x").exists()


@pytest.mark.e2e
def test_unknown_node(hexaface, emotion_samples: Path) -> None:
    assert_refused(
        hexaface("run", "emotion", "--data", emotion_samples, "--from", "Trianer"), "Trianer", "Trainer"
    )


@pytest.mark.e2e
def test_rows_with_too_few_pixels_exhaust_the_budget(hexaface, tmp_path: Path) -> None:
    data = fer_csv(tmp_path / "data", rows(40) + rows(10, pixels=2303))
    assert_refused(
        hexaface("run", "emotion", "--data", data),
        "10 of 50 records rejected (20.0%)",
        "data.max_rejected_fraction=0.01",
        "10 x pixels: expected 2304 values, found 2303",
        "fer2013.csv:",
    )
    assert not list((tmp_path / "workspace" / "pipelines" / "emotion" / "FaceExampleGen").glob("examples/*"))


@pytest.mark.e2e
def test_truncated_jpeg_is_rejected_by_name(hexaface, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    index = ["emotion,Usage,path"]
    buffer = io.BytesIO()
    Image.effect_noise((48, 48), 60).save(buffer, "JPEG")
    for number, usage in enumerate(["Training"] * 3 + ["PublicTest", "PrivateTest"]):
        (folder / usage).mkdir(parents=True, exist_ok=True)
        half = len(buffer.getvalue()) // 2 if number == 0 else None
        (folder / usage / f"{number}.jpg").write_bytes(buffer.getvalue()[:half])
        index.append(f"3,{usage},{usage}/{number}.jpg")
    (folder / "fer2013_index.csv").write_text("\n".join(index) + "\n")
    assert_refused(
        hexaface("run", "emotion", "--data", folder),
        "1 of 5 records rejected",
        "image cannot be decoded",
        "truncated",
        "first: Training/0.jpg",
    )


@pytest.mark.e2e
def test_unknown_emotion_name(hexaface, emotion_samples: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(emotion_samples, tmp_path / "data")
    (folder / "fer2013.csv").unlink()
    source = folder / "FERG_DB_256" / "aia"
    (source / "aia_joy").rename(source / "aia_bored")
    assert_refused(hexaface("run", "emotion", "--data", folder), "emotion: expected anger", "found 'bored'")


@pytest.mark.e2e
def test_data_beside_the_schema_stops_at_the_gate(hexaface, tmp_path: Path) -> None:
    """Images of 9,000 pixels' width are readable, but no camera's face pictures."""
    folder = tmp_path / "data"
    index = ["emotion,Usage,path"]
    for number, usage in enumerate(["Training"] * 3 + ["PublicTest", "PrivateTest"]):
        (folder / usage).mkdir(parents=True, exist_ok=True)
        Image.effect_noise((9000, 16), 60).save(folder / usage / f"{number}.png")
        index.append(f"3,{usage},{usage}/{number}.png")
    (folder / "fer2013_index.csv").write_text("\n".join(index) + "\n")
    assert_refused(hexaface("run", "emotion", "--data", folder), "image/width", "large value")


def test_workspace_with_pattern_characters(hexaface, tmp_path: Path) -> None:
    assert_refused(hexaface("track", "--workspace", tmp_path / "a[b]"), "a[b]", "without any of")


def test_same_data_twice(hexaface, tmp_path: Path) -> None:
    data = fer_csv(tmp_path / "data", rows(10))
    assert_refused(hexaface("run", "emotion", "--data", data, "--data", data), "given twice")


def test_busy_port(hexaface) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert_refused(hexaface("dashboard", "--port", port), f"--port {port}", "cannot be opened")


def test_deeply_nested_profile(hexaface, tmp_path: Path) -> None:
    profile = tmp_path / "deep.yaml"
    profile.write_text("all: " + "[" * 5000)
    assert_refused(hexaface("run", "emotion", "--profile", profile), "deep.yaml", "nested too deeply")


def test_number_without_measure(hexaface) -> None:
    assert_refused(hexaface("run", "emotion", "--set", "train.epochs=99999999999"), "train.epochs", "1000000")


def test_setting_without_a_name(hexaface) -> None:
    assert_refused(hexaface("run", "emotion", "--set", ".=3"), "--set .=3", "expected section.key=value")
