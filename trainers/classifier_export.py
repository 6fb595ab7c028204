"""SavedModels of image classifiers: signatures, class names and preprocessing in one graph."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from trainers.imaging import from_pixels

IMAGE = "image/encoded"
ABOUT_FILE = "about.json"


class ClassifierModule(tf.Module):
    """A classifier with all that serving needs inside its graph.

    Every signature takes a batch and treats its rows alone, so a batch gives what single requests give.
    AutoGraph is off: there is no Python control flow to convert, and trying takes longer than tracing.
    """

    def __init__(
        self,
        network: keras.Model,
        transform: tft.TFTransformOutput,
        classes: Sequence[str],
        label: str,
        image_feature: str,
        flip_averaging: bool,
    ) -> None:
        """Puts the parts together.

        Args:
            network: Takes float32 [N, H, W, C] in 0..1 and returns logits [N, len(classes)].
            transform: Output of the Transform node; its graph decodes and resizes.
            classes: Class names in the order of the logits.
            label: Feature that holds the class name.
            image_feature: Transformed feature that the network takes.
            flip_averaging: Average the scores of the image and of its mirror image.
        """
        super().__init__()
        self.network = network
        # The layer must hang on the exported object, or its resources are not saved with it.
        self.transform_layer = transform.transform_features_layer()
        self._specification = transform.raw_feature_spec()
        self._classes = tf.constant(list(classes))
        self._label = label
        self._image_feature = image_feature
        self._flip_averaging = flip_averaging

    def scores(self, images: tf.Tensor) -> tf.Tensor:
        """Returns class probabilities.

        Args:
            images: float32 [N, H, W, C], values 0 to 1.

        Returns:
            float32 [N, classes], rows add up to 1.
        """
        probabilities = self._probabilities(images)
        if self._flip_averaging:
            probabilities = (probabilities + self._probabilities(tf.reverse(images, [2]))) / 2.0
        return probabilities

    def _probabilities(self, images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.cast(self.network(images, training=False), tf.float32))

    def _answer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = self.scores(images)
        classes = tf.repeat(self._classes[tf.newaxis], tf.shape(scores)[0], axis=0)
        return {"classes": classes, "scores": scores}

    def _from_examples(self, serialized: tf.Tensor, *features: str) -> dict[str, tf.Tensor]:
        specification = {name: self._specification[name] for name in features}
        return self.transform_layer(tf.io.parse_example(serialized, specification))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve_images(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded images [N] to `classes` string [N, C] and `scores` float [N, C]."""
        return self._answer(self.transform_layer({IMAGE: image_bytes})[self._image_feature])

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, None, None, None], tf.uint8, name="pixels")]
    )
    def serve_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Raw pixels [N, H, W, 1 or 3] to `classes` and `scores`."""
        _, height, width, channels = self.network.input_shape
        return self._answer(from_pixels(pixels, height, width, channels))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def serve_examples(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised tf.Example [N] (with `image/encoded`) to `classes` and `scores`, for Classify."""
        return self._answer(self._from_examples(inputs, IMAGE)[self._image_feature])

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def evaluate_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised tf.Example [N] to `scores` alone, for the Evaluator."""
        return {"scores": self.scores(self._from_examples(examples, IMAGE)[self._image_feature])}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform_label(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised tf.Example [N] to the transformed label alone, for the Evaluator."""
        return {self._label: self._from_examples(examples, self._label)[self._label]}

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures by the names that serving and the Evaluator use."""
        return {
            "serving_default": self.serve_images.get_concrete_function(),
            "pixels": self.serve_pixels.get_concrete_function(),
            "serve_examples": self.serve_examples.get_concrete_function(),
            "examples": self.evaluate_examples.get_concrete_function(),
            "transform_label": self.transform_label.get_concrete_function(),
        }


def export(module: ClassifierModule, folder: str, about: Mapping[str, Any]) -> None:
    """Saves a classifier for TensorFlow Serving and the Evaluator.

    Args:
        module: The classifier.
        folder: Folder of the SavedModel.
        about: What cannot be in a signature: settings, data, metrics. Written to `assets.extra/about.json`,
            which TensorFlow Serving leaves alone.
    """
    tf.saved_model.save(module, folder, signatures=module.signatures())
    extra = os.path.join(folder, "assets.extra")
    tf.io.gfile.makedirs(extra)
    with tf.io.gfile.GFile(os.path.join(extra, ABOUT_FILE), "w") as file:
        file.write(json.dumps(about, indent=1) + "\n")
