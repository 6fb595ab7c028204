import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from PIL import Image

from trainers import boxes
from trainers.cascade import Cascade, CascadeSettings
from trainers.networks import mtcnn


def bright_middles(images: tf.Tensor) -> Mapping[str, tf.Tensor]:
    """In P-Net's place: likes windows with a dark rim, of which something bright fills about 45 %."""
    bright = tf.cast(images[..., :1] > 0.6, tf.float32)
    side, stride = mtcnn.PROPOSAL_SIDE, mtcnn.PROPOSAL_STRIDE
    rim = np.ones((side, side, 1, 1), np.float32)
    rim[1:-1, 1:-1] = 0.0
    covered = tf.nn.avg_pool2d(bright, side, stride, "VALID")
    logit = 6.0 - 20.0 * tf.abs(covered - 0.45) - 2.0 * tf.nn.conv2d(bright, rim, stride, "VALID")
    face = tf.concat([tf.zeros_like(logit), logit], axis=-1)
    return {"face": face, "box": tf.repeat(0.0 * logit, 4, axis=-1)}


def bright_extent(images: tf.Tensor, margin: float = 0.0) -> Mapping[str, tf.Tensor]:
    """In O-Net's place: finds the bright square, by how much of each row is bright.

    The sum of the brightness along the square's middle is its side, wherever its edges are between pixels.
    Landmarks are its corners and its middle. Squares that touch the window's border are no faces.
    """
    side = images.shape[1]
    # From black 0 and white 1; grey, which is outside of images, is black.
    bright = tf.clip_by_value(images[..., 0] * 4.0 - 2.4, 0.0, 1.0)
    edges = []
    for axis in (2, 1):
        profile = tf.reduce_max(bright, axis=axis)
        profile /= tf.maximum(tf.reduce_max(profile, axis=1, keepdims=True), 1e-6)
        length = tf.reduce_sum(profile, axis=1)
        middle = tf.reduce_sum(profile * (tf.range(side, dtype=tf.float32) + 0.5), axis=1)
        middle /= tf.maximum(length, 1e-6)
        edges.append(((middle - length / 2.0) / side, (middle + length / 2.0) / side))
    (top, bottom), (left, right) = edges
    border = tf.stack([bright[:, 0], bright[:, -1], bright[:, :, 0], bright[:, :, -1]], axis=1)
    whole = (tf.reduce_max(border, axis=[1, 2]) < 0.5) & (bottom - top > 0.2)
    shown = 1.0 - tf.abs((bottom - top) - 0.7)
    face = tf.stack([tf.zeros_like(top), tf.where(whole, 10.0 * shown - 5.0, -20.0)], axis=1)
    points = [top, left, top, right, (top + bottom) / 2.0, (left + right) / 2.0, bottom, left, bottom, right]
    room = margin * (bottom - top)
    box = [top - room, left - room, bottom + room - 1.0, right + room - 1.0]
    return {"face": face, "box": tf.stack(box, axis=1), "landmarks": tf.stack(points, axis=1)}


def extent_with_room(images: tf.Tensor) -> Mapping[str, tf.Tensor]:
    """In R-Net's place: what `bright_extent` finds, with a dark rim for O-Net to see the square whole."""
    return bright_extent(images, margin=0.2)


def png(picture: np.ndarray, mode: str | None = None, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    (image.convert(mode) if mode else image).save(buffer, format=file_format)
    return buffer.getvalue()


def picture_of(size: tuple[int, int], squares: list[tuple[int, int, int]]) -> np.ndarray:
    picture = np.zeros((*size, 3), np.uint8)
    for top, left, side in squares:
        picture[top : top + side, left : left + side] = 255
    return picture


def edges_of(squares: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array([[top, left, top + side, left + side] for top, left, side in squares], np.float32)


@pytest.fixture(scope="module")
def finder() -> Cascade:
    """A cascade that finds bright squares."""
    settings = CascadeSettings(most_faces=20)
    return Cascade(bright_middles, extent_with_room, bright_extent, settings)


def random_cascade(settings: CascadeSettings) -> Cascade:
    """A cascade of random weights; boxes do not move far, so that none is left without an area."""
    keras.utils.set_random_seed(1)
    networks = [mtcnn.proposal_network(), mtcnn.refinement_network(), mtcnn.output_network()]
    for network in networks:
        layer = network.get_layer("box")
        layer.set_weights([0.1 * values for values in layer.get_weights()])
    return Cascade(*networks, settings)


@pytest.fixture(scope="module")
def network() -> Cascade:
    """A cascade of random weights that lets much through."""
    return random_cascade(CascadeSettings(thresholds=(0.3, 0.0, 0.0), most_faces=30))


SCENES: list[tuple[tuple[int, int], list[tuple[int, int, int]]]] = [
    ((100, 140), [(40, 60, 24)]),
    ((140, 100), [(3, 70, 20), (90, 8, 37)]),
    ((203, 311), [(20, 30, 60), (120, 200, 55), (30, 250, 24), (100, 20, 30)]),
    ((97, 401), [(20, 300, 55), (60, 5, 30)]),
    ((64, 64), [(8, 8, 44)]),
]


def test_finds_drawn_squares_where_they_are(finder: Cascade) -> None:
    # In one request: images of different sizes, each with its own squares.
    encoded = [png(picture_of(*scene)) for scene in SCENES]
    found = {name: values.numpy() for name, values in finder.detect_images(tf.constant(encoded)).items()}
    for number, (size, squares) in enumerate(SCENES):
        count = found["num_detections"][number]
        faces = found["detection_boxes"][number, :count] * np.float32((*size, *size))
        overlaps = boxes.iou(edges_of(squares), faces).numpy()
        assert count == len(squares), (size, faces)
        assert (overlaps.max(axis=1) > 0.9).all(), (size, faces)
        corners = found["detection_keypoints"][number, :count] * size
        for face, points in zip(faces, corners, strict=True):
            np.testing.assert_allclose(points[[0, 4]].ravel(), face, atol=1.5)
            np.testing.assert_allclose(points[2], (face[:2] + face[2:]) / 2.0, atol=1.5)
        scores = found["detection_scores"][number]
        assert (np.diff(scores) <= 0).all()
        assert (scores[:count] >= 0.7).all()
        for name in ("detection_boxes", "detection_scores", "detection_keypoints"):
            assert not found[name][number, count:].any()


def test_pixels_give_what_encoded_images_give(finder: Cascade) -> None:
    picture = picture_of(*SCENES[2])
    encoded = finder.detect_images(tf.constant([png(picture)]))
    for pixels in (picture, picture[..., :1]):
        for name, values in finder.detect_pixels(pixels[None]).items():
            np.testing.assert_allclose(values, encoded[name], atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "file_format"), [("L", "PNG"), ("RGBA", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("P", "GIF")]
)
def test_other_kinds_of_images(finder: Cascade, mode: str, file_format: str) -> None:
    size, squares = SCENES[0]
    content = png(picture_of(size, squares), mode, file_format)
    found = finder.detect_images(tf.constant([content]))
    assert found["num_detections"].numpy().tolist() == [1]
    face = found["detection_boxes"][0, :1] * np.float32((*size, *size))
    assert boxes.iou(edges_of(squares), face).numpy() > 0.9


def test_sixteen_bits_are_read(finder: Cascade) -> None:
    size, squares = SCENES[0]
    content = png(picture_of(size, squares)[..., 0].astype(np.uint16) * 257)
    assert finder.detect_images(tf.constant([content]))["num_detections"].numpy().tolist() == [1]


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (1, 300), (12, 12), (40, 300)])
def test_images_without_faces_have_no_detections(
    finder: Cascade, network: Cascade, size: tuple[int, int]
) -> None:
    content = tf.constant([png(np.full((*size, 3), 30, np.uint8))])
    found = finder.detect_images(content)
    assert found["num_detections"].numpy().tolist() == [0]
    assert not any(np.any(values) for values in found.values())
    if min(size) < 20:
        assert network.detect_images(content)["num_detections"].numpy().tolist() == [0]


def test_no_images_give_no_rows(finder: Cascade) -> None:
    found = finder.detect_images(tf.constant([], tf.string))
    assert {name: values.shape.as_list() for name, values in found.items()} == {
        "detection_boxes": [0, 20, 4],
        "detection_keypoints": [0, 20, 5, 2],
        "detection_scores": [0, 20],
        "num_detections": [0],
    }


def test_large_images_are_made_smaller_first(finder: Cascade) -> None:
    size, squares = (60, 4000), [(8, 3000, 44)]
    found = finder.detect_images(tf.constant([png(picture_of(size, squares))]))
    face = found["detection_boxes"][0, :1] * np.float32((*size, *size))
    assert boxes.iou(edges_of(squares), face).numpy() > 0.7


def by_settings(
    finder: Cascade, rows: list[tuple[float, float, tuple[float, float, float]]]
) -> Mapping[str, tf.Tensor]:
    content = png(picture_of((203, 311), [(20, 30, 60), (120, 200, 24)]))
    min_face, factor, thresholds = (tf.constant(column, tf.float32) for column in zip(*rows, strict=True))
    return finder.detect_by_settings(tf.constant([content] * len(rows)), min_face, factor, thresholds)


def test_each_image_of_a_request_may_have_its_own_settings(finder: Cascade) -> None:
    nan, own = np.nan, (np.nan,) * 3
    rows = [(nan, nan, own), (60.0, nan, own), (20.0, 0.8, own), (nan, nan, (nan, nan, 1.0))]
    found = by_settings(finder, rows)
    assert found["num_detections"].numpy().tolist() == [2, 1, 2, 0]
    whole = finder.detect_images(tf.constant([png(picture_of((203, 311), [(20, 30, 60), (120, 200, 24)]))]))
    for name, values in whole.items():
        np.testing.assert_allclose(found[name][0], values[0], atol=1e-6)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ((9.0, 0.7, (0.6, 0.7, 0.7)), "min_face: expected 10 or more"),
        ((20.0, 0.95, (0.6, 0.7, 0.7)), "factor: expected 0.5 to 0.85"),
        ((20.0, 0.3, (0.6, 0.7, 0.7)), "factor: expected 0.5 to 0.85"),
    ],
)
def test_settings_of_a_request_have_limits(finder: Cascade, row: Any, named: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=named):
        by_settings(finder, [row])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_face", 5.0),
        ("min_face", float("nan")),
        ("factor", 0.95),
        ("thresholds", (0.5, 0.5)),
        ("thresholds", (0.5, 0.5, 1.5)),
        ("most_faces", 0),
    ],
)
def test_settings_of_a_model_are_checked(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected .* found"):
        CascadeSettings(**{name: value})


def noise(height: int, width: int) -> bytes:
    coarse = np.random.default_rng(height + width).integers(0, 256, (height // 6 + 1, width // 6 + 1, 3))
    return png(coarse.astype(np.uint8).repeat(6, axis=0).repeat(6, axis=1)[:height, :width])


def test_random_weights_give_a_batch_what_they_give_each_image_in_one_trace(network: Cascade) -> None:
    contents = [noise(*size) for size in ((90, 70), (33, 120), (128, 128), (64, 47), (5, 5))]
    together = network.detect_images(tf.constant(contents))
    for number, content in enumerate(contents):
        alone = network.detect_images(tf.constant([content]))
        for name, values in alone.items():
            np.testing.assert_allclose(together[name][number], values[0], atol=1e-5)
    assert network.detect_images.experimental_get_tracing_count() == 1
    assert together["num_detections"].numpy()[:3].min() > 0
    faces = together["detection_boxes"].numpy()
    assert faces.min() >= 0.0 and faces.max() <= 1.0
    assert (faces[..., 2:] >= faces[..., :2]).all()


def test_stages_pass_on_what_they_may_and_no_more() -> None:
    cascade = random_cascade(
        CascadeSettings(most_of_step=50, most_proposals=40, most_refined=7, most_faces=3)
    )
    image = tf.random.stateless_uniform([60, 72, 3], [1, 2])
    windows = cascade.propose(image, 20.0, 0.7, 0.0)
    assert 10 < windows.shape[0] <= 40
    sides = (windows[:, 2:] - windows[:, :2]).numpy()
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], rtol=1e-4)
    refined = cascade.refine(image, windows, 0.0)
    assert 1 <= refined.shape[0] <= 7
    faces, points, scores = cascade.conclude(image, refined, 0.0)
    assert 1 <= faces.shape[0] <= 3
    assert points.shape[1:] == (5, 2)
    assert scores.shape[0] == faces.shape[0]


def test_a_saved_model_answers_alike(finder: Cascade, tmp_path: Path) -> None:
    tf.saved_model.save(finder, str(tmp_path), signatures=finder.signatures())
    loaded = tf.saved_model.load(str(tmp_path)).signatures
    assert set(loaded) == {"serving_default", "detect", "pixels"}
    content = tf.constant([png(picture_of(*SCENES[1]))])
    direct = finder.detect_images(content)
    assert direct["num_detections"].numpy().tolist() == [2]
    for name, values in loaded["serving_default"](image_bytes=content).items():
        np.testing.assert_allclose(values, direct[name], atol=1e-5)
