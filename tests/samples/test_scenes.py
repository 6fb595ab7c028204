import hashlib
import io
import itertools
import random
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from components.readers.catalog import ReaderOptions, open_readers
from components.samples import detection_set
from components.samples.detection_set import write_face_points, write_wider_face
from components.samples.faces import paint_face, random_face
from components.samples.scenes import LARGEST, SMALLEST, draw_points_face, draw_scene
from data_validation.errors import InputError

SCENES, POINTS = 24, 12


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detection")
    write_wider_face(folder, SCENES, seed=3)
    write_face_points(folder, POINTS, seed=3)
    return folder


@pytest.fixture(scope="module")
def drawn():
    """The scenes before they are written."""
    return [draw_scene(3, number) for number in range(SCENES)]


@pytest.fixture(scope="module")
def records(samples):
    """The records of each source, as the readers give them."""
    readers = open_readers(samples, ReaderOptions(label="boxes"))
    return {reader.source: [reader.load(item) for item in reader.items()] for reader in readers}


def joined(records, feature):
    return np.concatenate([record.ragged[feature] for record in records])


def test_both_sets_have_all_splits(records):
    for source, count in (("wider_face", SCENES), ("face_points", POINTS)):
        splits = Counter(record.split for record in records[source])
        held_out = max(1, count // 10)
        assert splits == {"train": count - 2 * held_out, "eval": held_out, "test": held_out}
    assert len({record.image for found in records.values() for record in found}) == SCENES + POINTS


def test_scenes_have_few_and_many_faces_and_none(records):
    faces = Counter(record.labels["boxes"] for record in records["wider_face"])
    assert faces.keys() >= {"none", "1", "2 to 5", "6 to 20"}
    assert faces["none"] >= SCENES // 12


def test_scenes_differ_in_size_and_stay_small(records):
    sizes = {Image.open(io.BytesIO(record.image)).size for record in records["wider_face"]}
    assert len(sizes) > SCENES // 2
    assert max(max(size) for size in sizes) <= 320


def test_scenes_hold_what_a_detector_meets(records, drawn):
    """Faces of all sizes, some cut at the border, some too small, some that hide others."""
    scenes = records["wider_face"]
    heights, ignored = joined(scenes, "boxes/height"), joined(scenes, "boxes/ignored")
    assert joined(scenes, "boxes/clipped").sum() > 3
    assert 0 < ignored.sum() < len(ignored) / 3
    for low, high in itertools.pairwise((5, 20, 50, LARGEST + 1)):
        assert ((heights >= low) & (heights < high))[ignored == 0].sum() > 3
    attributes = [face.attributes for _, faces in drawn for face in faces]
    for column, highest in enumerate((2, 1, 1, 1, 2, 1)):
        values = {row[column] for row in attributes}
        assert 0 in values and len(values) > 1 and max(values) <= highest


def test_faces_are_of_the_sizes_that_they_say(drawn):
    for _, faces in drawn:
        for face in faces:
            _, top, _, bottom = face.painted.box
            # A dropped jaw and a tilted head are larger.
            low, high = (3.0, SMALLEST * 1.4) if face.attributes[3] else (SMALLEST * 0.9, LARGEST * 1.4)
            assert low <= bottom - top <= high


def test_landmarks_lie_in_the_box_and_in_their_order(records):
    for record in records["face_points"]:
        x, y = record.ragged["landmarks/x"], record.ragged["landmarks/y"]
        assert len(x) == len(y) == 5
        edges = [record.ragged[f"boxes/{edge}"][0] for edge in ("xmin", "xmax", "ymin", "ymax")]
        assert edges[0] < x.min() and x.max() < edges[1] and edges[2] < y.min() and y.max() < edges[3]
        assert x[0] < x[1] and x[3] < x[4] and y[:2].max() < y[3:].min()
        assert Image.open(io.BytesIO(record.image)).size == (80, 80)
        assert not record.ragged["boxes/clipped"].any() and not record.ragged["boxes/ignored"].any()


def test_written_boxes_are_the_drawn_ones(records, drawn):
    for record, (picture, faces) in zip(records["wider_face"], drawn, strict=True):
        if faces:
            wanted = np.clip([face.painted.box for face in faces], 0, (*picture.size, *picture.size))
            edges = [record.ragged[f"boxes/{edge}"] for edge in ("xmin", "ymin", "xmax", "ymax")]
            read = np.stack(edges, axis=-1) * (*picture.size, *picture.size)
            assert np.abs(read - wanted).max() <= 0.51
    # The second is in the test list, which is read last.
    for number, record in zip((0, *range(2, POINTS), 1), records["face_points"], strict=True):
        painted = draw_points_face(3, number)[1]
        read = np.stack([record.ragged["landmarks/x"], record.ragged["landmarks/y"]], axis=-1) * 80
        assert np.abs(read - painted.landmarks).max() < 0.01


def test_painted_face_changes_what_it_covers_only():
    """The box holds the face: its middle is painted, and nothing beside the square is."""
    rng = random.Random(1)
    picture = Image.new("RGB", (120, 100), (0, 255, 0))
    painted = paint_face(picture, random_face(rng, scale=(0.4, 0.4)), (40, 30), 60)
    pixels = np.asarray(picture)
    changed = (pixels != (0, 255, 0)).any(axis=-1)
    left, top, right, bottom = (round(edge) for edge in painted.box)
    middle = changed[(top + bottom) // 2 - 3 : (top + bottom) // 2 + 3, left + 2 : right - 2]
    assert middle.all()
    changed[30:90, 40:100] = False
    assert not changed.any()


def test_face_may_be_painted_across_the_border():
    rng = random.Random(1)
    picture = Image.new("RGB", (40, 40), (0, 255, 0))
    painted = paint_face(picture, random_face(rng, scale=(0.4, 0.4)), (-30, -30), 60)
    assert picture.size == (40, 40)
    assert painted.box[0] < 0 and painted.box[1] < 0
    assert (np.asarray(picture)[0, 0] != (0, 255, 0)).any()


def contents(folder):
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def test_same_seed_writes_the_same_bytes(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_wider_face(tmp_path / name, 4, seed)
        write_face_points(tmp_path / name, 4, seed)
    first, second, other = (contents(tmp_path / name) for name in "abc")
    assert first == second != other


def test_progress_counts_pictures(tmp_path):
    done = []
    write_wider_face(tmp_path, 3, seed=1, progress=done.append)
    write_face_points(tmp_path, 4, seed=1, progress=done.append)
    assert done == [1] * 7


@pytest.mark.parametrize("write", [write_wider_face, write_face_points])
def test_refusals(tmp_path, write):
    with pytest.raises(InputError, match=r"^count: expected at least 3 pictures, found 2$"):
        write(tmp_path, 2, seed=1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "trainImageList.txt").touch()
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="expected a new file or folder, found one that exists"):
        write(tmp_path, 3, seed=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "trainImageList.txt"]


def test_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("stopped")

    monkeypatch.setattr(detection_set, "draw_points_face", fail)
    monkeypatch.setattr(detection_set, "draw_scene", fail)
    for write in (write_wider_face, write_face_points):
        with pytest.raises(RuntimeError, match="stopped"):
            write(tmp_path, 3, seed=1)
    assert list(tmp_path.iterdir()) == []
