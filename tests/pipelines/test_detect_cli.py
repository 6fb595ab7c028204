"""`hexaface detect`, as a person types it, with a small model in the detection model's form."""

import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_detection
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from test_bad_input import assert_refused
from toy_detection import VERSION, scene

from data_validation.errors import InputError
from data_validation.image_quality import MAX_FILE_BYTES
from pipelines.detector import Detector, load_detector
from pipelines.pictures import upright
from pipelines.pushed_model import PushedModel
from pipelines.settings import Workspace
from trainers.cascade import LONGEST_SIDE

MODEL = f"detection/{VERSION}"
BOX = {"left": 20.0, "top": 10.0, "width": 30.0, "height": 30.0}


@pytest.fixture
def workspace(tmp_path: Path, detection_model: Path) -> Workspace:
    """The workspace of the `hexaface` fixture, with a model of sample data."""
    place = Workspace.at(tmp_path / "workspace")
    toy_detection.push(detection_model, place.for_samples())
    return place


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    Image.fromarray(scene()).save(file)
    return file


def answered(answer: Any) -> list[dict[str, Any]]:
    """What is said of each image, in JSON."""
    code, text, error = answer
    assert code == 0, error
    images: list[dict[str, Any]] = json.loads(text)["images"]
    return images


def boxes(image: dict[str, Any]) -> list[dict[str, float]]:
    return [face["box"] for face in image["faces"]]


# ---- what is told


def test_lines(hexaface: Callable, workspace: Workspace, photo: Path, tmp_path: Path) -> None:
    both, none = tmp_path / "b.jpg", tmp_path / "c.png"
    Image.fromarray(scene(green=(55, 5, 75, 25))).save(both, quality=95)
    Image.fromarray(scene(red=None)).save(none)
    code, text, error = hexaface("detect", photo, both, none)
    assert (code, error) == (0, "")
    assert text.splitlines() == [
        f"{photo}: 1 face",
        f"{both}: 2 faces",
        f"{none}: 0 faces",
        f"3 images, 3 faces; {MODEL}, trained on drawn faces; faces from 10 pixels, factor 0.6, "
        "thresholds 0.1, 0.2, 0.3",
    ]


def test_json(hexaface: Callable, workspace: Workspace, photo: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "faces.json"
    code, text, _ = hexaface("detect", photo, "--json", file)
    assert (code, text.startswith(f"{photo}: 1 face\n")) == (0, True)
    answer = json.loads(file.read_text())
    assert hexaface("detect", photo, "--json", "-").out == file.read_text()
    assert (answer["model"], answer["trained_on"]) == (MODEL, "sample")
    own = dataclasses.asdict(toy_detection.SETTINGS)
    assert answer["settings"] == {**own, "thresholds": [0.1, 0.2, 0.3], "longest_side": LONGEST_SIDE}
    (image,) = answer["images"]
    assert (image["image"], image["width"], image["height"]) == (str(photo), 80, 60)
    (face,) = image["faces"]
    assert (face["box"], face["score"]) == (BOX, 0.9)
    landmarks = face["landmarks"]
    assert list(landmarks) == ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"]
    assert landmarks["left_eye"] == pytest.approx([20 + 30 * 38.79 / 112, 10 + 30 * 52.2 / 112], abs=0.02)
    assert landmarks["mouth_right"] == pytest.approx([20 + 30 * 71.23 / 112, 10 + 30 * 92.7 / 112], abs=0.02)


def test_settings_reach_the_model(detection_model: Path) -> None:
    detector = Detector(PushedModel(detection_model, "real"))
    picture = Image.fromarray(scene(green=(55, 5, 75, 25)))

    def scores(**changed: Any) -> list[float]:
        settings = dataclasses.replace(detector.settings, **changed)
        return [face.score for face in detector.find(picture, "a.png", settings)]

    assert [face.score for face in detector.find(picture, "a.png")] == pytest.approx([0.9, 0.6])
    assert scores(factor=0.8) == pytest.approx([0.9, 0.8])
    assert scores(min_face=25.0) == pytest.approx([0.9])
    assert scores(thresholds=(0.1, 0.2, 0.7)) == pytest.approx([0.9])
    assert scores(thresholds=(0.1, 0.2, 0.95)) == []


def test_settings_of_the_command(hexaface: Callable, workspace: Workspace, tmp_path: Path) -> None:
    Image.fromarray(scene(green=(55, 5, 75, 25))).save(tmp_path / "both.png")
    given = ("--min-face", 25, "--factor", 0.8, "--thresholds", "0.3,0.2,0.1")
    code, text, _ = hexaface("detect", tmp_path / "both.png", "--json", "-", *given)
    answer = json.loads(text)
    settings = {name: answer["settings"][name] for name in ("min_face", "factor", "thresholds")}
    assert (code, settings) == (0, {"min_face": 25.0, "factor": 0.8, "thresholds": [0.3, 0.2, 0.1]})
    assert [face["score"] for face in answer["images"][0]["faces"]] == [0.9]


# ---- pictures of all kinds


def turned(orientation: int) -> bytes:
    """A scene whose pixels are stored so that EXIF's orientation makes them upright; checked by Pillow."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for turn in (None, *Image.Transpose):
        stored = Image.fromarray(scene())
        buffer = io.BytesIO()
        (stored if turn is None else stored.transpose(turn)).save(buffer, "PNG", exif=exif)
        if np.array_equal(ImageOps.exif_transpose(Image.open(buffer)), scene()):
            return buffer.getvalue()
    raise AssertionError(orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    np.testing.assert_array_equal(np.asarray(upright(turned(orientation), "turned.png")), scene())


def test_places_and_drawings_are_of_the_upright_picture(
    hexaface: Callable, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "turned.png").write_bytes(turned(6))
    answer = hexaface("detect", tmp_path / "turned.png", "--json", "-", "--output", tmp_path / "out")
    (image,) = answered(answer)
    assert (image["width"], image["height"], boxes(image)) == (80, 60, [BOX])
    with Image.open(tmp_path / "out" / "turned.faces.png") as drawn:
        assert (drawn.size, dict(drawn.getexif())) == ((80, 60), {})


def test_damaged_exif_is_passed_over(recwarn: pytest.WarningsRecorder) -> None:
    picture, text = Image.fromarray(scene()), PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n8\nno hexadecimal digits")
    damaged = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x63\x01\x12\0\x03"
    for options in ({"format": "PNG", "pnginfo": text}, {"format": "JPEG", "exif": damaged}):
        buffer = io.BytesIO()
        picture.save(buffer, **options)
        assert upright(buffer.getvalue(), "a.jpg").size == (80, 60)
    assert not recwarn.list


def test_all_modes(hexaface: Callable, workspace: Workspace, tmp_path: Path) -> None:
    found = {
        "RGBA.png": [BOX],
        "P.png": [BOX],
        "CMYK.jpg": [BOX],
        # What has lost its red shows no face to the model.
        "L.jpg": [],
        "LA.png": [],
        "1.png": [],
    }
    for name in found:
        Image.fromarray(scene()).convert(name.split(".")[0]).save(tmp_path / name)
    images = answered(hexaface("detect", *(tmp_path / name for name in found), "--json", "-"))
    for image, expected in zip(images, found.values(), strict=True):
        assert len(image["faces"]) == len(expected), image["image"]
        for box, known in zip(boxes(image), expected, strict=True):
            assert box == pytest.approx(known, abs=1.0)


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "deep.png")
    rgb = upright((tmp_path / "deep.png").read_bytes(), "deep.png")
    assert rgb.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(rgb), np.repeat((values >> 8)[..., None], 3, axis=-1))


def test_sixteen_bits_at_the_command(hexaface: Callable, workspace: Workspace, tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 50), 40000, np.uint16)).save(tmp_path / "deep.png")
    (image,) = answered(hexaface("detect", tmp_path / "deep.png", "--json", "-"))
    assert (image["width"], image["height"], image["faces"]) == (50, 40, [])


def test_an_animation_is_its_first_frame(hexaface: Callable, workspace: Workspace, tmp_path: Path) -> None:
    frames = [Image.fromarray(scene(red=box)) for box in ((20, 10, 50, 40), (0, 0, 20, 20))]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    answer = hexaface("detect", tmp_path / "moving.gif", "--json", "-", "--output", tmp_path / "out")
    assert boxes(*answered(answer)) == [BOX]
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["moving.gif.faces.png"]


def test_pictures_too_small_for_a_face(hexaface: Callable, workspace: Workspace, tmp_path: Path) -> None:
    sizes = ((5, 5), (1, 1), (300, 2))
    for size in sizes:
        Image.new("RGB", size).save(tmp_path / f"{size}.png")
    files = [tmp_path / f"{size}.png" for size in sizes]
    images = answered(hexaface("detect", *files, "--json", "-", "--output", tmp_path / "out"))
    assert [(image["width"], image["height"], image["faces"]) for image in images] == [
        (*size, []) for size in sizes
    ]


# ---- drawings


def test_drawings(hexaface: Callable, workspace: Workspace, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep er").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x010E] = "SECRET"
    exif.get_ifd(0x8825)[1] = "N"
    picture = Image.fromarray(scene((400, 300), (100, 100, 200, 200)))
    picture.save(folder / "deep er" / "zwölf.JPG", exif=exif, comment=b"SECRET", icc_profile=b"SECRET")
    picture.save(folder / "a.png", exif=exif, icc_profile=b"SECRET")
    before = {file: file.read_bytes() for file in folder.rglob("*.*")}
    assert hexaface("detect", folder, "--output", out)[0] == 0
    drawings = sorted(file for file in out.rglob("*") if file.is_file())
    assert drawings == [out / "a.faces.png", out / "deep er" / "zwölf.faces.JPG"]
    for drawing in drawings:
        assert b"SECRET" not in drawing.read_bytes()
        with Image.open(drawing) as drawn:
            assert (drawn.size, dict(drawn.getexif())) == ((400, 300), {})
    with Image.open(out / "a.faces.png") as drawn:
        changed = np.any(np.asarray(drawn) != np.asarray(picture), axis=-1)
    assert changed[100, 100:200].all() and changed[199, 100:200].all() and changed[100:200, 199].all()
    assert changed[int(100 + 100 * 72.2 / 112), int(100 + 100 * 56.5 / 112)]  # the nose
    assert not changed[:60].any() and not changed[200:].any() and not changed[110:190, 110:120].any()
    assert {file: file.read_bytes() for file in folder.rglob("*.*")} == before


def test_drawings_of_earlier_commands_are_no_input(
    hexaface: Callable, workspace: Workspace, photo: Path
) -> None:
    for _ in range(2):
        # Given twice, it is looked at once.
        assert hexaface("detect", photo, photo.parent, "--output", photo.parent).out.endswith(
            f"1 image, 1 face; {MODEL}, trained on drawn faces; faces from 10 pixels, factor 0.6, "
            "thresholds 0.1, 0.2, 0.3\n"
        )
    assert sorted(file.name for file in photo.parent.glob("*.png")) == ["photo.faces.png", "photo.png"]


def test_nothing_is_overwritten(hexaface: Callable, workspace: Workspace, photo: Path) -> None:
    folder = photo.parent
    (folder / "other").mkdir()
    shutil.copy(photo, folder / "other" / "photo.png")
    shutil.copy(photo, folder / "photo.faces.png")
    before = photo.read_bytes()
    answer = hexaface("detect", photo, folder / "other" / "photo.png", "--output", folder / "out")
    assert_refused(answer, "--output: expected a place of its own", str(folder / "other" / "photo.png"))
    answer = hexaface("detect", photo, folder / "photo.faces.png", "--output", folder)
    assert_refused(answer, "--output: expected a place of its own", "photo.faces.png")
    assert_refused(hexaface("detect", "--json", photo, photo), "--json", "such as faces.json, or -")
    assert_refused(hexaface("detect", photo, "--json", folder), "--json", "such as faces.json, or -")
    assert (photo.read_bytes(), (folder / "photo.faces.png").read_bytes()) == (before, before)


# ---- what cannot be read


def test_in_a_folder_the_others_go_on(
    hexaface: Callable, workspace: Workspace, photo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(scene()).save(folder / "d.jpg", quality=95)
    (folder / "a.jpg").write_text("no image")
    (folder / "b.jpg").write_bytes((folder / "d.jpg").read_bytes()[:-300])
    with (folder / "c.jpg").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    (folder / "notes.txt").write_text("not looked at")
    (folder / ".hidden.jpg").write_text("not looked at")
    code, text, error = hexaface("detect", folder, "--json", "-")
    assert code == 1
    lines = error.splitlines()
    assert lines[0] == f"error: {folder / 'a.jpg'}: image cannot be decoded: no JPEG, PNG or GIF"
    assert lines[1].startswith(f"error: {folder / 'b.jpg'}: image cannot be decoded: image file is truncated")
    assert lines[2].startswith(f"error: {folder / 'c.jpg'}: expected at most {MAX_FILE_BYTES} bytes")
    assert len(lines) == 3
    assert [image["image"] for image in json.loads(text)["images"]] == [str(folder / "d.jpg")]
    (folder / "circle.jpg").symlink_to(folder / "circle.jpg")
    assert "circle.jpg: cannot be read" in hexaface("detect", folder).err
    # Named, it is the user's mistake; the others go on there too.
    code, text, error = hexaface("detect", folder / "a.jpg", photo)
    assert (code, error.splitlines(), f"{photo}: 1 face" in text) == (2, lines[:1], True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.jpg",), "nowhere.jpg: cannot be read: No such file or directory"),
        (("empty",), "empty: expected images (.jpg, .jpeg, .png, .gif), found none"),
        (("photo.png", "--min-face", "5"), "--min-face: expected 10 or more, found 5.0"),
        (("photo.png", "--min-face", "inf"), "--min-face inf: expected a finite number"),
        (("photo.png", "--factor", "0.9"), "--factor: expected 0.5 to 0.85, found 0.9"),
        (("photo.png", "--factor", "nan"), "--factor: expected 0.5 to 0.85, found nan"),
        (("photo.png", "--thresholds", "0.5"), "--thresholds: expected three numbers from 0 to 1"),
        (("photo.png", "--thresholds", "0.5,0.5,2"), "--thresholds: expected three numbers from 0 to 1"),
        (("photo.png", "--thresholds", "a,b,c"), "--thresholds a,b,c: expected three numbers, as in"),
    ],
)
def test_wrong_words(
    hexaface: Callable,
    workspace: Workspace,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("empty").mkdir()
    assert_refused(hexaface("detect", *arguments), words)


# ---- the model


def test_no_model_was_pushed(hexaface: Callable, photo: Path) -> None:
    assert_refused(hexaface("detect", photo), "no detection model", "`hexaface run detection`")


def test_a_model_of_real_data_comes_first(workspace: Workspace, detection_model: Path) -> None:
    toy_detection.push(detection_model, workspace.for_samples(), VERSION + 1)
    assert load_detector(workspace).version == f"detection/{VERSION + 1}"
    toy_detection.push(detection_model, workspace, VERSION)
    detector = load_detector(workspace)
    assert (detector.version, detector.source, detector.longest_side) == (MODEL, "real", LONGEST_SIDE)
    assert detector.settings == toy_detection.SETTINGS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("[]", "expected a JSON object, found list"),
        ('{"thresholds": [0.5, 0.5, 0.5]}', "longest_side: expected pixels, found None"),
        ('{"longest_side": 1920}', "expected the settings of a cascade: KeyError: 'thresholds'"),
        ('{"longest_side": 1920, "thresholds": [0.5, 0.5, 9]}', "thresholds: expected three numbers"),
        ('{"longest_side": 1920, "thresholds": [1, 1, 1], "most": 3}', "unexpected keyword argument 'most'"),
    ],
)
def test_settings_that_cannot_be_any(tmp_path: Path, text: str | None, words: str) -> None:
    file = tmp_path / str(VERSION) / "assets.extra" / "cascade.json"
    file.parent.mkdir(parents=True)
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError) as caught:
        Detector(PushedModel(file.parents[1], "real"))
    assert str(caught.value).startswith(f"{file}: ")
    assert words in str(caught.value)
