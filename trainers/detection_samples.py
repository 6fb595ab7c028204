"""Samples that the networks of MTCNN learn from: windows of images, and what each of them shows.

As in the paper (Zhang, Zhang, Li, Qiao 2016, section II C), a window is background, a face or a part of one
by its IoU with the annotated faces. P-Net's windows are drawn at random, here; those of R-Net and O-Net are
what the networks before them propose. Both kinds are chosen and cut out by `samples_of`.

The functions are TensorFlow operations for `Dataset.map`, of one image each; boxes are those of
`trainers.boxes`, in pixels. Nothing depends on anything but the arguments: seeds are int64 [2].
"""

from typing import NamedTuple

import tensorflow as tf

from trainers import boxes
from trainers.augmentation import Augmentation, augment_batch
from trainers.detection_losses import LANDMARK, NEGATIVE, NOT_USED, PART, POSITIVE, Targets

NEGATIVE_BELOW = 0.3
POSITIVE_FROM = 0.65
PART_FROM = 0.4
"""IoU with the nearest face that decides what a window is (the paper); between 0.3 and 0.4 it is not used."""
SMALLEST_WINDOW = 12.0
"""Pixels; smaller windows would be nothing but enlarged pixels."""
SMALLEST_FACE = 10.0
"""Height in pixels from which a face is one to learn from; smaller ones make no window background, either."""

# Of windows around a face: the side as a share of the face's longer side, and how far the middle is moved at
# most along each axis, as a share of the window's side. Of faces of WIDER FACE's shape, 36 % of the windows
# are faces and 56 % parts.
_NEAR_SIDES = (0.8, 1.25)
_NEAR_MOVE = 0.4
# Of windows beside a face: some show a piece of it, which is background all the same.
_BESIDE_MOVE = 1.2
# Landmarks are to be found in windows like those that the networks before O-Net propose.
_LANDMARK_MOVE = 0.15
# Radians: 20 degrees.
_ROTATION = 0.35
# As shares of the height of a face as WIDER FACE annotates it, found by looking at drawn boxes: the way from
# the eyes to the mouth, the distance of the eyes, the middle of both from the top, and the width (the median
# of faces of 60 pixels that are neither hidden nor turned is 0.73).
_EYES_TO_MOUTH, _EYES, _MIDDLE, _WIDTH = 0.43, 0.38, 0.575, 0.75
# Mirrored, the left eye is the right one, and the left corner of the mouth the right one.
_MIRRORED_POINTS = (1, 0, 2, 4, 3)


class Faces(NamedTuple):
    """The annotated faces of an image.

    Attributes:
        boxes: float32 [M, 4].
        ignored: bool [M]: a region that is neither face nor background.
    """

    boxes: tf.Tensor
    ignored: tf.Tensor


class Wanted(NamedTuple):
    """How many samples of each kind an image gives at most.

    Attributes:
        negatives: Background.
        positives: Faces.
        parts: Parts of faces.
    """

    negatives: int
    positives: int
    parts: int


class Samples(NamedTuple):
    """Windows of an image.

    Attributes:
        pixels: float32 [N, side, side, 3], 0..1.
        targets: Of the same windows.
    """

    pixels: tf.Tensor
    targets: Targets


def faces_in_pixels(shares: tf.Tensor, ignored: tf.Tensor, size: tf.Tensor) -> Faces:
    """Turns the features of a record (`components.readers.boxes`) into faces.

    Faces of less than SMALLEST_FACE become ignored: they are too small to be told from background.

    Args:
        shares: float32 [M, 4], edges as shares of the image's height and width.
        ignored: int64 [M], 1 for ignored regions.
        size: Height and width of the image, int32 [2].
    """
    edges = shares * tf.tile(tf.cast(size, tf.float32), [2])
    small = edges[:, 2] - edges[:, 0] < SMALLEST_FACE
    return Faces(edges, tf.cast(ignored, tf.bool) | small)


def landmarks_and_face(shares: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns landmarks into pixels, and tells where the face is.

    Data sets of landmarks draw other boxes than WIDER FACE, from the brows on, say. Here the face is one as
    WIDER FACE annotates it, from the hairline to the chin, whatever the data set's own box is.

    Args:
        shares: float32 [5, 2], of the image's height and width.
        size: Height and width of the image, int32 [2].

    Returns:
        Landmarks float32 [5, 2] in pixels, and the face float32 [4].
    """
    landmarks = shares * tf.cast(size, tf.float32)
    eyes, mouth = tf.reduce_mean(landmarks[:2], axis=0), tf.reduce_mean(landmarks[3:], axis=0)
    # A face that is turned to a side shows shorter eyes, one that is turned up a shorter way to the mouth.
    height = tf.maximum(tf.norm(mouth - eyes) / _EYES_TO_MOUTH, tf.norm(landmarks[1] - landmarks[0]) / _EYES)
    middle = (eyes + mouth) / 2.0
    top = middle[0] - _MIDDLE * height
    half = height * _WIDTH / 2.0
    return landmarks, tf.stack([top, middle[1] - half, top + height, middle[1] + half])


def rotated(seed: tf.Tensor, image: tf.Tensor, landmarks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotates an image around its middle by up to _ROTATION either way; new corners are GREY.

    Args:
        seed: int64 [2].
        image: uint8 [H, W, 3].
        landmarks: Shares of height and width, float32 [P, 2].

    Returns:
        The image, float32 [H, W, 3] in 0..1, and the landmarks.
    """
    angle = tf.random.stateless_uniform([], seed, -_ROTATION, _ROTATION)
    cos, sin = tf.cos(angle), tf.sin(angle)
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    middle = size / 2.0
    # Pixels are counted from the middle of the first one here, places from its edge.
    y, x = tf.unstack(middle - 0.5)
    # Where in the image each pixel of the result comes from.
    matrix = tf.stack([cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, 0.0, 0.0])
    scaled = tf.cast(image, tf.float32)[tf.newaxis] * (1.0 / 255.0)
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=scaled,
        transforms=matrix[tf.newaxis],
        output_shape=tf.shape(image)[:2],
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=boxes.GREY,
    )[0]
    way = landmarks * size - middle
    down = cos * way[:, 0] - sin * way[:, 1]
    right = sin * way[:, 0] + cos * way[:, 1]
    return turned, (tf.stack([down, right], axis=1) + middle) / size


def draw_windows(
    seed: tf.Tensor, faces: Faces, size: tf.Tensor, near: int, beside: int, anywhere: int
) -> tf.Tensor:
    """Draws square windows at random, for P-Net.

    Args:
        seed: int64 [2].
        faces: Of the image.
        size: Height and width of the image, int32 [2].
        near: How many are drawn on faces, none if there is no face; they may reach outside.
        beside: How many are drawn on and beside faces, as `near`.
        anywhere: How many are drawn anywhere inside, all sizes alike (by the logarithm).

    Returns:
        float32 [at most near + beside + anywhere, 4].
    """
    seeds = tf.random.split(seed, 3)
    targets = tf.boolean_mask(faces.boxes, ~faces.ignored)
    groups = (
        _near(seeds[0], targets, near, _NEAR_MOVE),
        _near(seeds[1], targets, beside, _BESIDE_MOVE),
        _anywhere(seeds[2], tf.cast(size, tf.float32), anywhere),
    )
    return tf.concat(groups, axis=0)


def label(windows: tf.Tensor, faces: Faces) -> tuple[tf.Tensor, tf.Tensor]:
    """Tells what windows show.

    Args:
        windows: float32 [N, 4].
        faces: Of the image.

    Returns:
        Kind of each window, int32 [N]; and of each the face with the highest IoU, float32 [N, 4], the window
        itself if there is no face. A window is not used if it is too much of a face for background and too
        little for a part, if it would be background but NEGATIVE_BELOW of it or more is in an ignored
        region, or if it has no area.
    """
    real = tf.boolean_mask(faces.boxes, ~faces.ignored)
    # One face without an area, so that there is always a highest IoU.
    overlaps = boxes.iou(windows, tf.concat([real, tf.zeros([1, 4])], axis=0))
    best = tf.reduce_max(overlaps, axis=1)
    nearest = tf.gather(tf.concat([real, tf.zeros([1, 4])], axis=0), tf.argmax(overlaps, axis=1))
    regions = tf.boolean_mask(faces.boxes, faces.ignored)
    areas = boxes.areas(windows)
    covered = tf.math.divide_no_nan(boxes.intersections(windows, regions), areas[:, tf.newaxis])
    allowed = tf.reduce_all(covered < NEGATIVE_BELOW, axis=1)
    kind = tf.where(
        best >= POSITIVE_FROM,
        POSITIVE,
        tf.where(best >= PART_FROM, PART, tf.where((best < NEGATIVE_BELOW) & allowed, NEGATIVE, NOT_USED)),
    )
    kind = tf.where(areas > 0.0, kind, NOT_USED)
    return kind, tf.where(best[:, tf.newaxis] > 0.0, nearest, windows)


def choose(seed: tf.Tensor, kind: tf.Tensor, wanted: Wanted) -> tf.Tensor:
    """Chooses windows of each kind at random.

    Args:
        seed: int64 [2].
        kind: int32 [N].
        wanted: How many; fewer where there are fewer.

    Returns:
        int32, numbers of the chosen windows, in a random order.
    """
    # Not stateless_shuffle, which has no kernel of its own and sorts on top of this.
    order = tf.argsort(tf.random.stateless_uniform(tf.shape(kind), seed))
    limits = tf.constant(wanted, tf.int32)
    # The rank of each window among those of its kind; NOT_USED is none of them, a row of zeros.
    kinds = tf.one_hot(tf.gather(kind, order), len(wanted), dtype=tf.int32)
    ranks = tf.cumsum(kinds, exclusive=True)
    return tf.boolean_mask(order, tf.reduce_any((kinds == 1) & (ranks < limits), axis=1))


def samples_of(
    seed: tf.Tensor,
    image: tf.Tensor,
    windows: tf.Tensor,
    faces: Faces,
    wanted: Wanted,
    side: int,
    samples: int,
) -> Samples:
    """Labels windows, drawn or proposed, chooses of each kind, and cuts the chosen out.

    Args:
        seed: int64 [2].
        image: uint8 or float32 [H, W, 3].
        windows: float32 [N, 4].
        faces: Of the image.
        wanted: How many of each kind.
        side: Height and width of the samples, pixels.
        samples: See `trainers.boxes.crops`; that of the cascade, or 4 for P-Net.

    Returns:
        The samples.
    """
    kind, nearest = label(windows, faces)
    chosen = choose(seed, kind, wanted)
    windows, nearest = tf.gather(windows, chosen), tf.gather(nearest, chosen)
    count, most = tf.shape(chosen)[0], sum(wanted)
    # Always as many, see `trainers.boxes.crops`; added windows, which have no area, are cut off again.
    filled = tf.ensure_shape(tf.pad(windows, [[0, most - count], [0, 0]]), [most, 4])
    targets = Targets(
        kind=tf.gather(kind, chosen),
        offsets=boxes.encode_offsets(windows, nearest),
        landmarks=tf.zeros([tf.shape(chosen)[0], 5, 2]),
    )
    return Samples(boxes.crops(image, filled, side, samples)[:count], targets)


def landmark_samples(
    seed: tf.Tensor,
    image: tf.Tensor,
    face: tf.Tensor,
    landmarks: tf.Tensor,
    count: int,
    side: int,
    samples: int,
) -> Samples:
    """Draws windows around the face of an image with landmarks.

    Args:
        seed: int64 [2].
        image: uint8 or float32 [H, W, 3].
        face: float32 [4], with an area.
        landmarks: float32 [5, 2]: eyes, nose, corners of the mouth, left before right as seen.
        count: How many windows are drawn; those whose IoU with the face is that of a face are kept.
        side: Height and width of the samples, pixels.
        samples: See `trainers.boxes.crops`.

    Returns:
        At most `count` samples of the kind LANDMARK.
    """
    windows = tf.ensure_shape(_near(seed, face[tf.newaxis], count, _LANDMARK_MOVE), [count, 4])
    pixels = boxes.crops(image, windows, side, samples)
    near = boxes.iou(windows, face[tf.newaxis])[:, 0] >= POSITIVE_FROM
    windows, pixels = tf.boolean_mask(windows, near), tf.boolean_mask(pixels, near)
    kept = tf.shape(windows)[0]
    targets = Targets(
        kind=tf.fill([kept], LANDMARK),
        offsets=boxes.encode_offsets(windows, tf.repeat(face[tf.newaxis], kept, axis=0)),
        landmarks=boxes.encode_landmarks(windows, tf.repeat(landmarks[tf.newaxis], kept, axis=0)),
    )
    return Samples(pixels, targets)


def augmented(seed: tf.Tensor, batch: Samples, colours: Augmentation) -> Samples:
    """Mirrors half of the samples, and changes the colours of all.

    Args:
        seed: int64 [2].
        batch: Any number of samples.
        colours: `brightness`, `contrast` and `grey`; nothing that moves pixels, as targets would not follow.

    Returns:
        The changed samples.

    Raises:
        ValueError: The augmentation moves pixels.
    """
    if colours.moves_pixels:
        raise ValueError(f"colours: expected changes that leave pixels where they are, found {colours}")
    seeds = tf.random.split(seed, 2)
    mirror = tf.random.stateless_uniform([tf.shape(batch.pixels)[0]], seeds[0]) < 0.5
    flipped = mirrored(batch)
    pixels = tf.where(mirror[:, None, None, None], flipped.pixels, batch.pixels)
    targets = Targets(
        kind=batch.targets.kind,
        offsets=tf.where(mirror[:, None], flipped.targets.offsets, batch.targets.offsets),
        landmarks=tf.where(mirror[:, None, None], flipped.targets.landmarks, batch.targets.landmarks),
    )
    return Samples(augment_batch(pixels, colours, seeds[1]), targets)


def mirrored(batch: Samples) -> Samples:
    """Mirrors all samples, left and right, with their targets; of landmarks, left and right change names."""
    top, left, bottom, right = tf.unstack(batch.targets.offsets, axis=1)
    has_landmarks = tf.equal(batch.targets.kind, LANDMARK)[:, None, None]
    points = tf.where(has_landmarks, mirrored_points(batch.targets.landmarks), batch.targets.landmarks)
    targets = Targets(batch.targets.kind, tf.stack([top, -right, bottom, -left], axis=1), points)
    return Samples(tf.reverse(batch.pixels, [2]), targets)


def mirrored_points(landmarks: tf.Tensor) -> tf.Tensor:
    """Mirrors landmarks float32 [N, 5, 2], shares of their windows; left and right change names."""
    points = tf.gather(landmarks, _MIRRORED_POINTS, axis=1)
    return tf.stack([points[..., 0], 1.0 - points[..., 1]], axis=-1)


def _near(seed: tf.Tensor, faces: tf.Tensor, count: int, move: float) -> tf.Tensor:
    """Draws `count` square windows around faces float32 [M, 4], none if M is 0."""
    seeds = tf.random.split(seed, 4)
    known = tf.shape(faces)[0]
    count = tf.where(known > 0, count, 0)
    picked = tf.random.stateless_uniform([count], seeds[0], 0, tf.maximum(known, 1), tf.int32)
    faces = tf.gather(faces, picked)
    longer = tf.reduce_max(faces[:, 2:] - faces[:, :2], axis=1, keepdims=True)
    sides = longer * tf.random.stateless_uniform([count, 1], seeds[1], *_NEAR_SIDES)
    middles = (faces[:, :2] + faces[:, 2:]) / 2.0
    # Times a share, so that small moves are more frequent: else hardly a window would be a face.
    reach = sides * tf.random.stateless_uniform([count, 1], seeds[3])
    middles += reach * tf.random.stateless_uniform([count, 2], seeds[2], -move, move)
    return _squares(middles, sides)


def _anywhere(seed: tf.Tensor, size: tf.Tensor, count: int) -> tf.Tensor:
    """Draws `count` square windows inside of an image of `size` float32 [2]."""
    seeds = tf.random.split(seed, 2)
    largest = tf.reduce_min(size)
    smallest = tf.minimum(SMALLEST_WINDOW, largest)
    sides = smallest * (largest / smallest) ** tf.random.stateless_uniform([count, 1], seeds[0])
    corners = tf.random.stateless_uniform([count, 2], seeds[1]) * (size - sides)
    return tf.concat([corners, corners + sides], axis=1)


def _squares(middles: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    return tf.concat([middles - sides / 2.0, middles + sides / 2.0], axis=1)
