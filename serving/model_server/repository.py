"""The model repository: which versions are wanted, loaded, served and let go, and who may use them now.

One manager thread compares what the configuration and the file system ask for with what is loaded. A new
version is loaded and warmed before an old one goes; an old one goes when its last request has ended; a
version that cannot be loaded changes nothing for those that are served.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from serving.model_server import memory
from serving.model_server.config import check_model_config
from serving.model_server.errors import Code, ServingError, invalid
from serving.model_server.servable import Servable, complete

_log = logging.getLogger(__name__)


class State(IntEnum):
    """Where a version is in its life; numbered as in get_model_status.proto."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class Spec:
    """Which model a request asks for.

    Attributes:
        name: Name of the model.
        version: Its version; None for the latest available.
        label: A label in a version's place; empty for none.
        signature: Signature; empty for `serving_default`.
    """

    name: str
    version: int | None = None
    label: str = ""
    signature: str = ""


@dataclass(frozen=True)
class VersionStatus:
    """What `GetModelStatus` tells about a version."""

    version: int
    state: State
    error: ServingError | None


@dataclass(frozen=True)
class Options:
    """How the repository keeps its models; each from the flag of that name.

    Attributes:
        poll_seconds: Time between two looks at the file system; 0 or less looks only when a configuration is
            applied.
        max_load_retries: How often a failed load is tried again.
        retry_seconds: Time between two tries.
        load_threads: How many versions are loaded at once.
        unload_threads: How many versions may wait for their last request, or be freed, at once.
        labels_for_unavailable: New labels may name versions that are not available yet.
    """

    poll_seconds: float = 1.0
    max_load_retries: int = 5
    retry_seconds: float = 60.0
    load_threads: int = 1
    unload_threads: int = 4
    labels_for_unavailable: bool = False


@dataclass
class _Version:
    number: int
    folder: Path
    state: State = State.START
    error: ServingError | None = None
    servable: Servable | None = None
    users: int = 0
    tries: int = 0
    next_try: float = 0.0
    # What the folder held at the last try: a folder that changed since then is tried at once.
    content: object = None


@dataclass
class _Model:
    config: ModelConfig
    versions: dict[int, _Version] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    # Removed from the configuration; kept for its states.
    removed: bool = False
    said: str = ""


class Lender(Protocol):
    """What lends loaded versions for single requests."""

    def lease(self, spec: Spec) -> contextlib.AbstractContextManager[tuple[int, Servable]]:
        """Lends a version: its number and what can be run; raises ServingError if there is none."""


class Repository:
    """Owns all loaded versions."""

    def __init__(
        self,
        load: Callable[[str, int, Path], Servable],
        options: Options,
    ) -> None:
        """Makes an empty repository.

        Args:
            load: Loads and warms a version, given the model's name, the version and its folder; raises
                ServingError.
            options: How models are kept.
        """
        self._load = load
        self._options = options
        self._models: dict[str, _Model] = {}
        # Guards all of the above; held for moments only.
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        # One reconciliation at a time: the manager's, or that of a new configuration.
        self._reconciling = threading.Lock()
        self._loaders = ThreadPoolExecutor(max(1, options.load_threads), thread_name_prefix="load")
        self._unloaders = ThreadPoolExecutor(max(1, options.unload_threads), thread_name_prefix="unload")
        self._closed = threading.Event()
        self._manager = threading.Thread(target=self._manage, name="manager", daemon=True)

    # --- Who may use what -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lease(self, spec: Spec) -> Iterator[tuple[int, Servable]]:
        """Lends a version for one request; it is not unloaded meanwhile.

        Args:
            spec: Which one.

        Yields:
            The version's number and what can be run.

        Raises:
            ServingError: No such version is available.
        """
        with self._lock:
            version = self._find(spec)
            version.users += 1
        try:
            assert version.servable is not None
            yield version.number, version.servable
        finally:
            with self._lock:
                version.users -= 1
                if not version.users and version.state is State.UNLOADING:
                    self._idle.notify_all()

    def _find(self, spec: Spec) -> _Version:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        model = self._models.get(spec.name)
        number = spec.version
        if spec.label:
            labels = model.labels if model else {}
            if spec.label not in labels:
                raise invalid(f"Unrecognized servable version label: {spec.label}")
            number = labels[spec.label]
        versions = model.versions if model else {}
        if number is None:
            available = [version for version in versions.values() if version.state is State.AVAILABLE]
            if available:
                return max(available, key=lambda version: version.number)
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({spec.name})")
        version = versions.get(number)
        if version is None or version.state is not State.AVAILABLE:
            raise ServingError(
                Code.NOT_FOUND, f"Servable not found for request: Specific({spec.name}, {number})"
            )
        return version

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Tells the state of every version ever seen, the newest first, or of one.

        Raises:
            ServingError: None was ever seen.
        """
        with self._lock:
            versions = dict(self._models[name].versions) if name in self._models else {}
            if version is not None:
                if version not in versions:
                    raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
                versions = {version: versions[version]}
            if not versions:
                raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
            found = sorted(versions.values(), key=lambda one: -one.number)
            return [VersionStatus(one.number, one.state, one.error) for one in found]

    def names(self) -> frozenset[str]:
        """Returns the names of the configured models."""
        with self._lock:
            return frozenset(name for name, model in self._models.items() if not model.removed)

    # --- What is wanted -------------------------------------------------------------------------------------

    def apply(self, config: ModelServerConfig) -> None:
        """Takes a configuration in the place of the present one, and waits until its models are loaded.

        Args:
            config: The whole set: models that it leaves out are unloaded.

        Raises:
            ServingError: The configuration is wrong, and nothing was changed; or a model has no available
                version, or a label names one that is not, and the rest was done.
        """
        with self._reconciling:
            running = ModelServerConfig()
            with self._lock:
                for model in self._models.values():
                    if not model.removed:
                        running.model_config_list.config.append(model.config)
            check_model_config(config, running)
            if config.WhichOneof("config") is None:
                _log.info("Taking no action for empty config.")
                return
            self._set_models(config)
            # Models loaded now are what the caller waits for; old versions go when they are no longer used.
            self._reconcile(first=True)
            unavailable = self._unavailable()
            self._set_labels(config)
        if unavailable:
            raise ServingError(
                Code.UNKNOWN, "Some models did not become available: {" + ", ".join(unavailable) + "}"
            )

    def _set_models(self, config: ModelServerConfig) -> None:
        wanted = {model.name: model for model in config.model_config_list.config}
        with self._lock:
            for name, model in self._models.items():
                model.removed = name not in wanted
                if model.removed:
                    model.labels = {}
            for name, model_config in wanted.items():
                self._models.setdefault(name, _Model(model_config)).config = model_config

    def _set_labels(self, config: ModelServerConfig) -> None:
        for model_config in config.model_config_list.config:
            for label, number in model_config.version_labels.items():
                self._check_label(model_config.name, label, number)
        with self._lock:
            for model_config in config.model_config_list.config:
                self._models[model_config.name].labels = dict(model_config.version_labels)

    def _check_label(self, name: str, label: str, number: int) -> None:
        with self._lock:
            model = self._models[name]
            version = model.versions.get(number)
            if version and version.state is State.AVAILABLE:
                return
            if self._options.labels_for_unavailable and label not in model.labels:
                return
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"Request to assign label to version {number} of model {name}, which is not currently available "
            "for inference",
        )

    def _unavailable(self) -> list[str]:
        with self._lock:
            return [
                name
                for name, model in self._models.items()
                if not model.removed
                and not any(version.state is State.AVAILABLE for version in model.versions.values())
            ]

    # --- What the manager does ------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to look at the file system regularly."""
        if self._options.poll_seconds > 0 or self._options.max_load_retries > 0:
            self._manager.start()

    def _manage(self) -> None:
        pause = self._options.poll_seconds if self._options.poll_seconds > 0 else 1.0
        while not self._closed.wait(pause):
            try:
                with self._reconciling:
                    self._reconcile(first=False)
            except Exception:
                # The thread must go on: without it, no new version would ever be served.
                _log.exception("Looking for versions failed")

    def _reconcile(self, first: bool) -> None:
        """Loads what is wanted and lets go what is not.

        Args:
            first: The configuration is new: look at the file system even if it is not polled.
        """
        look = first or self._options.poll_seconds > 0
        futures: list[Future[None]] = []
        for name, model in list(self._models.items()):
            wanted = self._wanted(name, model, look)
            for number, folder in wanted.items():
                version = self._to_load(model, number, folder)
                if version:
                    futures.append(self._loaders.submit(self._load_version, name, model, version, wanted))
            self._release(model, wanted)
        for future in futures:
            future.result()

    def _wanted(self, name: str, model: _Model, look: bool) -> dict[int, Path]:
        """Returns the versions that should be available, by their numbers."""
        if model.removed:
            return {}
        if not look:
            with self._lock:
                kept = [one for one in model.versions.values() if one.state is not State.END or one.error]
                return {one.number: one.folder for one in kept}
        found, incomplete = _versions_in(Path(model.config.base_path))
        if found is None:
            self._say(model, f"Could not find base path {model.config.base_path} for servable {name}")
            with self._lock:
                return {one.number: one.folder for one in model.versions.values() if one.servable}
        wanted = _select(found, model.config)
        if not wanted:
            hint = "; no model file yet in " + ", ".join(map(str, incomplete)) if incomplete else ""
            self._say(
                model,
                f"No versions of servable {name} found under base path {model.config.base_path}. "
                f"Did you forget to name your leaf directory as a number (eg. '/1/')?{hint}",
            )
        return wanted

    def _say(self, model: _Model, text: str) -> None:
        """Logs what is noticed at every poll only when it is new."""
        if model.said != text:
            model.said = text
            _log.warning("%s", text)

    def _to_load(self, model: _Model, number: int, folder: Path) -> _Version | None:
        """Returns the version if it must be loaded now."""
        with self._lock:
            version = model.versions.get(number)
            gone = version is not None and (
                version.state is State.UNLOADING or (version.state is State.END and version.error is None)
            )
            # One that is still on its way out for others goes; this is another of the same number.
            if version is None or gone:
                version = model.versions[number] = _Version(number, folder)
                return version
            if version.state is not State.END:
                return None
            version.folder = folder
        content = _content(folder)
        if content != version.content:
            version.tries = 0
        elif version.tries > self._options.max_load_retries or time.monotonic() < version.next_try:
            return None
        return version

    def _load_version(self, name: str, model: _Model, version: _Version, wanted: Mapping[int, Path]) -> None:
        with self._lock:
            version.state, version.error = State.LOADING, None
        version.content = _content(version.folder)
        version.tries += 1
        _log.info("Loading servable: {name: %s version: %d}", name, version.number)
        started = time.monotonic()
        try:
            servable = self._load(name, version.number, version.folder)
        except ServingError as error:
            self._failed(name, version, error)
        except Exception as error:
            self._failed(name, version, ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}"))
        else:
            with self._lock:
                version.servable, version.state = servable, State.AVAILABLE
            seconds = time.monotonic() - started
            _log.info(
                "Successfully loaded servable version {name: %s version: %d} in %.1f s",
                name,
                version.number,
                seconds,
            )
            memory.keep_out_of_sight()
            # At once, not when slower loads of other models have ended.
            self._release(model, wanted)

    def _failed(self, name: str, version: _Version, error: ServingError) -> None:
        left = self._options.max_load_retries + 1 - version.tries
        again = f"; next try in {self._options.retry_seconds:g} s" if left > 0 else "; not tried again"
        _log.error(
            "Loading servable: {name: %s version: %d} failed: %s%s",
            name,
            version.number,
            error.message,
            again,
        )
        with self._lock:
            version.next_try = time.monotonic() + self._options.retry_seconds
            version.state, version.error = State.END, error

    def _release(self, model: _Model, wanted: Mapping[int, Path]) -> None:
        """Lets go of versions that are no longer wanted, if others can answer in their place."""
        with self._lock:
            present = [one for one in model.versions.values() if one.state is State.AVAILABLE]
            replaced = any(one.number in wanted for one in present)
            if wanted and not replaced:
                return
            going = [one for one in present if one.number not in wanted]
            for version in going:
                version.state = State.UNLOADING
        for version in going:
            self._unloaders.submit(self._unload, version)

    def _unload(self, version: _Version) -> None:
        with self._lock:
            self._idle.wait_for(lambda: not version.users)
            servable, version.servable = version.servable, None
        try:
            if servable:
                servable.close()
                del servable
                memory.give_back()
        except Exception:
            # A pool's thread would keep it to itself, and the version would be on its way out for ever.
            _log.exception("Freeing version %d in %s failed", version.number, version.folder.parent)
        with self._lock:
            version.state = State.END
        _log.info("Done unloading version %d in %s", version.number, version.folder.parent)

    def close(self) -> None:
        """Lets everything go; waits for requests in flight."""
        self._closed.set()
        if self._manager.is_alive():
            self._manager.join()
        with self._reconciling:
            for model in self._models.values():
                model.removed = True
                self._release(model, {})
        self._loaders.shutdown()
        self._unloaders.shutdown()


def _versions_in(base_path: Path) -> tuple[dict[int, Path] | None, list[int]]:
    """Lists the version folders of a model.

    Returns:
        Those that hold a model, by number (None if the base path cannot be read), and those that do not yet.
    """
    found: dict[int, Path] = {}
    incomplete = []
    try:
        # `00000123` is version 123; with `123` beside it, the one that sorts first is taken.
        for folder in sorted(base_path.iterdir()):
            if not (folder.name.isascii() and folder.name.isdigit() and folder.is_dir()):
                continue
            number = int(folder.name)
            if number >= 2**63 or number in found:
                continue
            if complete(folder):
                found[number] = folder
            else:
                incomplete.append(number)
    except OSError:
        return None, []
    return found, incomplete


def _select(found: Mapping[int, Path], config: ModelConfig) -> dict[int, Path]:
    """Applies a model's version policy."""
    policy = config.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return dict(found)
    if choice == "specific":
        return {number: found[number] for number in policy.specific.versions if number in found}
    newest = sorted(found, reverse=True)[: policy.latest.num_versions or 1]
    return {number: found[number] for number in newest}


def _content(folder: Path) -> object:
    """Returns what changes when a copy into a folder goes on: names, sizes and times of its files."""
    try:
        files = sorted(folder.rglob("*"))
        return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError:
        return None
