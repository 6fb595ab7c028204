import io
import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from components.face_example_gen import to_example
from components.readers.att import AttReader, att_pairs
from components.readers.catalog import ReaderOptions, open_readers
from components.readers.identity import person_folder, pseudonym
from components.readers.pgm import to_png
from components.readers.record import RecordRejected

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
RASTER = PIXELS.tobytes()
PLAIN = b" ".join(b"%d" % value for value in RASTER)


def decoded(pgm):
    with Image.open(io.BytesIO(to_png(pgm))) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


def refusal(pgm):
    with pytest.raises(RecordRejected) as caught:
        to_png(pgm)
    return str(caught.value)


# PGM


@pytest.mark.parametrize(
    "pgm",
    [
        b"P5\n4 3\n255\n" + RASTER,
        b"P5 4 3 255 " + RASTER,
        b"P5\n# made by hand, 9 9 9\n4 3\n255\n" + RASTER,
        b"P5#a\n\n# b\r\n4#c\n# d\n3\n#\n255\n" + RASTER,
        b"P5\n4 3\n255\n" + RASTER + b"what follows",
        b"P2\n4 3\n255\n" + PLAIN,
        b"P2\n# comment\n4 3\n255\n# 7 7 7\n" + PLAIN.replace(b" ", b"\n# x\n", 3) + b"\n",
        b"P2\n4 3\n255 # comment\n" + PLAIN + b" 99",
    ],
)
def test_forms_of_pgm_have_the_same_pixels(pgm):
    assert (decoded(pgm) == PIXELS).all()


def test_white_space_and_number_signs_are_pixels_too():
    raster = b"\n#\n #\t 12\r\n#"
    assert decoded(b"P5\n4 3\n255\n" + raster).tobytes() == raster


def test_16_bit_values_are_scaled():
    values = np.array([[0, 128, 257, 32768, 65535, 65406]], dtype=">u2")
    scaled = [[0, 0, 1, 128, 255, 254]]
    assert decoded(b"P5 6 1 65535\n" + values.tobytes()).tolist() == scaled
    assert decoded(b"P2 6 1 65535\n" + " ".join(map(str, values[0])).encode()).tolist() == scaled
    assert decoded(b"P5 2 1 1000\n" + np.array([500, 1000], ">u2").tobytes()).tolist() == [[128, 255]]


def test_maximum_below_255_is_scaled():
    assert decoded(b"P5 3 1 15\n\x00\x07\x0f").tolist() == [[0, 119, 255]]


@pytest.mark.parametrize(
    ("pgm", "reason"),
    [
        (b"", "PGM: expected an image, found an empty file"),
        (
            b"P6 1 1 255\n123",
            r"PGM: expected P5 or P2, width, height and maximum, found b'P6 1 1 255\n123'",
        ),
        (b"P5 4 3", "PGM: expected P5 or P2, width, height and maximum, found b'P5 4 3'"),
        (b"P5 -4 3 255\n", r"PGM: expected P5 or P2, width, height and maximum, found b'P5 -4 3 255\n'"),
        (b"P5 4 3 255\n" + RASTER[:-1], "PGM: truncated: expected 12 bytes of pixels, found 11"),
        (b"P5 4 3 256\n" + RASTER, "PGM: truncated: expected 24 bytes of pixels, found 12"),
        (b"P2 4 3 255\n" + PLAIN[:-3], "PGM: truncated: expected 12 pixels, found 11"),
        (b"P2 2 1 255\n1 x", "PGM: expected numbers as pixels, found b'x'"),
        (b"P2 2 1 255\n1 -1", "PGM: expected numbers as pixels, found b'-1'"),
        (b"P5 0 3 255\n", "PGM: expected 1 to 64000000 pixels, found 0x3"),
        (b"P5 99999 99999 255\n", "PGM: expected 1 to 64000000 pixels, found 99999x99999"),
        (b"P5 1 1 0\n0", "PGM: expected a maximum from 1 to 65535, found 0"),
        (b"P5 1 1 65536\n0000", "PGM: expected a maximum from 1 to 65535, found 65536"),
        (b"P5 1 1 15\n\xff", "PGM: expected values from 0 to 15, found 255"),
        (b"P2 1 1 255\n99999", "PGM: expected values from 0 to 255, found 99999"),
    ],
)
def test_broken_pgm_says_what_is_wrong(pgm, reason):
    assert refusal(pgm) == reason


SPACE = st.text(" \t\r\n", min_size=1, max_size=3).map(str.encode)
COMMENT = st.text("# 1aP\t", max_size=8).map(lambda text: b"#" + text.encode() + b"\n")
GAPS = st.lists(st.one_of(SPACE, COMMENT), min_size=1, max_size=3).map(b"".join)


@given(st.tuples(GAPS, GAPS, GAPS), st.integers(1, 6), st.integers(1, 6), st.integers(1, 65535), st.data())
def test_any_header_is_read(gaps, width, height, most, data):
    values = data.draw(st.lists(st.integers(0, most), min_size=width * height, max_size=width * height))
    header = b"".join(gap + b"%d" % number for gap, number in zip(gaps, (width, height, most), strict=True))
    raster = np.array(values, dtype=">u2" if most > 255 else "u1").tobytes()
    expected = [int(value * 255 / most + 0.5) for value in values]
    for pgm in (
        b"P5" + header + b"\n" + raster,
        b"P2" + header + b"\n" + b" ".join(b"%d" % v for v in values),
    ):
        pixels = decoded(pgm)
        assert pixels.shape == (height, width)
        assert pixels.ravel().tolist() == expected


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=30).map(lambda rest: b"P2 2 1 9\n" + rest)))
@example(b"P2 1 1 9\n" + b"9" * 5000)
@example(b"P5" + b"#\n" * 5000)
def test_any_bytes_are_read_or_rejected(content):
    try:
        to_png(content)
    except RecordRejected as error:
        assert str(error).startswith("PGM: ") and "expected" in str(error) and "\n" not in str(error)


# The folders


def put(root, path, content=b"P5 4 3 255\n" + RASTER):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


@pytest.mark.parametrize("below", ["", "att_faces", "orl_faces"])
def test_folders_are_found_and_listed_by_number(tmp_path, below):
    for path in ("s10/2.pgm", "s1/10.pgm", "s1/1.pgm", "s1/x.pgm", "s2/._1.pgm", "sx/1.pgm", "README"):
        put(tmp_path / below, path)
    (reader,) = pickle.loads(pickle.dumps(open_readers(tmp_path, ReaderOptions(label="identity"))))
    assert isinstance(reader, AttReader)
    assert list(reader.items()) == ["s1/1.pgm", "s1/10.pgm", "s10/2.pgm"]


def test_records_are_png_for_test_without_the_folder_name(tmp_path):
    put(tmp_path, "s7/3.pgm", b"P5 20 16 255\n" + bytes(320))
    record = AttReader(tmp_path).load("s7/3.pgm")
    person = pseudonym("att", "s7")
    assert (record.split, record.source, record.filename) == ("test", "att", f"{person}/3.pgm")
    assert record.labels == {"identity": person}
    assert person_folder(tmp_path, "att", person) == tmp_path / "s7"
    assert to_example(record).features.feature["image/width"].int64_list.value[0] == 20


def test_unreadable_files(tmp_path):
    put(tmp_path, "s1/1.pgm", b"")
    (tmp_path / "s1/2.pgm").mkdir()
    reader = AttReader(tmp_path)
    for item, reason in (
        ("s1/1.pgm", "PGM: expected an image, found an empty file"),
        ("s1/2.pgm", "expected an image file, found something else"),
        ("s1/3.pgm", "image file not found"),
    ):
        with pytest.raises(RecordRejected) as caught:
            reader.load(item)
        assert str(caught.value) == reason


# Pairs


def people(pair):
    return [path.split("/")[0] for path in (pair.first, pair.second)]


@pytest.mark.parametrize("persons", [7, 12, 40])
@pytest.mark.parametrize("seed", range(3))
def test_pairs_are_balanced(persons, seed):
    pairs = att_pairs(seed, persons)
    assert len(pairs) == 6 * persons  # 240 of 40
    for same, each in ((True, 3), (False, 6)):
        chosen = [pair for pair in pairs if pair.same == same]
        assert len(chosen) == 3 * persons
        assert all((len(set(people(pair))) == 1) == same for pair in chosen)
        shares = Counter(name for pair in chosen for name in set(people(pair)))
        assert set(shares) == {f"s{number}" for number in range(1, persons + 1)}
        assert set(shares.values()) == {each}
    assert all(pair.first != pair.second for pair in pairs)
    assert len({frozenset((pair.first, pair.second)) for pair in pairs}) == len(pairs)


def test_pairs_follow_the_seed():
    assert att_pairs(1) == att_pairs(1) != att_pairs(2)
    # Written down: figures of different runs are of the same pairs.
    assert [(pair.first, pair.second) for pair in (att_pairs(1)[0], att_pairs(1)[-1])] == [
        ("s1/3.pgm", "s1/7.pgm"),
        ("s20/3.pgm", "s34/10.pgm"),
    ]


def test_too_few_persons_for_pairs():
    with pytest.raises(ValueError, match=r"^persons: expected at least 7, found 6$"):
        att_pairs(1, persons=6)


# The real set


@pytest.mark.realdata
def test_real_set():
    folder = Path(os.environ.get("HEXAFACE_DATA", "/nowhere")) / "att"
    if not (folder / "s1/1.pgm").is_file():
        pytest.skip("HEXAFACE_DATA names no folder with att/s1/1.pgm")
    (reader,) = open_readers(folder, ReaderOptions(label="identity"))
    records = {item: reader.load(item) for item in reader.items()}
    assert Counter(Counter(record.labels["identity"] for record in records.values()).values()) == {10: 40}
    for item, record in records.items():
        with Image.open(folder / item) as original, Image.open(io.BytesIO(record.image)) as converted:
            assert original.size == (92, 112)
            assert original.tobytes() == converted.tobytes()
    assert {path for pair in att_pairs(0) for path in (pair.first, pair.second)} <= set(records)
