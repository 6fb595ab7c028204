"""MTCNN as one graph: from an image to its faces, without a line of Python in between.

P-Net looks at windows of 12 pixels in the image made smaller step by step; R-Net at what P-Net takes for
faces, at 24 pixels; O-Net at what is left, at 48 pixels (Zhang, Zhang, Li, Qiao 2016, section II A). Between
the networks, boxes are moved as the network says, made square, and thinned out by non-maximum suppression.

Boxes are of the pixels as stored: an orientation in an image's EXIF data changes nothing.

The work is bounded: images are made smaller to LONGEST_SIDE, each step of the pyramid and each stage passes a
number of boxes on, and settings that a request brings have limits. So is the memory: one trace serves all
sizes, and the networks see few different shapes (see STEP and the batches), because oneDNN keeps kernels for
each shape that it has seen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras as keras

from trainers import boxes
from trainers.imaging import decode
from trainers.networks.mtcnn import (
    BOX,
    FACE,
    LANDMARKS,
    OUTPUT_SIDE,
    OUTPUTS,
    PROPOSAL_SIDE,
    PROPOSAL_STRIDE,
    REFINEMENT_SIDE,
)
from trainers.preprocessing import IMAGE

Network = Callable[..., Mapping[str, tf.Tensor]]
"""Pixels float32 to the outputs of `trainers.networks.mtcnn`; a Keras model is one."""

LONGEST_SIDE = 1920
"""Pixels. A larger image is made smaller first, so that `min_face` then is of the smaller image."""
MIN_FACE_LEAST = 10.0
FACTOR_LEAST, FACTOR_MOST = 0.5, 0.85
"""Limits of settings: beyond them the pyramid has more pixels or steps than anybody should wait for."""
SAMPLES = 2
"""Places a pixel along each axis when windows are cut out for R-Net and O-Net, see `trainers.boxes.crops`."""

# map_fn would convert functions while it runs eagerly, and all of Keras with them: seconds for nothing.
_unconverted = tf.autograph.experimental.do_not_convert
# Height and width of what P-Net sees are multiples of this, in pixels.
STEP = 32
_REFINEMENT_BATCH, _OUTPUT_BATCH = 64, 16
# IoU that boxes of one stage may have (the paper's authors' code): within a step of the pyramid, between the
# steps and behind R-Net; behind O-Net a share of the smaller box.
_OVERLAP_OF_STEP = 0.5
_OVERLAP = 0.7


@dataclass(frozen=True)
class CascadeSettings:
    """What the cascade does if a request does not say otherwise.

    Attributes:
        min_face: Side of the smallest faces looked for, pixels, MIN_FACE_LEAST or more.
        factor: Ratio of two steps of the pyramid, FACTOR_LEAST to FACTOR_MOST.
        thresholds: Scores from which P-Net, R-Net and O-Net pass a box on, 0 to 1.
        most_of_step: Boxes that each step of the pyramid passes on at most, the best.
        most_proposals: Boxes that R-Net looks at, at most.
        most_refined: Boxes that O-Net looks at, at most.
        most_faces: Rows of the answer: faces found at most.

    Raises:
        ValueError: A value is outside its range; the message names it.
    """

    min_face: float = 20.0
    factor: float = 0.709
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    most_of_step: int = 400
    most_proposals: int = 1024
    most_refined: int = 320
    most_faces: int = 200

    def __post_init__(self) -> None:
        """Checks the values, so that a typing error shows before a model is made."""
        if not self.min_face >= MIN_FACE_LEAST:
            raise ValueError(f"min_face: expected {MIN_FACE_LEAST:g} or more, found {self.min_face}")
        if not FACTOR_LEAST <= self.factor <= FACTOR_MOST:
            raise ValueError(f"factor: expected {FACTOR_LEAST:g} to {FACTOR_MOST:g}, found {self.factor}")
        if len(self.thresholds) != 3 or not all(0.0 <= value <= 1.0 for value in self.thresholds):
            raise ValueError(f"thresholds: expected three numbers from 0 to 1, found {self.thresholds}")
        for name in ("most_of_step", "most_proposals", "most_refined", "most_faces"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected 1 or more, found {getattr(self, name)}")


class Networks(tf.Module):
    """The networks as they were trained, where a warm start finds them in an exported cascade."""

    def __init__(self, proposal: keras.Model, refinement: keras.Model, output: keras.Model) -> None:
        """Holds P-Net, R-Net and O-Net."""
        super().__init__(name="mtcnn")
        self.proposal, self.refinement, self.output = proposal, refinement, output

    @property
    def in_order(self) -> tuple[keras.Model, keras.Model, keras.Model]:
        """P-Net, R-Net and O-Net."""
        return self.proposal, self.refinement, self.output


class Cascade(tf.Module):
    """The three networks and all that is between them.

    AutoGraph is off: there is no Python control flow to convert, and trying takes longer than tracing.

    Attributes:
        settings: What holds if a request does not say otherwise.
    """

    def __init__(
        self,
        proposal: Network,
        refinement: Network,
        output: Network,
        settings: CascadeSettings,
        trained: Networks | None = None,
    ) -> None:
        """Puts the parts together.

        Args:
            proposal: P-Net.
            refinement: R-Net.
            output: O-Net.
            settings: See CascadeSettings.
            trained: The Keras models that they are made of, for a warm start from the exported cascade.
        """
        super().__init__()
        self.trained = trained
        self.proposal, self.refinement, self.output = proposal, refinement, output
        self.settings = settings

    # The stages, which training uses to find samples for the next one

    def propose(
        self, image: tf.Tensor, min_face: tf.Tensor, factor: tf.Tensor, threshold: tf.Tensor
    ) -> tf.Tensor:
        """Returns what P-Net takes for faces.

        Args:
            image: float32 [H, W, 3], 0..1.
            min_face: float32 [], pixels.
            factor: float32 [].
            threshold: float32 [].

        Returns:
            float32 [at most most_proposals, 4]: square boxes in pixels, which may reach outside.
        """
        size = tf.cast(tf.shape(image)[:2], tf.float32)

        def sides_at(step: tf.Tensor) -> tf.Tensor:
            scale = PROPOSAL_SIDE / min_face * factor ** tf.cast(step, tf.float32)
            return tf.cast(tf.round(size * scale), tf.int32)

        def one_step(step: tf.Tensor, *found: tf.Tensor) -> tuple[tf.Tensor, ...]:
            more = self._propose_at(image, sides_at(step), threshold)
            both = (tf.concat(pair, axis=0) for pair in zip(found, more, strict=True))
            return (step + 1, *both)

        _, windows, offsets, scores = tf.while_loop(
            lambda step, *_: tf.reduce_min(sides_at(step)) >= PROPOSAL_SIDE,
            one_step,
            (tf.constant(0), tf.zeros([0, 4]), tf.zeros([0, 4]), tf.zeros([0])),
            shape_invariants=(
                tf.TensorShape([]),
                tf.TensorShape([None, 4]),
                tf.TensorShape([None, 4]),
                tf.TensorShape([None]),
            ),
        )
        kept = boxes.suppressed(windows, scores, _OVERLAP, self.settings.most_proposals)
        return _inside(boxes.squared(_moved(windows, offsets, kept)), size)

    def refine(self, image: tf.Tensor, windows: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
        """Returns what R-Net keeps of windows.

        Args:
            image: float32 [H, W, 3], 0..1.
            windows: float32 [N, 4], square.
            threshold: float32 [].

        Returns:
            float32 [at most most_refined, 4]: square boxes in pixels, which may reach outside.
        """
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        outputs = _in_batches(self.refinement, image, windows, REFINEMENT_SIDE, _REFINEMENT_BATCH)
        windows, outputs, scores = _above(threshold, windows, outputs)
        kept = boxes.suppressed(windows, scores, _OVERLAP, self.settings.most_refined)
        return _inside(boxes.squared(_moved(windows, outputs[BOX], kept)), size)

    def conclude(
        self, image: tf.Tensor, windows: tf.Tensor, threshold: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the faces that O-Net finds in windows.

        Args:
            image: float32 [H, W, 3], 0..1.
            windows: float32 [N, 4], square.
            threshold: float32 [].

        Returns:
            Boxes float32 [K, 4] and landmarks float32 [K, 5, 2] in pixels, scores float32 [K]; the highest
            score first, K at most most_faces.
        """
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        outputs = _in_batches(self.output, image, windows, OUTPUT_SIDE, _OUTPUT_BATCH)
        windows, outputs, scores = _above(threshold, windows, outputs)
        faces = boxes.clipped(boxes.decode_offsets(windows, outputs[BOX]), size)
        points = boxes.decode_landmarks(windows, tf.reshape(outputs[LANDMARKS], [-1, 5, 2]))
        has_area = boxes.areas(faces) > 0.0
        faces, points, scores = (tf.boolean_mask(each, has_area) for each in (faces, points, scores))
        kept = boxes.suppressed_by_smaller(faces, scores, _OVERLAP, self.settings.most_faces)
        faces, points, scores = (tf.gather(each, kept) for each in (faces, points, scores))
        return faces, points, scores

    def windows_for(
        self, stage: int, image: tf.Tensor, min_face: float, thresholds: tuple[float, float]
    ) -> tf.Tensor:
        """Returns what R-Net or O-Net is to look at, which is what it learns from.

        Args:
            stage: 2 for R-Net, 3 for O-Net.
            image: uint8 [H, W, 3] of any size.
            min_face: Pixels.
            thresholds: Of P-Net and R-Net.

        Returns:
            float32 [N, 4]: square boxes in pixels, which may reach outside.
        """
        smaller = _bounded(image)
        first, second = (tf.constant(threshold, tf.float32) for threshold in thresholds)
        windows = self.propose(
            smaller, tf.constant(min_face, tf.float32), tf.constant(self.settings.factor, tf.float32), first
        )
        if stage == 3:
            windows = self.refine(smaller, windows, second)
        scale = tf.shape(image)[:2] / tf.shape(smaller)[:2]
        return windows * tf.tile(tf.cast(scale, tf.float32), [2])

    # All of it

    def detect(
        self, image: tf.Tensor, min_face: tf.Tensor, factor: tf.Tensor, thresholds: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Finds the faces of one image.

        Args:
            image: uint8 [H, W, 3] of any size.
            min_face: See CascadeSettings; float32 [].
            factor: float32 [].
            thresholds: float32 [3].

        Returns:
            `detection_boxes` float32 [K, 4] (ymin, xmin, ymax, xmax) and `detection_keypoints` float32
            [K, 5, 2] (y, x; eyes, nose, corners of the mouth, left before right as seen), 0..1 of the image's
            height and width; `detection_scores` float32 [K]; `num_detections` int32 []. K is most_faces; the
            rows from num_detections on are 0.
        """
        image = _bounded(image)
        windows = self.propose(image, min_face, factor, thresholds[0])
        windows = self.refine(image, windows, thresholds[1])
        faces, points, scores = self.conclude(image, windows, thresholds[2])
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        most = self.settings.most_faces
        return {
            "detection_boxes": _padded(faces / tf.tile(size, [2]), [most, 4]),
            "detection_keypoints": _padded(tf.clip_by_value(points / size, 0.0, 1.0), [most, 5, 2]),
            "detection_scores": _padded(scores, [most]),
            "num_detections": tf.shape(scores)[0],
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def detect_images(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded images [N] of any sizes to the faces of each, by the model's own settings."""
        return self._each(image_bytes, lambda encoded: decode(encoded, channels=3))

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, name="image_bytes"),
            tf.TensorSpec([None], tf.float32, name="min_face"),
            tf.TensorSpec([None], tf.float32, name="factor"),
            tf.TensorSpec([None, 3], tf.float32, name="thresholds"),
        ],
    )
    def detect_by_settings(
        self, image_bytes: tf.Tensor, min_face: tf.Tensor, factor: tf.Tensor, thresholds: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Encoded images [N] and settings for each to the faces of each.

        A signature of its own, because TensorFlow Serving wants every input of a signature; one value an
        image, because it joins requests along the first axis. NaN stands for the model's own value.
        """
        given = (min_face, factor, thresholds)
        rows = zip(given, self._own_settings(tf.shape(image_bytes)[0]), strict=True)
        min_face, factor, thresholds = (tf.where(tf.math.is_nan(row), own, row) for row, own in rows)
        checks = [
            tf.debugging.assert_greater_equal(
                min_face, MIN_FACE_LEAST, f"min_face: expected {MIN_FACE_LEAST:g} or more"
            ),
            tf.debugging.Assert(
                tf.reduce_all((factor >= FACTOR_LEAST) & (factor <= FACTOR_MOST)),
                [f"factor: expected {FACTOR_LEAST:g} to {FACTOR_MOST:g}, found", factor],
            ),
            tf.debugging.Assert(
                tf.reduce_all((thresholds >= 0.0) & (thresholds <= 1.0)),
                ["thresholds: expected 0 to 1, found", thresholds],
                summarize=30,
            ),
        ]
        with tf.control_dependencies(checks):
            image_bytes = tf.identity(image_bytes)
        return self._each(
            image_bytes, lambda encoded: decode(encoded, channels=3), (min_face, factor, thresholds)
        )

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, None, None, None], tf.uint8, name="pixels")]
    )
    def detect_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Raw pixels [N, H, W, 1 or 3] to the faces of each, by the model's own settings."""
        # One channel becomes three alike.
        rgb = tf.repeat(pixels, tf.where(tf.equal(tf.shape(pixels)[-1], 1), 3, 1), axis=-1)
        return self._each(tf.ensure_shape(rgb, [None, None, None, 3]), tf.identity)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def detect_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised tf.Examples [N] (with `image/encoded`) to the faces of each, by the own settings."""
        features = tf.io.parse_example(examples, {IMAGE: tf.io.FixedLenFeature([], tf.string)})
        return self._each(features[IMAGE], lambda encoded: decode(encoded, channels=3))

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures by the names that serving uses."""
        return {
            "serving_default": self.detect_images.get_concrete_function(),
            "detect": self.detect_by_settings.get_concrete_function(),
            "pixels": self.detect_pixels.get_concrete_function(),
            "examples": self.detect_examples.get_concrete_function(),
        }

    def _each(
        self,
        inputs: tf.Tensor,
        image: Callable[[tf.Tensor], tf.Tensor],
        rows: tuple[tf.Tensor, ...] | None = None,
    ) -> dict[str, tf.Tensor]:
        """Finds the faces of each row; images one after the other, so that memory is that of one."""
        rows = rows or self._own_settings(tf.shape(inputs)[0])
        most = self.settings.most_faces
        return tf.map_fn(
            _unconverted(lambda row: self.detect(image(row[0]), *row[1:])),
            (inputs, *rows),
            parallel_iterations=1,
            fn_output_signature={
                "detection_boxes": tf.TensorSpec([most, 4], tf.float32),
                "detection_keypoints": tf.TensorSpec([most, 5, 2], tf.float32),
                "detection_scores": tf.TensorSpec([most], tf.float32),
                "num_detections": tf.TensorSpec([], tf.int32),
            },
        )

    def _own_settings(self, count: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns the model's settings, repeated for `count` images."""
        own = self.settings
        return (
            tf.fill([count], own.min_face),
            tf.fill([count], own.factor),
            tf.tile(tf.constant([own.thresholds], tf.float32), [count, 1]),
        )

    def _propose_at(
        self, image: tf.Tensor, sides: tf.Tensor, threshold: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Runs P-Net over the image at one step of the pyramid.

        Args:
            image: float32 [H, W, 3].
            sides: Height and width at this step, int32 [2].
            threshold: float32 [].

        Returns:
            Windows in the image's pixels float32 [N, 4], their offsets float32 [N, 4], scores float32 [N].
        """
        # The mean over each pixel's area, as windows are cut out for P-Net's training.
        resized = tf.image.resize(image[tf.newaxis], sides, "area")
        beyond = tf.math.floormod(-sides, STEP)
        filled = tf.pad(resized, [[0, 0], [0, beyond[0]], [0, beyond[1]], [0, 0]], constant_values=boxes.GREY)
        outputs = self.proposal(filled)
        # Only windows that lie in the image.
        places = (sides - PROPOSAL_SIDE) // PROPOSAL_STRIDE + 1
        scores = tf.nn.softmax(outputs[FACE])[0, : places[0], : places[1], 1]
        offsets = tf.reshape(outputs[BOX][0, : places[0], : places[1]], [-1, 4])
        flat = tf.reshape(scores, [-1])
        best = tf.math.top_k(flat, tf.minimum(tf.size(flat), self.settings.most_of_step))
        best_places = tf.boolean_mask(best.indices, best.values >= threshold)
        windows = _windows(best_places, places[1], tf.shape(image)[:2] / sides)
        found = tf.gather(flat, best_places)
        kept = boxes.suppressed(windows, found, _OVERLAP_OF_STEP, self.settings.most_of_step)
        return (
            tf.gather(windows, kept),
            tf.gather(tf.gather(offsets, best_places), kept),
            tf.gather(found, kept),
        )


def _windows(places: tf.Tensor, columns: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns where P-Net's windows are in the image.

    Args:
        places: Numbers of places of its map, row by row, int32 [N].
        columns: Columns of the map.
        scale: Height and width of a pixel of the step, in pixels of the image, float [2].

    Returns:
        float32 [N, 4].
    """
    corners = PROPOSAL_STRIDE * tf.stack([places // columns, places % columns], axis=1)
    edges = tf.concat([corners, corners + PROPOSAL_SIDE], axis=1)
    return tf.cast(edges, tf.float32) * tf.tile(tf.cast(scale, tf.float32), [2])


def _bounded(image: tf.Tensor) -> tf.Tensor:
    """Turns uint8 [H, W, 3] into float32 0..1, made smaller to LONGEST_SIDE if it is larger."""
    sides = tf.shape(image)[:2]
    scale = LONGEST_SIDE / tf.reduce_max(sides)
    smaller = tf.maximum(tf.cast(tf.round(tf.cast(sides, tf.float64) * scale), tf.int32), 1)
    pixels = tf.cond(
        scale < 1.0,
        lambda: tf.image.resize(image[tf.newaxis], smaller, "area")[0],
        lambda: tf.cast(image, tf.float32),
    )
    return tf.ensure_shape(pixels * (1.0 / 255.0), [None, None, 3])


def _in_batches(
    network: Network, image: tf.Tensor, windows: tf.Tensor, side: int, batch: int
) -> dict[str, tf.Tensor]:
    """Runs a network over windows float32 [N, 4] of an image, in batches of one size; outputs [N, values]."""
    count = tf.shape(windows)[0]
    filled = tf.pad(windows, [[0, tf.math.floormod(-count, batch)], [0, 0]])

    def outputs_of(each: tf.Tensor) -> dict[str, tf.Tensor]:
        found = network(boxes.crops(image, each, side, SAMPLES))
        return {name: found[name] for name in OUTPUTS}

    outputs = tf.map_fn(
        _unconverted(outputs_of),
        tf.reshape(filled, [-1, batch, 4]),
        parallel_iterations=1,
        fn_output_signature={
            name: tf.TensorSpec([batch, values], tf.float32) for name, values in OUTPUTS.items()
        },
    )
    return {name: tf.reshape(rows, [-1, rows.shape[-1]])[:count] for name, rows in outputs.items()}


def _above(
    threshold: tf.Tensor, windows: tf.Tensor, outputs: Mapping[str, tf.Tensor]
) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor]:
    """Keeps windows whose score is high enough; returns them, their outputs and their scores."""
    scores = tf.nn.softmax(outputs[FACE])[:, 1]
    high = scores >= threshold
    kept = {name: tf.boolean_mask(values, high) for name, values in outputs.items()}
    return tf.boolean_mask(windows, high), kept, tf.boolean_mask(scores, high)


def _moved(windows: tf.Tensor, offsets: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Moves the windows of these numbers by their offsets."""
    return boxes.decode_offsets(tf.gather(windows, kept), tf.gather(offsets, kept))


def _inside(windows: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Drops windows that show nothing of an image of this size."""
    return tf.boolean_mask(windows, boxes.areas(boxes.clipped(windows, size)) > 0.0)


def _padded(rows: tf.Tensor, shape: list[int]) -> tf.Tensor:
    """Adds rows of 0 up to a shape."""
    missing = shape[0] - tf.shape(rows)[0]
    return tf.ensure_shape(tf.pad(rows, [[0, missing], *[[0, 0]] * (len(shape) - 1)]), shape)
