"""Pairs that data sets list, as they lie beside the examples."""

import io
import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import tensorflow as tf
from PIL import Image
from test_face_example_gen import examples, generate, text

from components.pairs import PAIRS_FILE, ListedPair, ListsPairs, load_pairs, save_pairs
from components.readers.att import AttReader
from components.readers.catalog import ReaderOptions, open_readers
from components.readers.identity_folders import IdentityFoldersReader
from components.samples.identities import write_att, write_identities

OPTIONS = ReaderOptions(label="identity")
LFW = "2\t1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBob_Ray\t1\nBob_Ray\t1\t2\nAnn_Lee\t2\tBob_Ray\t2\n"


def put(folder: Path, *paths: str) -> Path:
    """Makes image files that nobody opens."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def att_layout(folder: Path, persons: int) -> Path:
    return put(folder, *(f"s{person}/{n}.pgm" for person in range(1, persons + 1) for n in range(1, 11)))


def write_lfw(folder: Path) -> Path:
    folder.mkdir()
    (folder / "pairs.txt").write_text(LFW)
    for number, (name, image) in enumerate(itertools.product(("Ann_Lee", "Bob_Ray"), (1, 2))):
        file = folder / "lfw" / name / f"{name}_{image:04d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (250, 250), (40 * number, 90, 90)).save(file)
    return folder


def listed(readers: list, folder: Path) -> list[ListedPair]:
    folder.mkdir(exist_ok=True)
    save_pairs(readers, folder)
    return load_pairs(folder)


# What is written


@pytest.mark.parametrize("kind", ["att", "lfw"])
def test_pairs_have_the_names_of_the_examples(tmp_path: Path, kind: str) -> None:
    data = tmp_path / "data"
    if kind == "att":
        data.mkdir()
        write_att(data, seed=1, persons=7)
    else:
        write_lfw(data)
    readers = open_readers(data, OPTIONS)
    pairs = listed(readers, tmp_path / "out")
    records = {record.filename: record for reader in readers for record in map(reader.load, reader.items())}
    assert len(pairs) == {"att": 42, "lfw": 4}[kind]
    for pair in pairs:
        first, second = records[pair.first], records[pair.second]
        assert pair.source == first.source == second.source == kind
        assert pair.same == (first.labels["identity"] == second.labels["identity"])
    assert [pair.same for pair in pairs].count(True) == len(pairs) // 2


def test_folds_are_kept(tmp_path: Path) -> None:
    pairs = listed(open_readers(write_lfw(tmp_path / "data"), OPTIONS), tmp_path / "out")
    assert [(pair.fold, pair.same) for pair in pairs] == [(0, True), (0, False), (1, True), (1, False)]


def test_no_name_is_written(tmp_path: Path) -> None:
    listed(open_readers(write_lfw(tmp_path / "data"), OPTIONS), tmp_path / "out")
    content = (tmp_path / "out" / PAIRS_FILE).read_text()
    assert not any(part in content for part in ("Ann", "Lee", "Bob", "Ray"))


def test_readers_without_pairs_write_none(tmp_path: Path) -> None:
    reader = IdentityFoldersReader(put(tmp_path / "data", "A/1.jpg", "B/1.jpg"))
    assert not isinstance(reader, ListsPairs)
    assert listed([reader], tmp_path / "out") == []
    assert listed([], tmp_path / "out") == []
    assert (tmp_path / "out" / PAIRS_FILE).read_bytes() == b""


def test_pairs_of_several_data_sets_are_told_apart(tmp_path: Path) -> None:
    readers = [
        AttReader(att_layout(tmp_path / "att", 7)),
        *open_readers(write_lfw(tmp_path / "lfw"), OPTIONS),
    ]
    assert Counter(pair.source for pair in listed(readers, tmp_path / "out")) == {"att": 42, "lfw": 4}


# AT&T's


@pytest.mark.parametrize(("persons", "pairs"), [(1, 0), (6, 0), (7, 42), (12, 72)])
def test_att_lists_pairs_of_seven_persons_or_more(tmp_path: Path, persons: int, pairs: int) -> None:
    reader = AttReader(att_layout(tmp_path, persons))
    assert isinstance(reader, ListsPairs)
    assert len(reader.pairs()) == pairs


def test_att_of_40_persons_has_240_pairs_and_always_the_same(tmp_path: Path) -> None:
    reader = AttReader(att_layout(tmp_path / "data", 40))
    pairs = reader.pairs()
    assert Counter(pair.same for pair in pairs) == {True: 120, False: 120}
    persons = Counter(path.split("/")[0] for pair in pairs for path in (pair.first, pair.second))
    assert set(persons) == {f"s{number}" for number in range(1, 41)}
    assert set(persons.values()) == {12}
    assert {path for pair in pairs for path in (pair.first, pair.second)} <= set(reader.items())
    assert reader.pairs() == pairs == AttReader(att_layout(tmp_path / "elsewhere", 40)).pairs()
    content = [listed([reader], tmp_path / name) for name in ("once", "again")]
    assert content[0] == content[1]


# The node


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What FaceExampleGen makes of a few drawn persons of two data sets."""
    folder = tmp_path_factory.mktemp("data")
    write_att(folder, seed=2, persons=7)
    write_identities(folder, 6, seed=2)
    options = ReaderOptions(label="identity", att_box=(0, 5, 92, 101))
    settings = {"reader_options": json.dumps(vars(options)), "max_rejected_fraction": 0.0}
    return generate([folder], tmp_path_factory.mktemp("examples") / "out", **settings)[0]


def everything(output: Path) -> dict[str, list[tf.train.Example]]:
    return {split: examples(output, split) for split in ("train", "eval", "test")}


def test_pairs_lie_beside_the_examples(output: Path) -> None:
    names = {text(example, "image/filename") for example in everything(output)["test"]}
    pairs = load_pairs(output)
    assert len(pairs) == 42
    assert {name for pair in pairs for name in (pair.first, pair.second)} <= names


def test_nobody_is_in_two_splits(output: Path) -> None:
    splits, sources = defaultdict(set), defaultdict(set)
    for split, found in everything(output).items():
        for example in found:
            splits[text(example, "identity")].add(split)
            sources[split].add(text(example, "source"))
    assert len(splits) == 6 + 7
    assert all(len(each) == 1 for each in splits.values())
    assert sources == {"train": {"identities"}, "eval": {"identities"}, "test": {"att", "identities"}}


def test_boxes_are_cut_by_the_node(output: Path) -> None:
    """The settings have been through JSON by then."""
    for example in everything(output)["test"]:
        encoded = example.features.feature["image/encoded"].bytes_list.value[0]
        assert Image.open(io.BytesIO(encoded)).size == (112, 112)
