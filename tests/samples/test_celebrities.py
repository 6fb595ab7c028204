import hashlib
import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from components.readers.catalog import ReaderOptions, open_readers
from components.samples import celebrities
from components.samples.celebrities import (
    ATTRIBUTE_NAMES,
    HEIGHT,
    WIDTH,
    celebrity_pictures,
    draw_celebrity,
    known_attributes,
    write_celeba,
)
from components.samples.faces import draw_face
from data_validation.errors import InputError
from data_validation.face_sizes import SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH
from pipelines.describe import describe_folder

COUNT = 60


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    return write_celeba(tmp_path_factory.mktemp("celeba"), COUNT, seed=7)


def test_reader_finds_what_was_drawn(celeba):
    (reader,) = open_readers(celeba, ReaderOptions(label="face"))
    records = [reader.load(item) for item in reader.items()]  # nothing is rejected or left out
    pictures = list(celebrity_pictures(COUNT, seed=7))
    assert [record.filename for record in records] == [f"img_align_celeba/{each.name}" for each in pictures]
    genders = [each.face.identity.gender for each in pictures]
    assert [record.labels["gender"] for record in records] == genders
    assert Counter(genders) == {"female": round(COUNT * 0.58), "male": COUNT - round(COUNT * 0.58)}
    assert Counter(record.split for record in records) == {"train": 48, "eval": 6, "test": 6}


def test_pictures_are_jpegs_that_are_large_enough(celeba):
    assert WIDTH >= SYNTHESIS_WIDTH and HEIGHT >= SYNTHESIS_HEIGHT
    for path in sorted(celeba.rglob("*.jpg"))[::20]:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (WIDTH, HEIGHT))


def test_list_of_attributes_has_the_form_of_the_original(celeba):
    count, header, *lines = (celeba / "list_attr_celeba.txt").read_text().splitlines()
    assert (count, len(lines)) == (str(COUNT), COUNT)
    assert header.split() == list(ATTRIBUTE_NAMES)
    assert len(set(ATTRIBUTE_NAMES)) == 40
    assert header.split() == sorted(header.split(), key=str.lower)
    pictures = list(celebrity_pictures(COUNT, seed=7))
    for line, picture in zip(lines, pictures, strict=True):
        name, *values = line.split()
        assert name == picture.name
        true = {each for each, value in zip(ATTRIBUTE_NAMES, values, strict=True) if value == "1"}
        assert true == known_attributes(picture.face)


def test_attributes_are_what_is_drawn():
    pictures = [picture.face for picture in celebrity_pictures(300, seed=1)]
    shares = Counter(name for face in pictures for name in known_attributes(face))
    assert set(shares) <= set(ATTRIBUTE_NAMES)
    assert shares["Male"] == 126
    assert 0.6 < shares["Young"] / 300 < 0.85
    assert 0.35 < shares["Smiling"] / 300 < 0.6
    hair = [shares[f"{colour}_Hair"] for colour in ("Black", "Brown", "Blond", "Gray")]
    assert all(hair) and sum(hair) + shares["Bald"] == 300
    for face in pictures:
        true = known_attributes(face)
        assert ("Eyeglasses" in true) == face.identity.glasses
        assert "No_Beard" in true or face.identity.gender == "male"
        assert {"Goatee", "5_o_Clock_Shadow", "Sideburns"}.isdisjoint(true) or "No_Beard" not in true


def test_eyes_are_where_aligned_pictures_have_them():
    for picture in celebrity_pictures(60, seed=2):
        _, landmarks = draw_face(picture.face, HEIGHT)
        (left, left_y), (right, right_y) = landmarks[:2]
        assert (left + right) / 2 == pytest.approx(HEIGHT / 2, abs=1.5)
        assert (left_y + right_y) / 2 == pytest.approx(HEIGHT * 111 / 218, abs=1.5)
        assert (right - left) / WIDTH == pytest.approx(38 / 178, abs=0.035)


def test_pictures_have_hair_and_wall_around_the_face():
    """The upper corners show the wall: of one colour that gets darker downwards, another in each picture."""
    walls = []
    for picture in celebrity_pictures(12, seed=3):
        pixels = np.asarray(draw_celebrity(picture.face), dtype=np.float32)
        corner = pixels[:8, :8].reshape(-1, 3)
        assert corner.std(axis=0).max() < 10
        walls.append(tuple(corner.mean(axis=0).round()))
    assert len(set(walls)) == 12


@pytest.mark.parametrize("count", [3, 4, 9, 10, 25])
def test_any_count_is_kept_and_each_split_has_its_part(count):
    parts = Counter(picture.part for picture in celebrity_pictures(count, seed=3))
    held_out = max(1, count // 10)
    assert parts == {0: count - 2 * held_out, 1: held_out, 2: held_out}


def test_same_seed_writes_the_same_bytes(tmp_path):
    for folder, seed in (("first", 5), ("second", 5), ("other", 6)):
        write_celeba(tmp_path / folder, 5, seed)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    first, other = contents(tmp_path / "first"), contents(tmp_path / "other")
    assert first["img_align_celeba/000001.jpg"] != other["img_align_celeba/000001.jpg"]


def test_describe_tells_of_it(celeba, tmp_path):
    console = Console(file=io.StringIO(), width=200)
    describe_folder(celeba, tmp_path / "sheet.png", console)
    text = console.file.getvalue()
    assert "celeba: 60 images, 0 that cannot be read" in text
    assert "gender" in text and "age_group" not in text
    assert "sizes as read 89x109 (60)" in text
    assert (tmp_path / "sheet.png").is_file()


def test_progress_counts_every_picture(tmp_path):
    calls = []
    write_celeba(tmp_path, 4, 0, calls.append)
    assert sum(calls) == 4


@pytest.mark.parametrize("count", [2, 0, -3])
def test_too_few_are_refused_and_leave_nothing(count, tmp_path):
    with pytest.raises(InputError, match=f"^count: expected at least 3 pictures, found {count}$"):
        write_celeba(tmp_path / "new", count, 0)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"])
def test_existing_data_is_never_replaced(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="found one that exists") as refusal:
        write_celeba(tmp_path, 3, 1)
    assert str(tmp_path / name) in str(refusal.value)
    assert list(tmp_path.iterdir()) == [tmp_path / name]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_stopped_writing_leaves_nothing(failure, tmp_path, monkeypatch):
    drawn = []

    def stop_at_the_third(face, size):
        drawn.append(face)
        if len(drawn) == 3:
            raise failure
        return draw_face(face, size)

    monkeypatch.setattr(celebrities, "draw_face", stop_at_the_third)
    with pytest.raises(failure):
        write_celeba(tmp_path, 5, 0)
    assert list(tmp_path.iterdir()) == []
