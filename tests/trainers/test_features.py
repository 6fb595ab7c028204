import trainers  # noqa: F401  (first: it chooses Keras 2)

# isort: split

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from trainers import features
from trainers.features import FeatureCache, digest, extract

DIMENSION = 6


class Counted(keras.layers.Layer):
    """Notes how many images each run of the network has."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[int] = []

    def call(self, images: tf.Tensor) -> tf.Tensor:
        def note(values: np.ndarray) -> np.ndarray:
            self.runs.append(len(values))
            return values

        noted = tf.numpy_function(note, [images], tf.float32)
        return tf.ensure_shape(noted, images.shape)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def network(counted: Counted) -> keras.Model:
    inputs = keras.Input((5, 4, 3))
    x = keras.layers.Flatten()(counted(inputs))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(DIMENSION)(x))
    network = keras.Model(inputs, x)
    counted.runs.clear()
    return network


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path, "ab" * 32)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(3).random((count, 5, 4, 3)).astype(np.float32)


def batches(all_images: np.ndarray, size: int = 7) -> Iterator[np.ndarray]:
    for start in range(0, len(all_images), size):
        yield all_images[start : start + size]


def expected(network: keras.Model, all_images: np.ndarray) -> np.ndarray:
    kernel, bias = network.get_weights()
    return all_images.reshape(len(all_images), -1) @ kernel + bias


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SHARD_IMAGES", 10)
    monkeypatch.setattr(features, "BATCH_IMAGES", 4)


def test_features_are_those_of_the_network_in_order(
    network: keras.Model, counted: Counted, cache: FeatureCache
) -> None:
    inputs = images(30)
    found = extract(network, batches(inputs), 30, cache)
    assert (found.shape, found.dtype) == ((30, DIMENSION), np.float32)
    np.testing.assert_allclose(found, expected(network, inputs), atol=1e-5)
    assert counted.runs == [4] * 8  # one shape, the last filled up


def test_known_images_do_not_run_the_network_again(
    network: keras.Model, counted: Counted, tmp_path: Path
) -> None:
    inputs = images(30)
    first = extract(network, batches(inputs), 30, FeatureCache(tmp_path, "ab" * 32))
    counted.runs.clear()
    again = extract(network, batches(inputs[::-1], 9), 30, FeatureCache(tmp_path, "ab" * 32))
    np.testing.assert_array_equal(again, first[::-1])
    assert counted.runs == []


def test_only_new_images_run(network: keras.Model, counted: Counted, tmp_path: Path) -> None:
    inputs = images(30)
    extract(network, batches(inputs[::2]), 15, FeatureCache(tmp_path, "ab" * 32))
    counted.runs.clear()
    found = extract(network, batches(inputs), 30, FeatureCache(tmp_path, "ab" * 32))
    assert len(counted.runs) == 4  # 15 images, 4 at a time
    np.testing.assert_allclose(found, expected(network, inputs), atol=1e-5)


def test_other_network_has_another_cache(network: keras.Model, counted: Counted, tmp_path: Path) -> None:
    inputs = images(4)
    extract(network, [inputs], 4, FeatureCache(tmp_path, "ab" * 32))
    extract(network, [inputs], 4, FeatureCache(tmp_path, "cd" * 32))
    assert counted.runs == [4, 4]


def test_killed_extraction_goes_on(network: keras.Model, counted: Counted, tmp_path: Path) -> None:
    inputs = images(30)
    at_kill = tmp_path / "at_kill"

    def killed() -> Iterator[np.ndarray]:
        yield from batches(inputs[:28])
        shutil.copytree(tmp_path / "cache", at_kill)  # what a kill at this moment would leave
        yield inputs[28:]

    whole = extract(network, killed(), 30, FeatureCache(tmp_path / "cache", "ab" * 32))
    after = FeatureCache(at_kill, "ab" * 32)
    assert len(after) == 20
    counted.runs.clear()
    found = extract(network, batches(inputs), 30, after)
    assert len(counted.runs) == 3  # 10 images were lost
    np.testing.assert_array_equal(found, whole)


def test_interrupted_extraction_keeps_all_it_has(network: keras.Model, tmp_path: Path) -> None:
    def interrupted() -> Iterator[np.ndarray]:
        yield images(14)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(network, interrupted(), 30, FeatureCache(tmp_path, "ab" * 32))
    assert len(FeatureCache(tmp_path, "ab" * 32)) == 12


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "pickle"])
def test_damaged_shard_is_ignored(
    damage: str, network: keras.Model, counted: Counted, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = images(30)
    first = extract(network, batches(inputs), 30, FeatureCache(tmp_path, "ab" * 32))
    shard = sorted(tmp_path.rglob("*.npy"))[0]
    data = shard.read_bytes()
    if damage == "cut":
        shard.write_bytes(data[:-5])
    elif damage == "changed":
        shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "empty":
        shard.write_bytes(b"")
    else:
        np.save(shard, np.array([{}]), allow_pickle=True)
    (shard.parent / "half.1.tmp").write_bytes(data[:50])
    counted.runs.clear()
    with caplog.at_level(logging.WARNING, "hexaface.trainer"):
        cache = FeatureCache(tmp_path, "ab" * 32)
    assert f"{shard}: damaged" in caplog.text
    found = extract(network, batches(inputs), 30, cache)
    np.testing.assert_array_equal(found, first)
    assert 1 <= len(counted.runs) <= 4
    assert len(FeatureCache(tmp_path, "ab" * 32)) == 30


def test_features_of_another_size_are_not_taken(cache: FeatureCache) -> None:
    key = digest(images(1)[0])
    cache.put(key, np.ones(3, np.float32))
    cache.flush()
    assert cache.get(key, 4) is None
    np.testing.assert_array_equal(cache.get(key, 3), [1, 1, 1])
    assert cache.get(digest(images(2)[1]), 3) is None


@pytest.mark.parametrize(("total", "found"), [(29, "found more"), (31, "found 30")])
def test_wrong_total_is_refused(total: int, found: str, network: keras.Model, cache: FeatureCache) -> None:
    with pytest.raises(ValueError, match=f"expected {total} images, {found}"):
        extract(network, batches(images(30)), total, cache)


def test_network_without_vectors_is_refused(cache: FeatureCache) -> None:
    inputs = keras.Input((5, 4, 3))
    network = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
    with pytest.raises(ValueError, match="output shape"):
        extract(network, [], 0, cache)


def test_no_images(network: keras.Model, cache: FeatureCache) -> None:
    assert extract(network, [], 0, cache).shape == (0, DIMENSION)


def test_progress_is_logged(
    network: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(features, "LOG_SECONDS", 0.0)
    with caplog.at_level(logging.INFO, "hexaface.trainer"):
        extract(network, batches(images(1200), 600), 1200, FeatureCache(tmp_path, "ab" * 32))
    assert re.fullmatch(r"features  ████████░░░░░░░░  600/1,200  \(\d+ s left\)", caplog.messages[149])
    assert re.fullmatch(r"features  █{16}  1,200/1,200  \(\d+ s\)", caplog.messages[-1])
    assert sum("1,200/1,200" in message for message in caplog.messages) == 1
    # However slow the machine is.
    monkeypatch.setattr(features, "LOG_SECONDS", 3600.0)
    caplog.clear()
    with caplog.at_level(logging.INFO, "hexaface.trainer"):
        extract(network, batches(images(1200)), 1200, FeatureCache(tmp_path, "ab" * 32))
    assert re.fullmatch(r"features  █+  1,200/1,200  \(\d+ s; 1,200 from the cache\)", caplog.messages[0])
