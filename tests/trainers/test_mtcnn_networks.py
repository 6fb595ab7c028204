import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

from collections.abc import Callable

import numpy as np
import pytest
import tf_keras as keras

from trainers.networks import mtcnn

BUILD = {
    "p_net": (mtcnn.proposal_network, mtcnn.PROPOSAL_SIDE),
    "r_net": (mtcnn.refinement_network, mtcnn.REFINEMENT_SIDE),
    "o_net": (mtcnn.output_network, mtcnn.OUTPUT_SIDE),
}


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).random(shape).astype(np.float32)


# Published counts are without landmarks for P-Net and R-Net: 6,632 and 100,178.
@pytest.mark.parametrize(
    ("name", "count"), [("p_net", 6_632 + 330), ("r_net", 100_178 + 1_290), ("o_net", 389_040)]
)
def test_parameters_are_those_of_the_paper_s_layers(name: str, count: int) -> None:
    network = BUILD[name][0]()
    assert network.name == name
    assert network.count_params() == count


@pytest.mark.parametrize("name", ["r_net", "o_net"])
def test_outputs_are_one_row_a_window(name: str) -> None:
    build, side = BUILD[name]
    outputs = build()(pixels(3, side, side, 3))
    assert {key: value.shape.as_list() for key, value in outputs.items()} == {
        "face": [3, 2],
        "box": [3, 4],
        "landmarks": [3, 10],
    }


def test_p_net_gives_a_window_of_an_image_what_it_gives_the_window_alone() -> None:
    network = mtcnn.proposal_network()
    image = pixels(1, 31, 40, 3)
    maps = network(image)
    assert maps["face"].shape == (1, 10, 15, 2)
    for row, column in ((0, 0), (3, 7), (9, 14)):
        top, left = row * mtcnn.PROPOSAL_STRIDE, column * mtcnn.PROPOSAL_STRIDE
        alone = network(image[:, top : top + 12, left : left + 12])
        for name, values in mtcnn.OUTPUTS.items():
            assert alone[name].shape == (1, 1, 1, values)
            np.testing.assert_allclose(maps[name][0, row, column], alone[name][0, 0, 0], atol=1e-5)


@pytest.mark.parametrize("name", BUILD)
def test_negative_values_pass_with_a_slope_of_their_own_a_filter(name: str) -> None:
    for layer in BUILD[name][0]().layers:
        if isinstance(layer, keras.layers.PReLU):
            (slopes,) = layer.get_weights()
            assert slopes.size == slopes.shape[-1]
            assert (slopes == 0.25).all()


@pytest.mark.parametrize("build", [mtcnn.refinement_network])
def test_outputs_stay_float32_under_mixed_precision(build: Callable[[], keras.Model]) -> None:
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = build()
    finally:
        keras.mixed_precision.set_global_policy(before)
    assert network.get_layer("conv1").compute_dtype == "bfloat16"
    outputs = network(pixels(2, 24, 24, 3))
    assert {value.dtype.name for value in outputs.values()} == {"float32"}
