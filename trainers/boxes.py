"""Boxes and landmarks of faces as tensors.

A box is ymin, xmin, ymax, xmax in pixels from the upper left corner of the image: the first pixel is from 0
to 1, so a box of integer edges holds whole pixels, and its height is ymax - ymin. A landmark is y, x,
measured the same way. A box is without an area where an edge does not lie behind its opposite; its overlap
with any other is 0.

All functions take eager tensors, numpy arrays and tensors of graphs of unknown sizes.
"""

import tensorflow as tf

GREY = 128.0 / 255.0
"""What lies outside of an image, 0..1."""


def areas(boxes: tf.Tensor) -> tf.Tensor:
    """Returns the areas of boxes float32 [..., 4] in square pixels, float32 [...]."""
    sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]


def intersections(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns the areas that each two boxes share.

    Args:
        first: float32 [N, 4].
        second: float32 [M, 4].

    Returns:
        float32 [N, M], square pixels.
    """
    first, second = first[:, tf.newaxis], second[tf.newaxis]
    return areas(
        tf.concat(
            [tf.maximum(first[..., :2], second[..., :2]), tf.minimum(first[..., 2:], second[..., 2:])], -1
        )
    )


def iou(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns intersection over union of each two boxes; arguments and shape as of `intersections`, 0..1."""
    shared = intersections(first, second)
    union = areas(first)[:, tf.newaxis] + areas(second)[tf.newaxis] - shared
    return tf.math.divide_no_nan(shared, union)


def overlap_of_smaller(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Returns intersection over the smaller area of each two boxes; as `iou`.

    It is 1 for a box inside of another one, whose IoU may be anything.
    """
    smaller = tf.minimum(areas(first)[:, tf.newaxis], areas(second)[tf.newaxis])
    return tf.math.divide_no_nan(intersections(first, second), smaller)


def encode_offsets(windows: tf.Tensor, faces: tf.Tensor) -> tf.Tensor:
    """Tells where faces are relative to windows, as the paper's box regression does.

    Args:
        windows: float32 [N, 4], with an area.
        faces: float32 [N, 4].

    Returns:
        float32 [N, 4]: distance of each of the face's edges from the window's, as a share of the window's
        height or width.
    """
    return (faces - windows) / _sides(windows)


def decode_offsets(windows: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
    """Returns the faces, float32 [N, 4], that `encode_offsets` gave these offsets for these windows."""
    return windows + offsets * _sides(windows)


def encode_landmarks(windows: tf.Tensor, landmarks: tf.Tensor) -> tf.Tensor:
    """Tells where landmarks are inside of windows.

    Args:
        windows: float32 [N, 4], with an area.
        landmarks: float32 [N, P, 2].

    Returns:
        float32 [N, P, 2], shares of the window's height and width; 0..1 if they are inside.
    """
    return (landmarks - windows[:, tf.newaxis, :2]) / _sides(windows)[:, tf.newaxis, :2]


def decode_landmarks(windows: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """Returns the landmarks, float32 [N, P, 2], that `encode_landmarks` gave these shares for."""
    return windows[:, tf.newaxis, :2] + shares * _sides(windows)[:, tf.newaxis, :2]


def squared(boxes: tf.Tensor) -> tf.Tensor:
    """Makes boxes float32 [N, 4] square: the longer side stays, and the middle; they may leave the image."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    half = tf.reduce_max(boxes[:, 2:] - boxes[:, :2], axis=1, keepdims=True) / 2.0
    return tf.concat([middles - half, middles + half], axis=1)


def clipped(boxes: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Cuts off what is outside of an image.

    Args:
        boxes: float32 [N, 4].
        size: Height and width of the image, float32 [2].

    Returns:
        float32 [N, 4]. A box that was outside has no area.
    """
    return tf.clip_by_value(boxes, 0.0, tf.tile(size, [2]))


def suppressed(boxes: tf.Tensor, scores: tf.Tensor, overlap: float, most: int) -> tf.Tensor:
    """Chooses boxes by non-maximum suppression: none has too much IoU with one of a higher score.

    Args:
        boxes: float32 [N, 4].
        scores: float32 [N].
        overlap: The highest IoU that two chosen boxes may have.
        most: How many are chosen at most.

    Returns:
        int32 [at most `most`], numbers of the chosen boxes, the highest score first.
    """
    return tf.image.non_max_suppression(boxes, scores, most, iou_threshold=overlap)


def suppressed_by_smaller(boxes: tf.Tensor, scores: tf.Tensor, overlap: float, most: int) -> tf.Tensor:
    """Does what `suppressed` does by `overlap_of_smaller`: the paper's authors do so behind O-Net.

    A box on the eyes and mouth of a face has little IoU with the face, but is no other face.
    """
    overlaps = overlap_of_smaller(boxes, boxes)
    return tf.image.non_max_suppression_overlaps(overlaps, scores, most, overlap_threshold=overlap)


def crops(image: tf.Tensor, boxes: tf.Tensor, side: int, samples: int = 1) -> tf.Tensor:
    """Cuts boxes out of an image and resizes them.

    Pixel i of n along an axis is taken at ymin + (i + 1/2) (ymax - ymin) / n, the middle of its part of the
    box, by bilinear interpolation between the middles of the image's pixels. So a box of integer edges at its
    own size gives the pixels themselves. `tf.image.crop_and_resize` has another convention: for it, a box
    goes from the middle of its first to the middle of its last pixel. What is outside is GREY.

    Args:
        image: [H, W, 3], uint8 0..255 or float32 0..1.
        boxes: float32 [N, 4]; they may reach outside. N should be in the static shape: TensorFlow's optimiser
            warns that it does not know the cost of an unknown number, and no setting keeps it from that.
        side: Height and width wanted.
        samples: Each pixel is the mean of samples x samples places, each taken as told. Boxes larger than
            2 samples side lose pixels between places: then the result is noisy.

    Returns:
        float32 [N, side, side, 3], 0..1.
    """
    image = tf.convert_to_tensor(image)
    places = side * samples
    grey = 128 if image.dtype == tf.uint8 else GREY
    # With a frame of one pixel, places on the outer half of the border pixels fade to grey; the operation
    # would take them for outside. It would also divide by H - 1, which would be 0 for an image of one row.
    framed = tf.pad(image, [[1, 1], [1, 1], [0, 0]], constant_values=grey)
    size = tf.cast(tf.shape(framed)[:2], tf.float32)
    half_place = _sides(boxes)[:, :2] / (2.0 * places)
    # From edges to the middles of the first and last place; the frame moves all by 1, the middle of a pixel
    # by a half.
    first = (boxes[:, :2] + half_place + 0.5) / (size - 1.0)
    last = (boxes[:, 2:] - half_place + 0.5) / (size - 1.0)
    taken = tf.image.crop_and_resize(
        framed[tf.newaxis],
        tf.concat([first, last], axis=1),
        tf.zeros(tf.shape(boxes)[:1], tf.int32),
        [places, places],
        extrapolation_value=float(grey),
    )
    if samples > 1:
        taken = tf.reshape(taken, [-1, side, samples, side, samples, 3])
        taken = tf.reduce_mean(taken, axis=[2, 4])
    taken = tf.ensure_shape(taken, [None, side, side, 3])
    return taken * (1.0 / 255.0) if image.dtype == tf.uint8 else taken


def _sides(boxes: tf.Tensor) -> tf.Tensor:
    """Returns height, width, height, width of boxes [N, 4]."""
    return tf.tile(boxes[:, 2:] - boxes[:, :2], [1, 2])
