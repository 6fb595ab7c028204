"""What the networks of MTCNN are trained by: three losses, each of the samples that it can be known for.

The HexaFace report (section 4.3) and the paper weigh the losses of a sample by the task, alpha, and by what
the sample is, beta: sum over tasks of alpha beta L. The report's cross-entropy, which is that of the paper,
has a misprint: in `-(y log p + (1 - y)(1 - log p))` the last bracket is neither 0 for a right answer nor
large for a wrong one. Meant, and computed here, is `-(y log p + (1 - y) log(1 - p))`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from trainers.networks.mtcnn import BOX, FACE, LANDMARKS, OUTPUTS

NOT_USED, NEGATIVE, POSITIVE, PART, LANDMARK = -1, 0, 1, 2, 3
"""Kinds of samples: background, faces, boxes partly on a face, faces with landmarks; -1 is none of them."""

HARD_SHARE = 0.7
"""Of the samples with a cross-entropy, those with the highest train (the paper, section II C)."""


class TaskWeights(NamedTuple):
    """Alpha: how much each task counts (the paper, section II C).

    Attributes:
        face: Of the cross-entropy.
        box: Of the box loss.
        landmarks: Of the landmark loss.
    """

    face: float = 1.0
    box: float = 0.5
    landmarks: float = 0.5


EARLY_WEIGHTS = TaskWeights()
"""For P-Net and R-Net."""
OUTPUT_WEIGHTS = TaskWeights(landmarks=1.0)
"""For O-Net, whose landmarks are the answer."""


class Targets(NamedTuple):
    """What a batch of samples should give.

    Attributes:
        kind: int32 [N]: NEGATIVE, POSITIVE, PART or LANDMARK; NOT_USED trains nothing.
        offsets: float32 [N, 4], of POSITIVE and PART; of no meaning for others.
        landmarks: float32 [N, 5, 2], of LANDMARK; of no meaning for others.
    """

    kind: tf.Tensor
    offsets: tf.Tensor
    landmarks: tf.Tensor


def losses(
    outputs: Mapping[str, tf.Tensor], targets: Targets, weights: TaskWeights, hard_share: float = HARD_SHARE
) -> dict[str, tf.Tensor]:
    """Returns the losses of a batch.

    Each is the mean of the samples that have it, so that alpha alone says how much a task counts, however
    many samples of each kind a batch has; without any it is 0.

    Args:
        outputs: Of one of the networks; float32 [N, ..., values], `...` of ones (P-Net's maps).
        targets: Of the same samples.
        weights: Alpha.
        hard_share: Share of the samples with a cross-entropy that count, those with the highest; 0 to 1.

    Returns:
        `face`, `box`, `landmarks`, and `loss`, their weighted sum; float32 [].
    """
    flat = {name: tf.reshape(outputs[name], [-1, values]) for name, values in OUTPUTS.items()}
    kind = tf.reshape(targets.kind, [-1])
    whole, part, has_points = (tf.equal(kind, each) for each in (POSITIVE, PART, LANDMARK))
    # Windows with landmarks are faces, too. The paper leaves them out here; where scenes are few, they
    # are most of the persons that the network sees.
    entropy = cross_entropy(flat[FACE], whole | has_points)
    squares = {
        BOX: squared_distance(flat[BOX], targets.offsets),
        LANDMARKS: squared_distance(flat[LANDMARKS], tf.reshape(targets.landmarks, [-1, OUTPUTS[LANDMARKS]])),
    }
    found = {
        FACE: hardest_mean(entropy, whole | has_points | tf.equal(kind, NEGATIVE), hard_share),
        BOX: _mean(squares[BOX], whole | part),
        LANDMARKS: _mean(squares[LANDMARKS], has_points),
    }
    total = weights.face * found[FACE] + weights.box * found[BOX] + weights.landmarks * found[LANDMARKS]
    return {**found, "loss": total}


def cross_entropy(logits: tf.Tensor, is_face: tf.Tensor) -> tf.Tensor:
    """Returns the cross-entropy of each sample, float32 [N].

    Args:
        logits: float32 [N, 2], of no face and of a face.
        is_face: bool [N].
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(is_face, tf.int32), logits)


def squared_distance(found: tf.Tensor, expected: tf.Tensor) -> tf.Tensor:
    """Returns the squared Euclidean distance of each sample, float32 [N], of two float32 [N, D]."""
    return tf.reduce_sum(tf.math.squared_difference(found, expected), axis=1)


def hardest_mean(values: tf.Tensor, counted: tf.Tensor, share: float) -> tf.Tensor:
    """Returns the mean of the highest values; the others have no gradient.

    Args:
        values: float32 [N], 0 or more.
        counted: bool [N], which of them are there at all.
        share: Share of those, rounded up.

    Returns:
        float32 []; 0 if there are none.
    """
    present = tf.boolean_mask(values, counted)
    # A small step down: a share of 0.7 of 10 values may come out above 7.
    most = tf.cast(tf.math.ceil(share * tf.cast(tf.size(present), tf.float32) - 1e-3), tf.int32)
    # One value more, which is never among the highest: the gradient of top_k fails where there is none.
    hardest = tf.math.top_k(tf.concat([present, [-1.0]], axis=0), most, sorted=False).values
    return tf.math.divide_no_nan(tf.reduce_sum(hardest), tf.cast(most, tf.float32))


def _mean(values: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    """Returns the mean of the counted values, 0 if there are none."""
    weights = tf.cast(counted, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(weights * values), tf.reduce_sum(weights))
