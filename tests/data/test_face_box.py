import dataclasses
import io
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.readers.att import AttReader
from components.readers.catalog import ReaderOptions, open_readers
from components.readers.face_box import cut_face
from components.readers.lfw_pairs import LfwPairsReader
from components.readers.record import RecordRejected
from serving.alignment import SIDE, crop

BOX = (30, 20, 56, 56)


def opened(encoded):
    image = Image.open(io.BytesIO(encoded))
    image.load()
    return image


def pixels(encoded):
    return np.asarray(opened(encoded)).astype(int)


def refusal(encoded, box=BOX):
    with pytest.raises(RecordRejected) as caught:
        cut_face(encoded, box)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def picture(encode):
    """A red square in a picture of 140x100 in blue; BOX is the square."""
    image = Image.new("RGB", (140, 100), "blue")
    image.paste("red", (30, 20, 86, 76))
    return encode(image)


# What is cut out


def test_only_the_box_is_left(picture):
    face = opened(cut_face(picture, BOX))
    assert (face.format, face.mode, face.size) == ("PNG", "RGB", (SIDE, SIDE))
    # Pixels at the border are made of their neighbours too.
    assert (np.asarray(face)[4:-4, 4:-4] == (255, 0, 0)).all()


def test_content_lands_where_it_should(picture):
    # Twice as large as the square, which is in the lower right quarter.
    face = pixels(cut_face(picture, (0, 0, 60, 40)))
    red = face[..., 0] > 127
    assert red[60:, 60:].all()
    assert not red[:54].any() and not red[:, :54].any()


@settings(max_examples=30)
@given(st.integers(0, 40), st.integers(0, 30), st.integers(8, 60), st.integers(8, 60))
def test_places_scale_with_the_box(left, top, width, height):
    """A ramp from left to right and one from top to bottom tell where each pixel was."""
    rows, columns = np.mgrid[:90, :100]
    ramps = Image.fromarray(np.stack([2 * columns, 2 * rows, 0 * rows], axis=-1).astype(np.uint8))
    face = np.asarray(crop(ramps, (left, top, width, height))).astype(float) / 2.0
    middles = (np.arange(SIDE) + 0.5) / SIDE
    # Away from the borders, where there is nothing beyond the box to look at.
    inner = (middles > 0.2) & (middles < 0.8)
    for found, begin, length in ((face[SIDE // 2, :, 0], left, width), (face[:, SIDE // 2, 1], top, height)):
        expected = begin + length * middles - 0.5
        assert np.abs(found - expected)[inner].max() < 1.0


def test_a_box_of_the_final_size_is_copied_exactly(encode):
    noise = np.random.default_rng(1).integers(0, 256, (130, 150)).astype(np.uint8)
    face = pixels(cut_face(encode(noise), (9, 3, SIDE, SIDE)))
    assert (face == noise[3 : 3 + SIDE, 9 : 9 + SIDE]).all()


def test_grey_stays_grey(encode, face):
    assert opened(cut_face(encode(face()), (8, 8, 32, 32))).mode == "L"


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA"])
def test_other_modes_become_colour(encode, picture, mode):
    image = opened(picture).convert(mode)
    face = opened(cut_face(encode(image), BOX))
    assert (face.mode, face.size) == ("RGB", (SIDE, SIDE))
    assert (np.asarray(face)[56, 56] == image.convert("RGB").getpixel((58, 48))).all()


def test_16_bit_grey_is_scaled(encode):
    image = Image.fromarray(np.full((80, 90), 200 << 8, np.uint16))
    face = opened(cut_face(encode(image), (10, 10, 50, 60)))
    assert (np.asarray(face) == 200).all()


def test_jpeg_is_cut_too(encode, picture):
    face = cut_face(encode(opened(picture), "JPEG", quality=95), BOX)
    assert np.abs(pixels(face) - (255, 0, 0))[8:-8, 8:-8].max() < 12


def test_without_a_box_the_bytes_are_the_same(picture):
    assert cut_face(picture, ()) is picture
    assert cut_face(b"no image, and nobody looks", ()) == b"no image, and nobody looks"


# What is refused


@pytest.mark.parametrize("box", [(84, 0, 57, 50), (0, 44, 50, 57), (140, 0, 1, 1), (0, 0, 141, 101)], ids=str)
def test_a_box_outside_of_the_picture_is_rejected(picture, box):
    assert refusal(picture, box) == f"expected a picture that holds the box {list(box)}, found 140x100"


@pytest.mark.parametrize("box", [(84, 44, 56, 56), (0, 0, 140, 100)], ids=str)
def test_a_box_may_touch_the_border(picture, box):
    assert opened(cut_face(picture, box)).size == (SIDE, SIDE)


def test_bytes_that_do_not_decode_are_rejected(picture):
    assert refusal(b"") == refusal(b"junk") == "image cannot be decoded: no JPEG, PNG or GIF"
    assert refusal(picture[: len(picture) // 2]).startswith("image cannot be decoded: ")


# Readers


@pytest.fixture
def data(tmp_path, encode, picture):
    """A folder of AT&T's form with a picture, and one of LFW's pairs with two."""
    (tmp_path / "att" / "s1").mkdir(parents=True)
    pgm = b"P5 92 112 255\n" + np.tile(np.arange(92, dtype=np.uint8), 112).tobytes()
    (tmp_path / "att" / "s1" / "1.pgm").write_bytes(pgm)
    (tmp_path / "lfw" / "lfw").mkdir(parents=True)
    (tmp_path / "lfw" / "pairs.txt").write_text("1\nAnn\t1\t2\nAnn\t1\tBob\t1\n")
    for name in ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bob/Bob_0001.jpg"):
        file = tmp_path / "lfw" / "lfw" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encode(opened(picture), "JPEG"))
    return tmp_path


def faces(reader):
    return [opened(reader.load(item).image) for item in reader.items()]


def test_readers_cut_faces(data):
    (grey,) = faces(AttReader(data / "att", (0, 5, 92, 101)))
    assert (grey.format, grey.mode, grey.size) == ("PNG", "L", (SIDE, SIDE))
    coloured = faces(LfwPairsReader(data / "lfw", BOX))
    assert len(coloured) == 3
    assert {(face.format, face.mode, face.size) for face in coloured} == {("PNG", "RGB", (SIDE, SIDE))}


def test_readers_without_a_box_leave_pictures_as_they_are(data):
    assert [face.size for face in faces(AttReader(data / "att"))] == [(92, 112)]
    assert {(face.format, face.size) for face in faces(LfwPairsReader(data / "lfw"))} == {
        ("JPEG", (140, 100))
    }


def test_a_box_that_does_not_fit_rejects_the_record(data):
    reader = AttReader(data / "att", (0, 12, 92, 101))
    with pytest.raises(RecordRejected, match=r"box \[0, 12, 92, 101\], found 92x112$"):
        reader.load("s1/1.pgm")


@pytest.mark.parametrize("restored", [False, True], ids=["as set", "out of JSON"])
def test_boxes_reach_the_readers(data, restored):
    options = ReaderOptions(label="identity", att_box=(0, 5, 92, 101), lfw_box=BOX)
    if restored:  # as FaceExampleGen gets them: tuples have become lists
        options = ReaderOptions(**json.loads(json.dumps(dataclasses.asdict(options))))
    for folder in ("att", "lfw"):
        (reader,) = pickle.loads(pickle.dumps(open_readers(data / folder, options)))
        assert {face.size for face in faces(reader)} == {(SIDE, SIDE)}
    (reader,) = open_readers(data / "att", dataclasses.replace(options, att_box=()))
    assert [face.size for face in faces(reader)] == [(92, 112)]
