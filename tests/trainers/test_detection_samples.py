import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import numpy as np
import pytest
import tensorflow as tf

from trainers import boxes
from trainers.augmentation import Augmentation
from trainers.detection_losses import LANDMARK, NEGATIVE, NOT_USED, PART, POSITIVE, Targets
from trainers.detection_samples import (
    Faces,
    Samples,
    Wanted,
    augmented,
    choose,
    draw_windows,
    faces_in_pixels,
    label,
    landmark_samples,
    landmarks_and_face,
    mirrored,
    rotated,
    samples_of,
)

SIZE = (120, 160)
BOXES = np.array([[20, 30, 60, 62], [70, 90, 90, 106], [10, 110, 50, 150]], np.float32)
IGNORED = np.array([False, False, True])
POINTS = np.array([[30, 40], [30, 54], [40, 47], [50, 41], [50, 53]], np.float32)


def faces() -> Faces:
    return Faces(tf.constant(BOXES), tf.constant(IGNORED))


def no_faces() -> Faces:
    return Faces(tf.zeros([0, 4]), tf.zeros([0], tf.bool))


def seed(number: int = 1) -> tf.Tensor:
    return tf.constant([number, 0], tf.int64)


def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def test_records_become_pixels_and_small_faces_are_ignored() -> None:
    shares = np.array([[0.1, 0.2, 0.5, 0.4], [0.5, 0.5, 0.55, 0.6], [0.0, 0.0, 1.0, 1.0]], np.float32)
    found = faces_in_pixels(shares, tf.constant([0, 0, 1], tf.int64), tf.constant([100, 200]))
    np.testing.assert_allclose(found.boxes[0], [10, 40, 50, 80], atol=1e-4)
    assert found.ignored.numpy().tolist() == [False, True, True]


def test_labels_go_by_the_iou_with_the_nearest_face() -> None:
    top, left, bottom, right = BOXES[0]
    windows = np.array(
        [
            BOXES[0],
            [top, left, bottom - 12, right],  # 0.7
            [top, left, bottom - 20, right],  # 0.5
            [top, left, bottom - 26, right],  # 0.35
            [top, left, bottom - 30, right],  # 0.25
            [0, 0, 12, 12],
            BOXES[2],  # ignored
            [10, 100, 50, 130],  # half of it in an ignored region
            [5, 5, 5, 5],
        ],
        np.float32,
    )
    kind, nearest = label(windows, faces())
    assert kind.numpy().tolist() == [
        POSITIVE,
        POSITIVE,
        PART,
        NOT_USED,
        NEGATIVE,
        NEGATIVE,
        NOT_USED,
        NOT_USED,
        NOT_USED,
    ]
    assert (nearest.numpy()[:5] == BOXES[0]).all()


def test_everything_is_background_without_faces() -> None:
    windows = draw_windows(seed(), no_faces(), tf.constant(SIZE), near=10, beside=10, anywhere=20)
    assert windows.shape == (20, 4)
    kind, nearest = label(windows, no_faces())
    assert (kind.numpy() == NEGATIVE).all()
    np.testing.assert_array_equal(nearest, windows)


def test_drawn_windows_are_squares_of_all_kinds() -> None:
    windows = draw_windows(seed(), faces(), tf.constant(SIZE), near=300, beside=100, anywhere=200)
    sides = (windows[:, 2:] - windows[:, :2]).numpy()
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=1e-3)
    anywhere = windows.numpy()[400:]
    assert (anywhere[:, :2] >= 0).all()
    assert (anywhere[:, 2:] <= np.array(SIZE) + 1e-3).all()
    assert sides[400:].min() >= 12 - 1e-3
    assert sides[400:].max() > 60
    kind = label(windows, faces())[0].numpy()
    assert (kind[:300] == POSITIVE).sum() > 60
    assert (kind[:300] == PART).sum() > 100
    beside = boxes.iou(windows[300:400], BOXES[:2]).numpy().max(axis=1)[kind[300:400] == NEGATIVE]
    assert (beside > 0.05).sum() > 10
    assert (kind[400:] == NEGATIVE).sum() > 100


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (12, 300)])
def test_small_images_give_windows_inside(size: tuple[int, int]) -> None:
    windows = draw_windows(seed(), no_faces(), tf.constant(size), near=0, beside=0, anywhere=50).numpy()
    assert (windows[:, :2] >= -1e-3).all()
    assert (windows[:, 2:] <= np.array(size) + 1e-3).all()
    assert (windows[:, 2:] > windows[:, :2]).all()


def test_choice_is_as_many_of_each_kind_as_wanted() -> None:
    kind = np.array([NEGATIVE] * 40 + [POSITIVE] * 10 + [PART] * 3 + [NOT_USED] * 9, np.int32)
    chosen = choose(seed(), kind, Wanted(12, 5, 6)).numpy()
    assert len(set(chosen.tolist())) == len(chosen) == 20
    assert [(kind[chosen] == each).sum() for each in (NEGATIVE, POSITIVE, PART, NOT_USED)] == [12, 5, 3, 0]
    assert chosen.tolist() == choose(seed(), kind, Wanted(12, 5, 6)).numpy().tolist()
    assert chosen.tolist() != choose(seed(2), kind, Wanted(12, 5, 6)).numpy().tolist()
    assert choose(seed(), np.zeros(0, np.int32), Wanted(1, 1, 1)).shape == (0,)


def test_samples_hold_the_pixels_and_the_way_to_the_face() -> None:
    windows = draw_windows(seed(), faces(), tf.constant(SIZE), near=100, beside=20, anywhere=50)
    found = samples_of(seed(), image(), windows, faces(), Wanted(20, 10, 10), side=12, samples=2)
    kind = found.targets.kind.numpy()
    assert [(kind == each).sum() for each in (NEGATIVE, POSITIVE, PART)] == [20, 10, 10]
    every_crop = boxes.crops(image(), windows, 12, 2).numpy()
    for pixels, offsets, one in zip(found.pixels, found.targets.offsets, kind, strict=True):
        (number,) = np.flatnonzero(np.abs(every_crop - pixels.numpy()).max(axis=(1, 2, 3)) < 1e-6)
        if one != NEGATIVE:
            face = boxes.decode_offsets(windows[number : number + 1], offsets[None])[0]
            assert np.abs(BOXES[:2] - face).max(axis=1).min() < 1e-2


def test_proposals_are_labelled_the_same_way_from_numpy() -> None:
    proposals = np.concatenate([BOXES[:2] + 1.0, [[95.0, 0.0, 119.0, 24.0]]]).astype(np.float32)
    found = samples_of(seed(), image(), proposals, faces(), Wanted(9, 9, 9), side=24, samples=1)
    assert found.pixels.shape == (3, 24, 24, 3)
    assert sorted(found.targets.kind.numpy().tolist()) == [NEGATIVE, POSITIVE, POSITIVE]


def test_landmarks_are_found_again_in_the_image() -> None:
    face = BOXES[0]
    found = landmark_samples(seed(), image(), face, POINTS, count=60, side=48, samples=1)
    assert 30 < found.pixels.shape[0] <= 60
    assert (found.targets.kind.numpy() == LANDMARK).all()
    # Offsets tell where the window is: the landmarks can be counted back from it.
    offsets = found.targets.offsets.numpy()
    sides = (face[2:] - face[:2]) / (1.0 + offsets[:, 2:] - offsets[:, :2])
    corners = face[:2] - offsets[:, :2] * sides
    back = corners[:, None] + found.targets.landmarks.numpy() * sides[:, None]
    np.testing.assert_allclose(back, np.broadcast_to(POINTS, back.shape), atol=1e-2)


def drawn_face(mirror: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A window of 40 pixels with a face and five points of different brightness, or its mirror image."""
    window, face = np.zeros((40, 40, 3), np.float32), np.array([4, 6, 34, 30], np.float32)
    points = np.array([[12, 10], [13, 24], [20, 17], [28, 12], [27, 23]], np.float32)
    for brightness, (y, x) in enumerate(points.astype(int), start=1):
        window[y, x] = brightness / 5.0
    points = points + 0.5
    if mirror:
        window = window[:, ::-1]
        face = np.array([face[0], 40 - face[3], face[2], 40 - face[1]], np.float32)
        points = np.stack([points[:, 0], 40 - points[:, 1]], axis=1)[[1, 0, 2, 4, 3]]
    return window, face, points


def as_sample(window: np.ndarray, face: np.ndarray, points: np.ndarray) -> Samples:
    whole = tf.constant([[0.0, 0.0, 40.0, 40.0]])
    offsets = boxes.encode_offsets(whole, face[None])
    landmarks = boxes.encode_landmarks(whole, points[None])
    return Samples(tf.constant(window[None]), Targets(tf.constant([LANDMARK]), offsets, landmarks))


def test_a_mirror_image_has_the_targets_of_a_face_drawn_mirrored() -> None:
    found, expected = mirrored(as_sample(*drawn_face(False))), as_sample(*drawn_face(True))
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_allclose(found.targets.offsets, expected.targets.offsets, atol=1e-6)
    np.testing.assert_allclose(found.targets.landmarks, expected.targets.landmarks, atol=1e-6)


def test_augmentation_mirrors_half_and_changes_colours() -> None:
    one = as_sample(*drawn_face(False))
    batch = tf.nest.map_structure(lambda each: tf.repeat(each, 40, axis=0), one)
    plain = augmented(seed(), batch, Augmentation())
    flipped = np.abs(plain.pixels.numpy() - one.pixels.numpy()).max(axis=(1, 2, 3)) > 0
    assert 8 < flipped.sum() < 32
    np.testing.assert_array_equal(
        flipped, np.abs(plain.targets.landmarks.numpy() - one.targets.landmarks.numpy()).max(axis=(1, 2)) > 0
    )
    coloured = augmented(seed(), batch, Augmentation(brightness=0.2, contrast=0.2))
    assert len(np.unique(coloured.pixels.numpy().reshape(40, -1), axis=0)) == 40
    with pytest.raises(ValueError, match=r"colours: expected .* found"):
        augmented(seed(), batch, Augmentation(shift=0.1))


def test_samples_are_drawn_in_a_data_set_of_images_of_any_size() -> None:
    def pictures():
        for height, width, count in ((60, 80, 0), (48, 33, 1), (100, 64, 3)):
            yield np.full((height, width, 3), 99, np.uint8), BOXES[:count] / 3.0, IGNORED[:count]

    def draw(number: tf.Tensor, picture: tuple[tf.Tensor, ...]) -> Samples:
        pixels, edges, ignored = picture
        known = Faces(edges, ignored)
        windows = draw_windows(
            tf.stack([number, 0]), known, tf.shape(pixels)[:2], near=30, beside=10, anywhere=30
        )
        wanted = Wanted(10, 5, 5)
        found = samples_of(tf.stack([number, 1]), pixels, windows, known, wanted, side=12, samples=2)
        return augmented(tf.stack([number, 2]), found, Augmentation(brightness=0.1))

    specification = (
        tf.TensorSpec([None, None, 3], tf.uint8),
        tf.TensorSpec([None, 4], tf.float32),
        tf.TensorSpec([None], tf.bool),
    )
    dataset = tf.data.Dataset.from_generator(pictures, output_signature=specification).enumerate()
    # AutoGraph has nothing to convert, and takes seconds to see that.
    dataset = dataset.map(tf.autograph.experimental.do_not_convert(draw)).unbatch().batch(8)
    assert dataset.element_spec.pixels.shape.as_list() == [None, 12, 12, 3]
    kinds = np.concatenate([batch.targets.kind for batch in dataset.as_numpy_iterator()])
    assert (kinds == NEGATIVE).sum() == 30
    assert (kinds == POSITIVE).sum() > 3


def test_rotated_landmarks_stay_on_what_they_mark() -> None:
    shares = np.array([[0.3, 0.4], [0.3, 0.6], [0.5, 0.52], [0.7, 0.42], [0.7, 0.61]], np.float32)
    rows, columns = (np.mgrid[:100, :200] + 0.5).astype(np.float32)
    for number in range(3):
        # One bright spot at a time; its centre of mass is where it went.
        for point in range(5):
            y, x = shares[point] * (100, 200)
            spot = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18.0)
            painted = np.repeat((spot * 200.0).astype(np.uint8)[..., None], 3, axis=2)
            turned, moved = rotated(seed(number), painted, tf.constant(shares))
            bright = np.where(turned.numpy()[..., 0] > 0.55, turned.numpy()[..., 0], 0.0)
            centre = [(bright * places).sum() / bright.sum() for places in (rows, columns)]
            np.testing.assert_allclose(moved[point] * (100, 200), centre, atol=0.3)
    assert not np.allclose(moved, shares, atol=1e-3)


def test_a_face_goes_from_the_hairline_to_below_the_mouth() -> None:
    shares = np.array([[0.4, 0.4], [0.4, 0.6], [0.5, 0.5], [0.62, 0.42], [0.62, 0.58]], np.float32)
    landmarks, face = landmarks_and_face(tf.constant(shares), tf.constant([100, 100]))
    np.testing.assert_allclose(landmarks, shares * 100, rtol=1e-6)
    top, left, bottom, right = face.numpy()
    assert top < 25 and 70 < bottom < 80
    assert (left + right) / 2 == pytest.approx(50.0)
    assert (right - left) / (bottom - top) == pytest.approx(0.75, rel=1e-4)
