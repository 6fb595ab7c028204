"""Pushed models in this process: which there are, and loading one, without a server."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_validation.errors import InputError, one_line
from pipelines.settings import Workspace

REAL = "real"
"""The source of models of real data; those of drawn sample data have another."""


@dataclass(frozen=True)
class PushedModel:
    """A version of a model on disk.

    Attributes:
        folder: The version's folder, with the SavedModel.
        source: What it was trained on: `real` or `sample`, drawn faces.
        is_newest: Whether no newer one has been pushed.
    """

    folder: Path
    source: str
    is_newest: bool = True


def find_pushed(workspace: Workspace, name: str, version: str = "", source: str = "") -> PushedModel | None:
    """Finds a pushed model.

    Args:
        workspace: Where it was pushed.
        name: The model's name, which is that of its task.
        version: Such as "verification/1764000000", of the model wanted; where it is not there any more, or
            without, the newest is taken: of real data, or else of drawn sample data.
        source: Only models that were trained on it, `real` or `sample`; empty for all.

    Returns:
        The model, None where none has been pushed.

    Raises:
        InputError: The folders cannot be read.
    """
    from pipelines.serving_report import roots
    from serving.rollout import RolloutError
    from serving.rollout.model_config import pushed_models

    try:
        # One by one: with all at once, versions of sample data would be hidden by one of real data.
        places = [root for root in roots(workspace) if source in ("", root.title)]
        found = [pushed_models([root]).get(name) for root in places]
    except RolloutError as error:
        raise InputError(str(error)) from error
    models = [model for model in found if model]
    if not models:
        return None
    newest = models[0]
    wanted = {f"{name}/{number}": (model, number) for model in models for number in model.versions}
    model, number = wanted.get(version, (newest, newest.newest))
    is_newest = model is newest and number == newest.newest
    return PushedModel(model.versions[number], model.root.title, is_newest)


def need_pushed(workspace: Workspace, name: str, version: str = "") -> PushedModel:
    """Finds a pushed model that a command cannot do without; as `find_pushed`.

    Raises:
        InputError: None has been pushed, or the folders cannot be read.
    """
    pushed = find_pushed(workspace, name, version)
    if pushed is None:
        raise InputError(
            f"{workspace.root}: no {name} model has been pushed yet; "
            f"`hexaface run {name}` or `hexaface demo` makes one"
        )
    return pushed


def described(version: str, source: str) -> str:
    """Names a model for people, and says if it was trained on drawn faces only."""
    return version if source == REAL else f"{version}, trained on drawn faces"


def load_signature(folder: Path, name: str) -> tuple[Any, Any]:
    """Loads a SavedModel for one of its signatures; as `load_signatures`.

    Returns:
        The model and the signature.

    Raises:
        InputError: The model cannot be loaded, or has no such signature.
    """
    model, (signature,) = load_signatures(folder, name)
    return model, signature


def load_signatures(folder: Path, *names: str) -> tuple[Any, list[Any]]:
    """Loads a SavedModel for some of its signatures.

    Args:
        folder: The version's folder.
        names: The signatures' names.

    Returns:
        The model, to be kept beside the signatures, which do not keep the model's variables alive; and the
        signatures, in the order of their names.

    Raises:
        InputError: The model cannot be loaded, or has no such signature.
    """
    import tensorflow as tf

    # What it logs about a model concerns who wrote it.
    tf.get_logger().setLevel("ERROR")
    try:
        model = tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise InputError(f"{folder}: cannot be loaded: {one_line(error)}") from error
    for name in names:
        if name not in model.signatures:
            found = ", ".join(sorted(model.signatures)) or "none"
            raise InputError(f"{folder}: expected a signature {name}, found {found}")
    return model, [model.signatures[name] for name in names]


def read_object(file: Path) -> dict[str, Any]:
    """Reads a JSON object that lies beside a model.

    Raises:
        InputError: The file cannot be read or holds something else.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: expected JSON: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise InputError(f"{file}: expected a JSON object, found {type(values).__name__}")
    return values
