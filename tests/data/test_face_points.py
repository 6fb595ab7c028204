import os
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.readers.boxes import FaceBox
from components.readers.catalog import ReaderOptions, open_readers
from components.readers.face_points import FacePointsReader, read_points
from components.readers.record import RecordRejected
from data_validation.errors import InputError

OPTIONS = ReaderOptions(label="boxes")
POINTS = "30 40 50 40 40 50 32 60 48 60"
FACE = f"20 60 30 70 {POINTS}"
FORM = "expected a path and 14 numbers, found"


def write(folder, *lines, name="trainImageList.txt"):
    file = folder / name
    file.write_text("\n".join(lines))
    return file


@pytest.fixture
def load(tmp_path, encode):
    """Loads the record of an image of 100x80 with a line of numbers."""
    (tmp_path / "net_7876").mkdir()
    (tmp_path / "net_7876/1.jpg").write_bytes(encode(Image.new("RGB", (100, 80))))

    def record(numbers, path="net_7876/1.jpg"):
        write(tmp_path, f"{path} {numbers}")
        (reader,) = pickle.loads(pickle.dumps(open_readers(tmp_path, OPTIONS)))
        (item,) = reader.items()
        return reader.load(item)

    return record


@pytest.mark.parametrize("path", ["net_7876/1.jpg", "net_7876\\1.jpg"])
def test_box_and_points_become_shares_of_the_image(load, path):
    """Lists count from the middle of the first pixel."""
    record = load(FACE, path)
    assert (record.source, record.filename) == ("face_points", "trainImageList.txt:1")
    assert record.labels == {"boxes": "1"}
    expected = {
        "boxes/ymin": [30.5 / 80],
        "boxes/xmin": [20.5 / 100],
        "boxes/ymax": [70.5 / 80],
        "boxes/xmax": [60.5 / 100],
        "boxes/height": [40],
        "boxes/ignored": [0],
        "boxes/clipped": [0],
        "landmarks/y": np.array([40.5, 40.5, 50.5, 60.5, 60.5]) / 80,
        "landmarks/x": np.array([30.5, 50.5, 40.5, 32.5, 48.5]) / 100,
    }
    assert record.ragged.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(record.ragged[name], values, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("box", "clipped", "ignored"),
    [("20 60 30 83", 1, 0), ("-3 60 30 70", 1, 0), ("20 20 30 70", 0, 1), ("120 130 30 70", 1, 1)],
)
def test_boxes_outside_and_without_area(load, box, clipped, ignored):
    ragged = load(f"{box} {POINTS}").ragged
    assert (ragged["boxes/clipped"], ragged["boxes/ignored"]) == (clipped, ignored)
    assert len(ragged["landmarks/y"]) == 5


def test_landmarks_of_another_size_of_the_image(load):
    with pytest.raises(RecordRejected) as caught:
        load(FACE.replace("48 60", "48 79.75"))
    reason = "expected landmarks inside of the image of 100x80, found (48.5, 80.25)"
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1.jpg", f"{FORM} 1 fields, of the last 14 0 numbers"),
        (f"Ann_Lee_0001.jpg {POINTS}", f"{FORM} 11 fields, of the last 14 10 numbers"),
        (FACE, f"{FORM} 14 fields, of the last 14 13 numbers"),
        (f"1.jpg {FACE} 7 x", f"{FORM} 17 fields, of the last 14 13 numbers"),
        ("1.jpg " + FACE.replace("50", "nan"), f"{FORM} 15 fields, of the last 14 12 numbers"),
        ("1.jpg " + FACE.replace("50", "1e3"), f"{FORM} 15 fields, of the last 14 12 numbers"),
        (
            f"1.jpg 60 20 30 70 {POINTS}",
            "expected a box as left, right, top, bottom, found 60 20 30 70",
        ),
        (
            f"1.jpg 20 60 70 30.5 {POINTS}",
            "expected a box as left, right, top, bottom, found 20 60 70 30.5",
        ),
    ],
)
def test_malformed_lines_say_what_is_wrong_but_no_name(tmp_path, line, reason):
    file = write(tmp_path, f"0.jpg {FACE}", "", line)
    with pytest.raises(InputError) as caught:
        open_readers(tmp_path, OPTIONS)
    assert str(caught.value) == f"{file}, line 3: {reason}"


NUMBERS = st.integers(0, 9999).map(lambda value: value / 10)
ROWS = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, *[NUMBERS] * 10)


@given(st.lists(ROWS, max_size=4), st.sampled_from(["%.3f", "%f", "%g"]))
@settings(max_examples=40)
def test_well_formed_files_are_read(tmp_path_factory, rows, form):
    rows = [(*sorted(row[:2]), *sorted(row[2:4]), *row[4:]) for row in rows]
    file = tmp_path_factory.getbasetemp() / "well-formed.txt"
    file.write_text(
        "\n".join(f"a b/{i}.jpg " + " ".join(form % n for n in row) for i, row in enumerate(rows))
    )
    images = read_points(file)
    assert [image.path for image in images] == [f"a b/{number}.jpg" for number in range(len(rows))]
    for image, row in zip(images, rows, strict=True):
        left, right, top, bottom, *points = np.array(row) + 0.5
        assert image.box == FaceBox(left, top, right, bottom)
        assert np.ravel(image.landmarks).tolist() == points


@given(st.one_of(st.text(), st.lists(st.text("a1.- \n", max_size=60)).map("\n".join)))
@example(f"1.jpg {'9' * 5000} {FACE[3:]}")
@example("1.jpg " + "² " * 14)
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.txt"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_points(file)
    except InputError as error:
        assert str(error).startswith(str(file)) and "expected" in str(error) and "\n" not in str(error)


def test_missing_images_and_paths_that_lead_outside(tmp_path, encode):
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "outside.jpg").write_bytes(encode(Image.new("L", (100, 80))))
    (data / "text.jpg").write_bytes(b"no image")
    paths = ("gone.jpg", "../outside.jpg", "..\\outside.jpg", f"{tmp_path}/outside.jpg", "text.jpg")
    write(data, *(f"{path} {FACE}" for path in paths), name="testImageList.txt")
    reader = FacePointsReader(data)
    reasons = []
    for item in reader.items():
        with pytest.raises(RecordRejected) as caught:
            reader.load(item)
        reasons.append((reader.name(item), str(caught.value)))
    outside = "path leads outside of the data folder"
    assert reasons == [
        ("testImageList.txt:1", "image file not found"),
        *((f"testImageList.txt:{line}", outside) for line in (2, 3, 4)),
        ("testImageList.txt:5", "image cannot be decoded: no JPEG, PNG or GIF"),
    ]


def test_test_list_is_the_test_split(tmp_path, encode):
    (tmp_path / "lfw_5590").mkdir()
    picture = encode(Image.new("L", (100, 80)))
    names = [f"lfw_5590/Name{number}_{copy:04d}.jpg" for number in range(40) for copy in (1, 2)]
    for name in names:
        (tmp_path / name).write_bytes(picture)
    write(tmp_path, *(f"{name} {FACE}" for name in names[:60]))
    write(tmp_path, *(f"{name} {FACE}" for name in names[60:]), name="testImageList.txt")
    (reader,) = open_readers(tmp_path, OPTIONS)
    records = [reader.load(item) for item in reader.items()]
    assert Counter(record.split for record in records[60:]) == {"test": 20}
    splits = [record.split for record in records[:60]]
    assert set(splits) == {"train", "eval"} and splits.count("eval") < 20
    # Two pictures of a person are on one side.
    assert splits[::2] == splits[1::2]
    assert not any("Name" in record.filename for record in records)


@pytest.mark.realdata
def test_real_lists(tmp_path):
    place = os.environ.get("HEXAFACE_DATA", "")
    archive = Path(place) / "landmarks5_80px.tar.gz"
    if not place or not archive.is_file():
        pytest.skip("HEXAFACE_DATA names no folder with landmarks5_80px.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (reader,) = open_readers(tmp_path, OPTIONS)
    records = [reader.load(item) for item in reader.items()]
    splits = Counter(record.split for record in records)
    assert (splits["train"] + splits["eval"], splits["test"]) == (8571, 1428)
    assert 0.08 < splits["eval"] / 8571 < 0.12
    assert sum(int(record.ragged["boxes/clipped"][0]) for record in records) == 1
    assert not any(record.ragged["boxes/ignored"].any() for record in records)
    heights = np.concatenate([record.ragged["boxes/height"] for record in records])
    assert ((heights >= 20) & (heights < 50)).mean() > 0.99
