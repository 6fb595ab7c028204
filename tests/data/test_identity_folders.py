import os
import pickle
from collections import Counter, defaultdict
from hashlib import sha256
from pathlib import Path

import pytest

from components.face_example_gen import to_example
from components.readers.catalog import ReaderOptions, open_readers
from components.readers.identity import person_folder, pseudonym, pseudonymous
from components.readers.identity_folders import IdentityFoldersReader
from components.readers.record import RecordRejected
from data_validation.errors import InputError
from data_validation.image_quality import UnreadableImageError

OPTIONS = ReaderOptions(label="identity")


@pytest.fixture
def put(tmp_path):
    def write(path, content=b"an image"):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    return write


def load(folder):
    reader = IdentityFoldersReader(folder)
    return [reader.load(item) for item in reader.items()]


def test_listing_is_sorted_and_leaves_other_files_alone(tmp_path, put):
    for path in ("B/2.jpg", "B/1.JPG", "A/x.png", "A/y.jpeg", "A/._x.png", "A/notes.txt", ".git/1.jpg"):
        put(path)
    put("loose.jpg")
    put("C/deeper/1.jpg")
    (reader,) = pickle.loads(pickle.dumps(open_readers(tmp_path, OPTIONS)))
    assert list(reader.items()) == ["A/x.png", "A/y.jpeg", "B/1.JPG", "B/2.jpg"]


def test_examples_hold_no_name(tmp_path, put, encode, face):
    for path in ("Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/007.PNG", "Ann_Lee/ann lee at home.jpg"):
        put(path, encode(face()))
    records = load(tmp_path)
    examples = [to_example(record).SerializeToString() for record in records]
    assert not any(part in example.lower() for example in examples for part in (b"ann", b"lee", b"home"))
    person = sha256(b"identities/Ann_Lee").hexdigest()[:16]
    assert all(record.labels == {"identity": person} for record in records)
    hidden = sha256(b"ann lee at home.jpg").hexdigest()[:16]
    assert [record.filename for record in records] == [
        f"{person}/{name}" for name in ("007.png", "0001.jpg", f"{hidden}.jpg")
    ]
    assert person_folder(tmp_path, "identities", person) == tmp_path / "Ann_Lee"
    assert person_folder(tmp_path, "lfw", person) is None


def test_names_that_are_no_utf8_have_pseudonyms(tmp_path, put):
    put(os.fsdecode(b"Andr\xe9/1.jpg"))
    (record,) = load(tmp_path)
    assert record.labels["identity"] == sha256(b"identities/Andr\xe9").hexdigest()[:16]


@pytest.mark.parametrize("name", ["²", "٣", "1_0", ""])
def test_only_plain_digits_are_kept_of_file_names(name):
    assert len(pseudonymous("identities", f"P/P_{name}.jpg").split("/")[1]) == 16 + len(".jpg")


def test_splits_are_by_person_and_have_their_sizes(tmp_path, put):
    for number in range(800):
        put(f"person {number % 400}/{number}.jpg", str(number).encode())
    splits = defaultdict(set)
    for record in load(tmp_path):
        splits[record.labels["identity"]].add(record.split)
    assert len(splits) == 400
    counts = Counter(split for (split,) in splits.values())
    assert 0.06 < counts["eval"] / 400 < 0.14
    assert 0.06 < counts["test"] / 400 < 0.14


def test_person_with_one_image_is_kept(tmp_path, put):
    for path in ("A/1.jpg", "B/1.jpg", "B/2.jpg"):
        put(path)
    counts = Counter(record.labels["identity"] for record in load(tmp_path))
    assert counts == {pseudonym("identities", "A"): 1, pseudonym("identities", "B"): 2}


def test_unreadable_files(tmp_path, put):
    put("A/1.jpg", b"no image")
    (tmp_path / "A/2.jpg").mkdir()
    reader = IdentityFoldersReader(tmp_path)
    with pytest.raises(UnreadableImageError):
        to_example(reader.load("A/1.jpg"))
    with pytest.raises(RecordRejected, match=r"^expected an image file, found something else$"):
        reader.load("A/2.jpg")
    with pytest.raises(RecordRejected, match=r"^image file not found$"):
        reader.load("A/3.jpg")


def test_folder_that_cannot_be_listed(tmp_path, put, monkeypatch):
    put("A/1.jpg")

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("components.readers.identity_folders.os.listdir", refuse)
    with pytest.raises(InputError) as caught:
        open_readers(tmp_path, OPTIONS)
    assert str(caught.value) == f"{tmp_path / 'A'}: folder cannot be read: Permission denied"


# When they are read


@pytest.mark.parametrize("label", ["", "gender"])
def test_other_labels_do_not_take_folders_for_persons(tmp_path, put, label):
    put("A/1.jpg")
    with pytest.raises(InputError, match="no known data set"):
        open_readers(tmp_path, ReaderOptions(label=label))


@pytest.mark.parametrize("mark", ["UTKFace/1.jpg", "wiki.mat", "fer2013.csv"])
def test_data_sets_with_other_labels_are_no_persons(tmp_path, put, mark):
    for path in ("00/1.jpg", mark):
        put(path)
    with pytest.raises(InputError, match=r"no data set with the label 'identity'; .*, found "):
        open_readers(tmp_path, OPTIONS)


@pytest.mark.parametrize("label", ["", "identity"])
def test_folder_identities_is_read_beside_others(tmp_path, put, label):
    for path in ("att_faces/s1/1.pgm", "identities/A/1.jpg", "B/1.jpg"):
        put(path)
    readers = open_readers(tmp_path, ReaderOptions(label=label))
    assert [reader.source for reader in readers] == ["att", "identities"]
    assert list(readers[1].items()) == ["A/1.jpg"]


@pytest.mark.realdata
def test_real_folders():
    folder = Path(os.environ.get("HEXAFACE_DATA", "/nowhere")) / "faces_identity_112"
    if not folder.is_dir():
        pytest.skip("HEXAFACE_DATA names no folder with faces_identity_112")
    (reader,) = open_readers(folder, OPTIONS)
    assert len(list(reader.items())) == 11935
    persons = {record.labels["identity"]: record.split for record in map(reader.load, reader.items())}
    assert Counter(persons.values()) == {"train": 1204, "eval": 167, "test": 148}
