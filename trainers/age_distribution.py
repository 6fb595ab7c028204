"""A distribution over the ages 0 to 100: labels for training, estimate and interval for answers.

The report (section 3.2.3) takes age estimation as a classification into 101 years and the expectation of the
softmax as the estimate, after Rothe, Timofte and Van Gool ("DEX: Deep EXpectation of apparent age from a
single image", ICCV workshops 2015).
"""

import tensorflow as tf
import tf_keras as keras

from data_validation.labels import AGE_CLASSES


def ages() -> tf.Tensor:
    """Returns the ages that the classes stand for, float32 [101]."""
    return tf.range(AGE_CLASSES, dtype=tf.float32)


def expectation(probabilities: tf.Tensor) -> tf.Tensor:
    """Returns the mean age.

    Args:
        probabilities: float32 [N, 101], rows add up to 1.

    Returns:
        float32 [N], years.
    """
    # Not a matrix product: its sums depend on the number of rows.
    return tf.reduce_sum(probabilities * ages(), axis=1)


def quantile(probabilities: tf.Tensor, share: float) -> tf.Tensor:
    """Returns the age below which a share of the probability lies.

    Each year's probability is spread evenly from half a year before to half a year after, so that a
    distribution's mean lies in the middle of its symmetric intervals.

    Args:
        probabilities: float32 [N, 101], rows add up to 1.
        share: Between 0 and 1.

    Returns:
        float32 [N], years from 0 to 100.
    """
    cumulative = tf.cumsum(probabilities, axis=1)
    # The first class that reaches the share; the last where rounding keeps the sum below it.
    index = tf.minimum(
        tf.reduce_sum(tf.cast(cumulative < share, tf.int32), axis=1, keepdims=True), AGE_CLASSES - 1
    )
    within = tf.gather(probabilities, index, axis=1, batch_dims=1)
    before = tf.gather(cumulative, index, axis=1, batch_dims=1) - within
    part = tf.math.divide_no_nan(share - before, within)
    year = tf.cast(index, tf.float32) - 0.5 + tf.clip_by_value(part, 0.0, 1.0)
    return tf.clip_by_value(year[:, 0], 0.0, float(AGE_CLASSES - 1))


def soft_labels(years: tf.Tensor, sigma: float) -> tf.Tensor:
    """Spreads labels over the neighbouring years, since a labelled age is never exact.

    A Gaussian around the age, as in label distribution learning (Gao et al., "Deep Label Distribution
    Learning with Label Ambiguity", TIP 2017), whose deviation for ages is 2 years.

    Args:
        years: Integers [N] from 0 to 100.
        sigma: Deviation in years; 0 puts all on the labelled year.

    Returns:
        float32 [N, 101], rows add up to 1.
    """
    if sigma == 0.0:
        return tf.one_hot(years, AGE_CLASSES)
    distance = (ages() - tf.cast(years, tf.float32)[:, tf.newaxis]) / sigma
    return tf.nn.softmax(-0.5 * distance**2)


class SoftLabelCrossEntropy(keras.losses.Loss):
    """Cross-entropy of logits [N, 101] against soft labels around the ages [N]."""

    def __init__(self, sigma: float) -> None:
        """Sets up the loss.

        Args:
            sigma: See `soft_labels`.
        """
        super().__init__(name="soft_label_cross_entropy")
        self._sigma = sigma

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each row, float32 [N]."""
        years = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        return tf.nn.softmax_cross_entropy_with_logits(soft_labels(years, self._sigma), y_pred)


def mae(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Absolute error of the expectation in years, float32 [N]; a Keras metric, which takes the mean.

    Args:
        y_true: Ages [N] or [N, 1].
        y_pred: Logits [N, 101].
    """
    years = tf.cast(tf.reshape(y_true, [-1]), tf.float32)
    return tf.abs(expectation(tf.nn.softmax(tf.cast(y_pred, tf.float32))) - years)
