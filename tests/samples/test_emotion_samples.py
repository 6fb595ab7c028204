import csv
import hashlib
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from components.samples import emotion
from components.samples.emotion import (
    FERG_EMOTIONS,
    USAGES,
    emotion_samples,
    ferg_characters,
    write_fer2013_csv,
    write_ferg,
)
from components.samples.faces import EXPRESSIONS, draw_face
from data_validation.errors import InputError

FERG_CHARACTERS = ["aia", "bonnie", "jules", "malcolm", "mery", "ray"]
WRITERS = (write_fer2013_csv, write_ferg)


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def fer2013(tmp_path_factory):
    return write_fer2013_csv(tmp_path_factory.mktemp("fer"), 80, seed=7)


@pytest.fixture(scope="module")
def ferg(tmp_path_factory):
    return write_ferg(tmp_path_factory.mktemp("ferg"), 45, seed=7)


def test_fer2013_is_as_kaggle_gives_it_out(fer2013):
    assert fer2013.name == "fer2013.csv"
    assert fer2013.read_bytes().startswith(b"emotion,pixels,Usage\n")
    rows = rows_of(fer2013)
    assert len(rows) == 80
    for row in rows:
        assert int(row["emotion"]) in range(7)
        values = np.array(row["pixels"].split(" "), dtype=int)
        assert len(values) == 48 * 48
        assert values.min() >= 0 and values.max() <= 255
    assert Counter(row["Usage"] for row in rows) == {"Training": 64, "PublicTest": 8, "PrivateTest": 8}


def test_fer2013_rows_are_the_drawn_faces(fer2013):
    samples = list(emotion_samples(80, seed=7))
    for row, sample in list(zip(rows_of(fer2013), samples, strict=True))[::16]:
        assert EXPRESSIONS[int(row["emotion"])] == sample.face.expression
        drawn = np.asarray(draw_face(sample.face, 48)[0].convert("L"))
        read = np.array(row["pixels"].split(), dtype=np.uint8).reshape(48, 48)
        np.testing.assert_array_equal(read, drawn)


@pytest.mark.parametrize("count", [35, 80, 700])
def test_every_class_is_in_every_part_and_no_person_in_two(count):
    persons, classes, identities = defaultdict(set), defaultdict(set), defaultdict(set)
    for sample in emotion_samples(count, seed=1):
        persons[sample.usage].add(sample.person)
        classes[sample.usage].add(sample.face.expression)
        identities[sample.person].add(sample.face.identity)
    assert set(persons) == set(USAGES)
    assert all(shown == set(EXPRESSIONS) for shown in classes.values())
    assert sum(map(len, persons.values())) == len(set.union(*persons.values()))
    assert all(len(looks) == 1 for looks in identities.values())
    assert len(set.union(*identities.values())) == len(identities)


def test_parts_and_classes_are_of_the_sizes_of_fer2013():
    samples = list(emotion_samples(1000, seed=1))
    parts = Counter(sample.usage for sample in samples)
    classes = Counter(sample.face.expression for sample in samples)
    assert parts == {"Training": 800, "PublicTest": 100, "PrivateTest": 100}
    assert min(classes, key=classes.get) == "disgust"
    assert max(classes, key=classes.get) == "happy"


@pytest.mark.parametrize("count", [1, 2, 6, 9, 34])
def test_any_count_is_kept_exactly(count, tmp_path):
    assert sum(1 for _ in emotion_samples(count, seed=3)) == count
    assert len(rows_of(write_fer2013_csv(tmp_path, count, seed=3))) == count


def test_ferg_has_the_folders_and_names_of_ferg_db(ferg):
    assert ferg.name == "FERG_DB_256"
    assert sorted(path.name for path in ferg.iterdir()) == FERG_CHARACTERS
    pictures = sorted(ferg.rglob("*.png"))
    assert len(pictures) == 45
    for path in pictures:
        character, emotion_name, number = path.stem.split("_")
        assert path.parent.name == f"{character}_{emotion_name}"
        assert path.parent.parent.name == character
        assert emotion_name in FERG_EMOTIONS
        assert int(number) >= 1
    for character in FERG_CHARACTERS:
        assert len(list((ferg / character).iterdir())) == len(FERG_EMOTIONS)
    with Image.open(pictures[0]) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (256, 256))


def test_ferg_characters_are_the_same_in_every_sample():
    assert list(ferg_characters()) == FERG_CHARACTERS
    assert ferg_characters() == ferg_characters()
    assert len({face.identity for face in ferg_characters().values()}) == len(FERG_CHARACTERS)


@pytest.mark.parametrize("write", WRITERS)
def test_same_seed_writes_the_same_bytes(write, tmp_path):
    for folder, seed in (("first", 5), ("second", 5), ("other", 6)):
        write(tmp_path / folder, 9, seed)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert contents(tmp_path / "first") != contents(tmp_path / "other")


@pytest.mark.parametrize("write", WRITERS)
def test_progress_counts_every_picture(write, tmp_path):
    calls = []
    write(tmp_path, 11, 0, calls.append)
    assert sum(calls) == 11


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("count", [0, -3])
def test_count_below_one_is_refused_and_leaves_nothing(write, count, tmp_path):
    with pytest.raises(InputError, match=f"^count: expected at least 1 picture, found {count}$"):
        write(tmp_path / "new", count, 0)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("write", WRITERS)
def test_existing_data_is_never_replaced(write, tmp_path):
    made = write(tmp_path, 2, 0)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="found one that exists") as refusal:
        write(tmp_path, 3, 1)
    assert str(made) in str(refusal.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("write", WRITERS)
def test_folder_that_is_a_file_is_refused(write, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="expected a folder to write to") as refusal:
        write(tmp_path / "taken", 2, 0)
    assert str(tmp_path / "taken") in str(refusal.value)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_stopped_writing_leaves_nothing(write, failure, tmp_path, monkeypatch):
    drawn = []

    def stop_at_the_third(face, size):
        drawn.append(face)
        if len(drawn) == 3:
            raise failure
        return draw_face(face, size)

    monkeypatch.setattr(emotion, "draw_face", stop_at_the_third)
    with pytest.raises(failure):
        write(tmp_path, 5, 0)
    assert list(tmp_path.iterdir()) == []
