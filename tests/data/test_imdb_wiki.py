import math
import os
import pickle
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from components.readers import imdb_wiki
from components.readers.catalog import ReaderOptions, open_readers
from components.readers.imdb_wiki import CLEANING_RULES, Cleaning, ImdbWikiReader, age_or_reason
from components.readers.record import RecordDropped, RecordRejected, hash_split, person_key
from data_validation.errors import InputError

NAN = math.nan
IMAGE = b"the bytes of an image"
GOOD = {
    "dob": date(1950, 3, 4).toordinal() + 366,
    "photo_taken": 1987,
    "full_path": "17/1017_1950-03-04_1987.jpg",
    "gender": 1.0,
    "name": "Person 17",
    "face_score": 4.0,
    "second_face_score": NAN,
}
KEEP_ALL = Cleaning(min_face_score=-9, single_face=False, gender_known=False, age_known=False)


def cells(values):
    column = np.empty((1, len(values)), dtype=object)
    column[0, :] = values
    return column


def struct_of(*records):
    rows = [{**GOOD, **record} for record in records]
    columns = {field: [row[field] for row in rows] for field in GOOD}
    return {
        field: cells(values) if field in ("full_path", "name") else np.array([values], dtype=np.float64)
        for field, values in columns.items()
    }


def write(folder, struct, name="wiki"):
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / f"{name}.mat", {name: struct}, do_compression=True)
    return folder / f"{name}.mat"


def put(folder, path=GOOD["full_path"], content=IMAGE):
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(content)


@pytest.fixture
def reader_of(tmp_path):
    """Writes wiki.mat with the given differences from a good record, and opens it."""

    def open_reader(*records, label="", cleaning=None):
        write(tmp_path, struct_of(*records))
        return ImdbWikiReader(tmp_path, "wiki.mat", label, cleaning)

    return open_reader


def only(reader):
    (item,) = reader.items()
    return item


def refusal(tmp_path):
    with pytest.raises(InputError) as caught:
        ImdbWikiReader(tmp_path, "wiki.mat")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'wiki.mat'}: ")
    assert "\n" not in message
    return message.removeprefix(f"{tmp_path / 'wiki.mat'}: ")


# Records


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        ("", [("gender", "male"), ("age_group", "30-39"), ("race", "unknown")]),
        ("gender", [("gender", "male"), ("age_group", "30-39"), ("race", "unknown")]),
        ("age", [("age", 37), ("gender", "male"), ("age_group", "30-39"), ("race", "unknown")]),
    ],
)
def test_records_have_image_labels_and_split(reader_of, tmp_path, label, labels):
    put(tmp_path)
    reader = reader_of({}, label=label)
    record = reader.load(only(reader))
    assert record.image == IMAGE
    assert list(record.labels.items()) == labels
    assert (record.source, record.filename) == ("wiki", "wiki.mat:1")
    assert record.split == hash_split("person 17")


@pytest.mark.parametrize("source", ["wiki", "imdb"])
@pytest.mark.parametrize(("place", "images"), [("", ""), ("", "crop"), ("crop", "crop")])
def test_layouts(tmp_path, source, place, images):
    crop = f"{source}_crop"
    write(tmp_path / place.replace("crop", crop), struct_of({"gender": 0.0}), source)
    put(tmp_path / images.replace("crop", crop))
    (reader,) = pickle.loads(pickle.dumps(open_readers(tmp_path, ReaderOptions())))
    record = reader.load(only(reader))
    assert (record.source, record.labels["gender"], record.image) == (source, "female", IMAGE)


def test_persons_are_on_one_side_and_not_named(reader_of):
    names = [f"Person {number // 3}" for number in range(90)]
    reader = reader_of(*({"name": name} for name in names))
    items = list(reader.items())
    assert [item.split for item in items] == [hash_split(name.casefold()) for name in names]
    assert {item.split for item in items} == {"train", "eval", "test"}
    pickled = pickle.dumps((reader, items))
    assert b"Person" not in pickled
    assert len(pickle.dumps(reader)) < 1000


def test_a_name_in_another_case_is_the_same_person(reader_of):
    reader = reader_of({"name": "Jos\u00e9 Example"}, {"name": "JOSE\u0301 EXAMPLE "})
    assert len({item.split for item in reader.items()}) == 1
    assert person_key("Jos\u00e9 Example") == person_key("JOSE\u0301 EXAMPLE ") == "jos\u00e9 example"


def test_a_pipe_among_the_images_is_not_waited_for(reader_of, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    reader = reader_of({"full_path": "pipe.jpg"})
    with pytest.raises(RecordRejected, match=r"^expected an image file, found something else$"):
        reader.load(only(reader))


@pytest.mark.parametrize("name", ["", " ", np.zeros((0, 0))])
def test_without_a_name_the_path_decides_the_split(reader_of, name):
    paths = [f"0/{number}.jpg" for number in range(40)]
    reader = reader_of(*({"name": name, "full_path": path} for path in paths))
    assert [item.split for item in reader.items()] == [hash_split(path) for path in paths]


def test_changed_metadata_is_read_again(tmp_path):
    for count in (1, 2):
        write(tmp_path, struct_of(*[{}] * count))
        assert len(list(ImdbWikiReader(tmp_path, "wiki.mat").items())) == count


def test_metadata_is_parsed_once(reader_of, monkeypatch):
    reader = reader_of({})
    monkeypatch.setattr(imdb_wiki, "_struct", None)
    assert only(pickle.loads(pickle.dumps(reader))).path == GOOD["full_path"]


# Cleaning

BEFORE = 366.0
UNCLEAN = [
    ({"face_score": -math.inf}, "no face found"),
    ({"face_score": NAN}, "no face found"),
    ({"face_score": 0.99}, "face score below data.min_face_score"),
    ({"second_face_score": 1.5}, "second face in the picture"),
    ({"gender": NAN}, "gender unknown"),
    ({"dob": NAN}, "date of birth or year of the photo unknown"),
    ({"dob": math.inf}, "date of birth or year of the photo unknown"),
    ({"dob": 1e7}, "date of birth or year of the photo unknown"),
    ({"photo_taken": NAN}, "date of birth or year of the photo unknown"),
    ({"dob": BEFORE}, "born before year 1"),
    ({"dob": BEFORE + 0.9}, "born before year 1"),
    ({"dob": -1e300}, "born before year 1"),
    ({"photo_taken": 1949}, "age below 0"),
    ({"photo_taken": 2051}, "age above 100"),
]


@pytest.mark.parametrize(("record", "reason"), UNCLEAN)
def test_each_rule_leaves_out(reader_of, record, reason):
    reader = reader_of(record)
    assert reader.cleaning_reason(only(reader)) == reason
    with pytest.raises(RecordDropped) as caught:  # the image is not there: it is not looked for
        reader.load(only(reader))
    assert str(caught.value) == reason
    assert reason in CLEANING_RULES


def test_the_first_rule_counts(reader_of):
    """Of a record at which all is wrong, then of one mended fault by fault."""
    mended = {"dob": BEFORE, "gender": NAN, "second_face_score": 2.0, "face_score": -math.inf}
    records = [dict(mended)]
    for field, value in [("face_score", 0.5), ("face_score", 1.0), ("second_face_score", NAN), ("gender", 0)]:
        mended[field] = value
        records.append(dict(mended))
    reader = reader_of(*records)
    reasons = [reader.cleaning_reason(item) for item in reader.items()]
    assert reasons == [*CLEANING_RULES[:4], "born before year 1"]


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("", {"gender", "dob", "photo_taken", "second_face_score", "face_score"}),
        ("gender", {"dob", "photo_taken", "second_face_score", "face_score"}),
        ("age", {"gender", "second_face_score", "face_score"}),
    ],
)
def test_rules_can_be_switched_off_but_the_label_is_always_known(reader_of, label, kept):
    reader = reader_of(*(record for record, _ in UNCLEAN), label=label, cleaning=KEEP_ALL)
    for (record, _), item in zip(UNCLEAN, reader.items(), strict=True):
        (field,) = record
        faceless = field == "face_score" and not math.isfinite(record[field])
        assert (reader.cleaning_reason(item) is None) == (field in kept and not faceless)


def test_what_is_not_known_is_said(reader_of, tmp_path):
    put(tmp_path)
    reader = reader_of({"gender": NAN, "dob": 1.0}, cleaning=KEEP_ALL)
    assert set(reader.load(only(reader)).labels.values()) == {"unknown"}


@pytest.mark.parametrize(("year", "age"), [(1950, 0), (2050, 100)])
def test_ages_from_0_to_100_are_kept(reader_of, tmp_path, year, age):
    put(tmp_path)
    reader = reader_of({"photo_taken": year}, label="age")
    assert reader.load(only(reader)).labels["age"] == age


@given(st.dates(), st.integers(1, 9999), st.floats(0, 0.99))
def test_age_is_that_of_the_middle_of_the_year(born, year, hours):
    """Years from birthday to 1 July, who is born on or after it being a year younger in the year's photo."""
    birthdays = sum((year_, born.month) <= (year, 6) for year_ in range(born.year + 1, year + 1))
    age = birthdays if date(year, 6, 30) >= born else -1
    expected, reason = age_or_reason(born.toordinal() + 366 + hours, year)
    if 0 <= age <= 100:
        assert (expected, reason) == (age, None)
    else:
        assert (expected, reason) == (None, "age below 0" if age < 0 else "age above 100")


@given(st.floats(), st.floats())
def test_any_numbers_give_an_age_or_a_reason(dob, year):
    age, reason = age_or_reason(dob, year)
    assert age in range(101) if reason is None else age is None and reason in CLEANING_RULES


# Records that cannot be read


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../secret.jpg", "17/../../secret.jpg", "17/../x.jpg", "away/x"]
)
def test_paths_stay_in_the_folder(reader_of, tmp_path, path):
    (tmp_path / "wiki_crop").mkdir()
    (tmp_path / "away").symlink_to(tmp_path.parent)
    reader = reader_of({"full_path": path})
    with pytest.raises(RecordRejected, match=r"^path leads outside of the data folder$"):
        reader.load(only(reader))


@pytest.mark.parametrize("path", ["17/none.jpg", "file/x.jpg", "nul\0.jpg", "loop/x.jpg"])
def test_missing_image(reader_of, tmp_path, path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    reader = reader_of({"full_path": path})
    with pytest.raises(RecordRejected, match=r"^image file not found$"):
        reader.load(only(reader))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("17", "expected an image file, found something else"),
        ("x" * 300, "file cannot be read: File name too long"),
        ("", "full_path: expected the path of an image, found nothing"),
    ],
)
def test_unreadable_image(reader_of, tmp_path, path, reason):
    (tmp_path / "17").mkdir()
    reader = reader_of({"full_path": path})
    with pytest.raises(RecordRejected) as caught:
        reader.load(only(reader))
    assert str(caught.value) == reason
    assert reader.name(only(reader)) == "wiki.mat:1"


@pytest.mark.parametrize("code", [2.0, -1.0, 0.5, math.inf])
def test_unknown_gender_code(reader_of, code):
    reader = reader_of({"gender": code})
    with pytest.raises(RecordRejected, match=r"^gender: expected 0, 1 or NaN, found "):
        reader.load(only(reader))


# Metadata that cannot be used


def test_missing_field(tmp_path):
    struct = struct_of({})
    del struct["gender"]
    write(tmp_path, struct)
    found = "dob, photo_taken, full_path, name, face_score, second_face_score"
    assert refusal(tmp_path) == f"field 'gender' is missing; found {found}"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("dob", np.zeros((1, 2)), "field 'dob': expected 1 values as in 'full_path', found 2"),
        ("name", cells([]), "field 'name': expected 1 values as in 'full_path', found 0"),
        ("face_score", "high", "field 'face_score': expected numbers, found text"),
        ("gender", cells(["f"]), "field 'gender': expected numbers, found cells"),
        ("photo_taken", np.array([[1j]]), "field 'photo_taken': expected numbers, found complex128"),
        ("full_path", np.zeros((1, 1)), "field 'full_path': expected cells of text, found float64"),
        ("name", "one name", "field 'name': expected cells of text, found text"),
        ("name", cells([7.5]), "field 'name', record 1: expected a text, found float64"),
        ("full_path", cells([cells(["x"])]), "field 'full_path', record 1: expected a text, found cells"),
    ],
)
def test_field_of_the_wrong_kind(tmp_path, field, value, reason):
    write(tmp_path, {**struct_of({}), field: value})
    assert refusal(tmp_path) == reason


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"imdb": struct_of({}), "x": 1}, "expected a struct 'wiki', found imdb, x"),
        ({}, "expected a struct 'wiki', found nothing"),
        ({"wiki": np.zeros(3)}, "'wiki': expected one struct, found float64"),
        ({"wiki": np.zeros(2, dtype=[("dob", "f8")])}, "'wiki': expected one struct, found 2 structs"),
    ],
)
def test_struct_is_not_there(tmp_path, variables, reason):
    savemat(tmp_path / "wiki.mat", variables)
    assert refusal(tmp_path) == reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected a MATLAB 5 file, found an empty file"),
        (b"\xff\xd8\xff\xe0 a picture" * 50, "expected a MATLAB 5 file, found another format"),
        (b"MATLAB 5.0 MAT-file", "expected a MATLAB 5 file, found another format"),
    ],
)
def test_no_matlab_file(tmp_path, content, reason):
    (tmp_path / "wiki.mat").write_bytes(content)
    assert refusal(tmp_path) == reason


@pytest.mark.parametrize("head", [b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3 MAT-file, Platform: GLNXA64"])
def test_hdf5_file_is_told_how_to_convert(tmp_path, head):
    (tmp_path / "wiki.mat").write_bytes(head.ljust(512) + b"\x89HDF")
    message = refusal(tmp_path)
    assert "expected a MATLAB 5 file, found MATLAB v7.3 (HDF5)" in message
    assert "save -v7" in message


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_file(tmp_path, share, compressed):
    file = tmp_path / "wiki.mat"
    savemat(file, {"wiki": struct_of(*[{}] * 20)}, do_compression=compressed)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    assert refusal(tmp_path).startswith("damaged or truncated MATLAB 5 file: ")


def test_damaged_bytes_are_read_or_refused(tmp_path):
    file = write(tmp_path, struct_of({}, {}))
    content = file.read_bytes()
    random = np.random.default_rng(1)
    for position in random.integers(128, len(content), 40):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        file.write_bytes(damaged)
        try:
            list(ImdbWikiReader(tmp_path, "wiki.mat").items())
        except InputError as error:
            assert str(file) in str(error)


def test_oversized_file(tmp_path, monkeypatch):
    size = write(tmp_path, struct_of({})).stat().st_size
    monkeypatch.setattr(imdb_wiki, "_MAX_BYTES", 100)
    assert refusal(tmp_path) == f"expected at most 100 bytes, found {size}"


def test_missing_file(tmp_path):
    assert refusal(tmp_path) == "cannot be read: No such file or directory"


# The real metadata


@pytest.fixture
def real() -> Path:
    place = os.environ.get("HEXAFACE_DATA", "")
    if not place or not (Path(place) / "wiki.mat").is_file():
        pytest.skip("HEXAFACE_DATA names no folder with wiki.mat")
    return Path(place)


def funnel(folder, **options):
    (reader,) = open_readers(folder, ReaderOptions(label="gender", **options))
    return Counter(reader.cleaning_reason(item) for item in reader.items())


@pytest.mark.realdata
def test_gender_selection_of_the_report(real):
    """Report section 3.3: single faces, score 5 and more, gender known."""
    left = funnel(real, min_face_score=5.0, age_known=False)
    assert left[None] == 3210
    assert left.total() == 62328
    assert left["no face found"] == 18016


@pytest.mark.realdata
def test_usual_selection(real):
    assert funnel(real)[None] == 38138


@pytest.mark.realdata
def test_metadata_has_the_kinds_that_the_tests_write(real):
    struct = loadmat(real / "wiki.mat")["wiki"]
    for field, values in struct_of({}).items():
        assert struct[field].flat[0].dtype.kind in ("O" if values.dtype == object else "iuf")
