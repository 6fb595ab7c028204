"""`hexaface gallery`, as a person types it, with a small model in the verification model's form."""

import io
import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import test_bad_input
import toy_detection
from PIL import Image

from components.aligned_reading import ALIGNED, align_record
from components.face_finder import FaceFinder
from components.readers.record import FaceRecord
from data_validation.errors import InputError
from data_validation.image_quality import MAX_FILE_BYTES
from pipelines.embedder import Embedder, load_embedder
from pipelines.face_cutting import FaceChoice, face_cutter
from pipelines.pictures import as_png
from pipelines.settings import Workspace

OLD, NEW = 1764000000, 1764000001
MODEL = f"verification/{OLD}, trained on drawn faces"
STRICT = {"far": 0.001, "threshold": 1e-6}
THRESHOLDS = {"distance": "cosine", "threshold": 0.05, "far": 0.01, "different_pairs": 500, "table": [STRICT]}
COLOURS = {"Ann": (200, 30, 30), "Bob": (30, 200, 30), "Cy": (30, 30, 200)}
_images = tf.TensorSpec([None], tf.string, name="image_bytes")


class ToyVerification(tf.Module):
    """Embeds a picture as its mean colour."""

    @tf.function(autograph=False, input_signature=[_images])
    def embed(self, image_bytes):
        def colour(encoded):
            return tf.reduce_mean(tf.cast(tf.io.decode_jpeg(encoded, channels=3), tf.float32), [0, 1])

        colours = tf.map_fn(colour, image_bytes, fn_output_signature=tf.TensorSpec([3], tf.float32))
        return {"embedding": tf.nn.l2_normalize(colours, axis=1)}

    @tf.function(autograph=False, input_signature=[_images, _images])
    def verify(self, image_bytes_a, image_bytes_b):
        a, b = self.embed(image_bytes_a)["embedding"], self.embed(image_bytes_b)["embedding"]
        cosine = 1 - tf.reduce_sum(a * b, axis=1)
        return {
            "cosine_distance": cosine,
            "euclidean_distance": tf.norm(a - b, axis=1),
            "is_match": cosine <= THRESHOLDS["threshold"],
            "threshold": tf.fill(tf.shape(cosine), THRESHOLDS["threshold"]),
        }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, module = tmp_path_factory.mktemp("toy") / "model", ToyVerification()
    tf.saved_model.save(
        module, str(folder), signatures={"embed": module.embed, "serving_default": module.verify}
    )
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "thresholds.json").write_text(json.dumps(THRESHOLDS))
    return folder


@pytest.fixture(scope="module")
def embedder(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    place = Workspace.at(tmp_path_factory.mktemp("embedder"))
    push(saved, place.for_samples(), OLD)
    return load_embedder(place)


def assert_refused(answer: object, *parts: object) -> None:
    test_bad_input.assert_refused(answer, *map(str, parts))


def push(saved: Path, place: Workspace, version: int) -> Path:
    return shutil.copytree(saved, place.serving / "verification" / str(version))


@pytest.fixture
def workspace(tmp_path: Path, saved: Path) -> Workspace:
    """The workspace of the `hexaface` fixture, with a model of sample data."""
    place = Workspace.at(tmp_path / "workspace")
    push(saved, place.for_samples(), OLD)
    return place


def picture(person: str, number: int = 0, form: str = "PNG") -> bytes:
    """A person is a colour, each picture of it a little lighter."""
    pixels = np.zeros([32, 32, 3], np.uint8) + np.array(COLOURS[person], np.uint8) + number
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Identity folders: Ann with two pictures, Bob and Cy with one."""
    root = tmp_path / "people"
    for person, count in (("Ann", 2), ("Bob", 1), ("Cy", 1)):
        (root / person).mkdir(parents=True)
        for number in range(count):
            (root / person / f"{number}.png").write_bytes(picture(person, number))
    return root


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """Another picture of Bob, not enrolled."""
    file = tmp_path / "someone.jpg"
    file.write_bytes(picture("Bob", 9, "JPEG"))
    return file


# ---- the embedder


def test_embeddings_of_all_forms_and_batches(embedder: Embedder) -> None:
    assert (embedder.version, embedder.threshold, embedder.far) == (f"verification/{OLD}", 0.05, 0.01)
    images = [picture("Ann", number, ("PNG", "JPEG")[number % 2]) for number in range(40)]
    embeddings = embedder.embed(images)
    assert (embeddings.shape, embeddings.dtype) == ((40, 3), np.float32)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(images[39:]), embeddings[39:], atol=1e-6)
    assert len(embedder.embed([])) == 0


def test_an_image_that_cannot_be_decoded_is_named(embedder: Embedder, tmp_path: Path) -> None:
    good = picture("Ann")
    with pytest.raises(InputError, match=r"^image 2: image cannot be decoded: no JPEG, PNG or GIF$"):
        embedder.embed([good, b"no image"])
    with pytest.raises(InputError, match=r"^b\.png: image cannot be decoded"):
        embedder.embed([good, good[:-40]], ["a.png", "b.png"])


def test_an_image_that_only_the_model_refuses_is_named(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.embedder._check", lambda image, name: None)
    with pytest.raises(InputError, match=r"^b\.png: the model cannot decode it: InvalidArgumentError"):
        embedder.embed([picture("Ann"), b"no image", picture("Bob")], ["a.png", "b.png", "c.png"])


def test_a_model_of_real_data_comes_before_one_of_samples_and_the_newest_first(
    saved: Path, workspace: Workspace
) -> None:
    push(saved, workspace.for_samples(), NEW + 5)
    assert load_embedder(workspace).version == f"verification/{NEW + 5}"
    push(saved, workspace, OLD)
    push(saved, workspace, NEW)
    assert load_embedder(workspace).version == f"verification/{NEW}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "expected JSON"),
        ("[]", "expected a JSON object, found list"),
        ({"distance": "euclidean"}, "distance: expected 'cosine', found 'euclidean'"),
        ({"threshold": "0.4"}, "threshold: expected a number above 0, at most 2, found '0.4'"),
        ({"threshold": float("nan")}, "threshold: expected a number above 0, at most 2, found nan"),
        ({"far": 0}, "far: expected a number above 0, at most 1, found 0"),
        ({"far": True}, "far: expected a number above 0, at most 1, found True"),
    ],
)
def test_a_threshold_that_cannot_be_one(workspace: Workspace, text: object, words: str) -> None:
    file = workspace.for_samples().serving / f"verification/{OLD}/assets.extra/thresholds.json"
    file.unlink()
    if text is not None:
        file.write_text(text if isinstance(text, str) else json.dumps(THRESHOLDS | text))
    with pytest.raises(InputError) as caught:
        load_embedder(workspace)
    assert str(caught.value).startswith(f"{file}: ")
    assert words in str(caught.value)


def test_what_is_no_model(workspace: Workspace) -> None:
    folder = workspace.for_samples().serving / "verification" / str(OLD)
    (folder / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_embedder(workspace)
    tf.saved_model.save(tf.Module(), str(folder))
    with pytest.raises(InputError, match="expected a signature embed, found none"):
        load_embedder(workspace)


# ---- the commands


def test_from_enrolment_to_removal(
    hexaface: Callable, workspace: Workspace, people: Path, stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    file = workspace.root / "gallery.db"
    code, text, _ = hexaface("gallery", "add", "--folder", people)
    assert (code, text) == (0, f"{file}: 4 of 4 faces added, with {MODEL}\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    code, text, _ = hexaface("gallery", "search", stranger, people / "Ann", "--top", 2)
    assert code == 0
    rows = [line.split() for line in text.splitlines()[1:7]]
    assert rows[0][:3] == [str(stranger), "1", "Bob"]
    assert float(rows[0][3]) < 0.01
    assert [row[-1] for row in rows] == ["yes", "no"] * 3
    assert rows[2][:3] == [str(people / "Ann" / "0.png"), "1", "Ann"]
    assert f"match: cosine distance at most 0.05 ({MODEL}); at this threshold 1 %" in text
    assert "with 3 persons in the gallery a stranger is expected to match somebody about 2.97 %" in text
    assert "up to 3.94 % as there are 4 faces" in text

    code, text, _ = hexaface("gallery", "list")
    assert code == 0
    assert [line.split()[:2] for line in text.splitlines()[1:4]] == [["Ann", "2"], ["Bob", "1"], ["Cy", "1"]]
    assert text.endswith(f"{file}: 3 persons, 4 faces; embeddings of 3 numbers by verification/{OLD}\n")

    assert_refused(hexaface("gallery", "remove", "Anne"), "person 'Anne': there is none; did you mean Ann?")
    code, text, _ = hexaface("gallery", "remove", "Ann")
    assert (code, text) == (0, f"{file}: Ann removed, 2 faces\n")
    for person in ("Bob", "Cy"):
        assert hexaface("gallery", "remove", person)[0] == 0
    assert "it holds no face" in hexaface("gallery", "list").out
    assert_refused(hexaface("gallery", "search", stranger), file, "it holds no face")


def test_json(hexaface: Callable, workspace: Workspace, people: Path, stranger: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "other.db"
    assert hexaface("gallery", "add", "Ann", people / "Ann", "--gallery", elsewhere)[0] == 0
    assert hexaface("gallery", "add", "Bob", people / "Bob" / "0.png", "--gallery", elsewhere)[0] == 0
    assert not (workspace.root / "gallery.db").exists()
    code, text, _ = hexaface("gallery", "search", stranger, "--json", "--gallery", elsewhere)
    assert code == 0
    answer = json.loads(text)
    (image,) = answer.pop("images")
    assert answer.pop("stranger_match_rate") == pytest.approx(1 - 0.99**2)
    assert answer == {
        "gallery": str(elsewhere),
        "model": f"verification/{OLD}",
        "threshold": 0.05,
        "trained_on": "sample",
        "false_accept_rate": 0.01,
        "false_accept_rate_pairs": 500,
        "persons": 2,
        "faces": 3,
        "faces_found_by": "aligned",
    }
    assert image["image"] == str(stranger)
    assert [(one["rank"], one["person"], one["match"]) for one in image["persons"]] == [
        (1, "Bob", True),
        (2, "Ann", False),
    ]


def test_a_stricter_rate(hexaface: Callable, workspace: Workspace, people: Path, stranger: Path) -> None:
    assert hexaface("gallery", "add", "--folder", people)[0] == 0
    code, text, _ = hexaface("gallery", "search", stranger, "--json", "--far", "0.001")
    answer = json.loads(text)
    assert (code, answer["false_accept_rate"], answer["threshold"]) == (0, 0.001, 1e-6)
    assert not any(one["match"] for one in answer["images"][0]["persons"])
    assert_refused(
        hexaface("gallery", "search", stranger, "--far", "0.3"), "--far 0.3", "expected one of 0.001"
    )


def test_a_rate_on_too_few_pairs(
    hexaface: Callable, workspace: Workspace, people: Path, stranger: Path
) -> None:
    assert hexaface("gallery", "add", "--folder", people)[0] == 0
    for options, few in (((), False), (("--far", "0.001"), True)):
        text = " ".join(hexaface("gallery", "search", stranger, *options).out.split())
        assert "measured on 500 pairs" in text
        assert ("which are too few to tell" in text) == few


def test_the_face_is_cut_out(hexaface: Callable, workspace: Workspace, tmp_path: Path) -> None:
    """A green picture with a red face."""
    pixels = np.zeros([60, 80, 3], np.uint8) + np.array(COLOURS["Bob"], np.uint8)
    pixels[10:40, 20:50] = COLOURS["Ann"]
    Image.fromarray(pixels).save(tmp_path / "whole.png")
    (tmp_path / "ann.png").write_bytes(picture("Ann"))
    assert hexaface("gallery", "add", "Ann", tmp_path / "whole.png", "--box", "20,10,30,30")[0] == 0
    text = hexaface("gallery", "search", tmp_path / "ann.png", "--json").out
    assert json.loads(text)["images"][0]["persons"][0]["cosine_distance"] == pytest.approx(0.0, abs=0.01)
    answer = hexaface("gallery", "search", tmp_path / "whole.png", "--box", "60,10,30,30")
    assert_refused(answer, "whole.png: expected a picture that holds the box [60, 10, 30, 30], found 80x60")
    assert_refused(hexaface("gallery", "search", tmp_path / "ann.png", "--box", "1,2"), "--box 1,2: expected")


def test_files_that_are_too_large_are_not_read(
    hexaface: Callable, workspace: Workspace, tmp_path: Path
) -> None:
    with (tmp_path / "big.jpg").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    answer = hexaface("gallery", "add", "Ann", tmp_path / "big.jpg")
    assert_refused(answer, f"big.jpg: expected at most {MAX_FILE_BYTES} bytes, found {MAX_FILE_BYTES + 1}")


def test_what_is_in_it_already(hexaface: Callable, workspace: Workspace, people: Path) -> None:
    assert hexaface("gallery", "add", "Ann", people / "Ann" / "0.png")[0] == 0
    code, text, _ = hexaface("gallery", "add", "Ann", people / "Ann")
    assert (code, "1 of 2 faces added" in text, "1 skipped, which" in text) == (0, True, True)
    code, text, _ = hexaface("gallery", "add", "Ann", people / "Ann")
    assert (code, "0 of 2 faces added" in text) == (0, True)
    answer = hexaface("gallery", "add", "Eve", people / "Bob", people / "Ann" / "0.png")
    assert_refused(answer, people / "Ann" / "0.png", "is there already as 'Ann', found 'Eve'")
    assert "Eve" not in hexaface("gallery", "list").out


def test_one_bad_image_and_none_is_added(hexaface: Callable, workspace: Workspace, people: Path) -> None:
    (people / "Cy" / "1.jpg").write_bytes(b"no image")
    answer = hexaface("gallery", "add", "--folder", people)
    assert_refused(answer, people / "Cy" / "1.jpg", "image cannot be decoded: no JPEG, PNG or GIF")
    assert not (workspace.root / "gallery.db").exists()


def test_a_gallery_made_by_another_version_of_the_model(
    hexaface: Callable, workspace: Workspace, saved: Path, people: Path, stranger: Path
) -> None:
    assert hexaface("gallery", "add", "--folder", people)[0] == 0
    push(saved, workspace.for_samples(), NEW)
    # Its own model is still there.
    text = hexaface("gallery", "search", stranger).out
    assert f"verification/{OLD}, trained on drawn faces, not the newest" in " ".join(text.split())
    shutil.rmtree(workspace.for_samples().serving / "verification" / str(OLD))
    for command in (("add", "Bob", stranger), ("search", stranger)):
        assert_refused(
            hexaface("gallery", *command),
            workspace.root / "gallery.db",
            f"embeddings of verification/{OLD}, found verification/{NEW}",
            "enrol the pictures again in another file",
        )
    assert hexaface("gallery", "list")[0] == 0
    assert hexaface("gallery", "remove", "Cy")[0] == 0


def test_no_model_was_pushed(hexaface: Callable, people: Path, tmp_path: Path) -> None:
    answer = hexaface("gallery", "add", "--folder", people)
    assert_refused(answer, "no verification model", "`hexaface run verification`", "`hexaface demo`")
    assert not (tmp_path / "workspace" / "gallery.db").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add",), "expected either PERSON and IMAGE..., or --folder DIR"),
        (("add", "Ann"), "expected either PERSON and IMAGE..., or --folder DIR"),
        (("add", "Ann", "a.png", "--folder", "."), "expected either PERSON and IMAGE..., or --folder DIR"),
        (("add", "--folder", "nowhere"), "--folder nowhere: expected a folder"),
        (("add", "--folder", "empty"), "--folder empty: expected folders of persons with images"),
        (("add", "Ann", "empty"), "empty: expected images (.jpg, .jpeg, .png), found none"),
        (("add", "Ann", "nowhere.png"), "nowhere.png: cannot be read: No such file or directory"),
        (("add", "A\x07nn", "a.png"), "person 'A\\x07nn': expected a name without control characters"),
        (("search", "a.png"), "gallery.db: there is no gallery; `hexaface gallery add` makes one"),
        (("list",), "gallery.db: there is no gallery; `hexaface gallery add` makes one"),
        (("remove", "Ann"), "gallery.db: there is no gallery; `hexaface gallery add` makes one"),
        (("list", "--gallery", "a.png"), "a.png: not a gallery, or damaged: file is not a database"),
    ],
)
def test_wrong_words(
    hexaface: Callable,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "._0.jpg").write_bytes(b"what a Mac leaves beside a file")
    (tmp_path / "a.png").write_bytes(picture("Ann"))
    assert_refused(hexaface("gallery", *arguments), words)


def test_names_are_no_markup(hexaface: Callable, workspace: Workspace, people: Path) -> None:
    name = "[red]Ann[/] \u00c5ngstr\u00f6m"
    assert hexaface("gallery", "add", name, people / "Ann")[0] == 0
    assert name in hexaface("gallery", "list").out
    assert name in hexaface("gallery", "search", people / "Ann" / "0.png").out


# ---- faces that are found


@pytest.fixture
def scenes(tmp_path: Path, workspace: Workspace, detection_model: Path) -> Path:
    """Pictures with none, one and two faces, and a workspace whose detection model finds them."""
    toy_detection.push(detection_model, workspace.for_samples())
    for name, boxes in {
        "none": {"red": None},
        "red": {"red": (5, 5, 45, 45)},
        "green": {"red": None, "green": (30, 10, 60, 40)},
        "both": {"green": (50, 5, 75, 30)},
    }.items():
        Image.fromarray(toy_detection.scene(**boxes)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_faces_are_found(hexaface: Callable, scenes: Path) -> None:
    how = f"faces found by detection/{toy_detection.VERSION}, trained on drawn faces\n"
    code, text, error = hexaface("gallery", "add", "Ann", scenes / "red.png")
    assert (code, error, "1 of 1 faces added" in text) == (0, how, True)
    assert hexaface("gallery", "add", "Bob", scenes / "green.png")[0] == 0
    code, text, error = hexaface("gallery", "search", scenes / "both.png", "--largest", "--json")
    assert (code, error) == (0, how)
    answer = json.loads(text)
    assert answer["faces_found_by"] == f"detection/{toy_detection.VERSION}"
    nearest = answer["images"][0]["persons"][0]
    assert (nearest["person"], nearest["match"]) == ("Ann", True)
    # The mean colour of the face alone, and not of what is around it.
    assert nearest["cosine_distance"] < 0.001


def test_pictures_without_the_one_face(hexaface: Callable, scenes: Path) -> None:
    answer = hexaface("gallery", "add", "Ann", scenes / "red.png", scenes / "none.png")
    assert_refused(answer, scenes / "none.png", "expected one face, found none; --aligned takes")
    answer = hexaface("gallery", "add", "Ann", scenes / "both.png")
    assert_refused(answer, scenes / "both.png", "expected one face, found 2; --largest takes the largest")
    assert not (scenes / "workspace" / "gallery.db").exists()


def test_pictures_may_be_aligned_already(hexaface: Callable, scenes: Path) -> None:
    code, _, error = hexaface("gallery", "add", "Ann", scenes / "none.png", "--aligned")
    assert (code, error) == (0, "")
    answer = hexaface("gallery", "search", scenes / "both.png", "--box", "50,5,25,25", "--json")
    assert (answer.code, answer.err, json.loads(answer.out)["faces_found_by"]) == (0, "", "box")
    answer = hexaface("gallery", "search", scenes / "both.png", "--aligned", "--largest")
    assert_refused(answer, "expected one of --box, --aligned and --largest")


def test_without_a_detection_model_pictures_are_aligned_faces(
    hexaface: Callable, workspace: Workspace, saved: Path, detection_model: Path, people: Path
) -> None:
    code, _, error = hexaface("gallery", "add", "--folder", people)
    assert (code, error.count("\n")) == (0, 1)
    assert error.startswith("no detection model in the workspace, so pictures are taken for aligned faces")
    # One that knows drawn faces only does not look at what a model of real data compares.
    push(saved, workspace, NEW)
    toy_detection.push(detection_model, workspace.for_samples())
    other = ("--gallery", workspace.root / "other.db")
    code, _, error = hexaface("gallery", "add", "--folder", people, *other)
    assert (code, error.startswith("no detection model of real data in the workspace")) == (0, True)


def test_a_found_face_is_aligned_to_the_pixel(workspace: Workspace, detection_model: Path) -> None:
    """Landmarks that lie as in an aligned face: what is cut out is that face, pixel by pixel."""
    toy_detection.push(detection_model, workspace)
    picture = as_png(Image.fromarray(toy_detection.noise_scene()))
    face = face_cutter(FaceChoice(), workspace, "real").cut(picture, "a.png")
    toy_detection.assert_noise_to_the_pixel(face)
    # As data is read with data.align=true.
    record = FaceRecord("a.png", picture, "test", "somewhere", {"identity": "x"})
    aligned, outcome = align_record(record, FaceFinder(detection_model).find)
    trained, enrolled = (Image.open(io.BytesIO(encoded)) for encoded in (aligned.image, face))
    assert (outcome, trained.mode) == (ALIGNED, enrolled.mode)
    np.testing.assert_array_equal(trained, enrolled)


def test_a_box_is_of_the_upright_picture(workspace: Workspace) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    pixels = toy_detection.scene((80, 60), (50, 5, 70, 25))
    Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    cutter = face_cutter(FaceChoice(box=(50, 5, 20, 20)), workspace, "real")
    face = np.asarray(Image.open(io.BytesIO(cutter.cut(buffer.getvalue(), "a.png"))))
    assert face.shape == (112, 112, 3)
    # At its edges, scaling mixes in what is around it.
    assert (face[12:-12, 12:-12] == toy_detection.RED).all()
