import io
import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, PngImagePlugin

from data_validation import image_quality
from data_validation.image_quality import UnreadableImageError, measure, read_size


def chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("value", [0, 77, 255])
def test_flat_image(encode, value):
    png = encode(np.full((30, 40), value, np.uint8))
    quality = measure(png)
    assert (quality.height, quality.width, quality.byte_size) == (30, 40, len(png))
    assert quality.brightness == pytest.approx(value / 255, abs=1e-6)
    assert quality.contrast == pytest.approx(0.0, abs=1e-6)
    assert quality.sharpness == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("shape", [(2, 2), (48, 48), (1000, 1002)])
@pytest.mark.parametrize("interleaved", [False, True])
def test_half_black_half_white_has_the_greatest_contrast(encode, shape, interleaved):
    picture = np.zeros(shape, np.uint8)
    picture[(slice(None, None, 2),) if interleaved else (slice(shape[0] // 2),)] = 255
    quality = measure(encode(picture))
    assert quality.brightness == 0.5
    # The schema's domain ends at 0.5 exactly.
    assert quality.contrast == 0.5


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_measures_stay_in_the_schema_domains(encode, height, width, seed, share):
    random = np.random.default_rng(seed)
    picture = np.where(random.random((height, width)) < share, 255, random.integers(0, 256, (height, width)))
    quality = measure(encode(picture.astype(np.uint8)))
    assert 0.0 <= quality.brightness <= 1.0
    assert 0.0 <= quality.contrast <= 0.5
    assert 0.0 <= quality.sharpness < math.inf


def test_measures_are_those_of_the_luma(encode):
    picture = np.random.default_rng(3).integers(0, 256, (21, 33)).astype(np.uint8)
    luma = picture.astype(np.float64) / 255
    laplacian = [
        luma[y - 1, x] + luma[y + 1, x] + luma[y, x - 1] + luma[y, x + 1] - 4 * luma[y, x]
        for y in range(1, 20)
        for x in range(1, 32)
    ]
    quality = measure(encode(picture))
    assert quality.brightness == pytest.approx(luma.mean(), rel=1e-5)
    assert quality.contrast == pytest.approx(luma.std(), rel=1e-5)
    assert quality.sharpness == pytest.approx(np.var(laplacian), rel=1e-4)


def test_blur_lowers_sharpness(encode, face):
    picture = Image.fromarray(face(1)).resize((96, 96), Image.Resampling.BICUBIC)
    sharpness = [
        measure(encode(picture.filter(ImageFilter.GaussianBlur(radius)))).sharpness for radius in (0, 1, 2, 4)
    ]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[1] < sharpness[0] / 2


@pytest.mark.parametrize("shape", [(1, 1), (2, 50), (50, 2)])
def test_images_without_an_inner_pixel_have_no_sharpness(encode, shape):
    quality = measure(encode(np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)))
    assert (quality.height, quality.width) == shape
    assert quality.sharpness == 0.0


@pytest.mark.parametrize(
    ("mode", "file_format", "tolerance"),
    [
        ("L", "PNG", 0.001),
        ("RGB", "PNG", 0.001),
        ("RGBA", "PNG", 0.001),
        ("LA", "PNG", 0.001),
        ("P", "PNG", 0.02),
        ("P", "GIF", 0.02),
        ("L", "JPEG", 0.01),
        ("RGB", "JPEG", 0.01),
        ("CMYK", "JPEG", 0.01),
    ],
)
def test_all_kinds_of_images_measure_alike(encode, mode, file_format, tolerance):
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    grey = Image.fromarray(np.tile(ramp, (40, 1)))
    image = grey.convert("RGB").convert(mode) if mode != "L" else grey
    quality = measure(encode(image, file_format))
    assert (quality.height, quality.width) == (40, 64)
    assert quality.brightness == pytest.approx(ramp.mean() / 255, abs=tolerance)
    assert quality.contrast == pytest.approx(ramp.std() / 255, abs=tolerance)


def test_sixteen_bit_grey_is_scaled(encode):
    quality = measure(encode(np.full((20, 20), 32768, np.uint16)))
    assert quality.brightness == pytest.approx(0.5, abs=0.01)


def test_truncated_images(encode, face):
    for content in (encode(face(side=100), "JPEG"), encode(face(side=100))):
        for share in (0.02, 0.3, 0.9):
            with pytest.raises(UnreadableImageError, match=r"^image cannot be decoded: "):
                measure(content[: int(share * len(content))])


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"hello, world" * 50, b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a"]
)
def test_bytes_that_are_no_image(content):
    with pytest.raises(UnreadableImageError, match=r"^image cannot be decoded: "):
        measure(content)


def test_damaged_png_chunk(encode, face):
    png = bytearray(encode(face()))
    png[len(png) // 2] ^= 0xFF
    with pytest.raises(UnreadableImageError):
        measure(bytes(png))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["PNG", "JPEG", "GIF"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0.5, 1.0),
)
def test_damaged_files_are_measured_or_refused(encode, face, file_format, damages, kept):
    content = bytearray(encode(face(), file_format))
    for place, value in damages:
        content[int(place * len(content))] = value
    content = bytes(content[: int(kept * len(content))])
    try:
        quality = measure(content)
    except UnreadableImageError as error:
        assert str(error).startswith("image ")
    else:
        assert quality.byte_size == len(content)
        assert quality.height > 0


def test_png_with_a_text_chunk_that_unpacks_to_megabytes():
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    buffer = io.BytesIO()
    Image.new("L", (48, 48)).save(buffer, "PNG", pnginfo=text)
    with pytest.raises(UnreadableImageError, match=r"^image cannot be decoded: ") as caught:
        measure(buffer.getvalue())
    assert type(caught.value) is UnreadableImageError


def test_too_many_pixels(encode, face, monkeypatch):
    png = encode(face(side=50))
    monkeypatch.setattr(image_quality, "MAX_PIXELS", 2500)
    assert measure(png).width == 50
    monkeypatch.setattr(image_quality, "MAX_PIXELS", 2499)
    with pytest.raises(UnreadableImageError) as caught:
        measure(png)
    assert str(caught.value) == "image of 50x50 exceeds 2499 pixels"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8001, 10_000, 60_000, 2**31 - 1])
def test_decompression_bomb_is_refused_by_its_header(side):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    with pytest.raises(UnreadableImageError, match="exceeds"):
        measure(png)


@pytest.mark.parametrize("file_format", image_quality.FORMATS)
def test_size_is_read_from_the_header(encode, file_format):
    content = encode(np.zeros((20, 300), np.uint8), file_format)
    assert read_size(content) == (300, 20)
    # The rest of the file is not looked at.
    assert read_size(content[: len(content) - 8]) == (300, 20)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0 broken"])
def test_size_of_bytes_that_are_no_image(content):
    with pytest.raises(UnreadableImageError, match=r"^image cannot be decoded"):
        read_size(content)
