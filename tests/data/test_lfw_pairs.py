import os
import pickle
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.readers.catalog import ReaderOptions, open_readers
from components.readers.identity import Pair, pseudonym
from components.readers.lfw_pairs import LfwPairsReader, read_pairs
from components.readers.record import RecordRejected
from data_validation.errors import InputError

OPTIONS = ReaderOptions(label="identity")
LINES = ("Ann\t1\t2", "Ann\t1\tBob\t10000")


def write(folder, *lines, images="lfw-deepfunneled"):
    if images:
        (folder / images).mkdir(exist_ok=True)
    file = folder / "pairs.txt"
    file.write_text("\n".join(lines))
    return file


def refusal(file):
    with pytest.raises(InputError) as caught:
        read_pairs(file)
    message = str(caught.value)
    assert message.startswith(str(file)) and "\n" not in message
    return message.removeprefix(str(file)).removeprefix(", ").removeprefix(": ")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_pairs_of_both_kinds(tmp_path, end):
    file = tmp_path / "pairs.txt"
    file.write_bytes(end.join(("1", *LINES, "")).encode("utf-8-sig"))
    assert read_pairs(file) == [
        Pair("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", same=True),
        Pair("Ann/Ann_0001.jpg", "Bob/Bob_10000.jpg", same=False),
    ]


def test_folds_are_numbered(tmp_path):
    pairs = read_pairs(write(tmp_path, "3\t1", *LINES, *LINES, *LINES))
    assert [pair.fold for pair in pairs] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((), "line 1: expected a count, or folds and a count, found nothing"),
        (LINES, r"line 1: expected a count, or folds and a count, found 'Ann 1 2'"),
        (("0",), "line 1: expected a count, or folds and a count, found '0'"),
        (("1 1 1",), "line 1: expected a count, or folds and a count, found '1 1 1'"),
        (("-1",), "line 1: expected a count, or folds and a count, found '-1'"),
        (("2", *LINES), "line 1: expected 2 pairs of one person as counted, found 1"),
        (("", "1", *LINES, LINES[1]), "line 2: expected 1 pairs of two persons as counted, found 2"),
        (("2\t2", *LINES), "line 1: expected 4 pairs of one person as counted, found 1"),
        (
            ("1", "Ann\t1"),
            "line 2: expected 'name n1 n2' or 'name1 n1 name2 n2', found 'Ann 1'",
        ),
        (("1", "Ann\t1\tx"), "line 2: expected an image number from 1, found 'x'"),
        (("1", "Ann\t0\t1"), "line 2: expected an image number from 1, found '0'"),
        (("1", "Ann\t1\t1_0"), "line 2: expected an image number from 1, found '1_0'"),
        (("1", "Ann\t²\t1"), "line 2: expected an image number from 1, found '²'"),
        (("1", "Ann\t9999999\t1"), "line 2: expected an image number from 1, found '9999999'"),
        (("1", "Ann\t1\t01"), "line 2: expected two images, found number 1 twice"),
        (("1", "Ann\t1\tAnn\t2"), "line 2: expected two persons, found 'Ann' twice"),
        (("1", "../x\t1\t2"), "line 2: expected a name without '/', '\\' and leading '.', found '../x'"),
        (("1", "..\t1\t2"), "line 2: expected a name without '/', '\\' and leading '.', found '..'"),
    ],
)
def test_malformed_files_say_line_and_what_is_wrong(tmp_path, lines, reason):
    assert refusal(write(tmp_path, *lines)) == reason


def test_files_that_are_no_text(tmp_path):
    file = tmp_path / "pairs.txt"
    assert refusal(file) == "cannot be read: No such file or directory"
    file.write_bytes(b"1\n\xff\xfe")
    assert refusal(file) == "expected text in UTF-8, found other bytes at 2"
    with file.open("wb") as sparse:
        sparse.truncate((1 << 24) + 1)
    assert refusal(file) == "expected at most 16777216 bytes, found 16777217"


NAMES = st.from_regex(r"[A-Za-z][\w.-]{0,10}", fullmatch=True)
SAME = st.tuples(NAMES, st.integers(1, 9999), st.integers(1, 9999)).filter(lambda pair: pair[1] != pair[2])
OTHERS = st.tuples(NAMES, st.integers(1, 9999), NAMES, st.integers(1, 9999)).filter(
    lambda pair: pair[0] != pair[2]
)


@given(st.integers(1, 3), st.integers(1, 2), st.sampled_from("\t "), st.data())
@settings(max_examples=30)
def test_well_formed_files_are_read(tmp_path_factory, folds, count, gap, data):
    rows = [
        row
        for _ in range(folds)
        for kind in (SAME, OTHERS)
        for row in data.draw(st.lists(kind, min_size=count, max_size=count))
    ]
    lines = [gap.join(map(str, row)) for row in rows]
    file = tmp_path_factory.getbasetemp() / "well-formed.txt"
    file.write_text("\n".join([f"{folds}\t{count}", *lines]), encoding="utf-8")
    pairs = read_pairs(file)
    assert [pair.same for pair in pairs] == [len(row) == 3 for row in rows]
    assert [pair.first for pair in pairs] == [f"{name}/{name}_{n:04d}.jpg" for name, n, *_ in rows]
    assert [pair.fold for pair in pairs] == [fold for fold in range(folds) for _ in range(2 * count)]


@given(
    st.one_of(st.text(), st.lists(st.text("A1\t .\n", max_size=9)).map(lambda rows: "\n".join(["1", *rows])))
)
@example("1\n" + "9" * 5000 + "\t1\t2")
@example("1\nA\x001\t1\t2")
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.txt"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_pairs(file)
    except InputError as error:
        assert str(error).startswith(str(file)) and "expected" in str(error) and "\n" not in str(error)


# The reader


@pytest.mark.parametrize("images", ["lfw", "lfw-deepfunneled"])
def test_images_of_pairs_are_listed_once(tmp_path, images):
    write(tmp_path, "2", "Ann\t2\t1", "Ann\t1\t3", "Ann\t1\tBob\t1", "Ann\t3\tBob\t1", images=images)
    for path in ("Ann/Ann_0001.jpg", "Ann/Ann_0009.jpg"):
        (tmp_path / images / path).parent.mkdir(exist_ok=True)
        (tmp_path / images / path).write_bytes(b"bytes as they are")
    (reader,) = pickle.loads(pickle.dumps(open_readers(tmp_path, OPTIONS)))
    assert [item.path for item in reader.items()] == [
        f"{name}/{name}_000{number}.jpg" for name, number in (("Ann", 2), ("Ann", 1), ("Ann", 3), ("Bob", 1))
    ]
    record = reader.load(list(reader.items())[1])
    person = pseudonym("lfw", "Ann")
    assert (record.split, record.source, record.filename) == ("test", "lfw", f"{person}/0001.jpg")
    assert (record.labels, record.image) == ({"identity": person}, b"bytes as they are")


def test_pair_that_names_a_missing_file(tmp_path):
    write(tmp_path, "1", *LINES)
    reader = LfwPairsReader(tmp_path)
    missing = list(reader.items())[-1]
    with pytest.raises(RecordRejected, match=r"^image file not found$"):
        reader.load(missing)
    assert reader.name(missing) == f"pairs.txt:3 {pseudonym('lfw', 'Bob')}/10000.jpg"


def test_images_are_not_there(tmp_path):
    file = write(tmp_path, "1", *LINES, images="")
    with pytest.raises(InputError) as caught:
        open_readers(tmp_path, OPTIONS)
    assert str(caught.value) == f"{file}: expected lfw-deepfunneled/ or lfw/ beside it, found neither"


def test_malformed_file_is_refused_before_the_run(tmp_path):
    write(tmp_path, "2", *LINES)
    with pytest.raises(InputError, match="as counted"):
        open_readers(tmp_path, OPTIONS)


@pytest.mark.realdata
def test_real_pairs():
    folder = Path(os.environ.get("HEXAFACE_DATA", "/nowhere"))
    if not (folder / "pairs.txt").is_file():
        pytest.skip("HEXAFACE_DATA names no folder with pairs.txt")
    assert Counter(pair.same for pair in read_pairs(folder / "pairs.txt")) == {True: 300, False: 300}
    reader = LfwPairsReader(folder)
    records = [reader.load(item) for item in reader.items()]
    assert len({record.filename for record in records}) == len(records) == 1031
    assert len({record.labels["identity"] for record in records}) == 680
