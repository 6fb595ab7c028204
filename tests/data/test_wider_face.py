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
from components.readers.record import RecordRejected
from components.readers.wider_face import WiderFaceReader, read_annotation
from data_validation.errors import InputError

OPTIONS = ReaderOptions(label="boxes")
A, B = "0--Parade/a.jpg", "1--Handshaking/b c.jpg"
FACE = "10 20 30 40 0 0 0 0 0 0"
INVALID = "1 2 3 4 2 1 1 1 2 1"
NOTHING = "0 0 0 0 0 0 0 0 0 0"
FORM = "'x y w h blur expression illumination invalid occlusion pose'"


def write(folder, *lines, name="wider_face_bbx_gt.txt", images="images"):
    if images:
        (folder / images).mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines))
    return file


def put(folder, path, content):
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@pytest.fixture
def load(tmp_path, encode):
    """Loads the record of an image of 100x80 with some lines of boxes."""
    put(tmp_path, f"images/{A}", encode(Image.new("RGB", (100, 80))))

    def record(*boxes):
        write(tmp_path, A, str(len(boxes)), *boxes)
        (reader,) = open_readers(tmp_path, OPTIONS)
        (item,) = reader.items()
        return reader.load(item)

    return record


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n", "\n\n"])
def test_images_and_their_boxes(tmp_path, end):
    file = tmp_path / "annotation.txt"
    file.write_bytes(
        end.join((A, "2", FACE, INVALID, B, "1", "-1 -2 3 4 0 0 0 0 0 0", "")).encode("utf-8-sig")
    )
    faces = read_annotation(file)
    assert [path for _, path, _ in faces] == [A, B]
    assert faces[0][2] == (FaceBox(10, 20, 40, 60, ignored=False), FaceBox(1, 2, 4, 6, ignored=True))
    assert faces[1][2] == (FaceBox(-1, -2, 2, 2),)


@pytest.mark.parametrize("rows", [("0", NOTHING), ("0",)])
def test_image_without_faces_may_have_a_line_of_zeros(tmp_path, rows):
    faces = read_annotation(write(tmp_path, A, *rows, B, "1", FACE))
    assert [(line, len(boxes)) for line, _, boxes in faces] == [(1, 0), (len(rows) + 2, 1)]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((), ": expected names, counts and boxes, found an empty file"),
        (("", "2", FACE), ", line 2: expected the name of an image, found '2'"),
        ((A,), ", line 1: expected a count of boxes after the name, found none"),
        ((A, B), ", line 1: expected a count of boxes after the name, found none"),
        ((A, FACE), f", line 2: expected a count of boxes, found {FACE!r}"),
        ((A, "-1", FACE), ", line 2: expected a count of boxes, found '-1'"),
        ((A, "²", FACE), ", line 2: expected a count of boxes, found '²'"),
        ((A, "1_0", FACE), ", line 2: expected a count of boxes, found '1_0'"),
        ((A, "2", FACE), ", line 2: expected 2 boxes as counted, found 1"),
        ((A, "2", FACE, B, "1", FACE), ", line 2: expected 2 boxes as counted, found 1"),
        ((A, "1", FACE, FACE, B, "1", FACE), ", line 2: expected 1 boxes as counted, found 2"),
        ((A, "0", FACE), ", line 2: expected 0 boxes as counted, found 1"),
        ((A, "0", NOTHING, NOTHING), ", line 2: expected 0 boxes as counted, found 2"),
        ((A, "1", "1 2 3"), f", line 3: expected {FORM}, found '1 2 3'"),
        ((A, "1", f"{FACE} 0"), f", line 3: expected {FORM}, found {FACE + ' 0'!r}"),
        ((A, "1", FACE, "0--Parade/b.gif"), f", line 4: expected {FORM}, found '0--Parade/b.gif'"),
        (
            (A, "1", "1.5 2 3 4 0 0 0 0 0 0"),
            f", line 3: expected {FORM}, found '1.5 2 3 4 0 0 0 0 0 0'",
        ),
        ((A, "1", "1 2 -3 4 0 0 0 0 0 0"), ", line 3: w: expected a number from 0 to 999999, found -3"),
        ((A, "1", "1 2 3 4 0 0 0 2 0 0"), ", line 3: invalid: expected a number from 0 to 1, found 2"),
        ((A, "1", "1 2 3 4 3 0 0 0 0 0"), ", line 3: blur: expected a number from 0 to 2, found 3"),
        ((A, "1", FACE, A, "1", FACE), f", line 4: expected each image once, found {A!r} of line 1 again"),
    ],
)
def test_malformed_files_say_line_and_what_is_wrong(tmp_path, lines, reason):
    file = write(tmp_path, *lines)
    for opening in (lambda: read_annotation(file), lambda: open_readers(tmp_path, OPTIONS)):
        with pytest.raises(InputError) as caught:
            opening()
        assert str(caught.value) == f"{file}{reason}"


ROWS = st.tuples(
    st.integers(-50, 2000),
    st.integers(-50, 2000),
    st.integers(0, 900),
    st.integers(0, 900),
    *(st.integers(0, highest) for highest in (2, 1, 1, 1, 2, 1)),
)
IMAGES = st.lists(st.lists(ROWS, max_size=4), min_size=1, max_size=5)


@given(IMAGES)
@settings(max_examples=40)
def test_well_formed_files_are_read(tmp_path_factory, images):
    lines = []
    for number, rows in enumerate(images):
        lines += [f"{number}--Event/{number}.jpg", str(len(rows))]
        lines += [" ".join(map(str, row)) for row in rows] or [NOTHING]
    file = tmp_path_factory.getbasetemp() / "well-formed.txt"
    file.write_text("\n".join(lines))
    assert [boxes for _, _, boxes in read_annotation(file)] == [
        tuple(FaceBox(x, y, x + w, y + h, bool(invalid)) for x, y, w, h, _, _, _, invalid, *_ in rows)
        for rows in images
    ]


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from([A, B, "0", "1", "2", FACE, NOTHING, "1 2", "x"]), max_size=9).map(
            "\n".join
        ),
    )
)
@example(f"{A}\n{'9' * 5000}\n{FACE}")
@example(f"{A}\n1\n{'9' * 5000} {FACE[3:]}")
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.txt"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_annotation(file)
    except InputError as error:
        assert str(error).startswith(str(file)) and "expected" in str(error) and "\n" not in str(error)


# The reader


def test_boxes_become_shares_of_the_image(load):
    record = load(FACE, INVALID)
    assert (record.source, record.filename) == ("wider_face", f"images/{A}")
    assert record.labels == {"boxes": "1"}
    expected = {
        "boxes/ymin": [20 / 80, 2 / 80],
        "boxes/xmin": [10 / 100, 1 / 100],
        "boxes/ymax": [60 / 80, 6 / 80],
        "boxes/xmax": [40 / 100, 4 / 100],
        "boxes/height": [40, 4],
        "boxes/ignored": [0, 1],
        "boxes/clipped": [0, 0],
        "landmarks/y": [],
        "landmarks/x": [],
    }
    assert record.ragged.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(record.ragged[name], values, rtol=1e-6, err_msg=name)
        whole = name in ("boxes/ignored", "boxes/clipped")
        assert record.ragged[name].dtype == (np.int64 if whole else np.float32)


@pytest.mark.parametrize(
    ("box", "edges", "ignored"),
    [
        ("-10 -5 30 40", (0, 0, 35, 20), 0),
        ("90 70 30 40", (70, 90, 80, 100), 0),
        ("-1 -1 102 82", (0, 0, 80, 100), 0),
        ("100 10 5 5", (10, 100, 15, 100), 1),
        ("-9 10 9 5", (10, 0, 15, 0), 1),
        ("500 400 20 20", (80, 100, 80, 100), 1),
    ],
)
def test_boxes_that_reach_outside_are_clipped_and_flagged(load, box, edges, ignored):
    ragged = load(f"{box} 0 0 0 0 0 0").ragged
    found = [ragged[f"boxes/{edge}"][0] for edge in ("ymin", "xmin", "ymax", "xmax")]
    np.testing.assert_allclose(found, np.array(edges) / (80, 100, 80, 100), rtol=1e-6)
    assert ragged["boxes/height"] == edges[2] - edges[0]
    assert (ragged["boxes/clipped"], ragged["boxes/ignored"]) == (1, ignored)


@pytest.mark.parametrize("size", ["0 9", "9 0", "0 0"])
def test_boxes_without_an_area_are_ignored(load, size):
    record = load(f"5 5 {size} 0 0 0 0 0 0", FACE)
    assert record.ragged["boxes/ignored"].tolist() == [1, 0]
    assert record.ragged["boxes/clipped"].tolist() == [0, 0]
    assert record.labels == {"boxes": "1"}


@pytest.mark.parametrize("row", ["5 5 0 9 0 0 0 0 0 0", NOTHING])
def test_image_of_nothing_but_a_box_without_an_area_has_no_faces(load, row):
    record = load(row)
    assert record.labels == {"boxes": "none"}
    assert record.ragged["boxes/ignored"].tolist() == [1]
    assert record.ragged["boxes/height"].shape == (1,)


@pytest.mark.parametrize("rows", [("0", NOTHING), ("0",)])
def test_image_without_faces_is_a_record_without_boxes(tmp_path, encode, rows):
    put(tmp_path, f"images/{A}", encode(Image.new("RGB", (100, 80))))
    write(tmp_path, A, *rows)
    (reader,) = open_readers(tmp_path, OPTIONS)
    (record,) = map(reader.load, reader.items())
    assert record.labels == {"boxes": "none"}
    assert {"boxes/ymin", "boxes/height", "boxes/ignored"} < record.ragged.keys()
    for name, values in record.ragged.items():
        assert values.shape == (0,), name


@pytest.mark.parametrize(
    ("faces", "label"),
    [
        (0, "none"),
        (1, "1"),
        (2, "2 to 5"),
        (5, "2 to 5"),
        (6, "6 to 20"),
        (20, "6 to 20"),
        (21, "more than 20"),
    ],
)
def test_label_tells_how_crowded_a_picture_is(load, faces, label):
    assert load(*[FACE] * faces).labels == {"boxes": label}


@given(st.lists(ROWS, max_size=6))
@settings(max_examples=40)
def test_clipped_boxes_lie_in_the_image(tmp_path_factory, encode, rows):
    folder = tmp_path_factory.getbasetemp() / "clipped"
    put(folder, f"images/{A}", encode(Image.new("L", (640, 333))))
    write(folder, A, str(len(rows)), *(" ".join(map(str, row)) for row in rows))
    reader = WiderFaceReader(folder)
    ragged = reader.load(next(reader.items())).ragged
    assert {len(ragged[name]) for name in ragged if name.startswith("boxes/")} == {len(rows)}
    for axis in "xy":
        low, high = ragged[f"boxes/{axis}min"], ragged[f"boxes/{axis}max"]
        assert (low >= 0).all() and (low <= high).all() and (high <= 1).all()
        assert (low < high)[ragged["boxes/ignored"] == 0].all()


def test_missing_and_damaged_images(tmp_path, encode):
    whole = encode(Image.new("L", (100, 80)), "JPEG")
    put(tmp_path, "images/cut.jpg", whole[:20])
    put(tmp_path, "images/text.jpg", b"no image")
    put(tmp_path, "outside.jpg", whole)
    (tmp_path / "images/link.jpg").symlink_to(tmp_path / "outside.jpg")
    write(
        tmp_path,
        *(
            line
            for name in ("gone", "cut", "text", "../outside", "link")
            for line in (f"{name}.jpg", "1", FACE)
        ),
        f"{tmp_path}/outside.jpg",
        "1",
        FACE,
    )
    reader = WiderFaceReader(tmp_path)
    reasons = {}
    for item in reader.items():
        with pytest.raises(RecordRejected) as caught:
            reader.load(item)
        reasons[item.line] = str(caught.value)
        assert reader.name(item).startswith(f"wider_face_bbx_gt.txt:{item.line} ")
    assert reasons.pop(4).startswith("image cannot be decoded")
    outside = "path leads outside of the data folder"
    assert reasons == {
        1: "image file not found",
        7: "image cannot be decoded: no JPEG, PNG or GIF",
        10: outside,
        13: outside,
        16: outside,
    }


# Layouts and splits


def many(folder, encode, count, images, name):
    """Writes pictures that differ, and their annotation."""
    lines = []
    for number in range(count):
        picture = np.full((20, 30), number, np.uint8)
        put(folder, f"{images}/0--A/{name[:14]}{number}.jpg", encode(picture))
        lines += [f"0--A/{name[:14]}{number}.jpg", "1", "1 1 9 9 0 0 0 0 0 0"]
    write(folder, *lines, name=f"wider_face_split/{name}", images="")


def splits(folder):
    (reader,) = pickle.loads(pickle.dumps(open_readers(folder, OPTIONS)))
    return {record.filename: record.split for record in map(reader.load, reader.items())}


def test_published_layout(tmp_path, encode):
    many(tmp_path, encode, 40, "WIDER_train/images", "wider_face_train_bbx_gt.txt")
    alone = splits(tmp_path)
    assert set(alone.values()) == {"train", "eval", "test"}
    many(tmp_path, encode, 3, "WIDER_val/images", "wider_face_val_bbx_gt.txt")
    both = splits(tmp_path)
    assert {split for path, split in both.items() if path.startswith("WIDER_val/")} == {"test"}
    # What was test before is train now; eval stays.
    assert {path: both[path] for path in alone} == {
        path: split.replace("test", "train") for path, split in alone.items()
    }


def test_split_goes_by_the_image(tmp_path, encode):
    many(tmp_path, encode, 40, "images", "wider_face_bbx_gt.txt")
    before = splits(tmp_path)
    assert Counter(before.values()).keys() == {"train", "eval", "test"}
    file = tmp_path / "wider_face_split/wider_face_bbx_gt.txt"
    file.write_text(file.read_text().replace("0--A/", "0--B/"))
    (tmp_path / "images/0--A").rename(tmp_path / "images/0--B")
    assert splits(tmp_path) == {path.replace("0--A", "0--B"): split for path, split in before.items()}


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("wider_face_bbx_gt.txt", "images/"),
        ("wider_face_train_bbx_gt.txt", "WIDER_train/images/ or images/"),
        ("wider_face_val_bbx_gt.txt", "WIDER_val/images/ or images/"),
    ],
)
def test_images_are_not_there(tmp_path, name, places):
    file = write(tmp_path, A, "1", FACE, name=name, images="")
    with pytest.raises(InputError) as caught:
        open_readers(tmp_path, OPTIONS)
    assert str(caught.value) == f"{file}: expected its images in {places} of {tmp_path}, found no folder"


@pytest.mark.realdata
def test_real_part(tmp_path):
    """Counts of a part of 475 images, as its description has them."""
    place = os.environ.get("HEXAFACE_DATA", "")
    archive = Path(place) / "wider_subset_640.tar.gz"
    if not place or not archive.is_file():
        pytest.skip("HEXAFACE_DATA names no folder with wider_subset_640.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (reader,) = open_readers(tmp_path, OPTIONS)
    records = [reader.load(item) for item in reader.items()]
    boxes = {
        name: np.concatenate([record.ragged[f"boxes/{name}"] for record in records])
        for name in ("height", "ignored", "clipped")
    }
    counted = boxes["height"][boxes["ignored"] == 0]
    assert (len(records), len(boxes["height"]), len(counted)) == (475, 4617, 4491)
    assert np.histogram(counted, [0, 10, 20, 50, 10_000])[0].tolist() == [1721, 1184, 1051, 535]
    assert boxes["clipped"].sum() == 2
    held_out = sum(record.split != "train" for record in records) / len(records)
    assert 0.15 < held_out < 0.25
