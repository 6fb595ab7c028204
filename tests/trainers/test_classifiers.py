import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import confusion_matrix

from data_validation.errors import InputError
from trainers import classifiers
from trainers.classifiers import Fitted, as_network, best_exportable, fit_all
from trainers.comparison import COMPARISON_FILE, load_comparison, save_comparison

DIMENSION = 20
EXPORTABLE = ["logistic regression", "MLP"]


def data(classes: int, seed: int = 1) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Overlapping clouds, with the features that make trouble: large, constant and nearly dead ones."""
    random = np.random.default_rng(seed)
    centres = 0.5 * random.normal(size=(classes, DIMENSION))
    features, labels = {}, {}
    for split, count in (("train", 150), ("eval", 60), ("test", 50)):
        labels[split] = random.integers(0, classes, count)
        cloud = centres[labels[split]] + random.normal(size=(count, DIMENSION))
        cloud[:, 0] = 1e6 + cloud[:, 0]
        cloud[:, 1] *= 1e4
        cloud[:, 2] = 1e5 / 3
        cloud[:, 3] = 0
        cloud[:, 4] *= 1e-9
        features[split] = cloud.astype(np.float32)
    return features, labels


@pytest.fixture(scope="module", params=[2, 3])
def problem(request: pytest.FixtureRequest) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]:
    return (*data(request.param), request.param)


@pytest.fixture(scope="module")
def fitted(problem: tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]) -> list[Fitted]:
    features, labels, classes = problem
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        return fit_all(features, labels, classes, seed=7)


def test_classifiers_are_those_of_the_report(fitted: list[Fitted]) -> None:
    assert [one.name for one in fitted] == list(classifiers.CLASSIFIERS)
    assert list(classifiers.CLASSIFIERS) == [*EXPORTABLE, "decision tree", "random forest"]
    assert [one.name for one in fitted if one.exportable] == EXPORTABLE
    assert fitted[0].model[-1].max_iter == 2000
    assert (fitted[1].model[-1].max_iter, fitted[1].model[-1].hidden_layer_sizes) == (500, (100,))
    assert fitted[3].model.n_jobs == 2


def test_confusion_matrices_and_accuracy(
    problem: tuple[dict[str, np.ndarray], dict[str, np.ndarray], int], fitted: list[Fitted]
) -> None:
    features, labels, classes = problem
    for one in fitted:
        assert list(one.confusion) == ["eval", "test"]
        for split, matrix in one.confusion.items():
            predicted = one.model.predict(features[split])
            assert matrix == confusion_matrix(labels[split], predicted, labels=range(classes)).tolist()
            assert one.accuracy(split) == pytest.approx((predicted == labels[split]).mean())
        assert one.accuracy("eval") > 1.2 / classes
        assert one.seconds > 0


@pytest.mark.parametrize("name", EXPORTABLE)
def test_layers_give_the_probabilities_of_scikit_learn(
    name: str, problem: tuple[dict[str, np.ndarray], dict[str, np.ndarray], int], fitted: list[Fitted]
) -> None:
    features, _, classes = problem
    one = fitted[EXPORTABLE.index(name)]
    network = as_network(one, DIMENSION)
    logits = network(features["test"])
    assert (logits.shape, logits.dtype) == ((50, classes), tf.float32)
    assert network.output_names == ["logits"]
    probabilities = one.model.predict_proba(features["test"])
    assert (probabilities.max(axis=1) < 0.999).any()
    np.testing.assert_allclose(tf.nn.softmax(logits), probabilities, atol=1e-5)


def test_layers_do_the_same_under_mixed_precision_and_when_saved(
    fitted: list[Fitted], tmp_path: Path
) -> None:
    features = data(2)[0]["test"]
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = as_network(fitted[1], DIMENSION)
    finally:
        keras.mixed_precision.set_global_policy(before)
    exact = as_network(fitted[1], DIMENSION)(features)
    np.testing.assert_array_equal(network(features), exact)
    module = tf.Module()
    module.network = network
    module.call = tf.function(network, input_signature=[tf.TensorSpec([None, DIMENSION])], autograph=False)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.call(features), exact, atol=1e-5)


def test_standardised_can_be_made_again_from_its_config() -> None:
    layer = classifiers.Standardised([1.0, 2.0], [0.5, 1e-9])
    again = classifiers.Standardised.from_config(layer.get_config())
    features = np.array([[2.0, 3.0]], np.float32)
    np.testing.assert_allclose(again(features), [[2.0, 1e9]])
    assert again(features).dtype == tf.float32


def test_trees_are_not_exported(fitted: list[Fitted]) -> None:
    with pytest.raises(ValueError, match="random forest"):
        as_network(fitted[3], DIMENSION)


def result(name: str, exportable: bool, right: int) -> Fitted:
    return Fitted(
        name, exportable, 0.5, {"eval": [[right, 10 - right], [0, 0]], "test": [[1, 0], [0, 1]]}, None
    )


def test_best_is_exportable_and_the_first_of_equals() -> None:
    rows = [result("a", True, 5), result("b", True, 7), result("c", True, 7), result("d", False, 9)]
    assert best_exportable(rows).name == "b"


def test_same_seed_gives_the_same() -> None:
    features, labels = data(2)
    first, second = (classifiers._fit("MLP", features, labels, 2, seed=3) for _ in range(2))
    assert np.array_equal(first.model[-1].coefs_[0], second.model[-1].coefs_[0])


def test_log_tells_accuracy_and_what_did_not_converge(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    features, labels = data(2)
    with caplog.at_level(logging.INFO, "hexaface.trainer"):
        good = classifiers._fit("logistic regression", features, labels, 2, seed=3)
        monkeypatch.setattr(classifiers, "MLP_ITERATIONS", 2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            classifiers._fit("MLP", features, labels, 2, seed=3)
    assert caplog.messages[0].startswith(f"logistic regression: eval accuracy {good.accuracy('eval'):.3f} (")
    assert caplog.messages[0].endswith(" s)")
    assert caplog.messages[1].endswith(" s; did not converge)")


def test_class_without_training_examples_is_told() -> None:
    features, labels = data(2)
    with pytest.raises(InputError, match="all 4 classes, found none of class 2, 3"):
        fit_all(features, labels, 4, seed=1)


# --- comparison on disk


def test_comparison_comes_back(fitted: list[Fitted], tmp_path: Path) -> None:
    file = tmp_path / "new" / COMPARISON_FILE
    save_comparison(file, fitted, "MLP", "of a test")
    comparison = load_comparison(file)
    assert comparison.chosen == "MLP"
    for one, read in zip(fitted, comparison.results, strict=True):
        assert (read.name, read.exportable, read.confusion) == (one.name, one.exportable, one.confusion)
        assert read.seconds == pytest.approx(one.seconds, abs=1e-3)
        assert read.accuracy("test") == one.accuracy("test")
    assert [entry.name for entry in file.parent.iterdir()] == [COMPARISON_FILE]
    with pytest.raises(ValueError, match="chosen"):
        save_comparison(file, fitted, "SVM", "of a test")


def test_damaged_comparison_is_told(tmp_path: Path) -> None:
    file = tmp_path / COMPARISON_FILE
    for content in ("{", "[]", "{}", '{"chosen": "a", "classifiers": [{}]}', json.dumps({"chosen": "a"})):
        file.write_text(content)
        with pytest.raises(InputError, match=COMPARISON_FILE):
            load_comparison(file)
    file.unlink()
    with pytest.raises(InputError, match="comparison of classifiers"):
        load_comparison(file)


def test_reports_need_no_tensorflow() -> None:
    code = "import sys, trainers.comparison; sys.exit(bool({'tensorflow', 'sklearn'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
