"""Features of images from a frozen network, kept on disk, from where a repeated run takes them."""

import functools
import hashlib
import io
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

logger = logging.getLogger("hexaface.trainer")

# Images a step of the network. VGG16's first block takes 26 MB an image; on two CPU cores 8, 16 and 32 images
# a step take the same time an image, 0.3 s.
BATCH_IMAGES = 16
# Features a file: the most that a kill can lose, some 2.5 minutes of VGG16 on two CPU cores.
SHARD_IMAGES = 512
LOG_SECONDS = 3.0
BAR_WIDTH = 16
DIGEST_BYTES = 32
# Files that are mapped at a time; each takes a file descriptor.
OPEN_SHARDS = 32


def digest(image: np.ndarray) -> bytes:
    """Returns the SHA-256 of an image's bytes, by which its features are kept."""
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()


class FeatureCache:
    """Feature vectors of one network by their images' digests, in append-only files.

    Each file is a `.npy` of pairs (digest, features) and has the start of its content's SHA-256 as its name:
    so a damaged one is known and ignored. Files are never changed; several processes may add some.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Opens or makes a cache.

        Args:
            folder: folder of the caches of all networks.
            fingerprint: of the network (`trainers.weights.fingerprint`); must differ wherever features do.
        """
        self.folder = folder / fingerprint[:16]
        self._pending: dict[bytes, np.ndarray] = {}
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._open = functools.lru_cache(OPEN_SHARDS)(_map_shard)
        for file in sorted(self.folder.glob("*.npy")):
            self._add_shard(file)

    def __len__(self) -> int:
        return len(self._places) + len(self._pending)

    def get(self, key: bytes, size: int) -> np.ndarray | None:
        """Returns an image's features, float32 [size], or None where they are not known.

        Args:
            key: the image's `digest`.
            size: how many features are expected.
        """
        found = self._pending.get(key)
        if found is None and key in self._places:
            file, row = self._places[key]
            found = self._open(file)["features"][row]
        return found if found is not None and found.shape == (size,) else None

    def put(self, key: bytes, features: np.ndarray) -> None:
        """Keeps an image's features, float32 [D]; they are on disk after SHARD_IMAGES or `flush`."""
        self._pending[key] = features
        if len(self._pending) >= SHARD_IMAGES:
            self.flush()

    def flush(self) -> None:
        """Writes what has been kept in memory so far.

        Raises:
            OSError: it cannot be written.
        """
        if not self._pending:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        data = _encoded(self._pending)
        file = self.folder / f"{_content_name(data)}.npy"
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(data)
        os.replace(temporary, file)
        self._places |= {key: (file, row) for row, key in enumerate(self._pending)}
        self._pending = {}

    def _add_shard(self, file: Path) -> None:
        """Learns what a file holds, unless it is damaged."""
        if not file.is_file() or _content_name(file.read_bytes()) != file.stem:
            logger.warning("%s: damaged, its features are computed again", file)
            return
        for row, key in enumerate(_map_shard(file)["digest"]):
            self._places[key.tobytes()] = (file, row)


def _encoded(features: dict[bytes, np.ndarray]) -> bytes:
    """Returns a `.npy` file of digests and features."""
    size = len(next(iter(features.values())))
    rows = np.empty(len(features), [("digest", np.uint8, DIGEST_BYTES), ("features", np.float32, size)])
    rows["digest"] = [np.frombuffer(key, np.uint8) for key in features]
    rows["features"] = list(features.values())
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()


def _content_name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _map_shard(file: Path) -> np.ndarray:
    return np.load(file, mmap_mode="r", allow_pickle=False)


def extract(
    network: keras.Model, batches: Iterable[np.ndarray], total: int, cache: FeatureCache
) -> np.ndarray:
    """Computes the features of images, or takes them from the cache.

    Says how far it is on the logger "hexaface.trainer" every few seconds and at the end.

    Args:
        network: functional model from float32 [N, H, W, C] to features [N, D].
        batches: float32 [B, H, W, C] of any B, the network's H, W and C.
        total: images in all batches.
        cache: of this network. Afterwards has all that was computed, also after an error or an interruption;
            after a kill it lacks the last SHARD_IMAGES at most.

    Returns:
        float32 [total, D], in the order of the batches.

    Raises:
        ValueError: the batches do not have `total` images, or the network does not give vectors.
    """
    if len(network.output_shape) != 2 or network.output_shape[1] is None:
        raise ValueError(f"network: expected the output shape (None, D), found {network.output_shape}")
    run = _Extraction(network, total, cache)
    try:
        for batch in batches:
            run.add(np.asarray(batch, np.float32))
        run.compute()
    finally:
        cache.flush()
    return run.finish()


class _Extraction:
    """State of one `extract`: images that are not in the cache wait until a step of the network is full."""

    def __init__(self, network: keras.Model, total: int, cache: FeatureCache) -> None:
        self._features = np.empty((total, network.output_shape[1]), np.float32)
        self._network = network
        self._cache = cache
        self._waiting: list[tuple[int, bytes, np.ndarray]] = []
        self._step: tf.types.experimental.GenericFunction | None = None
        self._seen = self._computed = 0
        self._start = self._logged = time.monotonic()

    def add(self, batch: np.ndarray) -> None:
        """Takes a batch in."""
        for image in batch:
            if self._seen == len(self._features):
                raise ValueError(f"batches: expected {self._seen} images, found more")
            key = digest(image)
            known = self._cache.get(key, self._features.shape[1])
            if known is None:
                self._waiting.append((self._seen, key, image))
            else:
                self._features[self._seen] = known
            self._seen += 1
            if len(self._waiting) == BATCH_IMAGES:
                self.compute()
        self._log_now_and_then()

    def compute(self) -> None:
        """Runs the network on the images that wait.

        The last step is filled up with black images: one shape means one tracing, and arithmetic in the same
        order for an image wherever it stands.
        """
        if not self._waiting:
            return
        images = np.stack([image for _, _, image in self._waiting])
        missing = BATCH_IMAGES - len(images)
        images = np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)])
        if self._step is None:
            self._step = _step(self._network, images.shape)
        answers = self._step(images).numpy().astype(np.float32, copy=False)
        for (row, key, _), features in zip(self._waiting, answers, strict=False):
            self._features[row] = features
            self._cache.put(key, features)
        self._computed += len(self._waiting)
        self._waiting = []
        self._log_now_and_then()

    def finish(self) -> np.ndarray:
        """Returns the features."""
        total = len(self._features)
        if self._seen != total:
            raise ValueError(f"batches: expected {total} images, found {self._seen}")
        known = f"; {total - self._computed:,} from the cache" if self._computed < total else ""
        logger.info("%s  (%.0f s%s)", _bar(total, total), time.monotonic() - self._start, known)
        return self._features

    def _log_now_and_then(self) -> None:
        now, total = time.monotonic(), len(self._features)
        done = self._seen - len(self._waiting)
        if now - self._logged < LOG_SECONDS or done == total:
            return
        self._logged = now
        # As if no other image were in the cache: those cost next to nothing.
        left = (total - done) * (now - self._start) / self._computed if self._computed else None
        logger.info("%s%s", _bar(done, total), "" if left is None else f"  ({left:.0f} s left)")


def _step(network: keras.Model, shape: tuple[int, ...]) -> tf.types.experimental.GenericFunction:
    """Compiles one step; Keras's own code has nothing for AutoGraph to convert."""
    signature = [tf.TensorSpec(shape, tf.float32)]
    return tf.function(lambda x: network(x, training=False), input_signature=signature, autograph=False)


def _bar(done: int, total: int) -> str:
    filled = BAR_WIDTH * done // max(total, 1)
    return f"features  {'█' * filled}{'░' * (BAR_WIDTH - filled)}  {done:,}/{total:,}"
