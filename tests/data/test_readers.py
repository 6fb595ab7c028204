import io
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.face_example_gen import to_example
from components.readers import fer2013, ferg
from components.readers.fer2013 import CsvRow, FerCsvReader, FerFolderReader
from components.readers.ferg import FergReader
from components.readers.record import RecordDropped, RecordRejected
from data_validation import image_quality
from data_validation.errors import InputError
from data_validation.image_quality import UnreadableImageError
from data_validation.labels import EMOTIONS

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CSV_HEADER = "emotion,pixels,Usage"
INDEX_HEADER = "emotion,Usage,path,duplicate_group"
PIXELS = 48 * 48
FLAT = " ".join(["7"] * PIXELS)
OTHER = " ".join(["8"] * PIXELS)
BAD_CODES = ["7", "-1", "", "x", "٣", "²", "3.0", " 3", "10000000000000000000000"]


def spaced(picture):
    return " ".join(str(value) for value in picture.ravel())


def decoded(record):
    with Image.open(io.BytesIO(record.image)) as image:
        return np.asarray(image)


@pytest.fixture
def csv_reader(tmp_path):
    """Opens a fer2013.csv of the given lines."""

    def open_csv(*lines, header=CSV_HEADER, end="\n", drop_duplicates=False, encoding="utf-8"):
        text = "".join(line + end for line in (header, *lines))
        (tmp_path / fer2013.CSV_NAME).write_bytes(text.encode(encoding))
        return FerCsvReader(tmp_path, drop_duplicates)

    return open_csv


@pytest.fixture
def folder_reader(tmp_path):
    """Opens the folder form with an index of the given lines."""

    def open_folder(*lines, header=INDEX_HEADER, end="\n", drop_duplicates=False, encoding="utf-8"):
        text = "".join(line + end for line in (header, *lines))
        (tmp_path / fer2013.INDEX_NAME).write_bytes(text.encode(encoding))
        return FerFolderReader(tmp_path, drop_duplicates)

    return open_folder


@pytest.fixture
def put(tmp_path):
    """Writes a file below the data folder."""

    def write(name, content):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    return write


def only(reader):
    (item,) = reader.items()
    return item


def outcome(reader, item):
    try:
        return reader.load(item).split
    except RecordDropped:
        return "dropped"
    except RecordRejected:
        return "rejected"


def outcomes(reader):
    return [outcome(reader, item) for item in reader.items()]


def copies(reader):
    return [reader.load(item).labels[fer2013.COPY_FEATURE] for item in reader.items()]


# fer2013.csv


def test_csv_records_have_pixels_label_split_and_line(csv_reader, face):
    usages = ["Training", "PublicTest", "PrivateTest"]
    pictures = [face(number) for number in range(7)]
    reader = csv_reader(
        *(f"{code},{spaced(picture)},{usages[code % 3]}" for code, picture in enumerate(pictures))
    )
    records = [reader.load(item) for item in reader.items()]
    assert [record.labels["emotion"] for record in records] == list(EMOTIONS)
    assert [record.split for record in records] == ["train", "eval", "test", "train", "eval", "test", "train"]
    assert [record.filename for record in records] == [f"fer2013.csv:{line}" for line in range(2, 9)]
    assert {record.source for record in records} == {"fer2013"}
    for record, picture in zip(records, pictures, strict=True):
        np.testing.assert_array_equal(decoded(record), picture)


def test_csv_columns_may_stand_in_another_order_among_others(csv_reader):
    reader = csv_reader(f"Training,note,4,{FLAT}", header="Usage,comment,emotion,pixels")
    assert reader.load(only(reader)).labels["emotion"] == "sad"


def test_csv_with_windows_line_ends(csv_reader):
    reader = csv_reader(f"0,{FLAT},Training", f"6,{FLAT},PrivateTest", end="\r\n")
    assert outcomes(reader) == ["train", "test"]


def test_csv_with_byte_order_mark(csv_reader):
    reader = csv_reader(f"3,{FLAT},Training", encoding="utf-8-sig")
    assert reader.load(only(reader)).labels["emotion"] == "happy"


@pytest.mark.parametrize("drop", [False, True])
def test_readers_and_items_can_be_sent_to_workers(csv_reader, drop):
    reader = csv_reader(f"3,{FLAT},Training", drop_duplicates=drop)
    copy, item = pickle.loads(pickle.dumps((reader, only(reader))))
    assert copy.load(item) == reader.load(item)


@pytest.mark.parametrize("code", BAD_CODES)
def test_csv_unknown_emotion_is_rejected(csv_reader, code):
    reader = csv_reader(f"{code},{FLAT},Training")
    with pytest.raises(RecordRejected) as caught:
        reader.load(only(reader))
    message = str(caught.value)
    assert message.startswith("emotion: expected a code from 0 to 6, found ")
    assert repr(code[:20]) in message


def test_csv_very_long_emotion_is_rejected(csv_reader):
    reader = csv_reader(f"{'9' * 5000},{FLAT},Training")
    with pytest.raises(RecordRejected, match="emotion"):
        reader.load(only(reader))


@pytest.mark.parametrize("usage", ["training", "Test", "", "Training ", "PublicTest;"])
def test_csv_unknown_usage_is_rejected(csv_reader, usage):
    reader = csv_reader(f"0,{FLAT},{usage}")
    with pytest.raises(RecordRejected) as caught:
        reader.load(only(reader))
    message = str(caught.value)
    assert message.startswith("Usage: expected Training, PublicTest, PrivateTest, found ")
    assert repr(usage) in message


@pytest.mark.parametrize(("count", "shown"), [(2303, "2303"), (2305, "2305"), (0, "0"), (1, "1")])
def test_csv_wrong_number_of_pixels_is_rejected(csv_reader, count, shown):
    reader = csv_reader(f"0,{' '.join(['7'] * count)},Training")
    with pytest.raises(RecordRejected) as caught:
        reader.load(only(reader))
    assert str(caught.value) == f"pixels: expected 2304 values, found {shown}"


BAD_PIXELS = ["256", "-1", "x", "1.5", "1e2", "0x1", "nan", "٣", "999", "1000000000000000000000000"]


@pytest.mark.parametrize("value", BAD_PIXELS)
@pytest.mark.parametrize("position", [0, 1000, PIXELS - 1])
def test_csv_bad_pixel_value_is_rejected(csv_reader, value, position):
    words = ["7"] * PIXELS
    words[position] = value
    reader = csv_reader(f"0,{' '.join(words)},Training")
    with pytest.raises(RecordRejected, match=r"^pixels: expected .* from 0 to 255"):
        reader.load(only(reader))


@pytest.mark.parametrize("value", ["256", "-1", "x", "1.5", "1000"])
def test_csv_bad_pixel_value_is_named(csv_reader, value):
    reader = csv_reader(f"0,{value} {FLAT[2:]},Training")
    with pytest.raises(RecordRejected, match="found .*" + value):
        reader.load(only(reader))


def test_csv_short_rows_are_rejected_and_the_rest_read(csv_reader):
    reader = csv_reader("3", "", f"2,{FLAT}", f"1,{FLAT},Training")
    assert outcomes(reader) == ["rejected", "rejected", "train"]
    reasons = []
    for item in reader.items():
        try:
            reader.load(item)
        except RecordRejected as error:
            reasons.append((reader.name(item), str(error)))
    assert reasons == [
        ("fer2013.csv:2", "pixels: expected 2304 values, found 0"),
        ("fer2013.csv:4", "Usage: expected Training, PublicTest, PrivateTest, found ''"),
    ]


def test_csv_longer_rows_are_read(csv_reader):
    reader = csv_reader(f"3,{FLAT},Training,more,and more")
    assert outcomes(reader) == ["train"]


def test_csv_bytes_that_are_no_utf8_reject_their_row_only(csv_reader, tmp_path):
    reader = csv_reader(f"3,{FLAT},Training")
    with (tmp_path / fer2013.CSV_NAME).open("ab") as file:
        file.write(b"3,\xff\xfe 7,Training\n3," + FLAT.encode() + b",Tr\xe4ining\n")
    assert outcomes(reader) == ["train", "rejected", "rejected"]


def test_csv_nul_character_rejects_its_row_only(csv_reader):
    reader = csv_reader(f"3,7 \0 7{FLAT},Training", f"3,{FLAT},Training")
    assert outcomes(reader) == ["rejected", "train"]


def test_csv_overlong_field_rejects_its_row_only(csv_reader):
    reader = csv_reader(f"3,{'7 ' * 500_001},Training", f"3,{FLAT},Training")
    assert outcomes(reader) == ["rejected", "train"]


def test_csv_unclosed_quote_costs_its_row_only(csv_reader):
    reader = csv_reader(f'3,"{FLAT},Training', *[f"3,{FLAT},Training"] * 5)
    assert outcomes(reader) == ["rejected", *["train"] * 5]


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("emotion,pixels", "Usage"),
        ("pixels,Usage", "emotion"),
        ("emotion,usage", "Usage, pixels"),
        ("emotion;pixels;Usage", "Usage, emotion, pixels"),
    ],
)
def test_csv_missing_column_is_named_with_the_file(csv_reader, tmp_path, header, missing):
    with pytest.raises(InputError) as caught:
        csv_reader(f"3,{FLAT}", header=header)
    found = header.replace(",", ", ")
    assert str(caught.value) == f"{tmp_path / 'fer2013.csv'}: missing column {missing}; found {found}"


@pytest.mark.parametrize(
    ("reader", "name"), [(FerCsvReader, "fer2013.csv"), (FerFolderReader, "fer2013_index.csv")]
)
def test_empty_file_is_an_input_error(tmp_path, reader, name):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=rf"{name}: missing column .*found an empty file"):
        reader(tmp_path)


def test_header_that_is_no_utf8_is_an_input_error(tmp_path):
    (tmp_path / fer2013.CSV_NAME).write_bytes(b"\xff\xd8\xff\xe0 a picture, not a table\n")
    with pytest.raises(InputError, match=r"fer2013\.csv: missing column"):
        FerCsvReader(tmp_path)


def test_header_alone_has_no_records(csv_reader, folder_reader):
    assert list(csv_reader().items()) == []
    assert list(folder_reader().items()) == []


def test_csv_duplicates_are_dropped_from_evaluation_and_test_only(csv_reader):
    lines = [
        f"3,{FLAT},Training",
        f"3,{FLAT},Training",
        f"3,{FLAT},PublicTest",
        f"4,{FLAT},PrivateTest",
        f"3,{OTHER},PublicTest",
        f"3,{OTHER},PrivateTest",
    ]
    reader = csv_reader(*lines)
    assert outcomes(reader) == ["train", "train", "eval", "test", "eval", "test"]
    assert copies(reader) == ["no", "no", "yes", "yes", "no", "no"]
    reader = csv_reader(*lines, drop_duplicates=True)
    assert outcomes(reader) == ["train", "train", "dropped", "dropped", "eval", "test"]
    with pytest.raises(RecordDropped, match="same picture as a training image"):
        reader.load(list(reader.items())[2])


def test_csv_duplicates_are_found_before_the_training_row(csv_reader):
    reader = csv_reader(f"3,{FLAT},PublicTest", f"3,{FLAT},Training", drop_duplicates=True)
    assert outcomes(reader) == ["dropped", "train"]


def test_csv_duplicates_are_equal_pixels_not_equal_text(csv_reader):
    lines = [f"3,{FLAT},Training", f"3,{FLAT} ,PublicTest", f"3,{FLAT.replace(' ', '  ')},PrivateTest"]
    assert outcomes(csv_reader(*lines, drop_duplicates=True)) == ["train", "dropped", "dropped"]


@pytest.mark.parametrize("row", [f"3,{FLAT},Trainings", ",,PublicTest"])
def test_csv_bad_row_is_rejected_even_if_it_repeats_a_training_row(csv_reader, row):
    reader = csv_reader(f"3,{FLAT},Training", "3,,Training", row, drop_duplicates=True)
    assert outcomes(reader)[2] == "rejected"


@FEW
@given(st.binary(min_size=PIXELS, max_size=PIXELS))
def test_any_pixels_come_back_unchanged(values):
    picture = np.frombuffer(values, np.uint8).reshape(48, 48)
    item = CsvRow(2, "3", spaced(picture), "Training", False)
    reader = FerCsvReader.__new__(FerCsvReader)
    np.testing.assert_array_equal(decoded(reader.load(item)), picture)


TEXTS = st.one_of(
    st.text(),
    st.lists(st.one_of(st.integers(-9, 300).map(str), st.text(max_size=3)), max_size=40).map(" ".join),
    st.text(min_size=1, max_size=4).map(lambda word: f"{word} " + " ".join(["7"] * (PIXELS - 1))),
)


@FEW
@given(TEXTS)
def test_any_text_as_pixels_is_read_or_rejected(text):
    reader = FerCsvReader.__new__(FerCsvReader)
    item = CsvRow(2, "3", text, "Training", False)
    try:
        record = reader.load(item)
    except RecordRejected as error:
        assert str(error).startswith("pixels: expected ")
    else:
        words = [int(word) for word in text.split()]
        assert decoded(record).ravel().tolist() == words


@FEW
@given(st.text(st.characters(exclude_characters='\0"', exclude_categories=["Cs"]), max_size=60))
def test_any_text_in_a_row_is_read_or_rejected(tmp_path, text):
    (tmp_path / fer2013.CSV_NAME).write_text(f"{CSV_HEADER}\n{text}\n3,{FLAT},Training\n", encoding="utf-8")
    assert outcomes(FerCsvReader(tmp_path))[-1] == "train"


# The folder form


def test_folder_records_keep_the_file_as_it_is(folder_reader, put, encode, face):
    jpeg = encode(face(1), "JPEG", quality=80)
    put("Training/happy/1.jpg", jpeg)
    put("PublicTest/sad/2.png", encode(face(2)))
    put("PrivateTest/neutral/3.jpg", encode(face(3), "JPEG"))
    reader = folder_reader(
        "3,Training,Training/happy/1.jpg,",
        "4,PublicTest,PublicTest/sad/2.png,",
        "6,PrivateTest,PrivateTest/neutral/3.jpg,",
    )
    records = [reader.load(item) for item in reader.items()]
    assert records[0].image == jpeg
    assert [record.split for record in records] == ["train", "eval", "test"]
    assert [record.labels["emotion"] for record in records] == ["happy", "sad", "neutral"]
    assert records[1].filename == "PublicTest/sad/2.png"
    assert {record.source for record in records} == {"fer2013"}
    np.testing.assert_array_equal(decoded(records[1]), face(2))


def test_folder_index_without_duplicate_groups(folder_reader, put, encode, face):
    put("1.png", encode(face()))
    reader = folder_reader("1.png,Training,3", header="path,Usage,emotion", end="\r\n")
    assert outcomes(reader) == ["train"]


def test_folder_dropping_duplicates_needs_their_column(folder_reader, tmp_path):
    with pytest.raises(InputError) as caught:
        folder_reader(header="emotion,Usage,path", drop_duplicates=True)
    index = tmp_path / "fer2013_index.csv"
    assert str(caught.value) == f"{index}: missing column duplicate_group; found emotion, Usage, path"


def test_folder_index_with_byte_order_mark(folder_reader, put, encode, face):
    put("1.png", encode(face()))
    assert outcomes(folder_reader("3,Training,1.png,", encoding="utf-8-sig")) == ["train"]


@pytest.mark.parametrize("missing", ["emotion", "Usage", "path"])
def test_folder_missing_column_is_named_with_the_file(folder_reader, missing):
    header = ",".join(name for name in ("emotion", "Usage", "path") if name != missing)
    with pytest.raises(InputError, match=rf"fer2013_index\.csv: missing column {missing}; found "):
        folder_reader(header=header)


@pytest.mark.parametrize("code", BAD_CODES)
def test_folder_unknown_emotion_is_rejected(folder_reader, put, encode, face, code):
    put("1.png", encode(face()))
    reader = folder_reader(f"{code},Training,1.png,")
    with pytest.raises(RecordRejected, match=r"^emotion: expected a code from 0 to 6, found "):
        reader.load(only(reader))


def test_folder_unknown_usage_is_rejected(folder_reader, put, encode, face):
    put("1.png", encode(face()))
    reader = folder_reader("0,Validation,1.png,")
    with pytest.raises(RecordRejected, match=r"^Usage: expected Training, .*, found 'Validation'"):
        reader.load(only(reader))


@pytest.mark.parametrize("path", ["gone.jpg", "no/such/folder/1.jpg", "folder", "1.png/below", "n" * 300])
def test_folder_file_that_cannot_be_read_is_rejected(folder_reader, put, encode, face, path):
    put("1.png", encode(face()))
    put("folder/2.png", encode(face()))
    reader = folder_reader(f"0,Training,{path},")
    item = only(reader)
    assert reader.name(item) == path
    with pytest.raises(RecordRejected, match=r"^file cannot be read: "):
        reader.load(item)


@pytest.mark.parametrize("path", ["../x.jpg", "a/../../x.jpg", "/etc/hostname", "{outside}", "link.jpg", ""])
def test_folder_path_out_of_the_data_set_is_rejected(tmp_path, encode, face, path):
    data = tmp_path / "data"
    data.mkdir()
    outside = tmp_path / "x.jpg"
    outside.write_bytes(encode(face(), "JPEG"))
    (data / "link.jpg").symlink_to(outside)
    path = path.format(outside=outside)
    (data / fer2013.INDEX_NAME).write_text(f"{INDEX_HEADER}\n0,Training,{path},\n")
    reader = FerFolderReader(data)
    with pytest.raises(RecordRejected) as caught:
        reader.load(only(reader))
    assert str(caught.value) == f"path: expected a file inside the data set, found {path!r}"


def test_folder_paths_may_wander_inside_the_data_set(folder_reader, put, encode, face):
    put("a/1.png", encode(face()))
    assert outcomes(folder_reader("0,Training,a/../a/./1.png,")) == ["train"]


@pytest.mark.parametrize("path", ["a\0b.jpg", "loop.jpg"])
def test_folder_impossible_path_is_rejected(folder_reader, tmp_path, path):
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    reader = folder_reader("0,Training,1.png,")
    with pytest.raises(RecordRejected):
        reader.load(only(reader)._replace(path=path))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_folder_truncated_jpeg_is_rejected_when_measured(folder_reader, put, encode, face, share):
    jpeg = encode(face(side=96), "JPEG")
    put("1.jpg", jpeg[: int(share * len(jpeg))])
    reader = folder_reader("0,Training,1.jpg,")
    record = reader.load(only(reader))
    with pytest.raises(UnreadableImageError, match=r"^image cannot be decoded: "):
        to_example(record)


def test_folder_short_rows_are_rejected(folder_reader, put, encode, face):
    put("1.png", encode(face()))
    reader = folder_reader("3", "3,Training", "3,Training,1.png")
    assert outcomes(reader) == ["rejected", "rejected", "train"]
    assert [reader.name(item) for item in reader.items()] == [
        "fer2013_index.csv:2",
        "fer2013_index.csv:3",
        "1.png",
    ]


def test_folder_duplicates_are_dropped_from_evaluation_and_test_only(folder_reader, put, encode, face):
    put("1.png", encode(face()))
    lines = [
        "3,PublicTest,1.png,g1",
        "3,Training,1.png,g1",
        "3,Training,1.png,g1",
        "3,PrivateTest,1.png,g1",
        "3,PublicTest,1.png,g2",
        "3,PrivateTest,1.png,g2",
        "3,PublicTest,1.png,",
        "3,Training,1.png,",
    ]
    kept = ["eval", "train", "train", "test", "eval", "test", "eval", "train"]
    reader = folder_reader(*lines)
    assert outcomes(reader) == kept
    assert copies(reader) == ["yes", "no", "no", "yes", "no", "no", "no", "no"]
    cleaned = ["dropped", "train", "train", "dropped", "eval", "test", "eval", "train"]
    assert outcomes(folder_reader(*lines, drop_duplicates=True)) == cleaned


def test_folder_unknown_usage_is_rejected_even_in_a_training_group(folder_reader, put, encode, face):
    put("1.png", encode(face()))
    reader = folder_reader("3,Training,1.png,g1", "3,Trainings,1.png,g1", drop_duplicates=True)
    assert outcomes(reader) == ["train", "rejected"]


# FERG-DB


def test_ferg_records_are_grey_48_with_mapped_names(put, tmp_path, encode):
    grey = np.full((256, 256), 90, np.uint8)
    colour = np.zeros((256, 256, 3), np.uint8)
    colour[:, :128] = (255, 0, 0)
    for name in ferg.EMOTION_NAMES:
        put(f"FERG_DB_256/aia/aia_{name}/aia_{name}_1.png", encode(grey))
    put("FERG_DB_256/mery/mery_joy/2.png", encode(colour))
    put("FERG_DB_256/ray/ray_fear/3.png", encode(Image.fromarray(colour).convert("RGBA")))
    put("FERG_DB_256/mery/notes.txt", b"no image")
    put("FERG_DB_256/mery/mery_joy/Thumbs.db", b"no image")
    reader = FergReader(tmp_path)
    records = {record.filename: record for record in map(reader.load, reader.items())}
    assert len(records) == 9
    assert {
        name: records[f"FERG_DB_256/aia/aia_{name}/aia_{name}_1.png"].labels["emotion"]
        for name in ferg.EMOTION_NAMES
    } == {
        "anger": "angry",
        "disgust": "disgust",
        "fear": "fear",
        "joy": "happy",
        "sadness": "sad",
        "surprise": "surprise",
        "neutral": "neutral",
    }
    assert {record.source for record in records.values()} == {"ferg"}
    assert {record.labels[fer2013.COPY_FEATURE] for record in records.values()} == {"no"}
    for record in records.values():
        assert decoded(record).shape == (48, 48)
        assert decoded(record).dtype == np.uint8
    assert (decoded(records["FERG_DB_256/aia/aia_joy/aia_joy_1.png"]) == 90).all()
    for name, split in (("mery/mery_joy/2.png", "eval"), ("ray/ray_fear/3.png", "test")):
        record = records[f"FERG_DB_256/{name}"]
        assert record.split == split
        # Red has luma 76; the right half is black.
        np.testing.assert_array_equal(decoded(record)[:, [5, 40]], [[76, 0]] * 48)


def test_ferg_reducing_averages_instead_of_skipping(put, tmp_path, encode):
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::4] = 255
    put("FERG_DB_256/aia/aia_joy/1.png", encode(stripes))
    reader = FergReader(tmp_path)
    reduced = decoded(reader.load(only(reader))).astype(int)[:, 2:-2]
    assert np.abs(reduced - 64).max() < 40


def test_ferg_items_are_in_path_order(put, tmp_path):
    names = ["mery/mery_joy/b.png", "aia/aia_joy/z.png", "mery/mery_anger/c.png", "aia/aia_joy/a.png"]
    for name in names:
        put(f"FERG_DB_256/{name}", b"")
    assert [item.path for item in FergReader(tmp_path).items()] == sorted(names)


@pytest.mark.parametrize("folder", ["aia_confused", "aia_", "aia_Joy", "ray_joy", "aia_happy"])
def test_ferg_unknown_emotion_is_rejected(put, tmp_path, encode, folder):
    put(f"FERG_DB_256/aia/{folder}/1.png", encode(np.zeros((256, 256), np.uint8)))
    reader = FergReader(tmp_path)
    item = only(reader)
    with pytest.raises(RecordRejected) as caught:
        reader.load(item)
    found = folder.removeprefix("aia_")
    assert str(caught.value) == f"emotion: expected {', '.join(ferg.EMOTION_NAMES)}, found {found!r}"
    assert reader.name(item) == f"FERG_DB_256/aia/{folder}/1.png"


def test_ferg_broken_images_are_rejected(put, tmp_path, encode, face):
    png = encode(face(side=256))
    for number, content in enumerate([b"", b"text", png[:40], png[: len(png) // 2]]):
        put(f"FERG_DB_256/aia/aia_joy/{number}.png", content)
    (tmp_path / "FERG_DB_256/aia/aia_joy/9.png").mkdir()
    reader = FergReader(tmp_path)
    items = list(reader.items())
    assert len(items) == 5
    for item in items:
        with pytest.raises(RecordRejected, match=r"^(image cannot be decoded|file cannot be read): "):
            reader.load(item)


def test_ferg_too_large_image_is_rejected(put, tmp_path, encode, face, monkeypatch):
    put("FERG_DB_256/aia/aia_joy/1.png", encode(face(side=101)))
    monkeypatch.setattr(image_quality, "MAX_PIXELS", 101 * 101)
    reader = FergReader(tmp_path)
    assert reader.load(only(reader)).split == "train"
    monkeypatch.setattr(image_quality, "MAX_PIXELS", 101 * 101 - 1)
    with pytest.raises(RecordRejected, match=r"^image of 101x101 exceeds 10200 pixels"):
        reader.load(only(reader))
