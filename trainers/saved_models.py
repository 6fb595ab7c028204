"""SavedModels of image models: signatures, class names and preprocessing in one graph."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from data_validation.labels import AGE_CLASSES
from trainers.age_distribution import expectation, quantile
from trainers.imaging import from_pixels
from trainers.preprocessing import IMAGE

ABOUT_FOLDER = "assets.extra"
ABOUT_FILE = "about.json"
# What the Evaluator calls the transformed label: not like the feature, by whose names it slices.
LABEL_OUTPUT = "label"
# The interval that an age comes with holds four fifths of the probability (CompreFace and Rekognition give
# ranges too, without saying how sure they are).
LOW, HIGH = 0.1, 0.9


class GraphModule(tf.Module):
    """A network and the graph before it, which decodes and resizes; tasks say what signatures it has.

    Every signature takes a batch and treats its rows alone, so a batch gives what single requests give.
    AutoGraph is off: there is no Python control flow to convert, and trying takes longer than tracing.
    """

    def __init__(
        self, network: keras.Model, transform: tft.TFTransformOutput, trained: keras.Model | None = None
    ) -> None:
        """Puts the parts together.

        Args:
            network: Takes float32 [N, H, W, C] in 0..1.
            transform: Output of the Transform node; its graph decodes and resizes.
            trained: The network that was trained, if `network` is made of parts of it.
        """
        super().__init__()
        self.network = network
        # Where a warm start finds the weights.
        self.trained = trained or network
        # The layer must hang on the exported object, or its resources are not saved with it.
        self.transform_layer = transform.transform_features_layer()
        self._specification = transform.raw_feature_spec()

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures by the names that serving and the Evaluator use."""
        raise NotImplementedError

    def from_bytes(self, encoded: tf.Tensor) -> tf.Tensor:
        """Returns what the network takes of encoded images, string [N]."""
        return self.transform_layer({IMAGE: encoded})[IMAGE]

    def from_pixels(self, pixels: tf.Tensor) -> tf.Tensor:
        """Returns what the network takes of raw pixels, uint8 [N, H, W, 1 or 3]."""
        _, height, width, channels = self.network.input_shape
        return from_pixels(pixels, height, width, channels)

    def from_examples(self, serialized: tf.Tensor, feature: str) -> tf.Tensor:
        """Returns a transformed feature of serialised tf.Examples, string [N]."""
        parsed = tf.io.parse_example(serialized, {feature: self._specification[feature]})
        return self.transform_layer(parsed)[feature]


class ImageModule(GraphModule):
    """A network of classes with all that serving needs inside its graph; tasks say what they answer."""

    def __init__(
        self,
        network: keras.Model,
        transform: tft.TFTransformOutput,
        label: str,
        flip_averaging: bool,
        trained: keras.Model | None = None,
    ) -> None:
        """Puts the parts together.

        Args:
            network: Takes float32 [N, H, W, C] in 0..1 and returns logits [N, classes].
            transform: See GraphModule.
            label: Feature that holds the label.
            flip_averaging: Average the probabilities of the image and of its mirror image.
            trained: See GraphModule.
        """
        super().__init__(network, transform, trained)
        self._label = label
        self._flip_averaging = flip_averaging

    def answer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what `serving_default` and `pixels` answer.

        Args:
            images: float32 [N, H, W, C], values 0 to 1.
        """
        raise NotImplementedError

    def example_answer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what `serve_examples` answers, for Classify or Regress."""
        raise NotImplementedError

    def evaluation(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the one output of the signature `examples`, which the Evaluator compares with the label."""
        raise NotImplementedError

    def probabilities(self, images: tf.Tensor) -> tf.Tensor:
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

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve_images(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded images [N] to the answer."""
        return self.answer(self.from_bytes(image_bytes))

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec([None, None, None, None], tf.uint8, name="pixels")]
    )
    def serve_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Raw pixels [N, H, W, 1 or 3] to the answer."""
        return self.answer(self.from_pixels(pixels))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def serve_examples(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised tf.Example [N] (with `image/encoded`) to what Classify or Regress answer."""
        return self.example_answer(self.from_examples(inputs, IMAGE))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def evaluate_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised tf.Example [N] to what the Evaluator compares."""
        return self.evaluation(self.from_examples(examples, IMAGE))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transform_label(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialised tf.Example [N] to the transformed label alone, for the Evaluator."""
        return {LABEL_OUTPUT: self.from_examples(examples, self._label)}

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures by the names that serving and the Evaluator use."""
        return {
            "serving_default": self.serve_images.get_concrete_function(),
            "pixels": self.serve_pixels.get_concrete_function(),
            "serve_examples": self.serve_examples.get_concrete_function(),
            "examples": self.evaluate_examples.get_concrete_function(),
            "transform_label": self.transform_label.get_concrete_function(),
        }


class ClassifierModule(ImageModule):
    """Answers with `classes` string [N, C] and `scores` float32 [N, C]."""

    def __init__(
        self,
        network: keras.Model,
        transform: tft.TFTransformOutput,
        label: str,
        classes: Sequence[str],
        flip_averaging: bool,
        trained: keras.Model | None = None,
    ) -> None:
        """Puts the parts together.

        Args:
            network: See ImageModule.
            transform: See ImageModule.
            label: Feature that holds the class name.
            classes: Class names in the order of the logits.
            flip_averaging: See ImageModule.
            trained: See ImageModule.
        """
        super().__init__(network, transform, label, flip_averaging, trained)
        self._classes = tf.constant(list(classes))

    def answer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `classes` and `scores`."""
        scores = self.probabilities(images)
        classes = tf.repeat(self._classes[tf.newaxis], tf.shape(scores)[0], axis=0)
        return {"classes": classes, "scores": scores}

    def example_answer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `classes` and `scores`, which Classify takes as they are."""
        return self.answer(images)

    def evaluation(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `scores`."""
        return {"scores": self.probabilities(images)}


class AgeModule(ImageModule):
    """Answers with an age, its 10 to 90 % interval and the distribution over the years (report 3.2.3)."""

    def answer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `age`, `age_low` and `age_high` float32 [N] in years, `probabilities` float32 [N, 101]."""
        probabilities = tf.ensure_shape(self.probabilities(images), [None, AGE_CLASSES])
        return {
            "age": expectation(probabilities),
            "age_low": quantile(probabilities, LOW),
            "age_high": quantile(probabilities, HIGH),
            "probabilities": probabilities,
        }

    def example_answer(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `outputs` float32 [N], the ages: what Regress takes."""
        return {"outputs": expectation(self.probabilities(images))}

    def evaluation(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `estimates` float32 [N, 3]: age, low and high end of the interval."""
        answer = self.answer(images)
        return {"estimates": tf.stack([answer[name] for name in ("age", "age_low", "age_high")], axis=1)}


class Exportable(Protocol):
    """A module with signatures."""

    def signatures(self) -> dict[str, Any]:
        """Returns the signatures by the names that serving and the Evaluator use."""


def export(module: Exportable, folder: str, about: Mapping[str, Any]) -> None:
    """Saves a model for TensorFlow Serving and the Evaluator.

    Args:
        module: The model.
        folder: Folder of the SavedModel.
        about: What cannot be in a signature: settings, data, metrics. Written to `assets.extra/about.json`,
            which TensorFlow Serving leaves alone.
    """
    tf.saved_model.save(module, folder, signatures=module.signatures())
    extra = os.path.join(folder, ABOUT_FOLDER)
    tf.io.gfile.makedirs(extra)
    with tf.io.gfile.GFile(os.path.join(extra, ABOUT_FILE), "w") as file:
        file.write(json.dumps(about, indent=1) + "\n")
