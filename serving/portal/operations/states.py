"""Which versions of the six models there are, on disk and in the model server."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from serving.client import Client, Code, ServerError, VersionStatus
from serving.portal import model_server
from serving.rollout.errors import RolloutError
from serving.rollout.model_config import Site, workspace_roots
from serving.rollout.overview import ModelInfo, VersionInfo, overview

_SECONDS = 1.5
_STATES = {
    "START": "is loading",
    "LOADING": "is loading",
    "AVAILABLE": "serves",
    "UNLOADING": "is being unloaded",
}
_NOT_LOADED, _UNKNOWN = "is not loaded", "not known"


@dataclass(frozen=True)
class Version:
    """A version of a model.

    Attributes:
        model: Name of the model.
        number: The version; None where there is none at all.
        state: In words.
        serves: Whether it answers.
        labels: Its labels.
        source: "real" or "sample": which pictures it was trained on; empty if it is not in the workspace.
        pushed: When; None if it is not known.
    """

    model: str
    number: int | None
    state: str
    serves: bool = False
    labels: tuple[str, ...] = ()
    source: str = ""
    pushed: datetime | None = None


@dataclass(frozen=True)
class States:
    """All versions.

    Attributes:
        versions: At least one entry a model: those that the server has, and the newest on disk.
        running: Whether the server answered for every model.
    """

    versions: tuple[Version, ...]
    running: bool


def look(client: Client, home: Path, models: Iterable[str]) -> States:
    """Looks at the disk, and asks the server for all models at once.

    Args:
        client: Of the model server.
        home: The workspace; it need not be on this machine.
        models: Names.
    """
    names = list(models)
    on_disk = _on_disk(home)
    with ThreadPoolExecutor(len(names)) as pool:
        told = dict(zip(names, pool.map(lambda name: _ask(client, name), names), strict=True))
    versions = [each for name in names for each in _versions(name, told[name], on_disk.get(name))]
    return States(tuple(versions), None not in told.values())


def _on_disk(home: Path) -> dict[str, ModelInfo]:
    try:
        found = overview(Site(workspace_roots(home)), ask_server=False)
    except RolloutError:
        # Its file is not to be read; `hexaface models list` tells why.
        return {}
    return {model.name: model for model in found.models}


def _ask(client: Client, name: str) -> list[VersionStatus] | None:
    """Returns what the server has of a model; None if it does not answer."""
    try:
        return model_server.versions(client, name, _SECONDS)
    except ServerError:
        return None


def _versions(name: str, told: list[VersionStatus] | None, model: ModelInfo | None) -> list[Version]:
    states = {status.version: status for status in told or ()}
    infos = {info.number: info for info in (model.versions if model else ())}
    # A version that was unloaded long ago and is not on disk any more is of no interest.
    shown = {number for number, status in states.items() if number in infos or not _has_ended(status)}
    shown |= set(list(infos)[:1])
    source = model.source if model else ""
    found = [
        _version(name, number, states.get(number), infos.get(number), source, told is not None)
        for number in sorted(shown, reverse=True)
    ]
    return found or [Version(name, None, "there is none" if told is not None else _UNKNOWN)]


def _has_ended(status: VersionStatus) -> bool:
    return status.state == "END" and status.error_code is Code.OK


def _version(
    name: str,
    number: int,
    status: VersionStatus | None,
    info: VersionInfo | None,
    source: str,
    answered: bool,
) -> Version:
    return Version(
        model=name,
        number=number,
        state=_in_words(status) if answered else _UNKNOWN,
        serves=status is not None and status.state == "AVAILABLE",
        labels=info.labels if info else (),
        source=source if info else "",
        pushed=info.pushed if info else None,
    )


def _in_words(status: VersionStatus | None) -> str:
    if status is None or _has_ended(status):
        return _NOT_LOADED
    if status.error_code is not Code.OK:
        # The server's text has paths in it.
        return f"failed ({status.error_code.name})"
    return _STATES.get(status.state, _UNKNOWN)
