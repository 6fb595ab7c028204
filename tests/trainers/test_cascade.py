import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from cascades import SCENES, edges_of, encode, picture_of, random_cascade, square_finder

from trainers import boxes
from trainers.cascade import Cascade, CascadeSettings


@pytest.fixture(scope="module")
def finder() -> Cascade:
    return square_finder()


@pytest.fixture(scope="module")
def network() -> Cascade:
    """A cascade of random weights that lets much through."""
    return random_cascade(CascadeSettings(thresholds=(0.3, 0.0, 0.0), most_faces=30))


def test_finds_drawn_squares_where_they_are(finder: Cascade) -> None:
    # In one request: images of different sizes, each with its own squares.
    encoded = [encode(picture_of(*scene)) for scene in SCENES]
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
    encoded = finder.detect_images(tf.constant([encode(picture)]))
    for pixels in (picture, picture[..., :1]):
        for name, values in finder.detect_pixels(pixels[None]).items():
            np.testing.assert_allclose(values, encoded[name], atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (1, 300), (12, 12)])
def test_networks_find_nothing_in_images_smaller_than_a_face(network: Cascade, size: tuple[int, int]) -> None:
    content = tf.constant([encode(np.full((*size, 3), 30, np.uint8))])
    assert network.detect_images(content)["num_detections"].numpy().tolist() == [0]


def test_large_images_are_made_smaller_first(finder: Cascade) -> None:
    size, squares = (60, 4000), [(8, 3000, 44)]
    found = finder.detect_images(tf.constant([encode(picture_of(size, squares))]))
    face = found["detection_boxes"][0, :1] * np.float32((*size, *size))
    assert boxes.iou(edges_of(squares), face).numpy() > 0.7


def by_settings(
    finder: Cascade, rows: list[tuple[float, float, tuple[float, float, float]]]
) -> Mapping[str, tf.Tensor]:
    content = encode(picture_of((203, 311), [(20, 30, 60), (120, 200, 24)]))
    min_face, factor, thresholds = (tf.constant(column, tf.float32) for column in zip(*rows, strict=True))
    return finder.detect_by_settings(tf.constant([content] * len(rows)), min_face, factor, thresholds)


def test_each_image_of_a_request_may_have_its_own_settings(finder: Cascade) -> None:
    nan, own = np.nan, (np.nan,) * 3
    rows = [(nan, nan, own), (60.0, nan, own), (20.0, 0.8, own), (nan, nan, (nan, nan, 1.0))]
    found = by_settings(finder, rows)
    assert found["num_detections"].numpy().tolist() == [2, 1, 2, 0]
    whole = finder.detect_images(
        tf.constant([encode(picture_of((203, 311), [(20, 30, 60), (120, 200, 24)]))])
    )
    for name, values in whole.items():
        np.testing.assert_allclose(found[name][0], values[0], atol=1e-6)


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
    return encode(coarse.astype(np.uint8).repeat(6, axis=0).repeat(6, axis=1)[:height, :width])


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
