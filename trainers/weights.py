"""Filling a network from pretrained weights.

Only Keras's HDF5 weight files are read, and only their numbers: pickles and saved models can run code.
"""

import hashlib
import math
from collections.abc import Collection
from pathlib import Path

import h5py
import numpy as np
import tf_keras as keras

from data_validation.errors import InputError
from trainers.weight_files import WEIGHTS_SETTING


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
