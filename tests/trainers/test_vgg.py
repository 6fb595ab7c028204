import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from trainers.networks import vgg

SCALE = 1 / 32


def pixels(count: int) -> np.ndarray:
    levels = np.random.default_rng(5).integers(0, 256, (count, 224, 224, 3))
    return (levels / 255).astype(np.float32)


def shapes(network: keras.Model) -> list[tuple[str, tuple[int, ...]]]:
    return [(weight.name, tuple(weight.shape)) for weight in network.weights]


@pytest.fixture(scope="module")
def features() -> keras.Model:
    return vgg.vgg16_features(SCALE)


@pytest.fixture(scope="module")
def descriptor() -> keras.Model:
    return vgg.vggface_descriptor(SCALE)


# In a graph, variables have shapes but no memory: the full networks have up to 580 MB.
def test_full_vgg16_has_the_layers_of_keras_applications() -> None:
    with tf.Graph().as_default():
        whole = shapes(keras.applications.VGG16(weights=None))
    with tf.Graph().as_default():
        ours = vgg.vgg16_features()
        assert ours.count_params() == 117_479_232
        assert ours.output_shape == (None, 4096)
        assert ours.input_shape == (None, 224, 224, 3)
        assert shapes(ours) == whole[:-4]  # without fc2 and predictions
        assert [name for name, _ in whole[-4::2]] == ["fc2/kernel:0", "predictions/kernel:0"]


def test_full_vggface_has_the_layers_of_the_paper() -> None:
    with tf.Graph().as_default():
        network = vgg.vggface_descriptor()
        assert network.count_params() == 145_002_878
        assert network.output_shape == (None, 2622)
        kernels = [shape for name, shape in shapes(network) if name.endswith("kernel:0")]
        assert kernels[0] == (3, 3, 3, 64)
        assert kernels[-3:] == [(7, 7, 512, 4096), (1, 1, 4096, 4096), (1, 1, 4096, 2622)]
        assert len(kernels) == 16
    tail = [layer.name for layer in network.layers[-6:]]
    assert tail == ["fc6", "fc6_dropout", "fc7", "fc7_dropout", "fc8", "flatten"]
    assert [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)] == [0.5, 0.5]
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            linear = layer.name == "fc8"
            assert layer.activation is (keras.activations.linear if linear else keras.activations.relu)


def test_full_ages_network_trains_the_last_three_convolutions() -> None:
    with tf.Graph().as_default():
        network = vgg.vggface_ages(101)
        trained = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
        assert (network.count_params(), trained) == (134_674_341, 119_959_653)
    names = [weight.name for weight in network.trainable_weights]
    assert names == [f"{layer}/{kind}:0" for layer in ("fc6", "fc7", "fc8") for kind in ("kernel", "bias")]


def test_vgg16_sees_pixels_as_keras_applications_prepares_them(features: keras.Model) -> None:
    images = pixels(2)
    seen = keras.Model(features.input, features.get_layer("centred").output)(images)
    expected = keras.applications.vgg16.preprocess_input(images * 255)
    np.testing.assert_allclose(seen, expected, atol=1e-4)


def test_vggface_sees_rgb_less_the_average_image(descriptor: keras.Model) -> None:
    images = pixels(2)
    seen = keras.Model(descriptor.input, descriptor.get_layer("centred").output)(images)
    np.testing.assert_allclose(seen, images * 255 - [129.1863, 104.7624, 93.5940], atol=1e-4)


def test_features_are_those_of_the_layer_fc1(features: keras.Model) -> None:
    found = features(pixels(2), training=False)
    assert (found.shape, found.dtype) == ((2, 128), tf.float32)
    assert np.isfinite(found).all()
    assert (found.numpy() >= 0).all() and (found.numpy() > 0).any()


def test_descriptor_has_no_softmax(descriptor: keras.Model) -> None:
    found = descriptor(pixels(2), training=False)
    assert (found.shape, found.dtype) == ((2, 82), tf.float32)
    assert np.isfinite(found).all()
    assert (found.numpy() < 0).any()


@pytest.mark.parametrize(
    ("layers", "trained"),
    [
        (3, ["fc8"]),
        (4, ["fc8"]),
        (5, ["fc7", "fc8"]),
        (7, ["fc6", "fc7", "fc8"]),
        (9, ["conv5_3", "fc6", "fc7", "fc8"]),
    ],
)
def test_layers_to_train_are_counted_from_the_softmax(layers: int, trained: list[str]) -> None:
    with tf.Graph().as_default():
        network = vgg.vggface_ages(5, layers, SCALE)
    assert [layer.name for layer in network.layers if layer.trainable_weights] == trained


def test_all_layers_can_be_trained() -> None:
    with tf.Graph().as_default():
        network = vgg.vggface_ages(5, None, SCALE)
    assert not network.non_trainable_weights


def test_ages_change_only_what_is_to_be_trained() -> None:
    network = vgg.vggface_ages(5, scale=SCALE)
    frozen = [weight.numpy() for weight in network.non_trainable_weights]
    network.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.train_step = tf.autograph.experimental.do_not_convert(network.train_step)
    before = [weight.numpy() for weight in network.trainable_weights]
    network.train_on_batch(pixels(2), np.array([1, 4]))
    assert all(map(np.array_equal, frozen, network.non_trainable_weights))
    assert not any(map(np.array_equal, before, network.trainable_weights))
    assert network(pixels(1), training=False).shape == (1, 5)


def test_logits_stay_float32_and_pixels_exact_under_mixed_precision() -> None:
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = vgg.vggface_ages(5, scale=SCALE)
    finally:
        keras.mixed_precision.set_global_policy(before)
    assert network.get_layer("conv1_1").compute_dtype == "bfloat16"
    assert network.get_layer("centred").compute_dtype == "float32"
    assert network(pixels(1), training=False).dtype == tf.float32


@pytest.mark.parametrize(("arguments", "named"), [((1,), "classes"), ((5, 2), "trainable_layers")])
def test_impossible_arguments_are_refused_by_name(arguments: tuple[int, ...], named: str) -> None:
    with pytest.raises(ValueError, match=f"{named}: expected .* found"):
        vgg.vggface_ages(*arguments)
