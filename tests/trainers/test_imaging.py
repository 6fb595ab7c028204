import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainers.imaging import decode, decode_batch, from_pixels, resize


def noise(*shape, seed=7):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def smooth(height, width, channels=None):
    """A picture that JPEG keeps well."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = [127 + 120 * np.sin(5 * x + phase) * np.cos(4 * y + phase) for phase in range(channels or 1)]
    picture = np.stack(planes, axis=-1).astype(np.uint8)
    return picture if channels else picture[..., 0]


def encode(picture, file_format="PNG", mode=None, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    (image.convert(mode) if mode else image).save(buffer, format=file_format, **options)
    return buffer.getvalue()


def by_pillow(content, mode):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert(mode)).reshape(image.height, image.width, -1).astype(int)


def decoded(content, channels):
    return decode(tf.constant(content), channels).numpy().astype(int)


# Decoding


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("shape", [(48, 48), (17, 31)])
def test_grey_jpeg_decodes_to_pillow_s_values(quality, shape):
    for picture in (smooth(*shape), noise(*shape)):
        content = encode(picture, "JPEG", quality=quality)
        np.testing.assert_array_equal(decoded(content, 1), by_pillow(content, "L"))


@pytest.mark.parametrize("subsampling", [0, 2])
def test_colour_jpeg_to_grey_is_within_one_of_pillow(subsampling):
    content = encode(noise(48, 64, 3), "JPEG", quality=60, subsampling=subsampling)
    assert np.abs(decoded(content, 1) - by_pillow(content, "L")).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_decodes_nearly_as_pillow_does(mode):
    content = encode(smooth(48, 64, 3), "JPEG", mode, quality=90)
    assert np.abs(decoded(content, 1) - by_pillow(content, "L")).max() <= 3


def test_colour_png_to_grey_is_within_one_of_pillow():
    content = encode(noise(64, 64, 3))
    assert np.abs(decoded(content, 1) - by_pillow(content, "L")).max() <= 1


def test_primary_colours_have_the_weights_of_bt_601():
    picture = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]], np.uint8)
    assert decoded(encode(picture), 1).ravel().tolist() == [76, 150, 29, 255, 0]


def test_every_grey_value_stays_what_it_is():
    content = encode(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert decoded(content, 1).ravel().tolist() == list(range(256))
    assert (decoded(content, 3) == np.arange(256).reshape(16, 16, 1)).all()


@pytest.mark.parametrize(("file_format", "mode"), [("PNG", "RGB"), ("PNG", "P"), ("GIF", "P"), ("PNG", "1")])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_lossless_files_decode_as_pillow_does(file_format, mode, channels):
    content = encode(noise(20, 24, 3), file_format, mode)
    image = decode(tf.constant(content), channels)
    assert image.dtype == tf.uint8
    assert image.shape == (20, 24, channels)
    difference = image.numpy().astype(int) - by_pillow(content, "L" if channels == 1 else "RGB")
    assert np.abs(difference).max() <= (1 if channels == 1 else 0)


def test_transparency_is_ignored():
    rgba = noise(12, 12, 4)
    np.testing.assert_array_equal(decoded(encode(rgba), 3), rgba[..., :3])


def test_bytes_that_are_no_image_raise():
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(b"no image"), 1)


# Resizing


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_to_the_same_size_only_scales(channels):
    pixels = noise(2, 30, 40, channels)
    result = resize(tf.constant(pixels), 30, 40)
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result.numpy(), pixels.astype(np.float32) * np.float32(1 / 255))


@pytest.mark.parametrize("size", [(48, 48), (1, 1), (17, 96), (200, 3)])
@pytest.mark.parametrize("shape", [(30, 40, 1), (3, 64, 20, 3), (2, 1, 1, 1)])
def test_resize_gives_shape_and_range(size, shape):
    result = resize(tf.constant(noise(*shape)), *size).numpy()
    assert result.shape == (*shape[:-3], *size, shape[-1])
    assert result.min() >= 0.0
    assert result.max() <= 1.0
    white = resize(tf.fill(shape, tf.constant(255, tf.uint8)), *size).numpy()
    np.testing.assert_allclose(white, 1.0, atol=1e-5)


def test_reducing_averages_instead_of_skipping():
    stripes = np.zeros((96, 96, 1), np.uint8)
    stripes[:, ::4] = 255
    inner = resize(tf.constant(stripes), 24, 24).numpy()[2:-2, 2:-2]
    assert np.abs(inner - 0.25).max() < 0.05


def test_resize_keeps_orientation():
    picture = np.zeros((40, 40, 1), np.uint8)
    picture[:20, 20:] = 255
    result = resize(tf.constant(picture), 10, 10).numpy()[..., 0]
    assert result[:4, 6:].min() > 0.9
    assert max(result[6:].max(), result[:, :4].max()) < 0.1


@pytest.mark.parametrize("known", [True, False])
def test_static_shape_is_known_in_a_graph(known):
    shape = [None, 30, 40, 1] if known else [None, None, None, 1]
    traced = tf.function(lambda images: resize(images, 48, 48)).get_concrete_function(
        tf.TensorSpec(shape, tf.uint8)
    )
    assert traced.output_shapes.as_list() == [None, 48, 48, 1]


# Training's way and serving's way


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("size", [(48, 48), (60, 35)])
def test_pixels_and_png_of_the_same_picture_are_equal(channels, planes, size):
    pixels = noise(3, *size, planes)
    files = [encode(picture[..., 0] if planes == 1 else picture) for picture in pixels]
    by_file = decode_batch(tf.constant(files), 48, 48, channels).numpy()
    assert by_file.shape == (3, 48, 48, channels)
    in_graph = tf.function(
        lambda images: from_pixels(images, 48, 48, channels),
        input_signature=[tf.TensorSpec([None, None, None, None], tf.uint8)],
    )
    for route in (lambda images: from_pixels(images, 48, 48, channels), in_graph):
        np.testing.assert_allclose(route(tf.constant(pixels)).numpy(), by_file, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3]), st.integers(0, 99))
def test_any_size_of_pixels_equals_its_png(height, width, channels, seed):
    picture = noise(height, width, 3, seed=seed)
    by_file = decode_batch(tf.constant([encode(picture)]), 16, 16, channels)
    by_pixels = from_pixels(tf.constant(picture[None]), 16, 16, channels)
    np.testing.assert_allclose(by_pixels.numpy(), by_file.numpy(), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_equals_its_images_one_by_one(channels):
    files = [
        encode(noise(48, 48)),
        encode(smooth(20, 90, 3), "JPEG"),
        encode(noise(100, 64, 3), "GIF", "P"),
        encode(noise(48, 48, 3)),
    ]
    batch = decode_batch(tf.constant(files), 48, 48, channels).numpy()
    assert batch.shape == (4, 48, 48, channels)
    for number, content in enumerate(files):
        single = decode_batch(tf.constant([content]), 48, 48, channels).numpy()
        np.testing.assert_allclose(single[0], batch[number], atol=1e-6)


def test_an_empty_batch_is_an_empty_batch():
    assert decode_batch(tf.constant([], tf.string), 48, 48, 1).shape == (0, 48, 48, 1)
