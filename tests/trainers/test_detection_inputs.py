"""What the exported cascade does with images, pixels and settings that are not the usual ones."""

import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import gc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from cascades import SCENES, edges_of, encode, picture_of, random_cascade, square_finder
from PIL import Image

from trainers import boxes
from trainers.cascade import Cascade, CascadeSettings

Found = Mapping[str, np.ndarray]
Signature = Callable[..., Mapping[str, tf.Tensor]]
SIZE, SQUARES = SCENES[0]
OWN = (np.nan, np.nan, (np.nan,) * 3)
"""Settings min_face, factor and thresholds that leave the model's own."""


class Exported:
    """The signatures of a saved model, called with Python values."""

    def __init__(self, signatures: Mapping[str, Signature]) -> None:
        self.signatures = signatures

    def images(self, *contents: bytes) -> Found:
        return self._call("serving_default", image_bytes=tf.constant(contents, tf.string))

    def detect(self, contents: list[bytes], rows: list[Any]) -> Found:
        columns = zip(*rows, strict=True) if rows else ([], [], np.zeros([0, 3]))
        min_face, factor, thresholds = (tf.constant(column, tf.float32) for column in columns)
        return self._call(
            "detect",
            image_bytes=tf.constant(contents, tf.string),
            min_face=min_face,
            factor=factor,
            thresholds=thresholds,
        )

    def pixels(self, pixels: np.ndarray) -> Found:
        return self._call("pixels", pixels=tf.constant(pixels, tf.uint8))

    def examples(self, *contents: bytes) -> Found:
        values = [tf.train.Feature(bytes_list=tf.train.BytesList(value=[content])) for content in contents]
        parsed = [
            tf.train.Example(features=tf.train.Features(feature={"image/encoded": value})) for value in values
        ]
        return self._call("examples", examples=tf.constant([each.SerializeToString() for each in parsed]))

    def encoded_by_both(self, *contents: bytes) -> list[Found]:
        """What the two signatures answer that take encoded images."""
        return [self.images(*contents), self.detect(list(contents), [OWN] * len(contents))]

    def _call(self, name: str, **inputs: tf.Tensor) -> Found:
        return {key: values.numpy() for key, values in self.signatures[name](**inputs).items()}


@pytest.fixture(scope="module")
def finder() -> Cascade:
    return square_finder()


@pytest.fixture(scope="module")
def exported(finder: Cascade, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    folder = str(tmp_path_factory.mktemp("exported"))
    # With its signatures only, which takes a fifth of the time; there are no variables to save.
    tf.saved_model.save(tf.Module(), folder, signatures=finder.signatures())
    model = tf.saved_model.load(folder)
    # Not returned: the model's variables would go with it.
    yield Exported(model.signatures)


def assert_finds_the_square(found: Found) -> None:
    assert found["num_detections"].tolist() == [1]
    face = found["detection_boxes"][0, :1] * np.float32((*SIZE, *SIZE))
    assert boxes.iou(edges_of(SQUARES), face).numpy() > 0.9


def assert_finds_nothing(found: Found, count: int = 1) -> None:
    assert found["num_detections"].tolist() == [0] * count
    assert not any(np.any(values) for values in found.values())


def test_a_saved_model_answers_alike(finder: Cascade, exported: Exported) -> None:
    assert set(exported.signatures) == {"serving_default", "detect", "pixels", "examples"}
    content = encode(picture_of(*SCENES[1]))
    direct = finder.detect_images(tf.constant([content]))
    assert direct["num_detections"].numpy().tolist() == [2]
    for found in (*exported.encoded_by_both(content), exported.examples(content)):
        for name, values in found.items():
            np.testing.assert_allclose(values, direct[name], atol=1e-5)


# Images


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        ("L", "PNG"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("P", "GIF"),
    ],
)
def test_other_kinds_of_images(exported: Exported, mode: str, file_format: str) -> None:
    content = encode(picture_of(SIZE, SQUARES), mode, file_format)
    for found in exported.encoded_by_both(content):
        assert_finds_the_square(found)


def test_sixteen_bits_are_read(exported: Exported) -> None:
    content = encode(picture_of(SIZE, SQUARES)[..., 0].astype(np.uint16) * 257)
    for found in exported.encoded_by_both(content):
        assert_finds_the_square(found)


def test_transparency_hides_nothing(exported: Exported) -> None:
    picture = np.dstack([picture_of(SIZE, SQUARES), np.zeros(SIZE, np.uint8)])
    for found in exported.encoded_by_both(encode(picture)):
        assert_finds_the_square(found)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_an_orientation_in_exif_data_changes_nothing(exported: Exported, orientation: int) -> None:
    # The answer is of the pixels as stored: a box means the same to whoever decodes the file without EXIF.
    picture = picture_of(SIZE, SQUARES)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, turned = encode(picture, None, "JPEG"), encode(picture, None, "JPEG", exif=exif)
    assert plain != turned
    for without, having in zip(
        exported.encoded_by_both(plain), exported.encoded_by_both(turned), strict=True
    ):
        assert_finds_the_square(having)
        for name, values in having.items():
            np.testing.assert_array_equal(values, without[name])


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (1, 2000), (2000, 1), (12, 12), (40, 300)])
def test_images_without_faces_have_no_detections(exported: Exported, size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 30, np.uint8)
    for found in (*exported.encoded_by_both(encode(picture)), exported.pixels(picture[None])):
        assert_finds_nothing(found)


def test_a_batch_of_different_sizes_gives_what_single_calls_give(exported: Exported) -> None:
    contents = [encode(picture_of(*scene)) for scene in SCENES[:3]]
    contents += [encode(np.zeros((5, 5, 3), np.uint8)), encode(picture_of(SIZE, SQUARES), "CMYK", "JPEG")]
    for together in exported.encoded_by_both(*contents):
        assert together["num_detections"].tolist() == [1, 2, 4, 0, 1]
        for number, content in enumerate(contents):
            for name, values in exported.images(content).items():
                np.testing.assert_allclose(together[name][number], values[0], atol=1e-6)


def test_no_images_give_no_rows(exported: Exported) -> None:
    shapes = {
        "detection_boxes": (0, 20, 4),
        "detection_keypoints": (0, 20, 5, 2),
        "detection_scores": (0, 20),
        "num_detections": (0,),
    }
    for found in (*exported.encoded_by_both(), exported.pixels(np.zeros((0, 30, 40, 3)))):
        assert {name: values.shape for name, values in found.items()} == shapes


JPEG = encode(picture_of(SIZE, SQUARES), None, "JPEG")
PNG = encode(picture_of(SIZE, SQUARES))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (JPEG[: len(JPEG) // 2], "Invalid JPEG data"),
        (JPEG[:20], "Invalid JPEG data"),
        (PNG[: len(PNG) // 2], "Invalid PNG data"),
        (b"no image", "Unknown image file format. One of JPEG, PNG, GIF"),
        (encode(picture_of(SIZE, SQUARES), None, "WEBP"), "Unknown image file format. One of JPEG, PNG, GIF"),
        (b"", "Input is empty"),
    ],
)
def test_damaged_images_and_other_bytes_are_refused(exported: Exported, content: bytes, named: str) -> None:
    calls: list[Callable[[], Found]] = [
        lambda: exported.images(JPEG, content),
        lambda: exported.detect([JPEG, content], [OWN, OWN]),
    ]
    for call in calls:
        with pytest.raises(tf.errors.InvalidArgumentError, match=named):
            call()


def test_pixels_of_other_shapes(exported: Exported) -> None:
    grey = picture_of(SIZE, SQUARES)[None, ..., :1]
    assert_finds_the_square(exported.pixels(grey))
    for shape in ((1, 0, 30, 3), (1, 0, 0, 1), (1, 5, 5, 1)):
        assert_finds_nothing(exported.pixels(np.zeros(shape)))
    for channels in (2, 4):
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"40,60,{channels}\] is not compatible"):
            exported.pixels(np.zeros((1, 40, 60, channels)))


# Settings


def test_settings_that_are_nan_are_the_model_s_own(exported: Exported) -> None:
    content = encode(picture_of(*SCENES[2]))
    own = CascadeSettings()
    found = exported.detect([content] * 2, [OWN, (own.min_face, own.factor, own.thresholds)])
    for name, values in exported.images(content).items():
        for row in found[name]:
            np.testing.assert_array_equal(row, values[0])


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ((9.0, np.nan, OWN[2]), r"min_face: expected 10 or more.*\[20 9\]"),
        ((-1.0, np.nan, OWN[2]), r"min_face: expected 10 or more.*\[20 -1\]"),
        ((np.nan, 0.95, OWN[2]), r"factor: expected 0.5 to 0.85, found\] \[0.709 0.95\]"),
        ((np.nan, 0.3, OWN[2]), r"factor: expected 0.5 to 0.85, found\] \[0.709 0.3\]"),
        ((np.nan, np.inf, OWN[2]), r"factor: expected 0.5 to 0.85, found\] \[0.709 inf\]"),
        ((np.nan, np.nan, (0.5, 0.5, 1.5)), r"thresholds: expected 0 to 1, found\].*0.5 0.5 1.5"),
        ((np.nan, np.nan, (-0.1, 0.5, 0.5)), r"thresholds: expected 0 to 1, found\].*-0.1 0.5 0.5"),
    ],
)
def test_settings_of_a_request_have_limits(exported: Exported, row: Any, named: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=named):
        exported.detect([PNG, PNG], [OWN, row])


@pytest.mark.parametrize(
    "row", [(np.inf, np.nan, OWN[2]), (1e9, np.nan, OWN[2]), (np.nan, np.nan, (np.nan, np.nan, 1.0))]
)
def test_settings_that_no_face_meets_find_none(exported: Exported, row: Any) -> None:
    assert_finds_nothing(exported.detect([PNG], [row]))


# Memory


def resident_mebibytes() -> float:
    gc.collect()
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)
    return int(line.split()[1]) / 1024.0


def growth(cascade: Cascade, largest: int, warm_up: int) -> float:
    """What 500 images, each of another size up to `largest` pixels, add to the memory, in mebibytes."""
    rng = np.random.default_rng(7)
    # One after the other, small and large mixed; a few sizes come twice and are left out.
    sizes = dict.fromkeys(map(tuple, rng.integers(20, largest + 1, (warm_up + 520, 2)).tolist()))
    # Drawn beforehand: what drawing leaves in the memory is not the cascade's.
    contents = [
        encode(rng.integers(0, 256, (*size, 3)).astype(np.uint8), None, "JPEG")
        for size in list(sizes)[: warm_up + 500]
    ]
    assert len(contents) == warm_up + 500
    for content in contents[:warm_up]:
        cascade.detect_images(tf.constant([content]))
    before = resident_mebibytes()
    for content in contents[warm_up:]:
        cascade.detect_images(tf.constant([content]))
    return resident_mebibytes() - before


def test_memory_does_not_grow_with_the_sizes_of_images() -> None:
    # P-Net alone, which is what sees many shapes. Were its input not filled up to few of them, oneDNN would
    # keep kernels for each: 10 MiB in all.
    cascade = random_cascade(CascadeSettings(thresholds=(1.0, 1.0, 1.0)))
    assert growth(cascade, largest=300, warm_up=100) < 6.0


@pytest.mark.slow
def test_memory_does_not_grow_where_all_networks_have_work() -> None:
    settings = CascadeSettings(thresholds=(0.3, 0.0, 0.0), most_proposals=100, most_refined=30)
    assert growth(random_cascade(settings), largest=640, warm_up=200) < 30.0
