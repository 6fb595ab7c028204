import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import numpy as np
import pytest
import tensorflow as tf

from trainers import detection_losses
from trainers.detection_losses import (
    EARLY_WEIGHTS,
    LANDMARK,
    NEGATIVE,
    NOT_USED,
    OUTPUT_WEIGHTS,
    PART,
    POSITIVE,
    Targets,
    TaskWeights,
)

KINDS = np.array([NEGATIVE] * 7 + [POSITIVE] * 5 + [PART] * 4 + [LANDMARK] * 3 + [NOT_USED] * 2, np.int32)


def batch(kinds: np.ndarray = KINDS) -> tuple[dict[str, np.ndarray], Targets]:
    generator = np.random.default_rng(3)
    count = len(kinds)
    sizes = {"face": 2, "box": 4, "landmarks": 10}
    outputs = {name: generator.normal(size=(count, n)).astype(np.float32) for name, n in sizes.items()}
    offsets = generator.normal(size=(count, 4)).astype(np.float32)
    landmarks = generator.random((count, 5, 2)).astype(np.float32)
    return outputs, Targets(kinds, offsets, landmarks)


def expected(outputs: dict[str, np.ndarray], targets: Targets, share: float) -> dict[str, float]:
    faces, kind = outputs["face"], targets.kind
    p = np.exp(faces[:, 1]) / np.exp(faces).sum(axis=1)
    y = (kind == POSITIVE) | (kind == LANDMARK)
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))[y | (kind == NEGATIVE)]
    hardest = np.sort(entropy)[::-1][: int(np.ceil(round(share * len(entropy), 6)))]
    box = ((outputs["box"] - targets.offsets) ** 2).sum(axis=1)[(kind == POSITIVE) | (kind == PART)]
    points = targets.landmarks.reshape(-1, 10)
    landmarks = ((outputs["landmarks"] - points) ** 2).sum(axis=1)[kind == LANDMARK]
    return {"face": hardest.mean(), "box": box.mean(), "landmarks": landmarks.mean()}


@pytest.mark.parametrize("share", [0.7, 1.0, 0.1])
@pytest.mark.parametrize("weights", [EARLY_WEIGHTS, OUTPUT_WEIGHTS, TaskWeights(2.0, 0.0, 3.0)])
def test_losses_are_those_of_the_formulas(share: float, weights: TaskWeights) -> None:
    outputs, targets = batch()
    found = detection_losses.losses(outputs, targets, weights, share)
    wanted = expected(outputs, targets, share)
    for name, value in wanted.items():
        assert found[name].numpy() == pytest.approx(value, rel=1e-5)
    total = sum(weight * wanted[name] for weight, name in zip(weights, wanted, strict=True))
    assert found["loss"].numpy() == pytest.approx(total, rel=1e-5)


def test_weights_are_the_paper_s() -> None:
    assert EARLY_WEIGHTS == (1.0, 0.5, 0.5)
    assert OUTPUT_WEIGHTS == (1.0, 0.5, 1.0)


def test_maps_of_one_place_are_rows() -> None:
    outputs, targets = batch()
    maps = {name: values[:, None, None] for name, values in outputs.items()}
    rows = detection_losses.losses(outputs, targets, EARLY_WEIGHTS)
    assert detection_losses.losses(maps, targets, EARLY_WEIGHTS)["loss"] == rows["loss"]


def test_seven_of_ten_count_and_the_rest_has_no_gradient() -> None:
    values = tf.constant(np.random.default_rng(1).permutation(20).astype(np.float32))
    counted = np.arange(20) % 2 == 0
    with tf.GradientTape() as tape:
        tape.watch(values)
        mean = detection_losses.hardest_mean(values, counted, 0.7)
    chosen = tape.gradient(mean, values).numpy() > 0
    highest = np.sort(values.numpy()[counted])[::-1][:7]
    assert sorted(values.numpy()[chosen].tolist(), reverse=True) == highest.tolist()
    assert mean.numpy() == pytest.approx(highest.mean())


@pytest.mark.parametrize(
    ("kind", "trained"),
    [
        (NEGATIVE, {"face"}),
        (POSITIVE, {"face", "box"}),
        (PART, {"box"}),
        (LANDMARK, {"face", "landmarks"}),
        (NOT_USED, set()),
    ],
)
def test_each_kind_trains_its_own_tasks(kind: int, trained: set[str]) -> None:
    outputs, targets = batch(np.full(6, kind, np.int32))
    variables = {name: tf.Variable(values) for name, values in outputs.items()}
    with tf.GradientTape() as tape:
        loss = detection_losses.losses(variables, targets, EARLY_WEIGHTS)["loss"]
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    assert {name for name, gradient in gradients.items() if np.any(gradient)} == trained
    assert np.isfinite(loss)


def test_a_sure_wrong_answer_is_finite_and_costs_most() -> None:
    logits = tf.constant([[200.0, -200.0], [-200.0, 200.0]])
    wrong = detection_losses.cross_entropy(logits, tf.constant([True, False]))
    right = detection_losses.cross_entropy(logits, tf.constant([False, True]))
    assert wrong.numpy() == pytest.approx([400.0, 400.0])
    assert right.numpy() == pytest.approx([0.0, 0.0])
