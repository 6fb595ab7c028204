"""Faces are found by a detection model and aligned while data is read."""

import io
import shutil

import numpy as np
import pytest
import tensorflow as tf
import toy_detection
from PIL import Image
from test_face_example_gen import examples, generate, text

from components.aligned_reading import ALIGNED, ELSEWHERE, NO_DIRECTION, NO_FACE, align_record
from components.compat import tfx
from components.face_finder import Face, FaceFinder, cut_out, face_at, faces_of, read_rgb
from components.readers.att import AttReader
from components.readers.lfw_pairs import LfwPairsReader
from components.readers.record import FaceRecord, Uncut
from data_validation.errors import InputError
from data_validation.image_quality import UnreadableImageError
from data_validation.ingestion import Ingestion
from serving import alignment
from serving.alignment import SIDE, TEMPLATE
from serving.client_results import detections
from serving.wire.calls import Prediction

WIDTH, HEIGHT = 240, 160
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]


def turned(x, y):
    """Five points around a place: smaller than the template, and turned by some 17 degrees."""
    return (TEMPLATE - 56.0) @ np.array([(0.6, 0.18), (-0.18, 0.6)]) + np.array([x, y])


LEFT = Face((20.0, 30.0, 100.0, 130.0), 0.9, turned(60, 80))
RIGHT = Face((140.0, 40.0, 200.0, 120.0), 0.8, turned(170, 80))
LEFT_BOX, RIGHT_BOX = (25, 35, 70, 90), (145, 45, 50, 70)


@pytest.fixture(scope="module")
def finder(detection_model):
    return FaceFinder(detection_model)


def find_both(rgb):
    """In the place of a model: knows the pictures of `scene`, if it sees them whole."""
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    return [LEFT, RIGHT] if rgb[0, 0].any() else []


def scene(*faces, seen=True):
    """A grey picture with a spot of colour on each point of each face; black where it is not to be seen."""
    picture = np.full((HEIGHT, WIDTH, 3), 90 if seen else 0, np.uint8)
    for face in faces:
        for (x, y), colour in zip(face.points.astype(int), COLOURS, strict=True):
            picture[y - 4 : y + 5, x - 4 : x + 5] = colour
    return picture


def record_of(encoded, box=None):
    uncut = None if box is None else Uncut(encoded, box)
    return FaceRecord("a.png", encoded, "test", "somewhere", {"identity": "x"}, uncut=uncut)


def opened(encoded):
    image = Image.open(io.BytesIO(encoded))
    image.load()
    return image


def spots(image):
    """The colours of an image at the places of the template."""
    return [image.convert("RGB").getpixel((round(x), round(y))) for x, y in TEMPLATE]


# Finding


def test_an_answer_is_read():
    """Rows from the number of faces on are none, whatever they say."""
    shares = np.float32([(0.1, 0.2), (0.3, 0.4), (0.5, 0.6), (0.7, 0.8), (0.9, 1.0)])
    answer = {
        "num_detections": np.int32([2]),
        "detection_boxes": np.float32([[(0.1, 0.2, 0.5, 0.25), (0.0, 0.5, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)]]),
        "detection_scores": np.float32([[0.5, 0.75, 0.9]]),
        "detection_keypoints": np.stack([shares, shares / 2, shares])[None],
    }
    faces = faces_of(answer, width=200, height=100)
    assert [face.score for face in faces] == [0.75, 0.5]
    assert [face.area for face in faces] == pytest.approx([10000, 400])
    assert faces[0].box == pytest.approx((100, 0, 200, 100))
    assert faces[1].box == pytest.approx((40, 10, 50, 50))
    np.testing.assert_allclose(
        faces[1].points, [(40, 10), (80, 30), (120, 50), (160, 70), (200, 90)], rtol=1e-6
    )
    np.testing.assert_allclose(faces[0].points, faces[1].points / 2)
    assert faces_of({**answer, "num_detections": np.int32([0])}, 200, 100) == []


def test_finds_faces_in_pixels(finder):
    faces = finder.find(toy_detection.scene((80, 60), (20, 10, 50, 40), (55, 5, 75, 25)))
    assert [face.score for face in faces] == pytest.approx([0.9, toy_detection.SETTINGS.factor])
    assert np.array([face.box for face in faces]) == pytest.approx(
        np.array([(20, 10, 50, 40), (55, 5, 75, 25)]), abs=1e-4
    )
    np.testing.assert_allclose(faces[0].points, toy_detection.PLACES * 30.0 + (20.0, 10.0), atol=1e-4)
    np.testing.assert_allclose(faces[1].points, toy_detection.PLACES * 20.0 + (55.0, 5.0), atol=1e-4)


def test_finds_nothing_where_there_is_nothing(finder):
    assert finder.find(toy_detection.scene(red=None)) == []


@pytest.mark.parametrize("place", [(25, 35, 95, 125), (145, 45, 195, 115)])
def test_the_face_at_a_place(place):
    expected = LEFT if place[0] < WIDTH / 2 else RIGHT
    assert face_at([LEFT, RIGHT], place) is expected
    assert face_at([RIGHT, LEFT], place) is expected


def test_of_two_faces_around_a_place_the_better_overlap_counts():
    small = Face((50.0, 70.0, 70.0, 90.0), 0.99, LEFT.points)
    assert face_at([small, LEFT], (25, 35, 95, 125)) is LEFT
    assert face_at([small, LEFT], (52, 72, 68, 88)) is small


def test_no_face_where_the_place_is():
    # RIGHT reaches into the place, but somebody else's face does that too.
    assert face_at([LEFT, RIGHT], (95, 40, 150, 120)) is None
    assert face_at([], (0, 0, 9, 9)) is None


def test_refuses_what_is_no_detection_model(tmp_path):
    with pytest.raises(InputError, match=rf"^{tmp_path}/none: cannot be loaded as a SavedModel: "):
        FaceFinder(tmp_path / "none")
    model = tf.Module()
    serve = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([], name="x")])
    tf.saved_model.save(model, str(tmp_path / "other"), {"serving_default": serve.get_concrete_function()})
    with pytest.raises(InputError, match=r"the signature 'pixels', found .*serving_default$"):
        FaceFinder(tmp_path / "other")


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (np.full((5, 2), 7.0), "expected points that have a direction"),
        (np.full((5, 2), np.inf), "expected 5 finite points"),
    ],
)
def test_points_that_cannot_be_aligned_are_bad_input(points, reason):
    with pytest.raises(InputError, match=f"^landmarks: {reason}"):
        cut_out(scene(), Face(LEFT.box, 0.9, points))


def test_reads_pixels_as_training_does(encode):
    picture = scene(LEFT)
    np.testing.assert_array_equal(read_rgb(encode(picture)), picture)
    assert read_rgb(encode(Image.fromarray(picture).convert("L"))).shape == (HEIGHT, WIDTH, 3)
    broken = encode(Image.fromarray(picture), "JPEG")[:900]
    for junk in (b"", b"junk", broken):
        with pytest.raises(UnreadableImageError, match=r"^image cannot be decoded: "):
            read_rgb(junk)


# Records


@pytest.mark.parametrize(("box", "face"), [(LEFT_BOX, LEFT), (RIGHT_BOX, RIGHT)])
def test_the_face_at_the_readers_box_is_aligned(encode, box, face):
    record, outcome = align_record(record_of(encode(scene(face)), box), find_both)
    image = opened(record.image)
    assert outcome == ALIGNED
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (SIDE, SIDE))
    assert spots(image) == COLOURS
    assert (record.labels, record.uncut) == ({"identity": "x"}, None)


def test_what_a_model_finds_is_aligned_to_the_pixel(finder, encode):
    record, _ = align_record(record_of(encode(toy_detection.noise_scene())), finder.find)
    toy_detection.assert_noise_to_the_pixel(record.image)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_client_cuts_out_the_same_face(encode, mode):
    """From one answer and one file: as training reads them, and as a client of the server does."""
    noise = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    encoded = encode(Image.fromarray(noise).convert(mode))
    answer = {
        "num_detections": np.int32([1]),
        "detection_boxes": np.float32([[(30 / HEIGHT, 20 / WIDTH, 130 / HEIGHT, 100 / WIDTH)]]),
        "detection_scores": np.float32([[0.9]]),
        "detection_keypoints": np.float32([[LEFT.points[:, ::-1] / (HEIGHT, WIDTH)]]),
    }
    record, outcome = align_record(record_of(encoded, LEFT_BOX), lambda rgb: faces_of(answer, WIDTH, HEIGHT))
    assert outcome == ALIGNED
    trained = opened(record.image)

    [found] = detections(Prediction(answer, "detection", 1, ""), 1)
    points = alignment.in_pixels(found.faces[0].keypoints, WIDTH, HEIGHT)
    served = alignment.cut_out(np.asarray(opened(encoded).convert("RGB")), points)
    assert trained.mode == served.mode == mode
    np.testing.assert_array_equal(trained, served)


def test_without_a_box_the_face_in_the_middle_is_meant(encode):
    middle = Face((90.0, 40.0, 150.0, 120.0), 0.3, turned(120, 80))
    record, outcome = align_record(record_of(encode(scene(middle))), lambda rgb: [LEFT, RIGHT, middle])
    assert (outcome, spots(opened(record.image))) == (ALIGNED, COLOURS)


@pytest.mark.parametrize("box", [None, ()])
def test_faces_at_the_sides_are_not_taken_for_the_one_in_the_middle(encode, box):
    before = record_of(encode(scene(LEFT, RIGHT)), box)
    assert align_record(before, find_both) == (before, ELSEWHERE)


def test_a_record_without_a_face_stays_as_it_is(encode):
    before = record_of(encode(scene(seen=False)), LEFT_BOX)
    assert align_record(before, find_both) == (before, NO_FACE)


def test_five_points_at_one_place_are_no_direction(encode):
    flat = Face(LEFT.box, 0.9, np.zeros((5, 2)))
    before = record_of(encode(scene()), LEFT_BOX)
    assert align_record(before, lambda rgb: [flat]) == (before, NO_DIRECTION)


def test_lfw_is_aligned_in_the_whole_picture(encode, tmp_path):
    """Its own box would have cut points away; it is what is left where no face is found."""
    (tmp_path / "pairs.txt").write_text("1\nAnn\t1\t2\nAnn\t1\tBob\t1\n")
    pictures = {"Ann_0001": scene(RIGHT), "Ann_0002": scene(RIGHT, seen=False), "Bob_0001": scene(RIGHT)}
    for name, picture in pictures.items():
        file = tmp_path / "lfw" / name[:3] / f"{name}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(picture))
    reader = LfwPairsReader(tmp_path, (165, 75, 10, 10))
    records = [reader.load(item) for item in reader.items()]
    answers = [align_record(record, find_both) for record in records]
    assert [outcome for _, outcome in answers] == [ALIGNED, NO_FACE, ALIGNED]
    assert spots(opened(answers[0][0].image)) == COLOURS
    assert answers[1][0] is records[1]
    assert opened(answers[1][0].image).size == (SIDE, SIDE)


def test_att_is_aligned_in_grey(tmp_path):
    (tmp_path / "s1").mkdir()
    pixels = np.tile(np.arange(92, dtype=np.uint8), (112, 1))
    (tmp_path / "s1" / "1.pgm").write_bytes(b"P5 92 112 255\n" + pixels.tobytes())
    face = Face((10.0, 10.0, 80.0, 100.0), 0.9, turned(46, 56))
    record, outcome = align_record(AttReader(tmp_path, (0, 5, 92, 101)).load("s1/1.pgm"), lambda rgb: [face])
    assert (outcome, opened(record.image).mode) == (ALIGNED, "L")


# The node


def test_the_node_aligns_and_counts(detection_model, tmp_path):
    """Eight pictures in the folder form of FER-2013, of which the first shows no face."""
    data, usages = tmp_path / "data", ("Training", "Training", "PublicTest", "PrivateTest") * 2
    data.mkdir()
    for number in range(8):
        pixels = toy_detection.scene((48, 48), (4, 4, 44, 44) if number else None)
        Image.fromarray(pixels).save(data / f"{number}.png")
    rows = [f"{number % 7},{usage},{number}.png" for number, usage in enumerate(usages)]
    (data / "fer2013_index.csv").write_text("\n".join(["emotion,Usage,path", *rows]))
    model = tfx.types.standard_artifacts.Model()
    model.uri = str(tmp_path / "model")
    shutil.copytree(detection_model, tmp_path / "model" / "Format-Serving")
    output, _ = generate([data], tmp_path / "out", detector=model)
    widths = {
        text(example, "image/filename"): example.features.feature["image/width"].int64_list.value[0]
        for split in ("train", "eval", "test")
        for example in examples(output, split)
    }
    assert widths == {"0.png": 48, **{f"{number}.png": SIDE for number in range(1, 8)}}
    account = Ingestion.load(output)
    assert account.alignment == {
        ("train", "fer2013", NO_FACE): 1,
        ("train", "fer2013", ALIGNED): 3,
        ("eval", "fer2013", ALIGNED): 2,
        ("test", "fer2013", ALIGNED): 2,
    }
    assert account.total("records") == 8
