import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipelines.task_settings import AugmentationSettings
from trainers import augmentation
from trainers.augmentation import Augmentation, augment_batch

EVERYTHING = Augmentation(True, 0.1, 15.0, 0.1, 0.1, 0.2, 0.3, 0.4, coarse=0.5)
ONE_AT_A_TIME: dict[str, Any] = {
    "flip": True,
    "shift": 0.2,
    "rotate_degrees": 30.0,
    "zoom": 0.3,
    "stretch": 0.5,
    "brightness": 0.3,
    "contrast": 0.5,
    "cutout": 0.8,
    "coarse": 1.0,
}


def noise(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(7).random(shape).astype(dtype)


@pytest.mark.parametrize("shape", [(6, 48, 48, 1), (3, 20, 31, 3), (1, 8, 8, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, tf.bfloat16])
def test_shape_dtype_and_range_are_kept(shape: tuple[int, ...], dtype: type) -> None:
    images = tf.cast(noise(*shape), dtype)
    changed = augment_batch(images, EVERYTHING, seed=1)
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    values = tf.cast(changed, tf.float32).numpy()
    assert np.isfinite(values).all()
    assert values.min() >= 0.0
    assert values.max() <= 1.0


def test_all_off_is_identity() -> None:
    images = tf.constant(noise(4, 16, 16, 1))
    assert augment_batch(images, Augmentation(), seed=1) is images


@pytest.mark.parametrize("name", ONE_AT_A_TIME)
def test_each_setting_alone_changes_images(name: str) -> None:
    images = noise(12, 24, 24, 1)
    changed = augment_batch(tf.constant(images), Augmentation(**{name: ONE_AT_A_TIME[name]}), seed=3).numpy()
    moved = np.abs(changed - images).max(axis=(1, 2, 3)) > 1e-3
    # A flip leaves about half of the images alone, and a drawn square can be too small to cover a pixel.
    assert moved.sum() >= (2 if name == "flip" else 8)
    assert len(np.unique(changed.reshape(12, -1), axis=0)) == 12


def test_flip_mirrors_some_images_exactly_and_leaves_the_rest() -> None:
    images = noise(64, 12, 17, 3)
    changed = augment_batch(tf.constant(images), Augmentation(flip=True), seed=5).numpy()
    mirrored = np.isclose(changed, images[:, :, ::-1], atol=1e-5).all(axis=(1, 2, 3))
    untouched = np.isclose(changed, images, atol=1e-5).all(axis=(1, 2, 3))
    assert (mirrored ^ untouched).all()
    assert 16 < mirrored.sum() < 48


def test_zoom_goes_both_ways_by_the_bound() -> None:
    # A centred square that covers a quarter of the image: its area follows the square of the zoom.
    image = np.zeros((1, 64, 64, 1), np.float32)
    image[:, 16:48, 16:48] = 1.0
    changed = augment_batch(tf.repeat(image, 256, axis=0), Augmentation(zoom=0.25), seed=2).numpy()
    factors = np.sqrt(changed.sum(axis=(1, 2, 3)) / image.sum())
    assert factors.min() == pytest.approx(0.75, abs=0.03)
    assert factors.max() == pytest.approx(1.25, abs=0.03)


def test_stretch_changes_the_ratio_and_keeps_the_area() -> None:
    image = np.zeros((1, 64, 64, 1), np.float32)
    image[:, 20:44, 20:44] = 1.0
    changed = augment_batch(tf.repeat(image, 128, axis=0), Augmentation(stretch=0.4), seed=2).numpy()
    np.testing.assert_allclose(changed.sum(axis=(1, 2, 3)), image.sum(), rtol=0.03)
    ratios = changed[:, 32].sum(axis=(1, 2)) / changed[:, :, 32].sum(axis=(1, 2))
    assert ratios.max() == pytest.approx(1.4, abs=0.1)
    assert ratios.min() == pytest.approx(1 / 1.4, abs=0.1)


def test_shift_and_rotation_stay_within_their_bounds() -> None:
    image = np.zeros((1, 41, 41, 1), np.float32)
    image[:, 20, 32] = 1.0  # twelve pixels to the right of the centre
    batch = tf.repeat(image, 128, axis=0)
    rows, columns = np.mgrid[:41, :41] - 20.0

    def centres(changed: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        weights = changed.numpy()[..., 0]
        weights = weights / weights.sum(axis=(1, 2), keepdims=True)
        return (weights * columns).sum(axis=(1, 2)), (weights * rows).sum(axis=(1, 2))

    x, y = centres(augment_batch(batch, Augmentation(rotate_degrees=40.0), seed=4))
    degrees = np.degrees(np.arctan2(y, x))
    assert np.abs(degrees).max() <= 40.0 + 2.0
    assert degrees.min() < -30.0 and degrees.max() > 30.0
    assert np.hypot(x, y) == pytest.approx(12.0, abs=0.7)

    x, y = centres(augment_batch(batch, Augmentation(shift=0.1), seed=4))
    for moved in (x - 12.0, y):
        assert np.abs(moved).max() <= 4.1 + 1e-3
        assert moved.min() < -3.0 and moved.max() > 3.0


def test_brightness_and_contrast_act_as_told() -> None:
    images = 0.4 + 0.2 * noise(64, 8, 8, 1)
    added = augment_batch(tf.constant(images), Augmentation(brightness=0.2), seed=1).numpy() - images
    assert np.ptp(added, axis=(1, 2, 3)).max() < 1e-6
    assert 0.1 < np.abs(added).max() <= 0.2 + 1e-6

    changed = augment_batch(tf.constant(images), Augmentation(contrast=0.5), seed=1).numpy()
    factors = changed.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert factors.min() >= 0.5 - 1e-3 and factors.max() <= 1.5 + 1e-3
    np.testing.assert_allclose(changed.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), atol=1e-5)


def test_cutout_paints_at_most_the_bound_with_the_mean() -> None:
    images = noise(64, 20, 20, 1)
    changed = augment_batch(tf.constant(images), Augmentation(cutout=0.5), seed=1).numpy()
    for before, after in zip(images, changed, strict=True):
        painted = before != after
        assert painted.sum() <= 10 * 10
        np.testing.assert_allclose(after[painted], before.mean(), atol=1e-6)


def stripes(count: int, width: int) -> np.ndarray:
    """Images of 48x48 with stripes of this width, dark and light."""
    light = (np.arange(48) // width % 2).astype(np.float32)
    return np.tile(light[:, None], (count, 48, 1, 1))


def contrasts(images: tf.Tensor) -> np.ndarray:
    # Without the borders, where squares have neighbours on one side only.
    return images.numpy()[:, 8:-8, 8:-8].std(axis=(1, 2, 3))


def test_coarse_images_lose_fine_detail_half_of_them_more() -> None:
    coarse = Augmentation(coarse=1.0)
    np.testing.assert_allclose(contrasts(augment_batch(stripes(64, 1), coarse, seed=1)), 0.0, atol=1e-6)
    # Squares of 4x4 take these away as well, those of 2x2 do not.
    found = contrasts(augment_batch(stripes(64, 2), coarse, seed=1))
    flat = found < 1e-6
    assert 16 < flat.sum() < 48
    assert found[~flat].min() > 0.2
    # Coarse shapes stay.
    assert contrasts(augment_batch(stripes(64, 16), coarse, seed=1)).min() > 0.3


def test_coarse_changes_as_many_images_as_told_and_no_pixel_of_the_rest() -> None:
    images = tf.constant(noise(400, 12, 12, 3))
    changed = augment_batch(images, Augmentation(coarse=0.3), seed=1).numpy()
    untouched = (changed == images.numpy()).all(axis=(1, 2, 3))
    assert 80 < 400 - untouched.sum() < 160
    np.testing.assert_array_equal(changed, augment_batch(images, Augmentation(coarse=0.3), seed=1))
    assert not np.array_equal(changed, augment_batch(images, Augmentation(coarse=0.3), seed=2))


@pytest.mark.parametrize(
    "shape", [(8, 48, 48, 1), (8, 29, 31, 3), (8, 30, 45, 3), (8, 3, 2, 1), (8, 1, 1, 3)]
)
def test_coarse_keeps_size_and_mean_of_images_of_any_size(shape: tuple[int, ...]) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, shape[-1]])])
    def change(images: tf.Tensor) -> tf.Tensor:
        return augment_batch(images, Augmentation(coarse=1.0), seed=1)

    images = noise(*shape)
    changed = change(images).numpy()
    assert changed.shape == shape
    np.testing.assert_allclose(changed.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=1e-5)


@pytest.mark.parametrize("side", [40, 41, 42, 43])
def test_coarse_moves_nothing(side: int) -> None:
    ramp = np.broadcast_to(np.linspace(0.0, 1.0, side, dtype=np.float32)[:, None], (16, side, side, 1))
    for images in (ramp, ramp.swapaxes(1, 2)):
        changed = augment_batch(tf.constant(images), Augmentation(coarse=1.0), seed=1).numpy()
        np.testing.assert_allclose(changed[:, 6:-6, 6:-6], images[:, 6:-6, 6:-6], atol=1e-6)
        assert np.abs(changed - images).max() > 0.01  # the borders are averaged too


def test_switching_a_change_on_leaves_the_draws_of_the_others_alone() -> None:
    grey = tf.fill([32, 16, 16, 1], 0.5)  # has no detail to lose
    bright = augment_batch(grey, Augmentation(brightness=0.3), seed=1).numpy()
    both = augment_batch(grey, Augmentation(brightness=0.3, coarse=1.0), seed=1).numpy()
    np.testing.assert_allclose(both, bright, atol=1e-6)


def test_a_draw_at_the_end_leaves_those_before_it_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    images = tf.constant(noise(16, 16, 16, 3))
    settings = dataclasses.replace(EVERYTHING, grey=0.5, coarse=0.0)
    now = augment_batch(images, settings, seed=1)
    before = augmentation._DRAWS[: augmentation._DRAWS.index("coarse")]
    monkeypatch.setattr(augmentation, "_DRAWS", before)
    np.testing.assert_array_equal(now, augment_batch(images, settings, seed=1))


def test_what_is_off_is_not_computed() -> None:
    def operations(settings: Augmentation) -> set[str]:
        graph = tf.function(lambda images: augment_batch(images, settings, seed=1))
        return {
            each.type
            for each in graph.get_concrete_function(tf.TensorSpec([4, 8, 8, 3])).graph.get_operations()
        }

    assert "AvgPool" in operations(Augmentation(coarse=0.1))
    assert "AvgPool" not in operations(dataclasses.replace(EVERYTHING, grey=0.5, coarse=0.0))


def test_settings_of_tasks_name_the_same_changes() -> None:
    settings = dataclasses.asdict(AugmentationSettings())
    assert list(settings) == [field.name for field in dataclasses.fields(Augmentation)]
    assert dataclasses.asdict(Augmentation(**settings)) == settings


def test_a_seed_decides_and_no_seed_differs() -> None:
    images = tf.constant(noise(4, 16, 16, 1))
    first = augment_batch(images, EVERYTHING, seed=11).numpy()
    np.testing.assert_array_equal(first, augment_batch(images, EVERYTHING, seed=11).numpy())
    np.testing.assert_array_equal(first, augment_batch(images, EVERYTHING, seed=tf.constant([11, 0])).numpy())
    assert not np.array_equal(first, augment_batch(images, EVERYTHING, seed=12).numpy())
    assert not np.array_equal(augment_batch(images, EVERYTHING), augment_batch(images, EVERYTHING))


def test_dataset_map_draws_anew_for_each_batch_and_keeps_the_static_shape() -> None:
    images = np.repeat(noise(1, 16, 16, 1), 4, axis=0)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(2)
    dataset = dataset.map(lambda batch: augment_batch(batch, EVERYTHING))
    assert dataset.element_spec.shape.as_list() == [None, 16, 16, 1]
    first, second = dataset.as_numpy_iterator()
    assert not np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shift", -0.1),
        ("zoom", 1.0),
        ("contrast", 1),
        ("rotate_degrees", 200.0),
        ("cutout", math.nan),
        ("coarse", 1.1),
        ("coarse", -0.1),
        ("brightness", "0.1"),
        ("stretch", True),
        ("flip", 1),
    ],
)
def test_values_out_of_range_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"augmentation\.{name}: expected .* found"):
        Augmentation(**{name: value})
