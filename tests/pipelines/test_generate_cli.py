"""`hexaface generate`, as a person types it, with a small model in the synthesis model's form."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import toy_synthesis
from PIL import Image
from test_bad_input import assert_refused
from toy_synthesis import HEIGHT, LATENTS, VERSION, WIDTH

from data_validation.errors import InputError
from pipelines.face_sheets import columns_of, sheet, sheet_size
from pipelines.generator import MAX_SEED, Generator, block_seed, load_generator, slerp
from pipelines.settings import Workspace
from pipelines.whole_files import write_whole

MODEL = f"synthesis/{VERSION}"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_synthesis.save(tmp_path_factory.mktemp("toy") / "model")


@pytest.fixture(scope="module")
def generator(saved: Path) -> Generator:
    return Generator(saved, MODEL, "real")


@pytest.fixture
def workspace(tmp_path: Path, saved: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The workspace of the `hexaface` fixture, with a model of sample data; and a folder to be in."""
    place = Workspace.at(tmp_path / "workspace")
    shutil.copytree(saved, toy_synthesis.place_of(place.for_samples(), "synthesis"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return place


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def face_on(grid: np.ndarray, number: int, columns: int) -> np.ndarray:
    """A face of a sheet in its own size; numbers from 0."""
    row, column = divmod(number, columns)
    top, left = 2 + row * (HEIGHT + 2), 2 + column * (WIDTH + 2)
    return grid[top : top + HEIGHT, left : left + WIDTH]


# ---- the model in this process


def test_the_first_faces_are_the_same_for_every_count(generator: Generator) -> None:
    many = generator.faces(7, 100)
    assert (many.shape, many.dtype) == ((100, HEIGHT, WIDTH, 3), np.uint8)
    for count in (1, 16, 64, 65):
        np.testing.assert_array_equal(generator.faces(7, count), many[:count])
    assert len(np.unique(many.reshape(100, -1), axis=0)) == 100
    assert np.any(generator.faces(8, 1) != many[:1])


def test_faces_are_those_of_the_latents(generator: Generator, saved: Path) -> None:
    import tensorflow as tf

    latents = generator.latents(7, 3)
    model = tf.saved_model.load(str(saved))
    encoded = model.signatures["serving_default"](latent=tf.constant(latents))["image_bytes"]
    faces = np.stack([tf.io.decode_png(each).numpy() for each in encoded])
    np.testing.assert_allclose(faces.astype(int), generator.decode(latents).astype(int), atol=1)


def test_blocks_have_seeds_of_their_own() -> None:
    assert block_seed(7, 0) == 7
    # The first 63 bits of `printf 7/1 | sha256sum`.
    assert block_seed(7, 1) == 0xD3D2F5798EA0625E >> 1
    seeds = {block_seed(seed, block) for seed in range(50) for block in range(1, 17)}
    assert len(seeds) == 50 * 16
    assert max(seeds) <= MAX_SEED
    assert min(seeds) >= 50


def test_slerp_keeps_the_ends_and_the_length() -> None:
    random = np.random.default_rng(1)
    start, end = random.normal(size=[2, 5, LATENTS]).astype(np.float32)
    np.testing.assert_array_equal(slerp(start, end, 0.0), start)
    np.testing.assert_array_equal(slerp(start, end, 1.0), end)
    right, up = np.array([[2.0, 0.0]]), np.array([[0.0, 2.0]])
    np.testing.assert_allclose(slerp(right, up, 1 / 3), [[2 * np.cos(np.pi / 6), 1.0]], rtol=1e-6)
    # The straight line's middle is shorter by nearly a third.
    middle = np.linalg.norm(slerp(start, end, 0.5), axis=1)
    assert (middle > 0.9 * np.linalg.norm(start, axis=1)).all()
    np.testing.assert_allclose(slerp(start, 3 * start, 0.5), 2 * start, rtol=1e-6)
    assert np.isfinite(slerp(np.zeros([1, 4]), np.ones([1, 4]), 0.5)).all()


def test_sheets_are_nearly_square() -> None:
    assert [columns_of(count, HEIGHT, WIDTH) for count in (1, 2, 4, 7, 16, 60, 100)] == [1, 2, 2, 3, 4, 9, 10]
    for count in range(1, 200):
        width, height = sheet_size(count, HEIGHT, WIDTH, 1)
        faces = np.zeros([count, HEIGHT, WIDTH, 3], np.uint8)
        assert sheet(faces, 1).size == (width, height)
        assert count < 5 or 0.6 < width / height < 1.7


# ---- files


def test_a_sheet_here_without_asking(hexaface: Callable, workspace: Workspace, generator: Generator) -> None:
    code, text, error = hexaface("generate", "--seed", 7)
    assert (code, error) == (0, "")
    assert text.splitlines() == ["faces-7.png", f"16 faces, seed 7; {MODEL}, trained on drawn faces"]
    grid = pixels(Path("faces-7.png"))
    for number, face in enumerate(generator.faces(7, 16)):
        np.testing.assert_array_equal(face_on(grid, number, 4), face)
    assert [file.name for file in Path().iterdir()] == ["faces-7.png"]


def test_a_random_seed_is_told(hexaface: Callable, workspace: Workspace) -> None:
    _, text, _ = hexaface("generate", "-n", 2, "--grid", "a.png")
    seed = text.split("seed ")[1].split(";")[0]
    hexaface("generate", "-n", 2, "--grid", "b.png", "--seed", seed)
    np.testing.assert_array_equal(pixels(Path("a.png")), pixels(Path("b.png")))
    assert seed not in hexaface("generate", "-n", 2, "--grid", "a.png").out


def test_single_files(hexaface: Callable, workspace: Workspace, generator: Generator) -> None:
    code, text, _ = hexaface("generate", "-n", 70, "--seed", 7, "--output", "new/faces")
    assert (code, text.splitlines()[0]) == (0, "new/faces")
    files = sorted(Path("new/faces").iterdir())
    assert [file.name for file in files[:2]] == ["7-0001.png", "7-0002.png"]
    assert len(files) == 70
    for file, face in zip(files, generator.faces(7, 70), strict=True):
        np.testing.assert_array_equal(pixels(file), face)
    with Image.open(files[69]) as picture:
        assert picture.info["Software"] == "HexaFace generate"
        assert picture.info["Description"] == (
            f"generated by {MODEL}, trained on drawn faces, seed 7, face 70"
        )
    # A sheet is written beside them; one face is the first of more.
    hexaface("generate", "-n", 1, "--seed", 7, "--output", "one", "--grid", "one.png", "--scale", 3)
    with Image.open("one/7-0001.png") as picture:
        assert picture.size == (3 * WIDTH, 3 * HEIGHT)
    with Image.open("one.png") as picture:
        assert picture.size == (3 * (WIDTH + 4), 3 * (HEIGHT + 4))


def test_a_film_there_and_back(hexaface: Callable, workspace: Workspace, generator: Generator) -> None:
    code, text, _ = hexaface("generate", "-n", 4, "--seed", 7, "--to", 9, "--gif", "walk.gif")
    assert (code, text.splitlines()) == (
        0,
        ["walk.gif", f"4 faces, seeds 7 to 9; {MODEL}, trained on drawn faces"],
    )
    with Image.open("walk.gif") as film:
        assert (film.n_frames, film.info["loop"]) == (48, 0)
        frames, durations = [], []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB")).astype(int))
            durations.append(film.info["duration"])
    assert durations == [600, *[80] * 23, 600, *[80] * 23]
    # In 256 colours.
    for frame, seed in ((frames[0], 7), (frames[24], 9)):
        for number, face in enumerate(generator.faces(seed, 4)):
            assert np.abs(face_on(frame, number, 2) - face).mean() < 8
    for number in range(1, 24):
        np.testing.assert_array_equal(frames[24 - number], frames[24 + number])
    steps = [np.abs(after - before).mean() for before, after in itertools.pairwise(frames)]
    assert max(steps) < 0.25 * np.abs(frames[24] - frames[0]).mean()


def test_only_generated_files_are_replaced(hexaface: Callable, workspace: Workspace) -> None:
    Path("photo.png").write_bytes(b"mine")
    Image.new("RGB", (9, 9)).save("photo.gif")
    Path("faces").mkdir()
    Image.new("RGB", (9, 9)).save("faces/7-0002.png")
    before = {file: file.read_bytes() for file in Path().rglob("*.*")}
    refused = "expected a new file or one of generated faces, found"
    assert_refused(hexaface("generate", "--grid", "photo.png"), f"--grid: {refused} photo.png")
    assert_refused(hexaface("generate", "--gif", "photo.gif"), f"--gif: {refused} photo.gif")
    answer = hexaface("generate", "--seed", 7, "--output", "faces", "--grid", "new.png")
    assert_refused(answer, f"--output: {refused} faces/7-0002.png")
    assert_refused(hexaface("generate", "--output", "photo.png"), "expected a folder, found a file")
    answer = hexaface("generate", "--seed", 8, "--output", "faces", "--grid", "faces/8-0001.png")
    assert_refused(answer, "--grid faces/8-0001.png: expected a place of its own")
    assert {file: file.read_bytes() for file in Path().rglob("*.*")} == before
    Path("folder.png").mkdir()
    answer = hexaface("generate", "--grid", "folder.png")
    assert_refused(answer, "--grid folder.png: expected a file, found a folder")
    for seed in (7, 8):
        for form in (("--grid", "a.png"), ("--gif", "a.gif", "--to", 9)):
            assert hexaface("generate", "-n", 1, "--seed", seed, *form).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-n", 0), "--count 0: expected 1 to 1000"),
        (("-n", 10_000), "--count 10000: expected 1 to 1000"),
        (("--seed", -1), "--seed -1: expected 0 to 9223372036854775807"),
        (("--seed", 2**63), "--seed 9223372036854775808: expected 0 to 9223372036854775807"),
        (("--scale", 0), "--scale 0: expected 1 to 16"),
        (("--to", 9), "--to 9: expected --gif FILE with it"),
        (("--gif", "a.gif", "--to", -1), "--to -1: expected 0 to"),
        (("--gif", "a.gif", "-n", 65), "--count 65: expected 1 to 64 for --gif"),
        (("--gif", "a.png"), "--gif a.png: expected a file name that ends with .gif"),
        (("--grid", "a"), "--grid a: expected a file name that ends with .png"),
        (("--gif", "a.gif", "--scale", 16), "--scale 16: expected at most 89,478,485 pixels for --gif"),
    ],
)
def test_wrong_words(
    hexaface: Callable, workspace: Workspace, arguments: tuple[object, ...], words: str
) -> None:
    assert_refused(hexaface("generate", *arguments), words)
    assert not list(Path().iterdir())


def test_files_that_cannot_be_written_are_named_as_they_were_asked_for(
    hexaface: Callable, workspace: Workspace
) -> None:
    # With `.partial` the name would be too long for a folder.
    name = f"{'a' * 245}.png"
    assert_refused(hexaface("generate", "-n", 1, "--grid", name), f"error: {name}: File name too long")
    Path("file").touch()
    answer = hexaface("generate", "-n", 1, "--grid", "file/a.png")
    assert_refused(answer, "error: file: ")
    assert ".partial" not in answer.err
    Path("taken").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(Path("taken"), b"content")
    assert caught.value.filename == "taken"
    assert sorted(file.name for file in Path().iterdir()) == ["file", "taken"]


# ---- the model


def test_no_model_was_pushed(hexaface: Callable, tmp_path: Path) -> None:
    answer = hexaface("generate", "--grid", tmp_path / "a.png")
    assert_refused(answer, "no synthesis model", "`hexaface run synthesis`")


def test_a_model_of_real_data_comes_first(workspace: Workspace, saved: Path) -> None:
    shutil.copytree(saved, toy_synthesis.place_of(workspace.for_samples(), "synthesis", VERSION + 1))
    assert load_generator(workspace).version == f"synthesis/{VERSION + 1}"
    shutil.copytree(saved, toy_synthesis.place_of(workspace, "synthesis"))
    generator = load_generator(workspace)
    assert (generator.version, generator.source) == (MODEL, "real")


def test_a_model_that_makes_no_faces(tmp_path: Path, generator: Generator) -> None:
    folder = toy_synthesis.save_gender(tmp_path / "model")
    with pytest.raises(InputError, match="expected a signature latents, found serving_default"):
        Generator(folder, MODEL, "real")
    with pytest.raises(InputError, match="the model makes no faces"):
        generator.decode(np.zeros([1, 99], np.float32))
