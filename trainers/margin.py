"""Training of embeddings by a softmax over persons with a margin, and what tells how good they are.

CosFace (Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018): the network
learns to tell the training persons apart by the angle between an image's embedding and a vector for each
person. A margin is taken off the right person's cosine, so that images of one person come nearer to each
other than telling them apart alone would ask for. The persons' vectors are thrown away afterwards.
"""

from typing import Any

import tensorflow as tf
import tf_keras as keras

# Resolution of the histogram of cosines: an error rate is off by less than a thousandth of the pairs.
_BINS = 2000
NOBODY = -1
"""Number of a person whom the training split does not have."""


class PersonCosines(keras.layers.Layer):
    """Cosines between embeddings and one vector a person, always in float32."""

    def __init__(self, persons: int, **options: Any) -> None:
        """Sets up the layer.

        Args:
            persons: How many there are in training.
            options: Of every Keras layer.
        """
        super().__init__(dtype="float32", **options)
        self._persons = persons

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes the persons' vectors, float32 [D, persons]."""
        self.vectors = self.add_weight(
            name="vectors", shape=(input_shape[-1], self._persons), initializer="glorot_normal"
        )

    def call(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Returns float32 [N, persons], -1 to 1, of embeddings float32 [N, D] of length 1."""
        return tf.matmul(embeddings, tf.math.l2_normalize(self.vectors, axis=0))


class MarginSoftmax(keras.losses.Loss):
    """Cross-entropy of scaled cosines, a margin taken off the right one (CosFace, equation 4)."""

    def __init__(self, scale: float, margin: float) -> None:
        """Sets up the loss.

        Args:
            scale: What cosines are multiplied by; too small a scale leaves the softmax flat.
            margin: Taken off the right person's cosine, 0 to 1.
        """
        super().__init__(name="margin_softmax")
        self._scale = scale
        self._margin = margin

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each image.

        Args:
            y_true: Numbers of persons, integers [N] or [N, 1].
            y_pred: Cosines, float32 [N, persons].
        """
        numbers = tf.reshape(tf.cast(y_true, tf.int64), [-1])
        right = tf.one_hot(numbers, tf.shape(y_pred)[-1], on_value=self._margin)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(numbers, self._scale * (y_pred - right))


class PairErrorRate(keras.metrics.Metric):
    """Equal error rate of the pairs within each batch; lower is better.

    Pairs across batches are left out, so that nothing but a histogram is kept. The Evaluator compares all.
    """

    def __init__(self, name: str = "eer") -> None:
        """Sets up the metric."""
        super().__init__(name=name, dtype="float32")
        self._same = self.add_weight(name="same", shape=(_BINS,), initializer="zeros")
        self._different = self.add_weight(name="different", shape=(_BINS,), initializer="zeros")

    def update_state(self, persons: tf.Tensor, embeddings: tf.Tensor, sample_weight: None = None) -> None:
        """Counts the pairs of a batch.

        Args:
            persons: Who is on each image, any type [N].
            embeddings: float [N, D] of length 1.
            sample_weight: Not used.
        """
        del sample_weight
        persons = tf.reshape(persons, [-1])
        embeddings = tf.cast(embeddings, tf.float32)
        cosines = tf.matmul(embeddings, embeddings, transpose_b=True)
        alike = tf.equal(persons[:, None], persons[None, :])
        # Each pair once, and no image with itself.
        later = tf.linalg.band_part(tf.ones_like(cosines, tf.bool), 0, -1) & ~tf.eye(
            tf.shape(cosines)[0], dtype=tf.bool
        )
        for counts, chosen in ((self._same, alike & later), (self._different, ~alike & later)):
            histogram = tf.histogram_fixed_width(tf.boolean_mask(cosines, chosen), [-1.0, 1.0], _BINS)
            counts.assign_add(tf.cast(histogram, tf.float32))

    def reset_state(self) -> None:
        """Begins anew; Keras itself would assign single zeros."""
        for counts in (self._same, self._different):
            counts.assign(tf.zeros_like(counts))

    def result(self) -> tf.Tensor:
        """Returns the rate, float32 []; 0.5, a coin's, while a kind of pairs is missing."""
        # Above each bin's lower edge, from the highest cosine down: accepted pairs.
        tar, far = (
            tf.math.divide_no_nan(tf.cumsum(counts, reverse=True), tf.reduce_sum(counts))
            for counts in (self._same, self._different)
        )
        nearest = tf.argmin(tf.abs(far - (1.0 - tar)))
        rate = (tf.gather(far, nearest) + 1.0 - tf.gather(tar, nearest)) / 2.0
        missing = tf.equal(tf.reduce_sum(self._same) * tf.reduce_sum(self._different), 0.0)
        return tf.where(missing, 0.5, rate)


class EmbeddingTrainer(keras.Model):
    """A functional model from images to cosines, validated by the pairs of persons that it never saw.

    Attributes:
        tower: From images to embeddings: what is kept.
    """

    def __init__(self, tower: keras.Model, persons: int) -> None:
        """Joins the tower and the persons' vectors.

        Args:
            tower: float32 [N, H, W, C] to float32 [N, D] of length 1.
            persons: How many there are in training.
        """
        super().__init__(tower.input, PersonCosines(persons, name="persons")(tower.output))
        self.tower = tower
        self.pair_error_rate = PairErrorRate()

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Validates a batch of images and of persons' names; there is no loss, as they have no vectors."""
        images, persons = data
        self.pair_error_rate.update_state(persons, self.tower(images, training=False))
        return {self.pair_error_rate.name: self.pair_error_rate.result()}

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """Returns what training measures: without the rate, which only validation does."""
        found = super().get_metrics_result()
        return {name: value for name, value in found.items() if name != self.pair_error_rate.name}
