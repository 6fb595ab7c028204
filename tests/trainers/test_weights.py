import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import hashlib
import http.server
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import tf_keras as keras

from data_validation.errors import InputError
from trainers import weight_files, weights
from trainers.networks import vgg

SCALE = 1 / 32
CONTENT = bytes(range(256)) * 20_000  # 5 MB, more than a chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()


# --- obtain


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT at /weights.h5, and what goes wrong at other paths."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        if path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://example.invalid/weights.h5?key=secret")
            self.end_headers()
            return
        if path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        length = {"/short": len(CONTENT) + 5, "/huge": 3 << 30}.get(path, len(CONTENT))
        if path != "/endless":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()
        thread.join()


def refused(location: str, sha256: str, folder: Path, kind: type[Exception] = InputError) -> str:
    with pytest.raises(kind) as error:
        weight_files.obtain(location, sha256, folder)
    return str(error.value)


def test_local_file_needs_no_hash(tmp_path: Path) -> None:
    file = tmp_path / "vgg.h5"
    file.write_bytes(CONTENT)
    assert weight_files.obtain(str(file), "", tmp_path) == file
    assert weight_files.obtain(str(file), SHA256.upper(), tmp_path) == file


def test_local_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "vgg.h5"
    file.write_bytes(CONTENT)
    message = refused(str(file), "ab" * 32, tmp_path)
    assert message == (
        f"{file}: sha256 is {SHA256[:16]}..., expected abababababababab... (model.weights_sha256)"
    )


def test_missing_file_is_named(tmp_path: Path) -> None:
    message = refused(str(tmp_path / "none.h5"), "", tmp_path)
    assert message.startswith("model.weights: ") and "none.h5" in message


@pytest.mark.parametrize("sha256", ["abc", "x" * 64, f"{SHA256}00"])
def test_hash_that_is_none_is_refused(sha256: str, tmp_path: Path) -> None:
    assert refused("weights.h5", sha256, tmp_path).startswith("model.weights_sha256: expected 64 hex")


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "http://example.org/w.h5", "ftp://example.org/w.h5", "https://", "://"]
)
def test_only_https_is_fetched(url: str, tmp_path: Path) -> None:
    assert "model.weights: expected a path or an https:// URL" in refused(url, SHA256, tmp_path)


def test_url_without_hash_is_refused_and_not_fetched(server: tuple[str, list[str]], tmp_path: Path) -> None:
    url, asked = server
    assert "model.weights_sha256" in refused(f"{url}/weights.h5", "", tmp_path)
    assert not asked


def test_url_is_fetched_once(server: tuple[str, list[str]], tmp_path: Path) -> None:
    url, asked = server
    folder = tmp_path / "cache"
    file = weight_files.obtain(f"{url}/a/weights.h5?key=1", SHA256, folder)
    assert file.read_bytes() == CONTENT
    assert file.name == f"{SHA256[:16]}-weights.h5"
    assert weight_files.obtain(f"{url}/a/weights.h5?key=1", SHA256, folder) == file
    assert asked == ["/a/weights.h5?key=1"]
    file.write_bytes(b"damaged")
    assert weight_files.obtain(f"{url}/a/weights.h5?key=1", SHA256, folder).read_bytes() == CONTENT
    assert list(folder.iterdir()) == [file]


def test_url_with_another_content_leaves_nothing(server: tuple[str, list[str]], tmp_path: Path) -> None:
    url, _ = server
    message = refused(f"{url}/weights.h5?key=secret", "ab" * 32, tmp_path)
    assert message.startswith(f"{url}/weights.h5: sha256 is {SHA256[:16]}..., expected abab")
    assert not list(tmp_path.iterdir())


def test_passwords_in_urls_are_refused_and_not_repeated(tmp_path: Path) -> None:
    message = refused("https://me:word@example.org/w.h5?key=secret", SHA256, tmp_path)
    assert message.endswith("without user name and password: https://example.org/w.h5")


@pytest.mark.parametrize(
    ("path", "reason", "kind"),
    [
        ("/missing", "cannot fetch .*Not Found", InputError),
        # What may pass is tried again.
        ("/short", "ended after 5120000 of 5120005 bytes", ConnectionError),
        ("/huge", "at most 2048 MiB", InputError),
        ("/away", "expected a path or an https:// URL, found http://example.invalid/weights.h5$", InputError),
    ],
)
def test_failed_downloads_say_why(
    path: str, reason: str, kind: type[Exception], server: tuple[str, list[str]], tmp_path: Path
) -> None:
    assert re.search(f"^model.weights: .*{reason}", refused(server[0] + path, SHA256, tmp_path, kind))
    assert not list(tmp_path.iterdir())


def test_stream_of_unknown_length_is_bounded(
    server: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_files, "MOST_BYTES", 2 << 20)
    assert "at most 2 MiB" in refused(f"{server[0]}/endless", SHA256, tmp_path)


def test_silent_address_is_told(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as closed:
        port = closed.server_port
    message = refused(f"http://localhost:{port}/weights.h5", SHA256, tmp_path, ConnectionError)
    assert message.startswith(f"model.weights: cannot fetch http://localhost:{port}/weights.h5: ")


def test_progress_is_logged_and_parts_of_killed_runs_go(
    server: tuple[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(weight_files, "LOG_SECONDS", 0.0)
    old, new = tmp_path / "old.1.part", tmp_path / "new.2.part"
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (0, 0))
    with caplog.at_level(logging.INFO, "hexaface.trainer"):
        weight_files.obtain(f"{server[0]}/weights.h5", SHA256, tmp_path)
    assert caplog.messages[0] == "weights 1 of 4 MiB"
    assert (old.exists(), new.exists()) == (False, True)


# --- load


@pytest.fixture(scope="module")
def descriptor() -> keras.Model:
    return vgg.vggface_descriptor(SCALE)


@pytest.fixture(scope="module")
def dense_vggface() -> keras.Model:
    """VGG-Face in the layout of other conversions: dense layers, layers without weights between, softmax."""
    layers = keras.layers
    wide = vgg.vggface_descriptor(SCALE)
    x = layers.Flatten()(wide.get_layer("pool5").output)
    for name in ("fc6", "fc7"):
        x = layers.Activation("relu")(layers.Dense(128, name=f"dense_{name}")(x))
    x = layers.Dense(82, activation="softmax", name="identities")(x)
    return keras.Model(wide.input, x)


@pytest.fixture(scope="module")
def whole_vgg16() -> keras.Model:
    """`keras.applications.VGG16` with two more dense layers than ours, as the published files have."""
    ours = vgg.vgg16_features(SCALE)
    x = keras.layers.Dense(128, activation="relu", name="fc2")(ours.output)
    x = keras.layers.Dense(10, activation="softmax", name="predictions")(x)
    return keras.Model(ours.input, x)


def changed(build: Callable[[], keras.Model]) -> keras.Model:
    """Builds a network none of whose weights, biases included, is as Keras starts it."""
    network = build()
    network.set_weights([value + 0.5 for value in network.get_weights()])
    return network


def small() -> keras.Model:
    inputs = keras.Input((4, 4, 2), name="image")
    x = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(5, name="last")(x), name="small")


def refused_load(network: keras.Model, file: Path) -> str:
    with pytest.raises(InputError) as error:
        weights.load(network, file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def answers(network: keras.Model) -> np.ndarray:
    images = np.random.default_rng(2).random((1, *network.input_shape[1:])).astype(np.float32)
    return network(images, training=False).numpy()


def test_vgg16_file_fills_the_features(whole_vgg16: keras.Model, tmp_path: Path) -> None:
    whole_vgg16.save_weights(tmp_path / "vgg16.h5", save_format="h5")
    ours = changed(lambda: vgg.vgg16_features(SCALE))
    weights.load(ours, tmp_path / "vgg16.h5")
    assert all(map(np.array_equal, ours.get_weights(), whole_vgg16.get_weights()[:-4]))


def test_dense_file_fills_convolutions(
    dense_vggface: keras.Model, descriptor: keras.Model, tmp_path: Path
) -> None:
    dense_vggface.save_weights(tmp_path / "dense.h5", save_format="h5")
    weights.load(descriptor, tmp_path / "dense.h5")
    scores = keras.layers.Softmax()(descriptor.output)
    np.testing.assert_allclose(
        answers(keras.Model(descriptor.input, scores)), answers(dense_vggface), atol=1e-6
    )


def test_convolutions_file_fills_dense_layers(
    dense_vggface: keras.Model, descriptor: keras.Model, tmp_path: Path
) -> None:
    descriptor.save_weights(tmp_path / "conv.h5", save_format="h5")
    weights.load(dense_vggface, tmp_path / "conv.h5")
    np.testing.assert_allclose(
        dense_vggface.get_layer("dense_fc6").get_weights()[0].reshape(7, 7, 16, 128),
        descriptor.get_layer("fc6").get_weights()[0],
    )


def test_new_last_layer_is_skipped(descriptor: keras.Model, tmp_path: Path) -> None:
    descriptor.save_weights(tmp_path / "face.h5", save_format="h5")
    ages = vgg.vggface_ages(5, scale=SCALE)
    before = ages.get_layer(vgg.LAST).get_weights()
    assert "'fc8'" in refused_load(ages, tmp_path / "face.h5")
    weights.load(ages, tmp_path / "face.h5", skip=(vgg.LAST,))
    assert np.array_equal(
        ages.get_layer("fc7").get_weights()[0], descriptor.get_layer("fc7").get_weights()[0]
    )
    assert np.array_equal(ages.get_layer(vgg.LAST).get_weights()[0], before[0])
    with pytest.raises(ValueError, match=r"skip: .*fc9"):
        weights.load(ages, tmp_path / "face.h5", skip=("fc9",))


def test_full_model_file(tmp_path: Path) -> None:
    network, other = changed(small), small()
    network.save(tmp_path / "model.h5", save_format="h5")
    weights.load(other, tmp_path / "model.h5")
    assert all(map(np.array_equal, network.get_weights(), other.get_weights()))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    changed(small).save_weights(tmp_path / "small.h5", save_format="h5")
    return tmp_path / "small.h5"


def replace(file: Path, path: str, value: np.ndarray) -> None:
    with h5py.File(file, "r+") as root:
        del root[path]
        root[path] = value


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_are_cast(dtype: type, file: Path) -> None:
    replace(file, "last/last/kernel:0", np.full((12, 5), 0.25, dtype))
    network = small()
    weights.load(network, file)
    assert (network.get_layer("last").get_weights()[0] == 0.25).all()


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_values_that_are_not_finite_are_refused(value: float, file: Path) -> None:
    replace(file, "last/last/kernel:0", np.full((12, 5), value))
    assert "layer 'last': expected finite numbers" in refused_load(small(), file)


def test_integers_are_refused(file: Path) -> None:
    replace(file, "last/last/kernel:0", np.ones((12, 5), np.int64))
    assert "layer 'last': expected floating-point numbers" in refused_load(small(), file)


def test_wrong_shapes_are_named_before_anything_is_filled(file: Path) -> None:
    replace(file, "last/last/kernel:0", np.ones((11, 5), np.float32))
    network = small()
    before = network.get_weights()
    message = refused_load(network, file)
    assert message.endswith(
        "layer 'last' does not fit layer 'last' of the network: shapes 11x5 and 5, expected 12x5 and 5"
    )
    assert all(map(np.array_equal, before, network.get_weights()))


@pytest.mark.parametrize("shape", [(5, 12), (60,), (3, 4, 5)])
def test_only_dense_and_convolution_are_exchanged(shape: tuple[int, ...], file: Path) -> None:
    replace(file, "last/last/kernel:0", np.ones(shape, np.float32))
    assert "'last' does not fit" in refused_load(small(), file)


def test_convolutions_of_other_shapes_but_equal_size_are_refused(file: Path) -> None:
    replace(file, "conv/conv/kernel:0", np.ones((1, 9, 2, 3), np.float32))
    assert "shapes 1x9x2x3 and 3, expected 3x3x2x3 and 3" in refused_load(small(), file)


def test_too_few_layers_are_refused(tmp_path: Path) -> None:
    network = small()
    keras.Model(network.input, network.get_layer("norm").output).save_weights(
        tmp_path / "two.h5", save_format="h5"
    )
    assert "expected weights of 3 layers, found 2: none for layer 'last'" in refused_load(
        network, tmp_path / "two.h5"
    )


def test_files_of_other_kinds_are_refused(tmp_path: Path, file: Path) -> None:
    text, newer, cut = tmp_path / "text.h5", tmp_path / "newer.weights.h5", tmp_path / "cut.h5"
    text.write_bytes(b"not HDF5" * 500)
    small().save_weights(newer)
    cut.write_bytes(file.read_bytes()[:4000])
    assert "expected an HDF5 file of Keras weights" in refused_load(small(), text)
    assert "found HDF5 without layer_names" in refused_load(small(), newer)
    assert "expected an HDF5 file of Keras weights" in refused_load(small(), cut)
    assert "expected a file of weights" in refused_load(small(), tmp_path / "none.h5")


def test_missing_and_odd_entries_are_refused(file: Path) -> None:
    with h5py.File(file, "r+") as root:
        del root["last/last/kernel:0"]
    assert "expected an HDF5 file of Keras weights: " in refused_load(small(), file)
    with h5py.File(file, "r+") as root:
        root.create_group("last/last/kernel:0")
    assert "layer 'last': expected floating-point numbers" in refused_load(small(), file)
    with h5py.File(file, "r+") as root:
        del root["conv"]
        root["conv"] = np.ones(3)
    assert "expected an HDF5 file of Keras weights: " in refused_load(small(), file)
    with h5py.File(file, "r+") as root:
        root.attrs["layer_names"] = 5
    assert "expected an HDF5 file of Keras weights: " in refused_load(small(), file)


# --- fingerprint


def test_fingerprint_tells_values_names_and_use_apart() -> None:
    network = small()
    first = weights.fingerprint(network)
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert weights.fingerprint(network) == first
    same = small()
    same.set_weights(network.get_weights())
    assert weights.fingerprint(same) == first
    images = keras.Input((4, 4, 2))
    other_use = keras.Model(images, network(images) * 2.0, name="doubled")
    assert weights.fingerprint(other_use) != first
    assert weights.fingerprint(network, "mirrored") != first
    values = network.get_weights()
    values[-1][-1] += 1e-6
    same.set_weights(values)
    assert weights.fingerprint(same) != first
