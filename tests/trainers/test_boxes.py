import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers import boxes


def random_boxes(count: int, seed: int, extent: float = 100.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    corners = generator.uniform(-0.2, 1.0, (count, 2)) * extent
    sides = generator.uniform(0.02, 0.6, (count, 2)) * extent
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def shared_area(a: np.ndarray, b: np.ndarray) -> float:
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    return max(height, 0.0) * max(width, 0.0)


def area(box: np.ndarray) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def test_overlaps_are_those_of_a_loop_over_pairs() -> None:
    first, second = random_boxes(7, 1), random_boxes(9, 2)
    shared = np.array([[shared_area(a, b) for b in second] for a in first])
    union = np.array([[area(a) + area(b) for b in second] for a in first]) - shared
    smaller = np.array([[min(area(a), area(b)) for b in second] for a in first])
    assert 10 < (shared > 0).sum() < shared.size
    np.testing.assert_allclose(boxes.intersections(first, second), shared, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(boxes.iou(first, second), shared / union, atol=1e-5)
    np.testing.assert_allclose(boxes.overlap_of_smaller(first, second), shared / smaller, atol=1e-5)


def test_boxes_without_an_area_overlap_with_nothing() -> None:
    real = np.array([[0, 0, 10, 10]], np.float32)
    empty = np.array([[5, 5, 5, 9], [8, 8, 2, 2], [0, 0, 0, 0]], np.float32)
    for overlap in (boxes.iou, boxes.overlap_of_smaller):
        assert not overlap(empty, real).numpy().any()
        assert not overlap(empty, empty).numpy().any()
    assert boxes.iou(real, np.zeros((0, 4), np.float32)).shape == (1, 0)
    assert boxes.areas(empty).numpy().tolist() == [0.0, 0.0, 0.0]


def test_offsets_are_shares_of_the_window_and_come_back() -> None:
    window = np.array([[10, 100, 30, 140]], np.float32)
    face = np.array([[12, 90, 33, 130]], np.float32)
    np.testing.assert_allclose(boxes.encode_offsets(window, face), [[0.1, -0.25, 0.15, -0.25]], atol=1e-6)
    windows, faces = random_boxes(20, 3), random_boxes(20, 4)
    back = boxes.decode_offsets(windows, boxes.encode_offsets(windows, faces))
    np.testing.assert_allclose(back, faces, atol=1e-3)


def test_landmarks_are_shares_of_the_window_and_come_back() -> None:
    window = np.array([[10, 100, 30, 140]], np.float32)
    points = np.array([[[10, 100], [30, 140], [15, 110]]], np.float32)
    np.testing.assert_allclose(
        boxes.encode_landmarks(window, points), [[[0, 0], [1, 1], [0.25, 0.25]]], atol=1e-6
    )
    windows = random_boxes(20, 3)
    points = np.random.default_rng(5).uniform(0, 100, (20, 5, 2)).astype(np.float32)
    back = boxes.decode_landmarks(windows, boxes.encode_landmarks(windows, points))
    np.testing.assert_allclose(back, points, atol=1e-3)


def test_squares_keep_the_middle_and_the_longer_side() -> None:
    found = boxes.squared(np.array([[0, 10, 40, 20], [5, 5, 6, 9]], np.float32))
    np.testing.assert_allclose(found, [[0, -5, 40, 35], [3.5, 5, 7.5, 9]])


def test_clipping_leaves_nothing_of_boxes_outside() -> None:
    found = boxes.clipped(np.array([[-5, 10, 40, 70], [0, 60, 9, 90]], np.float32), tf.constant([30.0, 50.0]))
    assert found.numpy().tolist() == [[0, 10, 30, 50], [0, 50, 9, 50]]
    assert boxes.areas(found).numpy().tolist() == [1200.0, 0.0]


def greedy(found: np.ndarray, scores: np.ndarray, overlap: np.ndarray, limit: float) -> list[int]:
    chosen: list[int] = []
    for number in np.argsort(-scores):
        if all(overlap[number, other] <= limit for other in chosen):
            chosen.append(int(number))
    return chosen


@pytest.mark.parametrize("limit", [0.5, 0.7])
def test_suppression_is_that_of_a_greedy_loop(limit: float) -> None:
    found = random_boxes(80, 6)
    scores = np.random.default_rng(7).permutation(80).astype(np.float32) / 80
    by_iou = greedy(found, scores, boxes.iou(found, found).numpy(), limit)
    by_smaller = greedy(found, scores, boxes.overlap_of_smaller(found, found).numpy(), limit)
    assert by_iou != by_smaller
    assert boxes.suppressed(found, scores, limit, 80).numpy().tolist() == by_iou
    assert boxes.suppressed(found, scores, limit, 5).numpy().tolist() == by_iou[:5]
    assert boxes.suppressed_by_smaller(found, scores, limit, 80).numpy().tolist() == by_smaller


def test_suppression_by_the_smaller_drops_a_box_inside_of_another() -> None:
    found = np.array([[0, 0, 40, 40], [10, 10, 25, 25]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    assert boxes.suppressed(found, scores, 0.7, 9).numpy().tolist() == [0, 1]
    assert boxes.suppressed_by_smaller(found, scores, 0.7, 9).numpy().tolist() == [0]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3)).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    top=st.integers(-8, 14),
    left=st.integers(-8, 14),
    side=st.integers(1, 9),
    real=st.booleans(),
)
def test_a_box_of_integer_edges_at_its_own_size_is_the_pixels_themselves(
    height: int, width: int, top: int, left: int, side: int, real: bool
) -> None:
    image = noise(height, width)
    around = np.pad(image, ((30, 30), (30, 30), (0, 0)), constant_values=128)
    expected = around[30 + top : 30 + top + side, 30 + left : 30 + left + side] / 255.0
    source = (image / 255.0).astype(np.float32) if real else image
    box = np.array([[top, left, top + side, left + side]], np.float32)
    found = boxes.crops(source, box, side)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found[0], expected, atol=2e-4)


def test_crops_double_as_tf_image_resize_does_and_halve_as_the_mean() -> None:
    image = noise(16, 16)
    box = np.array([[4, 2, 12, 10]], np.float32)
    larger = tf.image.resize(image, [32, 32], "bilinear")[8:24, 4:20] / 255.0
    np.testing.assert_allclose(boxes.crops(image, box, 16)[0], larger, atol=1e-4)
    smaller = image[4:12, 2:10].reshape(4, 2, 4, 2, 3).mean(axis=(1, 3)) / 255.0
    for samples in (1, 2):
        np.testing.assert_allclose(boxes.crops(image, box, 4, samples)[0], smaller, atol=1e-4)


def test_samples_are_averaged_and_no_boxes_give_no_crops() -> None:
    image = noise(48, 48)
    everything = np.array([[0, 0, 48, 48]], np.float32)
    mean = image.reshape(6, 8, 6, 8, 3).mean(axis=(1, 3)) / 255.0
    np.testing.assert_allclose(boxes.crops(image, everything, 6, samples=8)[0], mean, atol=1e-4)
    by_area = tf.image.resize(image, [6, 6], "area") / 255.0
    np.testing.assert_allclose(boxes.crops(image, everything, 6, samples=8)[0], by_area, atol=1e-4)
    assert boxes.crops(image, np.zeros((0, 4), np.float32), 12, 2).shape == (0, 12, 12, 3)
