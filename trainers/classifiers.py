"""Classifiers on features of a frozen network: fitted with scikit-learn, exported as Keras layers.

HexaFace report, sections 3.3.2 and 5.2. Two of the four are linear algebra and can be served inside the
graph; the trees are for the comparison only.
"""

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from data_validation.errors import InputError
from trainers.comparison import COMPARISON_FILE, Comparison, Result, load_comparison, save_comparison

__all__ = [
    "CLASSIFIERS",
    "COMPARISON_FILE",
    "Comparison",
    "Fitted",
    "Result",
    "as_network",
    "best_exportable",
    "fit_all",
    "load_comparison",
    "save_comparison",
]

logger = logging.getLogger("hexaface.trainer")

# The report used scikit-learn's defaults. More iterations than the default 100 and 200, which do not suffice
# for thousands of features; and standardised features, without which neither gets anywhere.
LOGISTIC_ITERATIONS = 2000
MLP_ITERATIONS = 500

# By the names of table 11 of the report, in its order: made from a seed.
CLASSIFIERS: Mapping[str, Callable[[int], Any]] = {
    "logistic regression": lambda seed: make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=LOGISTIC_ITERATIONS, random_state=seed)
    ),
    "MLP": lambda seed: make_pipeline(
        StandardScaler(), MLPClassifier(max_iter=MLP_ITERATIONS, random_state=seed)
    ),
    "decision tree": lambda seed: DecisionTreeClassifier(random_state=seed),
    "random forest": lambda seed: RandomForestClassifier(n_jobs=2, random_state=seed),
}
EXPORTABLE = ("logistic regression", "MLP")


@dataclass(frozen=True)
class Fitted(Result):
    """A result together with the scikit-learn estimator that gave it.

    Attributes:
        model: fitted estimator; a pipeline of a StandardScaler and a classifier where `exportable`.
    """

    model: Any


def fit_all(
    features: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], classes: int, seed: int
) -> list[Fitted]:
    """Fits every classifier of CLASSIFIERS on the split "train" and tries it on the others.

    Args:
        features: by split, float32 [N, D]; has "train" and "eval".
        labels: by split, integers [N], 0 to classes - 1.
        classes: number of classes, 2 or more.
        seed: of all random choices; the same seed gives the same classifiers.

    Returns:
        One for each classifier, in order.

    Raises:
        InputError: a class has no example in the split "train".
    """
    counts = np.bincount(labels["train"], minlength=classes)
    if not counts.all():
        missing = ", ".join(map(str, np.flatnonzero(counts == 0)))
        raise InputError(f"train: expected examples of all {classes} classes, found none of class {missing}")
    return [_fit(name, features, labels, classes, seed) for name in CLASSIFIERS]


def best_exportable(fitted: Sequence[Fitted]) -> Fitted:
    """Returns the exportable classifier with the highest accuracy on "eval"; of equal ones, the first."""
    candidates = [one for one in fitted if one.exportable]
    return max(candidates, key=lambda one: one.accuracy("eval"))


def as_network(fitted: Fitted, features_dim: int) -> keras.Model:
    """Writes a classifier as Keras layers that give what its `predict_proba` gives.

    Args:
        fitted: an exportable classifier.
        features_dim: number of features, D.

    Returns:
        A model from float32 [N, D] to float32 logits [N, classes], layer "logits", whose softmax is
        `predict_proba`.

    Raises:
        ValueError: the classifier is not exportable.
    """
    if not fitted.exportable:
        raise ValueError(f"{fitted.name}: cannot be written as dense layers")
    scaler, classifier = fitted.model
    inputs = keras.Input([features_dim], name="features")
    x = Standardised(scaler.mean_, scaler.scale_, name="standardised")(inputs)
    weights = _dense_weights(classifier)
    for number, pair in enumerate(weights, start=1):
        last = number == len(weights)
        layer = keras.layers.Dense(
            pair[0].shape[1],
            activation=None if last else "relu",
            dtype="float32",
            name="logits" if last else f"dense{number}",
        )
        x = layer(x)
        layer.set_weights(pair)
    return keras.Model(inputs, x, name="classifier")


class Standardised(keras.layers.Layer):
    """Takes the mean from features and divides by their scale, as StandardScaler does.

    In float64 inside, as scikit-learn computes it: float32 loses the small differences of large features when
    the mean is rounded. (`keras.layers.Normalization` takes scales below 1e-7 for 1e-7.)
    """

    def __init__(self, mean: Sequence[float], scale: Sequence[float], **kwargs: Any) -> None:
        """Makes the layer.

        Args:
            mean: of each feature.
            scale: of each feature, above 0.
            kwargs: of keras.layers.Layer.
        """
        super().__init__(**(kwargs | {"dtype": "float64"}))
        self._mean = np.asarray(mean, np.float64)
        self._scale = np.asarray(scale, np.float64)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Returns float32 [N, D]."""
        return tf.cast((features - self._mean) / self._scale, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Returns what makes an equal layer."""
        return super().get_config() | {"mean": self._mean.tolist(), "scale": self._scale.tolist()}


def _fit(
    name: str,
    features: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    classes: int,
    seed: int,
) -> Fitted:
    """Fits and tries one classifier and logs a line about it."""
    model = CLASSIFIERS[name](seed)
    start = time.monotonic()
    converged = _fit_quietly(model, features["train"], labels["train"])
    seconds = time.monotonic() - start
    confusion = {
        split: _confusion(labels[split], model.predict(features[split]), classes)
        for split in features
        if split != "train"
    }
    fitted = Fitted(name, name in EXPORTABLE, seconds, confusion, model)
    note = "" if converged else "; did not converge"
    logger.info("%s: eval accuracy %.3f (%.1f s%s)", name, fitted.accuracy("eval"), seconds, note)
    return fitted


def _fit_quietly(model: Any, features: np.ndarray, labels: np.ndarray) -> bool:
    """Fits a classifier; returns whether it converged. Other warnings are passed on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(features, labels)
    converged = True
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            converged = False
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return converged


def _confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> list[list[int]]:
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (true, predicted), 1)
    return matrix.tolist()


def _dense_weights(classifier: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns kernels and biases, the last with a column for each class."""
    if isinstance(classifier, LogisticRegression):
        weights = [(classifier.coef_.T, classifier.intercept_)]
    else:
        weights = list(zip(classifier.coefs_, classifier.intercepts_, strict=True))
    kernel, bias = weights[-1]
    if kernel.shape[1] == 1:
        # Two classes have one output z and the probability sigmoid(z), which is the softmax of [0, z].
        weights[-1] = np.pad(kernel, [(0, 0), (1, 0)]), np.pad(bias, (1, 0))
    return weights
