import os
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.readers.catalog import ReaderOptions, open_readers
from components.readers.record import RecordDropped, RecordRejected
from components.readers.utkface import GENDER_CODES, UtkFaceReader, parse_name
from data_validation.labels import RACES

DATE = "20170112213500903"


@pytest.fixture
def put(tmp_path):
    def write(name, content=b"an image"):
        folder = tmp_path / "UTKFace"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return write


def load(folder, label=""):
    reader = UtkFaceReader(folder, label)
    return [reader.load(item) for item in reader.items()]


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        ("", [("gender", "female"), ("age_group", "20-29"), ("race", "asian")]),
        ("gender", [("gender", "female"), ("age_group", "20-29"), ("race", "asian")]),
        ("age", [("age", 26), ("gender", "female"), ("age_group", "20-29"), ("race", "asian")]),
    ],
)
@pytest.mark.parametrize("end", [".jpg", ".jpg.chip.jpg", ".JPG"])
def test_records_have_image_labels_and_path(tmp_path, put, label, labels, end):
    put(f"26_1_2_{DATE}{end}", b"bytes as they are")
    (record,) = load(tmp_path, label)
    assert list(record.labels.items()) == labels
    assert record.image == b"bytes as they are"
    assert (record.source, record.filename) == ("utkface", f"UTKFace/26_1_2_{DATE}{end}")


def test_listing_is_sorted_and_leaves_other_files_alone(tmp_path, put):
    for name in ("b.jpg", "a.jpg", "Thumbs.db", "._a.jpg", "list.csv"):
        put(name)
    reader = pickle.loads(pickle.dumps(UtkFaceReader(tmp_path)))
    assert list(reader.items()) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("age", [101, 116, 130])
def test_ages_above_100_have_no_class_but_a_group(tmp_path, put, age):
    put(f"{age}_0_0_{DATE}.jpg")
    assert load(tmp_path, "gender")[0].labels["age_group"] == "90 and over"
    with pytest.raises(RecordDropped, match=r"^age above 100$"):
        load(tmp_path, "age")


def test_copies_are_on_one_side_and_sides_have_their_sizes(tmp_path, put):
    for number in range(600):
        put(f"30_{number % 2}_0_{number}.jpg", str(number // 2).encode())
    records = load(tmp_path)
    splits = {record.image: record.split for record in records}
    assert all(splits[record.image] == record.split for record in records)
    counts = Counter(splits.values())
    assert 0.06 < counts["eval"] / 300 < 0.14
    assert 0.10 < counts["test"] / 300 < 0.20


def test_unreadable_files(tmp_path, put):
    put("x.jpg")
    reader = UtkFaceReader(tmp_path)
    with pytest.raises(RecordRejected, match=r"^image file not found$"):
        reader.load(f"1_0_0_{DATE}.jpg")
    (tmp_path / "UTKFace" / f"2_0_0_{DATE}.jpg").mkdir()
    with pytest.raises(RecordRejected, match=r"^expected an image file, found something else$"):
        reader.load(f"2_0_0_{DATE}.jpg")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"61_1_{DATE}.jpg.chip.jpg", "file name: expected age_gender_race_date.jpg, found "),
        (f"1_2_3_4_{DATE}.jpg", "file name: expected age_gender_race_date.jpg, found "),
        (f"131_0_0_{DATE}.jpg", "age in the file name: expected a number from 0 to 130, found '131'"),
        (f"-1_0_0_{DATE}.jpg", "age in the file name: expected a number from 0 to 130, found '-1'"),
        (f"\u0663_0_0_{DATE}.jpg", "age in the file name: expected a number from 0 to 130, found "),
        (f"53__0_{DATE}.jpg", "gender in the file name: expected a number from 0 to 1, found ''"),
        (f"53_2_0_{DATE}.jpg", "gender in the file name: expected a number from 0 to 1, found '2'"),
        (f"53_0_5_{DATE}.jpg", "race in the file name: expected a number from 0 to 4, found '5'"),
        ("53_0_0_.jpg", "date in the file name: expected digits and .jpg, found '.jpg'"),
        (f"53_0_0_{DATE}.png", "date in the file name: expected digits and .jpg, found "),
        (f"53_0_0_{DATE}.jpg\n", "date in the file name: expected digits and .jpg, found "),
    ],
)
def test_malformed_names_say_what_is_wrong(name, reason):
    with pytest.raises(RecordRejected) as caught:
        parse_name(name)
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


@given(
    st.integers(0, 130),
    st.sampled_from(GENDER_CODES),
    st.sampled_from(RACES),
    st.text("0123456789", min_size=1, max_size=20),
    st.sampled_from([".jpg", ".jpg.chip.jpg"]),
)
def test_names_come_back_as_they_were_written(age, gender, race, day, end):
    name = f"{age}_{GENDER_CODES.index(gender)}_{RACES.index(race)}_{day}{end}"
    assert parse_name(name) == (age, gender, race)


PARTS = st.one_of(st.text(max_size=4), st.integers(-5, 200).map(str), st.just(f"{DATE}.jpg"))


@given(st.one_of(st.text(), st.lists(PARTS, max_size=5).map("_".join)))
@example("\udcff_0_0_1.jpg")
@example("²_0_0_1.jpg")
@example(f"{'9' * 5000}_0_0_1.jpg")
def test_any_name_is_read_or_rejected(name):
    try:
        age, gender, race = parse_name(name)
    except RecordRejected as error:
        assert "in the file name: expected" in str(error) or str(error).startswith("file name: expected")
    else:
        assert age in range(131) and gender in GENDER_CODES and race in RACES


@pytest.mark.realdata
def test_real_part(tmp_path):
    """A part of 9,000 images: its counts, and every name of it read."""
    place = os.environ.get("HEXAFACE_DATA", "")
    archive = Path(place) / "utkface_128.tar.gz"
    if not place or not archive.is_file():
        pytest.skip("HEXAFACE_DATA names no folder with utkface_128.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (reader,) = open_readers(tmp_path, ReaderOptions(label="gender"))
    records = [reader.load(item) for item in reader.items()]
    assert Counter(record.labels["gender"] for record in records) == {"male": 4693, "female": 4307}
    races = Counter(record.labels["race"] for record in records)
    assert [races[race] for race in RACES] == [4217, 1603, 1263, 1321, 596]
    assert len({record.image for record in records}) == 9000
