"""Pretrained weights: fetching a file that is known by its hash, and filling a network from it.

Only Keras's HDF5 weight files are read, and only their numbers: pickles and saved models can run code.
"""

import hashlib
import http.client
import logging
import math
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import IO

import h5py
import numpy as np
import tf_keras as keras

from data_validation.errors import InputError

logger = logging.getLogger("hexaface.trainer")

# Settings that errors name.
WEIGHTS_SETTING = "model.weights"
SHA256_SETTING = "model.weights_sha256"

# VGG-Face, the largest network here, has 553 MiB.
MOST_BYTES = 2 << 30
CHUNK_BYTES = 1 << 20
# A server that says nothing for so long is given up.
TIMEOUT_SECONDS = 30
LOG_SECONDS = 5.0
# A download writes at least once in TIMEOUT_SECONDS, so older parts belong to killed ones.
STALE_SECONDS = 600
LOCAL_HOSTS = ("127.0.0.1", "localhost")


def obtain(location: str, sha256: str, folder: Path) -> Path:
    """Returns a weights file whose content is known.

    Args:
        location: path of a file, or an https:// URL (http:// only to this machine).
        sha256: 64 hexadecimal digits. For a URL required; for a path, empty means that any content will do.
        folder: where downloads are kept. A file that is there with the right content is not fetched again.

    Returns:
        The file.

    Raises:
        InputError: there is no such file, it cannot be fetched, is larger than 2 GiB, has another hash, or a
            setting is wrong.
    """
    expected = sha256.strip().lower()
    if expected and not re.fullmatch("[0-9a-f]{64}", expected):
        raise InputError(f"{SHA256_SETTING}: expected 64 hexadecimal digits, found {sha256!r}")
    if "://" in location:
        return _download(location, expected, folder)
    file = Path(location).expanduser()
    if not file.is_file():
        raise InputError(f"{WEIGHTS_SETTING}: expected a file of weights, found none at {file}")
    if expected:
        _check_hash(str(file), _hash(file), expected)
    return file


def load(network: keras.Model, file: Path, skip: Collection[str] = ()) -> None:
    """Fills a network from a Keras HDF5 weights file, layer after layer in order; names may differ.

    A dense kernel in the file fills a convolution that covers its whole input, and the other way round: both
    hold the same numbers in the same order (rows, columns, channels). Layers at the end of the file that the
    network does not have are ignored. Numbers of 16 and 64 bits are converted.

    Args:
        network: built network.
        file: weights, or a whole model, in Keras's HDF5 format (`.h5`).
        skip: names of layers of the network that the file does not fill.

    Raises:
        InputError: the file is no such file, or does not fit. Shapes are checked before anything is filled; a
            value that is not finite may be found when some layers are.
        ValueError: `skip` names a layer that the network does not have.
    """
    ours = _weighted_layers(network, skip)
    try:
        with h5py.File(file, "r") as root:
            theirs = _stored_layers(root, file)
            if len(theirs) < len(ours):
                raise InputError(
                    f"{file}: expected weights of {len(ours)} layers, found {len(theirs)}: none for layer"
                    f" {ours[len(theirs)].name!r}"
                )
            pairs = list(zip(theirs, ours, strict=False))
            for (name, stored), layer in pairs:
                _check_shapes(file, name, stored, layer)
            for (name, stored), layer in pairs:
                layer.set_weights(_values(file, name, stored, layer))
    except FileNotFoundError:
        raise InputError(f"{WEIGHTS_SETTING}: expected a file of weights, found none at {file}") from None
    except (OSError, KeyError, RuntimeError, TypeError) as error:  # what h5py raises for damaged files
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: expected an HDF5 file of Keras weights: {reason}") from error


def fingerprint(network: keras.Model, *more: str) -> str:
    """Identifies a network by its name and its weights' names, shapes and values, in order.

    The name tells networks apart that use the same weights, such as one that averages the answers to an image
    and to its mirror image.

    Args:
        network: built network.
        more: what else the network's answers depend on.

    Returns:
        SHA-256, 64 hexadecimal digits.
    """
    digest = hashlib.sha256(repr((network.name, more)).encode())
    for weight in network.weights:
        value = np.ascontiguousarray(weight.numpy())
        digest.update(repr((weight.name, value.shape, value.dtype.str)).encode())
        digest.update(value.data)
    return digest.hexdigest()


# --- fetching


def _download(url: str, expected: str, folder: Path) -> Path:
    """Fetches a URL into the folder unless it is there; a kill leaves no file with the final name."""
    shown = _checked(url)
    if not expected:
        raise InputError(f"{SHA256_SETTING}: expected the hash of {shown}, found none")
    # The name starts with the hash, so that files of the same name from two places stand side by side.
    base = re.sub(r"[^\w.-]", "_", PurePosixPath(urllib.parse.urlsplit(url).path).name) or "weights.h5"
    file = folder / f"{expected[:16]}-{base}"
    if file.is_file() and _hash(file) == expected:
        return file
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.glob("*.part"):
        if time.time() - part.stat().st_mtime > STALE_SECONDS:
            part.unlink(missing_ok=True)
    temporary = folder / f"{file.name}.{os.getpid()}.part"
    try:
        _check_hash(shown, _fetch(url, shown, temporary), expected)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return file


def _checked(url: str) -> str:
    """Refuses all but https; returns the URL without its query, which may be secret."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise InputError(f"{WEIGHTS_SETTING}: expected a path or an https:// URL: {error}") from None
    shown = f"{parts.scheme}://{host}{port}{parts.path}"
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in LOCAL_HOSTS)):
        raise InputError(f"{WEIGHTS_SETTING}: expected a path or an https:// URL, found {shown}")
    if "@" in parts.netloc:
        raise InputError(f"{WEIGHTS_SETTING}: expected a URL without user name and password: {shown}")
    return shown


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects under the rules for the first URL."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _checked(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, shown: str, file: Path) -> str:
    """Writes a URL's content into a file; returns its SHA-256."""
    try:
        opener = urllib.request.build_opener(_Redirects)
        with opener.open(url, timeout=TIMEOUT_SECONDS) as answer, file.open("wb") as out:
            total = int(answer.headers.get("Content-Length") or 0)
            return _copy(answer, out, total, shown)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise InputError(f"{WEIGHTS_SETTING}: cannot fetch {shown}: {reason}") from error


def _copy(answer: IO[bytes], out: IO[bytes], total: int, shown: str) -> str:
    """Copies a bounded stream with a look at the clock for each chunk; returns its SHA-256."""
    digest, size, logged = hashlib.sha256(), 0, time.monotonic()
    while size <= MOST_BYTES >= total:
        chunk = answer.read(CHUNK_BYTES)
        if not chunk:
            break
        out.write(chunk)
        digest.update(chunk)
        size += len(chunk)
        if time.monotonic() - logged >= LOG_SECONDS:
            logged = time.monotonic()
            of = f" of {total >> 20}" if total else ""
            logger.info("weights %d%s MiB", size >> 20, of)
    if max(size, total) > MOST_BYTES:
        raise InputError(f"{WEIGHTS_SETTING}: expected at most {MOST_BYTES >> 20} MiB, found more at {shown}")
    if size < total:
        raise InputError(f"{WEIGHTS_SETTING}: {shown} ended after {size} of {total} bytes; try again")
    return digest.hexdigest()


def _hash(file: Path) -> str:
    """Returns the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _check_hash(shown: str, found: str, expected: str) -> None:
    if found != expected:
        raise InputError(
            f"{shown}: sha256 is {found[:16]}..., expected {expected[:16]}... ({SHA256_SETTING})"
        )


# --- filling


def _weighted_layers(network: keras.Model, skip: Collection[str]) -> list[keras.layers.Layer]:
    """Returns the layers to fill, in order."""
    unknown = set(skip) - {layer.name for layer in network.layers}
    if unknown:
        raise ValueError(f"skip: no layers {sorted(unknown)} in the network {network.name}")
    return [layer for layer in network.layers if layer.weights and layer.name not in skip]


def _stored_layers(root: h5py.File, file: Path) -> list[tuple[str, list[h5py.Dataset]]]:
    """Returns the layers of a file that have weights, in the file's order."""
    group = root.get("model_weights", root)
    if "layer_names" not in group.attrs:
        raise InputError(
            f"{file}: expected an HDF5 file of Keras weights, found HDF5 without layer_names (the newer"
            " .weights.h5 and .keras formats are not read)"
        )
    found = []
    for name in _names(group, "layer_names"):
        layer = group[name]
        if weights := [layer[weight] for weight in _names(layer, "weight_names")]:
            found.append((name, weights))
    for name, weights in found:
        for weight in weights:
            if not isinstance(weight, h5py.Dataset) or weight.dtype.kind != "f":
                raise InputError(f"{file}: layer {name!r}: expected floating-point numbers, found {weight}")
    return found


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Reads an attribute of names, which are bytes or text according to the version that wrote them."""
    return [name.decode() if isinstance(name, bytes) else str(name) for name in group.attrs[attribute]]


def _check_shapes(file: Path, name: str, stored: list[h5py.Dataset], layer: keras.layers.Layer) -> None:
    found = [tuple(weight.shape) for weight in stored]
    expected = [tuple(weight.shape) for weight in layer.weights]
    same = len(found) == len(expected) and all(map(_fits, found, expected))
    if not same:
        raise InputError(
            f"{file}: layer {name!r} does not fit layer {layer.name!r} of the network: shapes"
            f" {_shapes(found)}, expected {_shapes(expected)}"
        )


def _fits(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Tells whether shapes are the same, or those of a dense layer and of a convolution over its input."""
    if found == expected:
        return True
    return (
        {len(found), len(expected)} == {2, 4}
        and found[-1] == expected[-1]
        and math.prod(found) == math.prod(expected)
    )


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) or "()" for shape in shapes) or "none"


def _values(file: Path, name: str, stored: list[h5py.Dataset], layer: keras.layers.Layer) -> list[np.ndarray]:
    """Reads a layer's weights in the network's shapes."""
    values = []
    for weight, ours in zip(stored, layer.weights, strict=True):
        with np.errstate(over="ignore"):  # told by the check below
            value = np.asarray(weight[()]).astype(np.float32).reshape(ours.shape)
        if not np.isfinite(value).all():
            raise InputError(f"{file}: layer {name!r}: expected finite numbers, found NaN or infinity")
        values.append(value)
    return values
