import hashlib
import io
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image

from components.readers.att import att_pairs
from components.readers.catalog import ReaderOptions, open_readers
from components.samples import identities
from components.samples.faces import draw_face
from components.samples.identities import (
    aligned_face,
    att_pictures,
    identity_pictures,
    write_att,
    write_identities,
)
from data_validation.errors import InputError
from serving.alignment import TEMPLATE, similarity

PERSONS, ATT_PERSONS = 6, 7


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identities")
    write_att(folder, seed=3, persons=ATT_PERSONS)
    write_identities(folder, PERSONS, seed=3)
    return folder


@pytest.fixture(scope="module")
def records(samples):
    """The records of each source, as the readers give them."""
    readers = open_readers(samples, ReaderOptions(label="identity"))
    return {reader.source: [reader.load(item) for item in reader.items()] for reader in readers}


def test_att_has_ten_pictures_of_each_person(samples, records):
    assert Counter(Counter(record.labels["identity"] for record in records["att"]).values()) == {
        10: ATT_PERSONS
    }
    sizes = {Image.open(io.BytesIO(record.image)).size for record in records["att"]}
    assert sizes == {(92, 112)}
    assert (samples / "att_faces/s1/1.pgm").read_bytes().startswith(b"P5\n92 112\n255\n")
    paths = {path for pair in att_pairs(0, ATT_PERSONS) for path in (pair.first, pair.second)}
    assert all((samples / "att_faces" / path).is_file() for path in paths)


def test_folders_have_pictures_of_persons_in_all_splits(records):
    pictures = defaultdict(list)
    for record in records["identities"]:
        pictures[record.labels["identity"], record.split].append(record)
    assert Counter(split for _, split in pictures) == {"train": 2, "eval": 2, "test": 2}
    assert all(6 <= len(each) <= 12 for each in pictures.values())
    encoded = [record.image for record in records["identities"]]
    assert len(set(encoded)) == len(encoded) == len(list(identity_pictures(PERSONS, seed=3)))
    formats = {(image.format, image.size) for image in map(Image.open, map(io.BytesIO, encoded))}
    assert formats == {("JPEG", (112, 112))}


def test_pictures_of_a_person_differ_as_photos_do():
    faces = defaultdict(list)
    for picture in (*identity_pictures(PERSONS, seed=3), *att_pictures(3, ATT_PERSONS)):
        faces[picture.path.split("/")[0]].append(picture.face)
    assert len({each[0].identity for each in faces.values()}) == len(faces) == PERSONS + ATT_PERSONS
    for each in faces.values():
        assert len({face.identity for face in each}) == 1
        assert max(face.age for face in each) - min(face.age for face in each) <= 6.0
        assert len({face.expression for face in each}) > 1
        assert len({(face.roll, face.turn, face.brightness, face.side_light) for face in each}) == len(each)


def test_eyes_lie_where_the_template_has_them():
    for picture in identity_pictures(PERSONS, seed=3):
        landmarks = np.asarray(draw_face(picture.face, identities._DRAWN_SIDE)[1]) - 0.5
        matrix = similarity(landmarks, TEMPLATE)
        eyes = landmarks[:2] @ matrix[:, :2].T + matrix[:, 2]
        assert np.abs(eyes - TEMPLATE[:2]).max() < 6.0


def test_eyes_are_dark_against_the_skin():
    """The picture itself, not only its landmarks, is where the template says."""
    face = next(identity_pictures(PERSONS, seed=3)).face
    pixels = np.asarray(aligned_face(face).convert("L"), dtype=float)
    assert pixels.shape == (112, 112)
    between = pixels[48:56, 53:59]
    for x, y in TEMPLATE[:2].astype(int):
        assert pixels[y - 5 : y + 6, x - 8 : x + 9].std() > 2.0 * between.std()


def contents(folder):
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def test_same_seed_writes_the_same_bytes(tmp_path, samples):
    write_att(tmp_path, seed=3, persons=ATT_PERSONS)
    write_identities(tmp_path, PERSONS, seed=3)
    assert contents(tmp_path) == contents(samples)


def test_seed_changes_persons():
    for pictures in (lambda seed: att_pictures(seed, 1), lambda seed: identity_pictures(6, seed)):
        assert next(pictures(1)).face.identity != next(pictures(2)).face.identity


def test_progress_counts_pictures(tmp_path):
    done = []
    write_att(tmp_path, seed=1, persons=1, progress=done.append)
    assert done == [1] * 10


def test_refusals(tmp_path):
    with pytest.raises(InputError, match=r"^persons: expected at least 6, found 5$"):
        write_identities(tmp_path, 5, seed=1)
    with pytest.raises(InputError, match=r"^persons: expected at least 1, found 0$"):
        write_att(tmp_path, seed=1, persons=0)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "identities").mkdir()
    with pytest.raises(InputError, match="expected a new file or folder, found one that exists"):
        write_identities(tmp_path, 6, seed=1)
