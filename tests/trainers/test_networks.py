import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from trainers.networks import compact as compact_network
from trainers.networks import emotion


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).random(shape).astype(np.float32)


@pytest.fixture(scope="module")
def report_vgg() -> keras.Model:
    return emotion.report_vgg((48, 48, 1), 7)


@pytest.fixture(scope="module")
def compact() -> keras.Model:
    return compact_network.compact((48, 48, 1), 7)


def test_report_vgg_has_the_layers_of_the_report(report_vgg: keras.Model) -> None:
    kinds = {
        keras.layers.Conv2D: lambda layer: layer.filters,
        keras.layers.MaxPooling2D: lambda layer: "pool",
        keras.layers.Dense: lambda layer: layer.units,
    }
    found = [kinds[type(layer)](layer) for layer in report_vgg.layers if type(layer) in kinds]
    assert found == [64, 64, "pool", 128, 128, "pool", 256, 256, "pool", 1024, 1024, 7]
    for layer in report_vgg.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert (layer.kernel_size, layer.strides, layer.padding) == ((3, 3), (1, 1), "same")
        if layer.name.startswith(("conv", "dense")) and "dropout" not in layer.name:
            assert layer.activation is keras.activations.relu
    rates = [layer.rate for layer in report_vgg.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.25, 0.25, 0.25, 0.5, 0.5]


def test_report_vgg_parameter_count(report_vgg: keras.Model) -> None:
    convolutions = sum(
        9 * a * b + b for a, b in [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    )
    dense = sum(a * b + b for a, b in [(6 * 6 * 256, 1024), (1024, 1024), (1024, 7)])
    assert report_vgg.count_params() == convolutions + dense == 11_639_239


def test_compact_parameter_count(compact: keras.Model) -> None:
    assert compact.count_params() == 1_176_359


@pytest.mark.parametrize("build", [emotion.report_vgg, compact_network.compact])
def test_gives_finite_float32_logits(
    build: Callable[..., keras.Model], request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(build.__name__)
    logits = model(pixels(3, 48, 48, 1), training=False)
    assert model.output_names == ["logits"]
    assert logits.shape == (3, 7)
    assert logits.dtype == "float32"
    assert np.isfinite(logits).all()
    assert not np.allclose(logits.numpy().sum(axis=1), 1.0)  # no softmax inside


@pytest.mark.parametrize("build", [emotion.report_vgg, compact_network.compact])
def test_other_sizes_channels_and_classes(build: Callable[..., keras.Model]) -> None:
    model = build((40, 32, 3), 2, 0.1)
    assert model.input_shape == (None, 40, 32, 3)
    assert model(pixels(1, 40, 32, 3), training=False).shape == (1, 2)


@pytest.mark.parametrize("build", [emotion.report_vgg, compact_network.compact])
@pytest.mark.parametrize(
    ("shape", "classes", "named"),
    [((7, 48, 1), 7, "input_shape"), ((48, 48), 7, "input_shape"), ((48, 48, 1), 1, "num")],
)
def test_impossible_sizes_are_refused_by_name(
    build: Callable[..., keras.Model], shape: tuple[int, ...], classes: int, named: str
) -> None:
    with pytest.raises(ValueError, match=f"{named}.*: expected .* found"):
        build(shape, classes)


def test_compact_refuses_no_widths() -> None:
    with pytest.raises(ValueError, match="widths"):
        compact_network.compact(widths=())


def test_compact_gives_each_image_the_same_answer_alone_and_in_a_batch(compact: keras.Model) -> None:
    images = pixels(4, 48, 48, 1)
    together = compact(images, training=False).numpy()
    alone = np.concatenate([compact(images[i : i + 1], training=False).numpy() for i in range(4)])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_logits_stay_float32_under_mixed_precision() -> None:
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = compact_network.compact((16, 16, 1), 3, widths=(8, 16))
    finally:
        keras.mixed_precision.set_global_policy(before)
    assert mixed.get_layer("conv1_1").compute_dtype == "bfloat16"
    assert mixed(pixels(2, 16, 16, 1)).dtype == "float32"
    # What is exported: the same weights in a float32 model.
    exact = compact_network.compact((16, 16, 1), 3, widths=(8, 16))
    exact.set_weights(mixed.get_weights())
    images = pixels(2, 16, 16, 1)
    np.testing.assert_allclose(exact(images), mixed(images), atol=0.05)


def test_compact_learns_ten_images_by_heart() -> None:
    keras.utils.set_random_seed(3)
    model = compact_network.compact((12, 12, 1), 7, dropout=0.0, widths=(16, 32))
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    # Keras' own code holds nothing for AutoGraph to convert, and looking through it takes 15 seconds.
    model.train_step = tf.autograph.experimental.do_not_convert(model.train_step)
    model.test_step = tf.autograph.experimental.do_not_convert(model.test_step)
    images, labels = pixels(10, 12, 12, 1), np.arange(10) % 7
    history = model.fit(images, labels, batch_size=10, epochs=25, verbose=0).history
    assert history["loss"][-1] < 0.1
    assert model.evaluate(images, labels, verbose=0)[1] == 1.0
