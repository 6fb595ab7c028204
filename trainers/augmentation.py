"""Random changes to a batch of training images, as TensorFlow operations.

The functions work on whole batches, after `Dataset.batch`: all geometric changes of an image are multiplied
into one matrix, and one resampling operation does the entire batch. That is both faster than a chain of
per-image changes and blurs the pixels once only.
"""

import dataclasses
import math

import tensorflow as tf

# A zoom of 1 could shrink an image to a point, and a contrast of 1 could make it uniformly grey.
_BELOW_ONE = ("zoom", "contrast")
# Each random quantity has its own seed, so that switching one change on leaves the draws of the others alone.
# The seeds are drawn in this order. A new name goes to the end, where it leaves the others' seeds alone.
_DRAWS = (
    "flip",
    "shift_x",
    "shift_y",
    "rotate",
    "zoom",
    "stretch",
    "brightness",
    "contrast",
    "cutout_side",
    "cutout_x",
    "cutout_y",
    "grey",
    "coarse",
)
# Sides of the squares over which a coarse image is averaged, one as likely as the other.
_COARSE_SQUARES = (2, 4)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How strongly training images are changed at random.

    Every value is a bound, and 0 (or False) switches that change off.

    Attributes:
        flip: mirror left and right with probability one half.
        shift: largest shift along each axis, as a fraction of the image's width and height, 0..1.
        rotate_degrees: largest rotation either way around the centre, in degrees, 0..180.
        zoom: the face is made larger or smaller by a factor between 1 - zoom and 1 + zoom, 0 <= zoom < 1.
        stretch: the ratio of width to height changes by a factor between 1 / (1 + stretch) and 1 + stretch;
            the area stays the same.
        brightness: largest amount added to or taken from all pixels, 0..1 (pixels are 0..1 as well).
        contrast: distances from the image's own mean are multiplied by 1 - contrast to 1 + contrast,
            0 <= contrast < 1.
        cutout: side of the largest square that is painted over with the image's mean, as a fraction of the
            shorter side of the image, 0..1. The side of each square is drawn between 0 and this bound.
        grey: probability that a colour image becomes a grey one, 0..1.
        coarse: probability that an image loses its fine detail, which small, blurred and generated faces
            lack, 0..1: it is averaged over squares of 2x2 or of 4x4 pixels and scaled back bilinearly.

    Raises:
        ValueError: a value is outside its range; the message names it.
    """

    flip: bool = False
    shift: float = 0.0
    rotate_degrees: float = 0.0
    zoom: float = 0.0
    stretch: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    cutout: float = 0.0
    grey: float = 0.0
    coarse: float = 0.0

    def __post_init__(self) -> None:
        """Checks every value, so that a typing error in a settings file shows before training starts."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "flip":
                if not isinstance(value, bool):
                    raise ValueError(f"augmentation.flip: expected true or false, found {value!r}")
                continue
            top = 180.0 if field.name == "rotate_degrees" else 1.0
            open_end = field.name in _BELOW_ONE
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            # The comparison is also false for NaN, which is then refused.
            if not number or not 0 <= value <= top or (open_end and value == top):
                expected = f"a number from 0 to {top:g}" + (" (exclusive)" if open_end else "")
                raise ValueError(f"augmentation.{field.name}: expected {expected}, found {value!r}")

    @property
    def moves_pixels(self) -> bool:
        """Whether any geometric change is on."""
        return any((self.flip, self.shift, self.rotate_degrees, self.zoom, self.stretch))


def augment_batch(
    images: tf.Tensor, settings: Augmentation, seed: int | tf.Tensor | None = None
) -> tf.Tensor:
    """Changes each image of a batch at random, independently of the others.

    Args:
        images: floating [N, H, W, C], values 0..1. H and W may be unknown while the graph is built.
        settings: what to change, and by how much.
        seed: an int, or an integer tensor of shape [2]; the int `i` is the same as `[i, 0]`. The same seed
            and images give the same result. Without it, every call draws a new one from TensorFlow's global
            generator (see `tf.random.set_seed`), which is what `Dataset.map` needs.

    Returns:
        A tensor of the images' shape and dtype, values 0..1. With everything off, the images themselves.
    """
    if settings == Augmentation():
        return images
    if seed is None:
        pair = tf.random.uniform([2], maxval=tf.int64.max, dtype=tf.int64)
    elif isinstance(seed, int):
        pair = tf.constant([seed, 0], tf.int64)
    else:
        pair = tf.cast(seed, tf.int64)
    seeds = dict(zip(_DRAWS, tf.unstack(tf.random.split(pair, len(_DRAWS)), num=len(_DRAWS)), strict=True))

    changed = tf.cast(images, tf.float32)
    if settings.moves_pixels:
        changed = _move(changed, settings, seeds)
    if settings.coarse:
        changed = _coarsen(changed, settings.coarse, seeds)
    if settings.grey and images.shape[-1] == 3:
        changed = _grey(changed, settings.grey, seeds)
    if settings.brightness or settings.contrast:
        changed = _relight(changed, settings, seeds)
    if settings.cutout:
        changed = _cut_out(changed, settings.cutout, seeds)
    changed = tf.cast(tf.clip_by_value(changed, 0.0, 1.0), images.dtype)
    return tf.ensure_shape(changed, images.shape)


def _draw(seed: tf.Tensor, count: tf.Tensor, bound: float) -> tf.Tensor:
    """Draws float32 [count] values, uniform in -bound..bound."""
    return tf.random.stateless_uniform([count], seed, -bound, bound)


def _move(images: tf.Tensor, settings: Augmentation, seeds: dict[str, tf.Tensor]) -> tf.Tensor:
    """Mirrors, shifts, rotates, zooms and stretches float32 [N, H, W, C] with one bilinear resampling."""
    count, height, width = (tf.shape(images)[axis] for axis in range(3))
    centre_x = (tf.cast(width, tf.float32) - 1.0) / 2.0
    centre_y = (tf.cast(height, tf.float32) - 1.0) / 2.0

    angle = _draw(seeds["rotate"], count, math.radians(settings.rotate_degrees))
    zoom = 1.0 + _draw(seeds["zoom"], count, settings.zoom)
    # The square root is shared between the axes, one way and the other: the area does not change.
    stretch = tf.exp(_draw(seeds["stretch"], count, math.log1p(settings.stretch)) / 2.0)
    mirror = tf.ones([count])
    if settings.flip:
        mirror = tf.where(tf.random.stateless_uniform([count], seeds["flip"]) < 0.5, -1.0, 1.0)

    # The operation asks where in the input each output pixel comes from; so the factors are inverted.
    scale_x, scale_y = mirror / (zoom * stretch), stretch / zoom
    xx, xy = tf.cos(angle) * scale_x, -tf.sin(angle) * scale_y
    yx, yy = tf.sin(angle) * scale_x, tf.cos(angle) * scale_y
    # The matrix acts on distances from the image's centre, which the constant terms put back.
    x0 = centre_x - xx * centre_x - xy * centre_y
    y0 = centre_y - yx * centre_x - yy * centre_y
    x0 += _draw(seeds["shift_x"], count, settings.shift) * tf.cast(width, tf.float32)
    y0 += _draw(seeds["shift_y"], count, settings.shift) * tf.cast(height, tf.float32)
    none = tf.zeros([count])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([xx, xy, x0, yx, yy, y0, none, none], axis=1),
        output_shape=tf.stack([height, width]),
        interpolation="BILINEAR",
        # Mirrored borders look like skin and hair; black ones would show the network how the face was moved.
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def _coarsen(images: tf.Tensor, probability: float, seeds: dict[str, tf.Tensor]) -> tf.Tensor:
    """Takes the fine detail of some images of float32 [N, H, W, C] away; the mean of each stays."""
    drawn = tf.random.stateless_uniform([tf.shape(images)[0]], seeds["coarse"])
    share = probability / len(_COARSE_SQUARES)
    for index, square in enumerate(_COARSE_SQUARES):
        chosen = tf.where((drawn >= index * share) & (drawn < (index + 1) * share))
        # Only they are computed: doing it to all and choosing afterwards takes many times as long.
        changed = _averaged(tf.gather_nd(images, chosen), square)
        images = tf.tensor_scatter_nd_update(images, chosen, changed)
    return images


def _averaged(images: tf.Tensor, square: int) -> tf.Tensor:
    """Averages float32 [N, H, W, C] over squares and scales back to the same size, bilinearly.

    Where squares do not fit, some reach beyond the borders, on both sides as `SAME` has it; only their pixels
    inside count.
    """
    size = tf.shape(images)[1:3]
    means = tf.nn.avg_pool2d(images, square, square, "SAME")
    covered = tf.shape(means)[1:3] * square
    top, left = tf.unstack((covered - size) // 2)
    return tf.image.resize(means, covered)[:, top : top + size[0], left : left + size[1]]


def _grey(images: tf.Tensor, probability: float, seeds: dict[str, tf.Tensor]) -> tf.Tensor:
    """Takes the colours of some images of float32 [N, H, W, 3] away; the luma (BT.601) stays."""
    drawn = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seeds["grey"])
    return tf.where(drawn < probability, tf.image.rgb_to_grayscale(images), images)


def _relight(images: tf.Tensor, settings: Augmentation, seeds: dict[str, tf.Tensor]) -> tf.Tensor:
    """Changes contrast around each image's mean, and brightness, of float32 [N, H, W, C]. Does not clip."""
    count = tf.shape(images)[0]
    factor = (1.0 + _draw(seeds["contrast"], count, settings.contrast))[:, None, None, None]
    added = _draw(seeds["brightness"], count, settings.brightness)[:, None, None, None]
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return images * factor + (mean * (1.0 - factor) + added)


def _cut_out(images: tf.Tensor, largest: float, seeds: dict[str, tf.Tensor]) -> tf.Tensor:
    """Paints one square of each image of float32 [N, H, W, C] with that image's mean.

    The square's centre lies anywhere in the image, so that parts of a square may fall outside.
    """
    count, height, width = (tf.shape(images)[axis] for axis in range(3))
    height_f, width_f = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    unit = {
        name: tf.random.stateless_uniform([count, 1], seeds[f"cutout_{name}"]) for name in ("side", "x", "y")
    }
    half = unit["side"] * largest * tf.minimum(height_f, width_f) / 2.0
    rows = tf.abs(tf.range(height_f)[None, :] + 0.5 - unit["y"] * height_f) < half
    columns = tf.abs(tf.range(width_f)[None, :] + 0.5 - unit["x"] * width_f) < half
    square = (rows[:, :, None] & columns[:, None, :])[..., None]
    return tf.where(square, tf.reduce_mean(images, axis=[1, 2], keepdims=True), images)
