"""What the networks of MTCNN are shown: images of a split in memory, and batches of windows cut out of them.

Images stay encoded: decoding takes 1 % of what the networks take for an image's windows, and decoded ones
would fill the memory (WIDER FACE's training images have 1.4 GB as files).
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf
import tensorflow_transform as tft

from trainers import training
from trainers.augmentation import Augmentation
from trainers.detection_samples import (
    Samples,
    Wanted,
    augmented,
    draw_windows,
    faces_in_pixels,
    landmark_samples,
    landmarks_and_face,
    rotated,
    samples_of,
)
from trainers.imaging import decode
from trainers.preprocessing import IMAGE

logger = logging.getLogger("hexaface.trainer")

EDGES = ("boxes/ymin", "boxes/xmin", "boxes/ymax", "boxes/xmax")
IGNORED = "boxes/ignored"
POINTS = ("landmarks/y", "landmarks/x")
FEATURES = (IMAGE, *EDGES, IGNORED, *POINTS)
"""Features of an example that training takes."""

SCENE_WINDOWS = Wanted(negatives=28, positives=10, parts=10)
"""Of each visit to an image: background, faces and parts nearly as 3 : 1 : 1 (the paper, section II C)."""
_DRAWN_NEAR, _DRAWN_BESIDE, _DRAWN_ANYWHERE = 48, 16, 32
_POINTS_WINDOWS = 2
# Of a batch, windows of images with landmarks (the paper: one in three).
_POINTS_SHARE = 0.25
_READ_BATCH = 256
# Images between two lines for people.
_TOLD = 100
# Windows among which those of an image are mixed: at most in all, and for each image.
_SHUFFLE, _SHUFFLE_OF_EACH = 4096, 16


class Scenes(NamedTuple):
    """Images whose faces are all annotated, by boxes.

    Attributes:
        encoded: Images, string [N].
        boxes: Shares of height and width, ragged float32 [N, None, 4].
        ignored: 1 for ignored regions, ragged int64 [N, None].
        proposed: Windows that earlier networks take for faces, pixels, ragged float32 [N, None, 4].
    """

    encoded: tf.Tensor
    boxes: tf.RaggedTensor
    ignored: tf.RaggedTensor
    proposed: tf.RaggedTensor

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.encoded.shape[0])


class FacePoints(NamedTuple):
    """Images with one face whose five landmarks are known.

    Attributes:
        encoded: Images, string [N].
        landmarks: Shares of height and width, float32 [N, 5, 2].
    """

    encoded: tf.Tensor
    landmarks: tf.Tensor

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.encoded.shape[0])


class Split(NamedTuple):
    """The images of a split.

    Attributes:
        scenes: See Scenes.
        points: See FacePoints.
    """

    scenes: Scenes
    points: FacePoints


@dataclass(frozen=True)
class Windows:
    """What a network is shown.

    Attributes:
        side: Height and width, pixels.
        samples: See `trainers.boxes.crops`.
        batch_size: Windows a step.
        seed: Of all that is drawn.
    """

    side: int
    samples: int
    batch_size: int
    seed: int


def read_split(patterns: list[str], transform: tft.TFTransformOutput) -> Split:
    """Reads the images of a split.

    Args:
        patterns: File patterns of gzipped TFRecords of tf.Example.
        transform: Output of the Transform node.

    Returns:
        The images without landmarks, and those with them.
    """
    scenes, points = [], []
    for batch in training.transformed_examples(patterns, transform, _READ_BATCH):
        encoded = batch[IMAGE]
        edges = tf.stack([batch[name] for name in EDGES], axis=2)
        places = tf.stack([batch[name] for name in POINTS], axis=2)
        has_points = places.row_lengths() > 0
        scenes.append(
            (
                tf.boolean_mask(encoded, ~has_points),
                tf.ragged.boolean_mask(edges, ~has_points),
                tf.ragged.boolean_mask(batch[IGNORED], ~has_points),
            )
        )
        places = tf.ragged.boolean_mask(places, has_points).to_tensor(shape=[None, 5, 2])
        points.append((tf.boolean_mask(encoded, has_points), places))
    encoded, boxes, ignored = (tf.concat(parts, axis=0) for parts in zip(*scenes, strict=True))
    nothing = tf.RaggedTensor.from_row_lengths(tf.zeros([0, 4]), tf.zeros_like(boxes.row_lengths()))
    return Split(
        Scenes(encoded, boxes, ignored, nothing),
        FacePoints(*(tf.concat(parts, axis=0) for parts in zip(*points, strict=True))),
    )


def with_proposals(scenes: Scenes, network: Callable[[tf.Tensor], tf.Tensor]) -> Scenes:
    """Looks for faces in all images.

    Args:
        scenes: The images.
        network: Finds windows float32 [N, 4], pixels, in an image uint8 [H, W, 3].

    Returns:
        The images with what was found as `proposed`.
    """

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.string)])
    def windows(encoded: tf.Tensor) -> tf.Tensor:
        return network(decode(encoded, channels=3))

    found = []
    for number, encoded in enumerate(scenes.encoded, start=1):
        found.append(windows(encoded))
        if number % _TOLD == 0:
            logger.info("faces looked for in %d of %d images", number, scenes.images)
    rows = [each.shape[0] for each in found]
    return scenes._replace(proposed=tf.RaggedTensor.from_row_lengths(tf.concat(found, axis=0), rows))


def training_windows(split: Split, windows: Windows, steps: int, colours: Augmentation) -> tf.data.Dataset:
    """Returns an epoch's batches, other ones each time it is iterated.

    Args:
        split: The images.
        windows: What is shown.
        steps: Number of batches.
        colours: Changes of colour; half of the windows are mirrored, too.

    Returns:
        Batches of pixels float32 [batch_size, side, side, 3] and `Targets`.
    """

    def change(batch: Samples, seed: tf.Tensor) -> Samples:
        return augmented(seed, batch, colours)

    batches = tf.data.Dataset.zip(_batches(split, windows, anew=True), _seeds(windows.seed, anew=True))
    return training.without_autotune(
        batches.map(change, num_parallel_calls=training.PARALLEL)
        .take(steps)
        # Keras finds the end of an epoch by a step too many, which may count.
        .apply(tf.data.experimental.assert_cardinality(steps))
        .prefetch(training.PARALLEL)
    )


def validation_windows(split: Split, windows: Windows) -> tf.data.Dataset:
    """Returns batches of windows of every image, the same each time; see `training_windows`."""
    visits = split.scenes.images * sum(SCENE_WINDOWS)
    steps = max(1, int(visits / (windows.batch_size * (1.0 - _POINTS_SHARE))))
    batches = _batches(split, windows, anew=False).take(steps)
    if training.fits_in_memory(batches, steps * windows.batch_size):
        batches = batches.cache()
    return training.without_autotune(batches.prefetch(training.PARALLEL))


def _batches(split: Split, windows: Windows, anew: bool) -> tf.data.Dataset:
    """Returns endless batches: windows of scenes first, then those around faces with landmarks."""
    of_points = round(windows.batch_size * _POINTS_SHARE)
    parts = (
        _mixed(split.scenes.images, functools.partial(_of_scene, split.scenes, windows), windows.seed, anew)
        .batch(windows.batch_size - of_points, drop_remainder=True),
        _mixed(split.points.images, functools.partial(_of_points, split.points, windows), windows.seed, anew)
        .batch(of_points, drop_remainder=True),
    )  # fmt: skip
    return tf.data.Dataset.zip(*parts).map(
        lambda scenes, points: tf.nest.map_structure(
            lambda first, second: tf.concat([first, second], axis=0), scenes, points
        )
    )


def _mixed(
    count: int, samples: Callable[[tf.Tensor, tf.Tensor], Samples], seed: int, anew: bool
) -> tf.data.Dataset:
    """Visits images again and again in random orders; returns their windows, one after the other, mixed."""
    order = tf.data.Dataset.range(count).shuffle(count, seed, reshuffle_each_iteration=anew).repeat()
    visits = tf.data.Dataset.zip(order, _seeds(seed, anew))
    windows = visits.map(samples, num_parallel_calls=training.PARALLEL).unbatch()
    buffer = min(_SHUFFLE, _SHUFFLE_OF_EACH * count)
    return windows.shuffle(buffer, seed, reshuffle_each_iteration=anew)


def _seeds(seed: int, anew: bool) -> tf.data.Dataset:
    """Returns endless seeds int64 [2]."""
    return tf.data.Dataset.random(seed, rerandomize_each_iteration=anew).batch(2)


def _of_scene(scenes: Scenes, windows: Windows, number: tf.Tensor, seed: tf.Tensor) -> Samples:
    """Windows of one scene: drawn, and proposed by earlier networks."""
    seeds = tf.random.split(seed, 2)
    image = decode(scenes.encoded[number], channels=3)
    size = tf.shape(image)[:2]
    faces = faces_in_pixels(scenes.boxes[number], scenes.ignored[number], size)
    drawn = draw_windows(seeds[0], faces, size, _DRAWN_NEAR, _DRAWN_BESIDE, _DRAWN_ANYWHERE)
    candidates = tf.concat([drawn, scenes.proposed[number]], axis=0)
    return samples_of(seeds[1], image, candidates, faces, SCENE_WINDOWS, windows.side, windows.samples)


def _of_points(points: FacePoints, windows: Windows, number: tf.Tensor, seed: tf.Tensor) -> Samples:
    """Windows around one face with landmarks, whose picture is rotated."""
    seeds = tf.random.split(seed, 2)
    image, landmarks = rotated(seeds[0], decode(points.encoded[number], channels=3), points.landmarks[number])
    landmarks, face = landmarks_and_face(landmarks, tf.shape(image)[:2])
    return landmark_samples(seeds[1], image, face, landmarks, _POINTS_WINDOWS, windows.side, windows.samples)
