"""The gallery: what it takes and refuses, what a search finds, and what is left in the file."""

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import gallery as gallery_module
from serving.face_index import ExactIndex
from serving.gallery import Gallery, GalleryError, Picture, Summary, checked_name

PROJECT = Path(__file__).parents[2]
MODEL, OTHER = "verification/1764000000", "verification/1764000001"
SIZE = 8


def unit(count: int, size: int = SIZE, seed: int = 1) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=[count, size])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def pictures(*persons: str, first: int = 0) -> list[Picture]:
    return [
        Picture(person, f"{number:064x}", f"{number}.png") for number, person in enumerate(persons, first)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


@pytest.fixture
def gallery(path: Path) -> Iterator[Gallery]:
    with Gallery(path, create=True) as opened:
        yield opened


@pytest.fixture
def filled(gallery: Gallery) -> Gallery:
    """Two faces of Ann, one each of Bob and Cy."""
    gallery.add(pictures("Ann", "Ann", "Bob", "Cy"), unit(4), MODEL)
    return gallery


def search(gallery: Gallery, queries: np.ndarray, top: int = 5, threshold: float = 0.4):
    return gallery.search(queries, MODEL, threshold=threshold, top=top)


def refused(call: Callable, *parts: object) -> str:
    with pytest.raises(GalleryError) as caught:
        call()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for part in parts:
        assert str(part) in message
    return message


# ---- the index


@st.composite
def _searches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    faces, queries, size = draw(st.integers(1, 60)), draw(st.integers(0, 8)), draw(st.integers(1, 16))
    seed = draw(st.integers(0, 2**32 - 1))
    return unit(faces, size, seed), unit(queries, size, seed + 1), draw(st.integers(1, faces))


@given(_searches(), st.sampled_from([1, 100, 1 << 22]))
def test_exact_search_is_that_of_brute_force(case: tuple[np.ndarray, np.ndarray, int], block: int) -> None:
    embeddings, queries, k = case
    index = ExactIndex(embeddings)
    index._BLOCK = block
    distances, rows = index.search(queries, k)
    every = 0.5 * np.square(queries[:, None].astype(float) - embeddings[None]).sum(axis=2)
    assert distances.dtype == np.float32 and distances.shape == rows.shape == (len(queries), k)
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :k], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(every, rows, axis=1), distances, atol=1e-6)
    assert all(len(set(row)) == k for row in rows.tolist())
    assert (np.diff(distances, axis=1) >= 0).all()


def test_equal_vectors_are_at_distance_0_and_opposite_ones_at_2() -> None:
    embeddings = unit(200, 256)
    distances, rows = ExactIndex(embeddings).search(embeddings, 1)
    assert rows[:, 0].tolist() == list(range(200))
    assert 0 <= distances.min() <= distances.max() < 1e-6
    assert ExactIndex(embeddings[:1]).search(-embeddings[:1], 1)[0] == pytest.approx(2)


# ---- search


@settings(deadline=None, max_examples=60)
@given(_searches(), st.lists(st.sampled_from("ABCDE"), min_size=60, max_size=60), st.integers(1, 7))
def test_a_search_finds_the_nearest_persons(
    tmp_path_factory: pytest.TempPathFactory,
    case: tuple[np.ndarray, np.ndarray, int],
    owners: list[str],
    top: int,
) -> None:
    embeddings, queries, _ = case
    owners = owners[: len(embeddings)]
    with Gallery(tmp_path_factory.mktemp("gallery") / "gallery.db", create=True) as opened:
        opened.add(pictures(*owners), embeddings, MODEL)
        found = search(opened, queries, top)
    every = np.clip(1 - queries.astype(float) @ embeddings.T.astype(float), 0, 2)
    for matches, distances in zip(found, every, strict=True):
        best = {name: distances[[owner == name for owner in owners]].min() for name in set(owners)}
        assert [match.distance for match in matches] == pytest.approx(sorted(best.values())[:top], abs=1e-6)
        for match in matches:
            assert match.distance == pytest.approx(best[match.person], abs=1e-6)
            assert match.is_match == (match.distance <= 0.4)


def test_one_person_with_all_the_nearest_faces_is_found_once(gallery: Gallery) -> None:
    near = unit(1).repeat(100, axis=0)
    gallery.add(pictures(*["Ann"] * 100, "Bob", "Cy"), np.concatenate([near, unit(2, seed=2)]), MODEL)
    (matches,) = search(gallery, near[:1], top=3)
    assert {match.person for match in matches} == {"Ann", "Bob", "Cy"}
    assert (matches[0].person, matches[0].is_match) == ("Ann", True)
    assert matches[0].distance == pytest.approx(0, abs=1e-6)


def test_more_queries_than_a_block(gallery: Gallery) -> None:
    embeddings = unit(100)
    gallery.add(pictures(*(f"person {number}" for number in range(100))), embeddings, MODEL)
    found = search(gallery, embeddings, top=1)
    assert [matches[0].person for matches in found] == [f"person {number}" for number in range(100)]


def test_nobody_is_found_in_an_empty_gallery(gallery: Gallery) -> None:
    assert search(gallery, unit(2)) == [[], []]
    assert gallery.summary() == Summary("", 0, 0, 0)
    assert gallery.persons() == []


def test_another_index_can_be_put_in_the_place(path: Path) -> None:
    made = []

    class Recorded(ExactIndex):
        def __init__(self, embeddings: np.ndarray) -> None:
            made.append(embeddings.shape)
            super().__init__(embeddings)

    with Gallery(path, create=True, index=Recorded) as opened:
        opened.add(pictures("Ann", "Bob"), unit(2), MODEL)
        search(opened, unit(1))
        search(opened, unit(1))
        assert made == [(2, SIZE)]
        opened.remove("Ann")
        assert [match.person for match in search(opened, unit(1))[0]] == ["Bob"]
        assert made == [(2, SIZE), (1, SIZE)]


def test_top_must_be_1_or_more(filled: Gallery) -> None:
    refused(lambda: search(filled, unit(1), top=0), "top: expected 1 or more, found 0")


# ---- what is taken


def test_what_was_added_is_there_after_opening_again(filled: Gallery, path: Path) -> None:
    filled.close()
    with Gallery(path) as opened:
        assert opened.summary() == Summary(MODEL, SIZE, persons=3, faces=4)
        assert [(person.name, person.faces) for person in opened.persons()] == [
            ("Ann", 2),
            ("Bob", 1),
            ("Cy", 1),
        ]
        assert all(person.first_added.endswith("Z") for person in opened.persons())
        assert search(opened, unit(4)[2:3])[0][0].person == "Bob"


def test_only_the_owner_may_read_it(gallery: Gallery, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_file_becomes_a_gallery_of_the_owner_alone(path: Path) -> None:
    path.touch(0o644)
    refused(lambda: Gallery(path), path, "expected a gallery")
    Gallery(path, create=True).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_picture_is_taken_once(filled: Gallery) -> None:
    again = pictures("Ann", "Ann", "Bob", "Cy", "Dan")
    assert filled.missing(again) == [4]
    assert filled.add(again, unit(5), MODEL) == 1
    assert filled.add(again, unit(5), MODEL) == 0
    new = pictures("Eve", first=9) * 3
    assert filled.missing(new) == [0]
    assert filled.add(new, unit(3), MODEL) == 1
    assert filled.summary().faces == 6


def test_the_same_picture_of_another_person_is_refused(filled: Gallery) -> None:
    wrong = [*pictures("Dan", first=7), *pictures("Bob")]
    for call in (lambda: filled.missing(wrong), lambda: filled.add(wrong, unit(2), MODEL)):
        refused(call, "0.png: this picture is there already as 'Ann', found 'Bob'")
    twice = [Picture(name, "f" * 64, f"{name}.png") for name in ("Dan", "Eve")]
    refused(lambda: filled.add(twice, unit(2), MODEL), "Eve.png", "'Dan'", "'Eve'")
    assert filled.summary().faces == 4


def test_another_version_of_the_model_is_refused(filled: Gallery) -> None:
    calls = (
        lambda: filled.check_model(OTHER),
        lambda: filled.add(pictures("Dan", first=9), unit(1), OTHER),
        lambda: filled.search(unit(1), OTHER, threshold=0.4, top=1),
    )
    for call in calls:
        refused(call, filled.path, MODEL, f"found {OTHER}", "enrol the pictures again in another file")
    filled.check_model(MODEL)
    assert filled.summary().faces == 4


def test_another_size_is_refused(filled: Gallery) -> None:
    calls = (
        lambda: filled.check_model(MODEL, 9),
        lambda: filled.add(pictures("Dan", first=9), unit(1, 9), MODEL),
        lambda: search(filled, unit(1, 9)),
    )
    for call in calls:
        refused(call, filled.path, "expected embeddings of 8 numbers, found 9")


def _with(value: float) -> np.ndarray:
    rows = unit(2)
    rows[1, 3] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (_with(np.nan), "1.png: expected an embedding of finite numbers and length 1"),
        (_with(np.inf), "1.png: expected an embedding of finite numbers and length 1"),
        (_with(3e38), "1.png: expected an embedding of finite numbers and length 1"),
        (unit(2) * 1.01, "0.png: expected an embedding of finite numbers and length 1"),
        (np.zeros([2, SIZE], np.float32), "0.png: expected an embedding of finite numbers and length 1"),
        (unit(3), "expected float32 [2, size], found float32 [3, 8]"),
        (unit(2)[0], "expected float32 [2, size], found float32 [8]"),
        (unit(2).astype(float), "expected float32 [2, size], found float64 [2, 8]"),
        (np.zeros([2, 0], np.float32), "expected 1 to 4096 numbers, found 0"),
    ],
)
def test_what_cannot_be_an_embedding_is_refused(filled: Gallery, rows: np.ndarray, words: str) -> None:
    refused(lambda: filled.add(pictures("Dan", "Eve"), rows, MODEL), words)
    assert filled.summary().faces == 4
    if rows.shape == (2, SIZE) and rows.dtype == np.float32:
        refused(lambda: search(filled, rows), "query")


@pytest.mark.parametrize(
    "name",
    ["", " ", " Ann", "Ann\n", "A\nn", "A\tn", "A\x00n", "A\x7f", "A\u2028n", "\udc80", "A" * 201],
)
def test_what_cannot_be_a_name_is_refused(filled: Gallery, name: str) -> None:
    for call in (
        lambda: filled.add(pictures(name, first=9), unit(1), MODEL),
        lambda: filled.missing(pictures(name)),
        lambda: filled.remove(name),
    ):
        assert refused(call, "person '", "expected a name").isascii()


@given(st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=60))
def test_other_names_are_kept(name: str) -> None:
    assert checked_name(checked_name(name)) == checked_name(name)


def test_a_name_is_the_same_composed_and_decomposed(gallery: Gallery) -> None:
    gallery.add(pictures("Jose\u0301", "Jos\u00e9"), unit(2), MODEL)
    assert [person.faces for person in gallery.persons()] == [2]
    assert gallery.remove("Jose\u0301") == 2


def test_a_hash_must_be_one(gallery: Gallery) -> None:
    wrong = [Picture("Ann", "no hash", "ann.png")]
    refused(lambda: gallery.add(wrong, unit(1), MODEL), "ann.png: sha256: expected 64")


def test_it_holds_so_many_faces_and_no_more(path: Path) -> None:
    assert gallery_module.MAX_FACES == 100_000
    with Gallery(path, create=True, max_faces=5) as opened:
        opened.add(pictures(*"ABC"), unit(3), MODEL)
        more = pictures(*"ABCDEF")
        refused(
            lambda: opened.add(more, unit(6), MODEL), path, "expected at most 5 faces, found 3 and 3 to add"
        )
        assert opened.summary().faces == 3
        assert opened.add(more[:5], unit(5), MODEL) == 2


def test_nothing_to_add(gallery: Gallery) -> None:
    assert gallery.add([], np.zeros([0, SIZE], np.float32), MODEL) == 0
    assert gallery.summary().model == ""


# ---- removal


def test_remove(filled: Gallery) -> None:
    search(filled, unit(1))
    assert filled.remove("Ann") == 2
    assert filled.remove("Ann") == 0
    assert filled.summary() == Summary(MODEL, SIZE, persons=2, faces=2)
    assert {match.person for match in search(filled, unit(1))[0]} == {"Bob", "Cy"}
    assert filled.add(pictures("Dan"), unit(1), MODEL) == 1  # a picture that was Ann's


def test_the_file_keeps_nothing_of_a_removed_person(gallery: Gallery, path: Path) -> None:
    embeddings = unit(300, 256)
    gallery.add(pictures("Bob", *["Ann Whoever"] * 298, "Cy"), embeddings, MODEL)
    assert b"Ann Whoever" in path.read_bytes()
    gallery.remove("Ann Whoever")
    left = path.read_bytes()
    assert embeddings[0].tobytes() in left
    assert not any(row.tobytes()[:64] in left for row in embeddings[1:299])
    assert b"Ann Whoever" not in left


def test_a_gallery_without_faces_takes_another_model(filled: Gallery) -> None:
    for name in ("Ann", "Bob", "Cy"):
        filled.remove(name)
    assert filled.summary() == Summary("", 0, 0, 0)
    filled.add(pictures("Ann"), unit(1, 3), OTHER)
    assert filled.summary() == Summary(OTHER, 3, 1, 1)


# ---- several at once


def test_a_search_sees_what_another_connection_changed(filled: Gallery, path: Path) -> None:
    query = unit(1, seed=9)
    assert "Dan" not in {match.person for match in search(filled, query)[0]}
    with Gallery(path, create=True) as other:
        other.add(pictures("Dan", first=9), query, MODEL)
        assert search(filled, query)[0][0].person == "Dan"
        other.remove("Dan")
        assert "Dan" not in {match.person for match in search(filled, query)[0]}


def test_a_gallery_that_another_is_changing(
    filled: Gallery, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_module, "_LOCK_SECONDS", 0.1)
    with Gallery(path) as other:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        refused(
            lambda: other.add(pictures("Dan", first=9), unit(1), MODEL),
            path,
            "another command is changing it",
        )
        assert other.summary().faces == 4
        holder.execute("ROLLBACK")
        holder.close()
        assert other.add(pictures("Dan", first=9), unit(1), MODEL) == 1


def _add_some(path: Path, process: int) -> None:
    with Gallery(path, create=True) as opened:
        for number in range(20):
            opened.add(pictures(f"{process}", first=1000 * process + number), unit(1, seed=process), MODEL)


def test_processes_that_make_and_fill_one_gallery(path: Path) -> None:
    # No fork: other tests have started TensorFlow's threads in this process.
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_some, args=(path, number)) for number in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    with Gallery(path) as opened:
        assert {(person.name, person.faces) for person in opened.persons()} == {("1", 20), ("2", 20)}


def test_an_error_in_the_middle_adds_nothing(filled: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk() -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gallery_module, "_now", full_disk)
    with pytest.raises(OSError):
        filled.add(pictures("Dan", first=9), unit(1), MODEL)
    monkeypatch.undo()
    assert filled.summary().faces == 4
    assert filled.add(pictures("Dan", first=9), unit(1), MODEL) == 1


# ---- files that are none


def test_a_missing_file(path: Path) -> None:
    refused(lambda: Gallery(path), path, "there is no gallery; `hexaface gallery add` makes one")
    assert not path.exists()
    nowhere = path / "below" / "gallery.db"
    refused(lambda: Gallery(nowhere, create=True), nowhere, "cannot be made: No such file or directory")


def test_a_folder_is_no_gallery(tmp_path: Path) -> None:
    refused(lambda: Gallery(tmp_path), tmp_path, "cannot be used")


@pytest.mark.parametrize("create", [False, True])
def test_a_file_of_something_else(path: Path, create: bool) -> None:
    path.write_bytes(b"name,embedding\n" * 100)
    refused(lambda: Gallery(path, create=create), path, "not a gallery, or damaged")
    assert path.read_bytes() == b"name,embedding\n" * 100


@pytest.mark.parametrize("create", [False, True])
def test_a_database_of_something_else(path: Path, create: bool) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE meta (key, value)")
    database.close()
    before = path.read_bytes()
    refused(lambda: Gallery(path, create=create), path, "expected a gallery, found another file")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE meta SET value = '2' WHERE key = 'format'", "expected a gallery of format 1, found 2"),
        ("DELETE FROM meta WHERE key = 'format'", "expected a gallery of format 1, found None"),
        ("DROP TABLE faces", "cannot be used: no such table: faces"),
        ("DELETE FROM meta WHERE key = 'model'", "damaged: model None and size '8' do not fit 4 faces"),
        ("UPDATE meta SET value = 'x' WHERE key = 'size'", "damaged: model"),
        ("UPDATE meta SET value = '99999' WHERE key = 'size'", "damaged: model"),
        ("UPDATE faces SET embedding = x'00' WHERE id = 3", "damaged: face 3: expected an embedding of 8"),
        ("UPDATE faces SET embedding = 'text' WHERE id = 3", "damaged: face 3: expected an embedding of 8"),
        ("UPDATE faces SET embedding = zeroblob(32)", "damaged: expected embeddings of length 1"),
        ("UPDATE faces SET person = CAST(x'ff' AS TEXT)", "cannot be used: Could not decode to UTF-8"),
    ],
)
def test_a_damaged_gallery(filled: Gallery, path: Path, statement: str, words: str) -> None:
    filled.close()
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()

    def use() -> None:
        with Gallery(path) as opened:
            search(opened, unit(1))

    refused(use, path, words)


def test_a_gallery_with_lost_pages(gallery: Gallery, path: Path) -> None:
    gallery.add(pictures(*["Ann"] * 300), unit(300, 256), MODEL)
    gallery.close()
    content = bytearray(path.read_bytes())
    content[len(content) // 4 : len(content) // 2] = os.urandom(len(content) // 2 - len(content) // 4)
    path.write_bytes(content)

    def use() -> None:
        with Gallery(path) as opened:
            opened.search(unit(1, 256), MODEL, threshold=0.4, top=1)

    refused(use, path)
    path.write_bytes(content[: len(content) // 3])
    refused(use, path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any file")
def test_a_gallery_that_may_only_be_read(filled: Gallery, path: Path) -> None:
    filled.close()
    path.chmod(0o400)
    with Gallery(path) as opened:
        assert search(opened, unit(1))[0]
        refused(lambda: opened.remove("Ann"), path, "readonly")


def test_it_needs_no_tensorflow() -> None:
    code = "import sys, serving.gallery; print(sorted({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, timeout=300, check=True
    )
    for package in ("tensorflow", "grpc", "rich", "pipelines", "data_validation"):
        assert f"'{package}'" not in run.stdout
