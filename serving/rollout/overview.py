"""What is on disk, and how the model server sees it."""

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from serving.client import Client, NotFound, ServerError, VersionStatus
from serving.rollout.model_config import ConfigFile, Model, Site, connect, entry_of, pushed_models, selected
from serving.rollout.records import has_records
from serving.wire import wire_pb2

_ASK_SECONDS = 10.0
# Versions are seconds since 1970; smaller numbers (1, 2) were given by hand.
_PUSHED_AFTER, _PUSHED_BEFORE = 10**9, 2**32


@dataclass(frozen=True)
class VersionInfo:
    """A version on disk.

    Attributes:
        number: The version.
        state: As the server says it, empty if it says nothing.
        error: Why the server does not serve it, empty if nothing is wrong.
        labels: Its labels in `models.config`.
        bytes: Size on disk.
        pushed: When; None if the number does not tell.
        has_records: Whether it has warm-up records.
    """

    number: int
    state: str
    error: str
    labels: tuple[str, ...]
    bytes: int
    pushed: datetime | None
    has_records: bool


@dataclass(frozen=True)
class ModelInfo:
    """A model on disk.

    Attributes:
        name: Its name.
        source: Title of the root that it is in.
        base_path: The folder of its versions.
        versions: The newest first.
        wanted: Versions that `models.config` asks for.
    """

    name: str
    source: str
    base_path: Path
    versions: tuple[VersionInfo, ...]
    wanted: tuple[int, ...]


@dataclass(frozen=True)
class Overview:
    """All models on disk.

    Attributes:
        models: By name.
        running: Whether the server answered.
        notices: What in `models.config` does not hold any more.
    """

    models: tuple[ModelInfo, ...]
    running: bool
    notices: tuple[str, ...]


def overview(site: Site, ask_server: bool = True) -> Overview:
    """Tells what is on disk, and how the server sees it if it answers; changes nothing.

    Raises:
        RolloutError: `models.config` cannot be used.
    """
    models = pushed_models(site.roots)
    config, notices = ConfigFile(site.roots).current(models)
    states: dict[str, dict[int, VersionStatus]] | None = None
    if ask_server:
        with connect(site.server, _ASK_SECONDS) as client:
            states = _states(client, models)
    found = [_model_info(model, entry_of(config, name), states) for name, model in models.items()]
    return Overview(tuple(found), states is not None, tuple(notices))


def _states(client: Client, models: Collection[str]) -> dict[str, dict[int, VersionStatus]] | None:
    """Asks for the state of each model; returns None if no server answers."""
    states = {}
    for name in models:
        try:
            states[name] = {status.version: status for status in client.status(name)}
        except NotFound:
            states[name] = {}
        except ServerError:
            return None
    return states


def _model_info(
    model: Model,
    entry: wire_pb2.ModelConfig,
    states: Mapping[str, Mapping[int, VersionStatus]] | None,
) -> ModelInfo:
    known = (states or {}).get(model.name, {})
    versions = [
        _version_info(number, folder, entry, known.get(number))
        for number, folder in sorted(model.versions.items(), reverse=True)
    ]
    wanted = tuple(sorted(selected(entry, model.versions)))
    return ModelInfo(model.name, model.root.title, model.base_path, tuple(versions), wanted)


def _version_info(
    number: int, folder: Path, entry: wire_pb2.ModelConfig, status: VersionStatus | None
) -> VersionInfo:
    return VersionInfo(
        number=number,
        state=status.state if status else "",
        error=status.error_message if status else "",
        labels=tuple(sorted(label for label, value in entry.version_labels.items() if value == number)),
        bytes=_size(folder),
        pushed=datetime.fromtimestamp(number) if _PUSHED_AFTER < number < _PUSHED_BEFORE else None,
        has_records=has_records(folder),
    )


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        # A version may be deleted meanwhile.
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
