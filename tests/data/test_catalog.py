import os
import pickle

import pytest

from components.readers.catalog import ReaderOptions, fingerprint, open_readers, select_spans
from components.readers.celeba import CelebaReader
from components.readers.face_points import FacePointsReader
from components.readers.fer2013 import FerCsvReader, FerFolderReader
from components.readers.ferg import FergReader
from components.readers.imdb_wiki import ImdbWikiReader
from components.readers.utkface import UtkFaceReader
from components.readers.wider_face import WiderFaceReader
from components.samples.people_set import write_imdb_wiki
from data_validation.errors import InputError

OPTIONS = ReaderOptions()


def make_csv(folder):
    (folder / "fer2013.csv").write_text("emotion,pixels,Usage\n")


def make_index(folder):
    (folder / "fer2013_index.csv").write_text("emotion,Usage,path\n")


def make_ferg(folder):
    (folder / "FERG_DB_256").mkdir()


def make_utkface(folder):
    (folder / "UTKFace").mkdir()


def make_celeba(folder):
    (folder / "img_align_celeba").mkdir()
    (folder / "img_align_celeba" / "000001.jpg").touch()  # not looked at


def make_wider(folder):
    (folder / "wider_face_split").mkdir()
    (folder / "wider_face_split/wider_face_val_bbx_gt.txt").write_text("0--Parade/1.jpg\n0\n")
    (folder / "images").mkdir()


def make_points(folder):
    (folder / "testImageList.txt").touch()


def make_wiki(folder):
    write_imdb_wiki(folder, 1, seed=1)


@pytest.mark.parametrize(
    ("makers", "kinds"),
    [
        ([make_csv], [FerCsvReader]),
        ([make_index], [FerFolderReader]),
        ([make_ferg], [FergReader]),
        ([make_ferg, make_csv], [FerCsvReader, FergReader]),
        ([make_ferg, make_index], [FerFolderReader, FergReader]),
        # Both forms of FER-2013 hold the same pictures, so only one is read.
        ([make_index, make_csv], [FerCsvReader]),
        ([make_utkface, make_wiki], [ImdbWikiReader, UtkFaceReader]),
        ([make_celeba, make_utkface], [UtkFaceReader, CelebaReader]),
        ([make_points, make_wider, make_csv], [FerCsvReader, WiderFaceReader, FacePointsReader]),
    ],
)
def test_formats_are_recognised(tmp_path, makers, kinds):
    for make in makers:
        make(tmp_path)
    readers = open_readers(tmp_path, OPTIONS)
    assert [type(reader) for reader in readers] == kinds
    copies = pickle.loads(pickle.dumps(readers))
    assert [reader.source for reader in copies] == [reader.source for reader in readers]


def test_options_reach_the_readers(tmp_path):
    make_index(tmp_path)
    with pytest.raises(InputError, match="duplicate_group"):
        open_readers(tmp_path, ReaderOptions(drop_test_duplicates=True))


def test_cleaning_reaches_the_reader(tmp_path):
    make_wiki(tmp_path)
    for score, reason in ((1.0, None), (9.0, "face score below data.min_face_score")):
        (reader,) = open_readers(tmp_path, ReaderOptions(min_face_score=score))
        assert [reader.cleaning_reason(item) for item in reader.items()] == [reason]


def test_label_chooses_the_data_sets(tmp_path):
    (tmp_path / "fer2013.csv").write_text("no column of FER-2013\n")  # not even looked at
    for make in (make_utkface, make_wiki, make_celeba):
        make(tmp_path)
    for label, sources in (
        ("gender", ["wiki", "utkface", "celeba"]),
        ("age", ["wiki", "utkface"]),
        ("face", ["celeba"]),
    ):
        readers = open_readers(tmp_path, ReaderOptions(label=label))
        assert [reader.source for reader in readers] == sources
    with pytest.raises(InputError, match="missing column"):
        open_readers(tmp_path, ReaderOptions(label="emotion"))


def test_label_that_no_data_set_has(tmp_path):
    make_csv(tmp_path)
    make_ferg(tmp_path)
    with pytest.raises(InputError) as caught:
        open_readers(tmp_path, ReaderOptions(label="gender"))
    assert str(caught.value) == (
        f"{tmp_path}: no data set with the label 'gender'; "
        "expected wiki.mat, imdb.mat, UTKFace/ or img_align_celeba/, found fer2013.csv, FERG_DB_256/"
    )


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (
            "",
            "fer2013.csv, fer2013_index.csv, FERG_DB_256/, wiki.mat, imdb.mat, UTKFace/, "
            "img_align_celeba/, s1/1.pgm, pairs.txt, identities/, wider_face_bbx_gt.txt, "
            "wider_face_train_bbx_gt.txt, wider_face_val_bbx_gt.txt, trainImageList.txt or testImageList.txt",
        ),
        (
            "boxes",
            "wider_face_bbx_gt.txt, wider_face_train_bbx_gt.txt, wider_face_val_bbx_gt.txt, "
            "trainImageList.txt or testImageList.txt",
        ),
        ("emotion", "fer2013.csv, fer2013_index.csv or FERG_DB_256/"),
        ("age", "wiki.mat, imdb.mat or UTKFace/"),
        ("face", "img_align_celeba/"),
        ("identity", "s1/1.pgm, pairs.txt, identities/ or <person>/<image>.jpg"),
    ],
)
def test_empty_folder_says_what_is_expected(tmp_path, label, expected):
    with pytest.raises(InputError) as caught:
        open_readers(tmp_path, ReaderOptions(label=label))
    assert str(caught.value) == f"{tmp_path}: no known data set; expected {expected}"


def test_names_of_the_wrong_kind_are_no_data_set(tmp_path):
    (tmp_path / "fer2013.csv").mkdir()
    (tmp_path / "FERG_DB_256").touch()
    (tmp_path / "UTKFace").touch()
    (tmp_path / "wiki.mat").mkdir()
    with pytest.raises(InputError, match="no known data set"):
        open_readers(tmp_path, OPTIONS)


def test_missing_folder_and_file_are_told_apart(tmp_path):
    missing, file = tmp_path / "missing", tmp_path / "file"
    file.touch()
    for path, found in ((missing, "nothing"), (file, "a file")):
        with pytest.raises(InputError) as caught:
            open_readers(path, OPTIONS)
        assert str(caught.value) == f"{path}: expected a data folder, found {found}"


# Spans


@pytest.fixture
def spans(tmp_path):
    for name in ("span-9", "span-010", "span-2", "span-x", "span-", "spans-77", "span-80-old", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "span-99").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("window", "names"),
    [
        (1, ["span-010"]),
        (2, ["span-9", "span-010"]),
        (3, ["span-2", "span-9", "span-010"]),
        (50, ["span-2", "span-9", "span-010"]),
    ],
)
def test_newest_spans_by_number(spans, window, names):
    folders, newest = select_spans(spans, window)
    assert [folder.name for folder in folders] == names
    assert newest == 10


def test_two_folders_of_one_span_are_refused(spans):
    (spans / "span-0009").mkdir()
    with pytest.raises(InputError, match=r": span-0009 and span-9 are the same span$") as caught:
        select_spans(spans, 1)
    assert str(caught.value).startswith(str(spans))


@pytest.mark.parametrize("missing", [False, True])
def test_without_spans_the_folder_itself_is_read(tmp_path, missing):
    folder = tmp_path / "gone" if missing else tmp_path
    assert select_spans(folder, 3) == ([folder], 0)


def test_span_zero_counts_as_a_span(tmp_path):
    (tmp_path / "span-0").mkdir()
    assert select_spans(tmp_path, 1) == ([tmp_path / "span-0"], 0)


# Fingerprint


@pytest.fixture
def tree(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/c/3.png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
        os.utime(file, ns=(10**18, 10**18))
    return tmp_path


def test_fingerprint_is_stable(tree):
    first = fingerprint([tree])
    assert len(first) == 64
    assert set(first) <= set("0123456789abcdef")
    (tree / "a/1.png").read_bytes()
    assert fingerprint([tree]) == first


def test_fingerprint_does_not_depend_on_where_the_folder_lies(tree):
    first = fingerprint([tree / "a"])
    (tree / "a").rename(tree / "moved")
    assert fingerprint([tree / "moved"]) == first


def change_size(tree):
    (tree / "a/1.png").write_bytes(b"longer than before")
    os.utime(tree / "a/1.png", ns=(10**18, 10**18))


def change_time(tree):
    os.utime(tree / "a/1.png", ns=(10**18, 10**18 + 1000))


def change_name(tree):
    (tree / "a/1.png").rename(tree / "a/0.png")


def change_folder(tree):
    (tree / "b/c/3.png").rename(tree / "b/3.png")


def add_file(tree):
    (tree / "b/4.png").touch()


def delete_file(tree):
    (tree / "b/c/3.png").unlink()


def swap_contents(tree):
    # Sizes and times stay as they are, only the names trade places.
    (tree / "a/1.png").write_bytes(b"x" * 20)
    os.utime(tree / "a/1.png", ns=(10**18, 10**18))
    before = fingerprint([tree])
    (tree / "a/1.png").rename(tree / "a/t")
    (tree / "a/2.png").rename(tree / "a/1.png")
    (tree / "a/t").rename(tree / "a/2.png")
    return before


@pytest.mark.parametrize(
    "change", [change_size, change_time, change_name, change_folder, add_file, delete_file, swap_contents]
)
def test_fingerprint_changes_with_the_files(tree, change):
    before = fingerprint([tree])
    before = change(tree) or before
    assert fingerprint([tree]) != before


def test_fingerprint_sees_changes_in_a_linked_data_set(tree, tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    (data / "FERG_DB_256").symlink_to(tree)
    assert len(list(FergReader(data).items())) == 1
    before = fingerprint([data])
    change_size(tree)
    (tree / "b/c/3.png").write_bytes(b"another picture")
    assert fingerprint([data]) != before


def test_fingerprint_of_a_folder_with_a_broken_link(tree):
    before = fingerprint([tree])
    (tree / "a/9.png").symlink_to("nowhere")
    assert fingerprint([tree]) != before
