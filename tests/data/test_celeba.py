import json
import pickle
import re
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from test_face_example_gen import generate

from components.readers.catalog import SPLIT_NOTES, ReaderOptions, open_readers
from components.readers.celeba import CelebaReader, Entry, read_attributes
from components.readers.record import RecordDropped, RecordRejected, hash_split
from components.readers.subset import BEYOND_MOST, OUT_OF_BALANCE, left_out
from data_validation.errors import InputError
from data_validation.face_sizes import SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH
from data_validation.ingestion import Ingestion
from pipelines import settings, sources
from pipelines.tasks import TASKS

NAMES = [f"{number:06d}.jpg" for number in range(1, 5)]
HEADER = "Bald Male Young"
LINES = [
    "000001.jpg -1  1 -1",
    "000002.jpg  1 -1  1",
    "000003.jpg\t-1 -1 -1",
    "000004.jpg   1   1   1",
]


@pytest.fixture
def jpeg(encode, face):
    def to_bytes(number, size=(89, 109), mode="RGB"):
        return encode(Image.fromarray(face(number)).resize(size).convert(mode), "JPEG")

    return to_bytes


@pytest.fixture
def images(tmp_path, jpeg):
    """A data folder of four images without lists."""
    folder = tmp_path / "img_align_celeba"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(jpeg(number))
    return tmp_path


def attributes(*lines, header=HEADER, count=None):
    return "\n".join([str(len(lines) if count is None else count), header, *lines, ""])


def write_genders(folder, genders):
    """Writes images that nobody decodes, and their attributes."""
    (folder / "img_align_celeba").mkdir()
    for name in genders:
        (folder / "img_align_celeba" / name).touch()
    lines = [f"{name} -1 {1 if gender == 'male' else -1} 1" for name, gender in genders.items()]
    (folder / "list_attr_celeba.txt").write_text(attributes(*lines))


def load(folder, **options):
    """The records by name, and the reasons of the others by name."""
    (reader,) = open_readers(folder, ReaderOptions(**options))
    records, reasons = {}, {}
    for item in reader.items():
        try:
            records[item.name] = reader.load(item)
        except (RecordRejected, RecordDropped) as outcome:
            reasons[reader.name(item)] = str(outcome)
    return records, reasons


# Records


def test_records_have_image_gender_and_path(images):
    (images / "list_attr_celeba.txt").write_text(attributes(*LINES))
    records, reasons = load(images, label="face")
    assert reasons == {}
    genders = ["male", "female", "female", "male"]
    assert [record.labels for record in records.values()] == [{"gender": gender} for gender in genders]
    record = records["000002.jpg"]
    assert (record.source, record.filename) == ("celeba", "img_align_celeba/000002.jpg")
    assert record.image == (images / "img_align_celeba/000002.jpg").read_bytes()


def test_gender_task_reads_it_too(images):
    (images / "list_attr_celeba.txt").write_text(attributes(*LINES))
    records, _ = load(images, label="gender")
    assert records["000001.jpg"].labels == {"gender": "male", "age_group": "unknown", "race": "unknown"}
    with pytest.raises(InputError, match=r"no data set with the label 'age'.*found img_align_celeba/$"):
        open_readers(images, ReaderOptions(label="age"))


def test_without_attributes_genders_are_unknown(images):
    records, reasons = load(images, label="face")
    assert [record.labels["gender"] for record in records.values()] == ["unknown"] * 4
    assert not reasons
    records, reasons = load(images, label="gender")
    assert not records
    assert set(reasons.values()) == {"gender unknown"}


@pytest.mark.parametrize("below", ["", "Img"])
def test_published_folders_are_found(images, below):
    (images / "Anno").mkdir()
    (images / "Anno/list_attr_celeba.txt").write_text(attributes(*LINES))
    (images / "Eval").mkdir()
    parts = zip(NAMES, (2, 1, 0, 0), strict=True)
    (images / "Eval/list_eval_partition.txt").write_text("\n".join(f"{name} {part}" for name, part in parts))
    if below:
        (images / below).mkdir()
        (images / "img_align_celeba").rename(images / below / "img_align_celeba")
    records, _ = load(images)
    assert [record.split for record in records.values()] == ["test", "eval", "train", "train"]
    assert records["000001.jpg"].labels["gender"] == "male"


def test_listing_is_sorted_leaves_other_files_alone_and_can_be_sent_to_workers(images):
    for name in ("Thumbs.db", "._000001.jpg", "list.csv"):
        (images / "img_align_celeba" / name).touch()
    reader = pickle.loads(pickle.dumps(CelebaReader(images)))
    assert [item.name for item in reader.items()] == NAMES


def test_sizes_and_colours(images, jpeg):
    folder = images / "img_align_celeba"
    (folder / NAMES[0]).write_bytes(jpeg(1, (SYNTHESIS_WIDTH - 1, SYNTHESIS_HEIGHT)))
    (folder / NAMES[1]).write_bytes(jpeg(1, (SYNTHESIS_WIDTH, SYNTHESIS_HEIGHT - 1)))
    (folder / NAMES[2]).write_bytes(jpeg(1, (SYNTHESIS_WIDTH, SYNTHESIS_HEIGHT), mode="L"))
    (folder / NAMES[3]).write_bytes(b"no image")
    records, reasons = load(images, label="face")
    assert list(records) == [NAMES[2]]
    expected = "image: expected at least 64x76 (width x height), found "
    assert reasons == {
        "img_align_celeba/000001.jpg": f"{expected}63x76",
        "img_align_celeba/000002.jpg": f"{expected}64x75",
        "img_align_celeba/000004.jpg": "image cannot be decoded: no JPEG, PNG or GIF",
    }
    # The size is what the synthesis model draws, and no matter of other tasks.
    (images / "list_attr_celeba.txt").write_text(attributes(*LINES))
    records, _ = load(images, label="gender")
    assert NAMES[0] in records


# Splits


def test_copies_are_on_one_side_without_lists(images, jpeg):
    for number in range(150):
        (images / f"img_align_celeba/9{number:05d}.jpg").write_bytes(jpeg(number // 3, (64, 76)))
    records, _ = load(images)
    sides = {record.image: record.split for record in records.values()}
    assert all(sides[record.image] == record.split for record in records.values())
    assert set(sides.values()) == {"train", "eval", "test"}
    assert "hash of the image" in SPLIT_NOTES["celeba"]


def test_identities_decide_the_split(images):
    persons = ["2880", "2880", "02880", "10177"]
    text = "".join(f"{name}  {person}\n" for name, person in zip(NAMES, persons, strict=True))
    (images / "identity_CelebA.txt").write_text(text)
    records, _ = load(images)
    sides = [record.split for record in records.values()]
    assert sides == [hash_split("2880")] * 3 + [hash_split("10177")]


def test_partition_wins_over_identities(images):
    (images / "list_eval_partition.txt").write_text("".join(f"{name} 2\n" for name in NAMES))
    (images / "identity_CelebA.txt").write_text("not even looked at\n")
    records, reasons = load(images)
    assert {record.split for record in records.values()} == {"test"}
    assert not reasons


# Lists that are wrong


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "expected a count, names of attributes and lines, found an empty file"),
        ("4\n", "expected a count, names of attributes and lines, found one line"),
        (f"four\n{HEADER}\n", "line 1: expected the count of images, found other text"),
        (f"-4\n{HEADER}\n", "line 1: expected the count of images, found '-4'"),
        (f"{HEADER}\n{LINES[0]}\n", "line 1: expected the count of images, found other text"),
        (
            "\n".join(["4", *LINES]),
            "line 2: expected names of attributes with 'Male' once, found it 0 times",
        ),
        (
            attributes(*LINES, header="Bald Young Male Male"),
            "line 2: expected names of attributes with 'Male' once, found it 2 times",
        ),
        (attributes(*LINES, count=5), "expected 5 lines as counted in line 1, found 4"),
        (attributes(count=0, header="Bald male"), "line 2: expected names of attributes with 'Male' once"),
        (attributes(*LINES, LINES[0], count=4), "expected 4 lines as counted in line 1, found 5"),
    ],
)
def test_list_that_is_wrong_as_a_whole_is_refused_on_open(images, text, error):
    file = images / "list_attr_celeba.txt"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        open_readers(images, ReaderOptions(label="face"))
    assert re.match(rf"{re.escape(str(file))}(: |, ){re.escape(error)}", str(caught.value))
    assert "\n" not in str(caught.value)


def test_wrong_lines_and_missing_images_reject_their_images_only(images, jpeg):
    for number in range(5, 9):
        (images / f"img_align_celeba/{number:06d}.jpg").write_bytes(jpeg(number))
    lines = [
        LINES[0],
        "000002.jpg 1 0 1",
        "000003.jpg 1 1",
        "000004.jpg 1 1 1 1",
        "000005.jpg",
        LINES[0].replace("000001", "000006"),
        LINES[1].replace("000002", "000006"),
        "000007.jpg -1 1 1",
        "000099.jpg -1 1 1",
        "../../000001.jpg -1 1 1",
        "Ann.Lee -1 1 1",
    ]
    (images / "list_attr_celeba.txt").write_text(attributes(*lines))
    records, reasons = load(images, label="face")
    assert list(records) == ["000001.jpg", "000007.jpg"]
    assert {name.removeprefix("img_align_celeba/"): reason for name, reason in reasons.items()} == {
        "000002.jpg": "list_attr_celeba.txt: expected attributes of 1 or -1, found '0'",
        "000003.jpg": "list_attr_celeba.txt: expected 3 attributes of the image, found 2",
        "000004.jpg": "list_attr_celeba.txt: expected 3 attributes of the image, found 4",
        "000005.jpg": "list_attr_celeba.txt: expected 3 attributes of the image, found 0",
        "000006.jpg": "list_attr_celeba.txt: expected one line for the image, found several",
        "000008.jpg": "list_attr_celeba.txt: expected a line for the image, found none",
        "000099.jpg": "image file not found",
        # Of `printf ../../000001.jpg | sha256sum`, as of the other.
        "a35588749335988c.jpg": "file name: expected letters, digits and .jpg",
        "5a9a93ab91e74d40": "file name: expected letters, digits and .jpg",
    }


@pytest.mark.parametrize(
    ("file", "lines", "reasons"),
    [
        (
            "list_eval_partition.txt",
            ["000001.jpg 3", "000002.jpg", "000003.jpg 1", "000004.jpg Ann"],
            [
                "expected 0, 1 or 2, found '3'",
                "expected one value for the image, found 0",
                "expected 0, 1 or 2, found other text",
            ],
        ),
        (
            "identity_CelebA.txt",
            ["000001.jpg -7", "000002.jpg 7 7", "000003.jpg 7", "000004.jpg Ann"],
            [
                "expected the number of a person, found '-7'",
                "expected one value for the image, found 2",
                "expected the number of a person, found other text",
            ],
        ),
    ],
)
def test_lists_for_the_split_reject_what_they_say_wrongly(images, file, lines, reasons):
    (images / file).write_text("\n".join(lines))
    records, found = load(images)
    assert list(records) == ["000003.jpg"]
    assert list(found.values()) == [f"{file}: {reason}" for reason in reasons]


def test_names_that_could_not_be_written_are_rejected(images, jpeg):
    (images / "img_align_celeba" / "two words.jpg").write_bytes(jpeg(1))
    (images / "img_align_celeba" / "\udcff.jpg").write_bytes(jpeg(1))
    _, reasons = load(images, max_images=2)
    assert sum(reason.startswith("file name: expected") for reason in reasons.values()) == 2
    assert not any("words" in text for text in (*reasons, *reasons.values()))


def test_names_of_persons_are_nowhere(images, jpeg):
    folder = images / "img_align_celeba"
    (folder / "Ann_Lee_0001.JPG").write_bytes(jpeg(5))
    (folder / "Bob.jpeg").write_bytes(b"no image")
    records, reasons = load(images)
    # `printf Ann_Lee_0001.JPG | sha256sum | cut -c1-16`
    assert records["Ann_Lee_0001.JPG"].filename == "img_align_celeba/425b942d42269209.jpg"
    assert reasons == {
        "img_align_celeba/ff27d7ef33d4e370.jpeg": "image cannot be decoded: no JPEG, PNG or GIF"
    }
    assert records["000001.jpg"].filename == "img_align_celeba/000001.jpg"


def test_folder_without_images_is_refused_on_open(tmp_path):
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "img_align_celeba" / "Thumbs.db").touch()
    with pytest.raises(InputError) as caught:
        open_readers(tmp_path, ReaderOptions(label="face"))
    assert str(caught.value) == f"{tmp_path}/img_align_celeba: expected JPEG files, found none"


def test_list_of_the_published_size_is_read(tmp_path):
    file = tmp_path / "list_attr_celeba.txt"
    count = 2000
    rows = (f"{number:06d}.jpg{' ' * 13_000} 1 -1 1" for number in range(count))
    file.write_text(attributes(*rows))
    assert file.stat().st_size > 26_000_000  # the published list has 26.7 MB
    assert Counter(read_attributes(file).values()) == {Entry("female"): count}


NUMBERS = st.sampled_from(["1", "-1"])
SPACES = st.sampled_from([" ", "  ", "\t", "   "])


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=5), SPACES, st.booleans())
def test_attributes_come_back_as_they_were_written(tmp_path_factory, rows, space, windows):
    file = tmp_path_factory.getbasetemp() / "list_attr_celeba.txt"
    lines = [space.join([f"{number}.jpg", *row]) + space for number, row in enumerate(rows)]
    text = attributes(*lines)
    file.write_text(text.replace("\n", "\r\n") if windows else text, newline="")
    expected = [Entry("male" if row[1] == "1" else "female") for row in rows]
    assert list(read_attributes(file).values()) == expected


@given(
    st.one_of(st.text(), st.lists(st.sampled_from(["1", "-1", "Male", "\n", "a.jpg", "01"])).map(" ".join))
)
@example("1 \n Male \n a.jpg 1")
@example("²\nMale\na.jpg 1")
@example(f"{'9' * 5000}\nMale\n")
@example("1\nMale\na.jpg \u0661")
def test_any_list_is_read_or_refused(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "list_attr_celeba.txt"
    file.write_text(text, encoding="utf-8", errors="replace", newline="")
    try:
        entries = read_attributes(file)
    except InputError as error:
        assert str(error).startswith(f"{file}")
        assert "expected" in str(error) and "found" in str(error) and "\n" not in str(error)
    else:
        assert all(
            entry.value in ("female", "male") or "expected" in entry.fault for entry in entries.values()
        )


# Part of the data set


def genders_of(men, women):
    """Names in an order that is not that of the genders."""
    return {
        f"{number * 7919 % 1009:06d}.jpg": "male" if number < men else "female"
        for number in range(men + women)
    }


SHARES = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.58, 0.9, 1.0])


@given(st.integers(1, 60), st.integers(1, 60), SHARES, st.integers(0, 130))
def test_part_has_the_share_and_is_as_large_as_can_be(men, women, share, most):
    genders = genders_of(men, women)
    out = left_out(genders, share, most)
    kept = Counter(gender for name, gender in genders.items() if name not in out)
    size = kept.total()
    assert kept["male"] == round(share * size)
    assert not most or size <= most
    for larger in range(size + 1, men + women + 1):
        male = round(share * larger)
        assert (most and larger > most) or male > men or larger - male > women
    # What only the limit leaves out would have been kept without it.
    unlimited = left_out(genders, share, 0)
    assert set(unlimited.values()) <= {OUT_OF_BALANCE}
    assert {name for name, reason in out.items() if reason == OUT_OF_BALANCE} == set(unlimited)


def test_balances_of_one_size_are_equal_in_size_and_stable(tmp_path):
    genders = genders_of(60, 80)
    write_genders(tmp_path, genders)
    parts = {}
    for share in (0.25, 0.5, 0.75):
        (reader,) = open_readers(tmp_path, ReaderOptions(label="face", male_share=share, max_images=40))
        part = [item.name for item in reader.items() if not item.left_out]
        assert part == [item.name for item in reader.items() if not item.left_out]
        assert len(part) == 40
        assert sum(genders[name] == "male" for name in part) == 40 * share
        parts[share] = set(part)
    # By hash, not by name; the men of the smaller share are in the larger one too.
    assert parts[0.5] != set(sorted(genders)[:40])
    men = {share: {name for name in part if genders[name] == "male"} for share, part in parts.items()}
    assert men[0.25] < men[0.5] < men[0.75]


def test_limit_alone_takes_the_first_by_hash_whatever_the_gender(images):
    kept = [set(load(images, max_images=most)[0]) for most in (1, 2, 3, 4, 5, 0)]
    assert [len(names) for names in kept] == [1, 2, 3, 4, 4, 4]
    assert kept[0] < kept[1] < kept[2] < kept[3]
    # Fixed: a change here would change what runs have trained on.
    assert kept[0] == {"000001.jpg"}


def test_share_that_is_not_reached_takes_what_there_is(tmp_path):
    write_genders(tmp_path, genders_of(3, 50))
    (reader,) = open_readers(tmp_path, ReaderOptions(male_share=0.5, max_images=40))
    assert Counter(item.left_out for item in reader.items()) == {"": 6, OUT_OF_BALANCE: 47}


@pytest.mark.parametrize(("share", "men", "women"), [(0.3, 0, 5), (0.3, 5, 0), (1.0, 0, 5), (0.0, 5, 0)])
def test_share_that_cannot_be_had(tmp_path, share, men, women):
    write_genders(tmp_path, genders_of(men, women))
    with pytest.raises(InputError) as caught:
        open_readers(tmp_path, ReaderOptions(male_share=share))
    assert str(caught.value) == (
        f"data.balance.male={share:g}: expected images of that share in {tmp_path}/img_align_celeba, found "
        f"{men} male and {women} female"
    )


def test_share_needs_attributes(images):
    with pytest.raises(InputError) as caught:
        open_readers(images, ReaderOptions(male_share=0.5))
    assert (
        str(caught.value) == f"data.balance.male=0.5: expected list_attr_celeba.txt in {images}, found none"
    )


def test_settings_reach_the_reader():
    overrides = ["data.balance.male=0.25", "data.max_images=7"]
    chosen = settings.load("cpu", "synthesis", overrides).data
    options = sources.reader_options(TASKS["synthesis"], chosen)
    assert options == ReaderOptions(label="face", male_share=0.25, max_images=7)
    for task in TASKS.values():
        options = sources.reader_options(task, settings.load("cpu", task.name).data)
        assert (options.male_share, options.max_images) == (None, 0)


def test_account_tells_what_was_left_out(images, jpeg, tmp_path_factory):
    lines = []
    for number in range(40):
        name = f"{number:06d}.jpg"
        (images / "img_align_celeba" / name).write_bytes(jpeg(number, (64, 76)))
        lines.append(f"{name} 1 {1 if number < 10 else -1} 1")
    (images / "list_attr_celeba.txt").write_text(attributes(*lines, "000077.jpg 1 1 1"))
    parts = [f"{number:06d}.jpg {number % 3}\n" for number in range(40)]
    (images / "list_eval_partition.txt").write_text("".join(parts))
    options = json.dumps(vars(ReaderOptions(label="face", male_share=0.5, max_images=16)))
    output = tmp_path_factory.mktemp("out") / "examples"
    generate([images], output, reader_options=options, max_rejected_fraction=0.1)
    account = Ingestion.load(output)
    assert account.total("records") == 16
    genders = Counter(
        dict(labels)["gender"] for (_, _, labels), n in account.records.items() for _ in range(n)
    )
    assert genders == {"male": 8, "female": 8}
    # Of 10 men and 11 women, 10 are round(0.5 * 21).
    assert account.dropped == {("celeba", OUT_OF_BALANCE): 19, ("celeba", BEYOND_MOST): 5}
    assert account.rejected == {("celeba", "image file not found"): 1}
    assert account.first_rejected == "img_align_celeba/000077.jpg"
