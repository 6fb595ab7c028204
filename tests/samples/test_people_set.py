import hashlib
import io
from collections import Counter, defaultdict

import pytest
from PIL import Image
from rich.console import Console
from scipy.io import loadmat

from components.readers.catalog import ReaderOptions, open_readers
from components.readers.imdb_wiki import CLEANING_RULES, NO_DATE
from components.readers.record import RecordDropped, hash_split, person_key
from components.samples import people_set
from components.samples.faces import EXPRESSIONS, draw_face
from components.samples.people_set import FAULTS, person_pictures, write_imdb_wiki
from data_validation.errors import InputError
from data_validation.labels import AGE_GROUPS, GENDERS, age_group
from pipelines.describe import describe_folder


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def wiki(tmp_path_factory):
    return write_imdb_wiki(tmp_path_factory.mktemp("wiki"), 120, seed=7)


def read(folder, **options):
    """The records that stay, and the reasons of the others."""
    (reader,) = open_readers(folder, ReaderOptions(**options))
    records, reasons = [], []
    for item in reader.items():
        try:
            records.append(reader.load(item))
        except RecordDropped as outcome:
            reasons.append(str(outcome))
    return records, Counter(reasons)


def test_reader_finds_what_was_drawn(wiki):
    assert wiki.name == "wiki_crop"
    records, reasons = read(wiki.parent, label="age")
    pictures = [picture for picture in person_pictures(120, seed=7) if not picture.fault]
    assert [record.image for record in records] == [
        (wiki / picture.path).read_bytes() for picture in pictures
    ]
    assert [record.labels["age"] for record in records] == [picture.age for picture in pictures]
    genders = [picture.face.identity.gender for picture in pictures]
    assert [record.labels["gender"] for record in records] == genders
    assert reasons.total() == 7


def test_every_rule_has_its_record(wiki):
    _, reasons = read(wiki.parent)
    # Whole dates are always known here, and who is born later than photographed has no picture.
    assert set(reasons) == set(CLEANING_RULES) - {NO_DATE, "age below 0"}
    assert len(reasons) == len(FAULTS)


def test_describe_counts_what_cleaning_leaves_out(wiki):
    console = Console(file=io.StringIO(), width=200)
    describe_folder(wiki.parent, None, console)
    text = console.file.getvalue()
    assert "wiki: 113 images, 0 that cannot be read, 7 left out by cleaning" in text
    assert "  2 x no face found" in text
    assert "  1 x age above 100" in text


def test_metadata_has_shapes_and_kinds_of_the_original(wiki):
    struct = loadmat(wiki / "wiki.mat")["wiki"]
    assert struct.shape == (1, 1)
    columns = {field: struct[field][0, 0] for field in struct.dtype.names}
    assert {field: (values.shape, str(values.dtype)) for field, values in columns.items()} == {
        "dob": ((1, 120), "int32"),
        "photo_taken": ((1, 120), "uint16"),
        "full_path": ((1, 120), "object"),
        "gender": ((1, 120), "float64"),
        "name": ((1, 120), "object"),
        "face_location": ((1, 120), "object"),
        "face_score": ((1, 120), "float64"),
        "second_face_score": ((1, 120), "float64"),
    }
    assert columns["full_path"][0, 0].shape == columns["name"][0, 0].shape == (1,)
    for box in columns["face_location"][0]:
        assert box.shape == (1, 4) and box.dtype == "float64"
        left, top, right, bottom = box[0]
        assert 1 <= left < right <= 96 and 1 <= top < bottom <= 96
    assert all(name[0].startswith("Person ") for name in columns["name"][0])


def test_pictures_are_there_and_rgb(wiki):
    paths = sorted(wiki.rglob("*.jpg"))
    assert len(paths) == 120
    for path in paths[::30]:
        with Image.open(path) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (96, 96))


@pytest.mark.parametrize("seed", [1, 7])
@pytest.mark.parametrize("count", [60, 61, 97, 240, 1200])
def test_every_split_holds_both_genders_after_cleaning(seed, count):
    genders, persons = defaultdict(Counter), defaultdict(set)
    for picture in person_pictures(count, seed):
        if not picture.fault:
            genders[hash_split(person_key(picture.name))][picture.face.identity.gender] += 1
        persons[picture.person].add(picture.face.identity)
    assert set(genders) == {"train", "eval", "test"}
    assert all(set(counts) == set(GENDERS) for counts in genders.values())
    assert all(len(looks) == 1 for looks in persons.values())
    total = sum(genders.values(), Counter())
    assert abs(total["female"] - total["male"]) <= 0.1 * count


@pytest.mark.parametrize("seed", [1, 7])
def test_ages_faults_and_expressions_have_their_shares(seed):
    count = 1200
    pictures = list(person_pictures(count, seed))
    groups = Counter(age_group(picture.age) for picture in pictures if not picture.fault)
    assert set(groups) == set(AGE_GROUPS)
    assert all(0.08 < groups[group] / count < 0.13 for group in AGE_GROUPS[:-1])
    assert 0.01 < groups["90 and over"] / count < 0.05
    assert sum(picture.age < 4 for picture in pictures) <= 0.06 * count
    assert Counter(picture.fault for picture in pictures if picture.fault) == dict.fromkeys(FAULTS, 12)
    shown = Counter(picture.face.expression for picture in pictures)
    assert set(shown) == set(EXPRESSIONS)
    assert shown["neutral"] + shown["happy"] > 0.6 * count
    assert len({picture.path for picture in pictures}) == count
    persons = Counter(picture.person for picture in pictures)
    assert set(persons.values()) == {4}


@pytest.mark.parametrize("count", [1, 2, 5, 23, 59])
def test_any_count_is_kept_exactly(count):
    assert sum(1 for _ in person_pictures(count, seed=3)) == count


def test_few_records_can_be_read(tmp_path):
    write_imdb_wiki(tmp_path, 1, seed=3)
    records, _ = read(tmp_path)
    assert len(records) == 1


def test_same_seed_writes_the_same_bytes(tmp_path, monkeypatch):
    for folder, seed in (("first", 5), ("second", 5), ("other", 6)):
        write_imdb_wiki(tmp_path / folder, 20, seed)
        monkeypatch.setattr("time.asctime", lambda: "another day")  # SciPy would write it down
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert contents(tmp_path / "first") != contents(tmp_path / "other")


def test_progress_counts_every_picture(tmp_path):
    calls = []
    write_imdb_wiki(tmp_path, 11, 0, calls.append)
    assert sum(calls) == 11


@pytest.mark.parametrize("count", [0, -3])
def test_count_below_one_is_refused_and_leaves_nothing(count, tmp_path):
    with pytest.raises(InputError, match=f"^count: expected at least 1 picture, found {count}$"):
        write_imdb_wiki(tmp_path / "new", count, 0)
    assert not (tmp_path / "new").exists()


def test_existing_data_is_never_replaced(tmp_path):
    made = write_imdb_wiki(tmp_path, 2, 0)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="found one that exists") as refusal:
        write_imdb_wiki(tmp_path, 3, 1)
    assert str(made) in str(refusal.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_stopped_writing_leaves_nothing(failure, tmp_path, monkeypatch):
    drawn = []

    def stop_at_the_third(face, size):
        drawn.append(face)
        if len(drawn) == 3:
            raise failure
        return draw_face(face, size)

    monkeypatch.setattr(people_set, "draw_face", stop_at_the_third)
    with pytest.raises(failure):
        write_imdb_wiki(tmp_path, 5, 0)
    assert list(tmp_path.iterdir()) == []
