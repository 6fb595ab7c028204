"""What is served: the models on disk, and `models.config`, the file that tells model servers of them.

The file is TensorFlow Serving's ModelServerConfig in text form. It is made anew of what is on disk; version
policies and labels that are in it stay, as far as their versions are still there.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format

from serving.client import Client
from serving.rollout.errors import RolloutError, hint
from serving.wire import wire_pb2

CONFIG_FILE = "models.config"
_LOCK_FILE = ".models.config.lock"
_PLATFORM = "tensorflow"
_MODEL_FILE = "saved_model.pb"
_LOCK_PAUSE = 0.1
_HEADER = """\
# Written by `hexaface serve` and `hexaface models`, which keep version policies and labels that are changed
# by hand, but no comments. Which models are served, in which versions and under which labels: a
# ModelServerConfig of TensorFlow Serving.
"""


@dataclass(frozen=True)
class Root:
    """A folder of pushed models, `<model>/<version>/saved_model.pb`.

    Attributes:
        path: Absolute path.
        title: Which data its models were trained on, in a word.
    """

    path: Path
    title: str


def workspace_roots(home: Path) -> tuple[Root, ...]:
    """Returns where a workspace has pushed models: those of real data before those of drawn sample data."""
    return Root(home / "models", "real"), Root(home / "demo" / "models", "sample")


@dataclass(frozen=True)
class Site:
    """Models and the server of them.

    Attributes:
        roots: Where models are, in order of preference; `models.config` is in the first.
        server: "host:port" of its gRPC API.
        load_seconds: Longest time that loading a version may take.
    """

    roots: Sequence[Root]
    server: str = "127.0.0.1:8500"
    load_seconds: float = 120.0


def connect(server: str, seconds: float) -> Client:
    """Returns a client with so many seconds a call; raises RolloutError if the address cannot be one."""
    try:
        # A server that does not answer is told at once.
        return Client(server, timeout=seconds, retries=0)
    except ValueError as error:
        raise RolloutError(f"server {server!r}: {error}") from error


@dataclass(frozen=True)
class Model:
    """A pushed model.

    Attributes:
        name: Its name.
        root: Where it is.
        versions: Folders by version, the oldest first; at least one.
    """

    name: str
    root: Root
    versions: Mapping[int, Path]

    @property
    def base_path(self) -> Path:
        """The folder of its versions."""
        return self.root.path / self.name

    @property
    def newest(self) -> int:
        """The highest version."""
        return max(self.versions)

    def check(self, version: int) -> None:
        """Raises RolloutError, which tells the versions there are, if a version is not on disk."""
        if version not in self.versions:
            raise RolloutError(
                f"{self.name}: version {version} is not in {self.base_path}; there: "
                f"{listed(self.versions)}{hint(version, self.versions)}"
            )


def listed(values: Collection[object]) -> str:
    """Returns values for a message: the last ten if there are many."""
    texts = [str(value) for value in values]
    return ", ".join(texts if len(texts) <= 10 else ["...", *texts[-10:]]) or "none"


def pushed_models(roots: Sequence[Root]) -> dict[str, Model]:
    """Finds the models on disk; of two with one name, that of the earlier root."""
    found: dict[str, Model] = {}
    for root in roots:
        for folder in _folders(root.path):
            versions = _versions(folder)
            # Hidden folders are copies under way.
            if versions and folder.name not in found and not folder.name.startswith("."):
                found[folder.name] = Model(folder.name, root, versions)
    return dict(sorted(found.items()))


def find_model(models: Mapping[str, Model], name: str) -> Model:
    """Looks a model up; raises RolloutError, which tells the names there are, if there is none."""
    if name not in models:
        raise RolloutError(f"model {name!r}: there is none; there are: {listed(models)}{hint(name, models)}")
    return models[name]


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RolloutError(f"{path}: cannot be read: {error.strerror}") from error


def _versions(folder: Path) -> dict[int, Path]:
    """Finds versions as model servers do: `00000123` is version 123, a folder without a model is none."""
    found: dict[int, Path] = {}
    for entry in _folders(folder):
        number = int(entry.name) if entry.name.isascii() and entry.name.isdigit() else -1
        if 0 <= number < 2**63 and (entry / _MODEL_FILE).is_file():
            found.setdefault(number, entry)
    return dict(sorted(found.items()))


class ConfigFile:
    """`models.config` in the first root."""

    def __init__(self, roots: Sequence[Root]) -> None:
        """Names the file; it need not be there yet.

        Args:
            roots: Where models are, in order of preference; the file is in the first.
        """
        self._roots = roots
        self.path = roots[0].path / CONFIG_FILE

    def text(self) -> str | None:
        """Returns what is in the file; None if it is missing.

        Raises:
            RolloutError: It cannot be read.
        """
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise RolloutError(f"{self.path}: cannot be read: {error}") from error

    def current(self, models: Mapping[str, Model]) -> tuple[wire_pb2.ModelServerConfig, list[str]]:
        """Returns the configuration of the models on disk, with what is in the file about them.

        Args:
            models: Of the same roots.

        Returns:
            The configuration, and a line for each thing in the file that could not be kept.

        Raises:
            RolloutError: The file cannot be read, or is not a configuration.
        """
        entries = self._entries()
        config, notices = wire_pb2.ModelServerConfig(), list[str]()
        config.model_config_list.SetInParent()
        for model in models.values():
            entry = config.model_config_list.config.add()
            entry.CopyFrom(_merged(model, entries.get(model.name), notices))
        for name, entry in entries.items():
            if name in models:
                continue
            if self._is_foreign(entry.base_path):
                config.model_config_list.config.add().CopyFrom(entry)
            else:
                notices.append(f"{name}: no version is left in {entry.base_path}; it is served no more")
        return config, notices

    def _entries(self) -> dict[str, wire_pb2.ModelConfig]:
        config = wire_pb2.ModelServerConfig()
        try:
            text_format.Parse(self.text() or "", config)
        except text_format.ParseError as error:
            problem = " ".join(str(error).replace("hexaface.wire.", "tensorflow.serving.").split())
            raise RolloutError(
                f"{self.path}: not a model configuration: {problem[:300]} "
                "(mend it, or delete it to have it made anew)"
            ) from error
        entries: dict[str, wire_pb2.ModelConfig] = {}
        for entry in config.model_config_list.config:
            if not entry.name or entry.name in entries:
                raise RolloutError(f"{self.path}: model {entry.name!r}: expected a name that is there once")
            entries[entry.name] = entry
        return entries

    def _is_foreign(self, base_path: str) -> bool:
        """Tells whether a model that someone wrote into the file is to be served from elsewhere."""
        if "://" in base_path:
            return True
        path = Path(base_path)
        return path.is_dir() and all(path.parent != root.path for root in self._roots)

    def write(self, config: wire_pb2.ModelServerConfig) -> None:
        """Replaces the file, if it would change."""
        text = _HEADER + text_format.MessageToString(config)
        if text != self.text():
            write_atomically(self.path, text)

    def restore(self, text: str | None) -> None:
        """Puts back what `text` returned before."""
        if text is None:
            self.path.unlink(missing_ok=True)
        elif text != self.text():
            write_atomically(self.path, text)

    @contextlib.contextmanager
    def locked(self, seconds: float = 10.0) -> Iterator[None]:
        """Keeps other commands from the file meanwhile.

        Raises:
            RolloutError: Another one has kept it for so many seconds.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_name(_LOCK_FILE), "a", encoding="utf-8") as lock:
            end = time.monotonic() + seconds
            while not _try_lock(lock.fileno()):
                if time.monotonic() >= end:
                    raise RolloutError(f"{self.path}: another command is changing it; try again after that")
                time.sleep(_LOCK_PAUSE)
            # The system unlocks when the file is closed, also that of a command that was killed.
            yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_atomically(path: Path, text: str) -> None:
    """Writes a file so that readers, and whoever comes after a crash, find the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes sure that a file's new name, too, outlives a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- entries


def entry_of(config: wire_pb2.ModelServerConfig, name: str) -> wire_pb2.ModelConfig:
    """Returns a model's entry, which can be changed in place."""
    return next(entry for entry in config.model_config_list.config if entry.name == name)


def selected(entry: wire_pb2.ModelConfig, versions: Collection[int]) -> set[int]:
    """Returns which of the versions on disk an entry's policy serves."""
    policy = entry.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return set(versions)
    if choice == "specific":
        return set(versions) & set(policy.specific.versions)
    return set(sorted(versions)[-(policy.latest.num_versions or 1) :])


def set_versions(entry: wire_pb2.ModelConfig, versions: Collection[int], labels: Mapping[str, int]) -> None:
    """Lets an entry serve just these versions, under these labels; a policy of all versions stays."""
    if entry.model_version_policy.WhichOneof("policy_choice") != "all":
        entry.model_version_policy.Clear()
        entry.model_version_policy.specific.versions.extend(sorted(versions))
    entry.version_labels.clear()
    entry.version_labels.update(labels)


def _merged(model: Model, old: wire_pb2.ModelConfig | None, notices: list[str]) -> wire_pb2.ModelConfig:
    """Returns the entry of a model: its place on disk, and what an older entry says that still holds."""
    entry = wire_pb2.ModelConfig(name=model.name, base_path=str(model.base_path), model_platform=_PLATFORM)
    if old is not None:
        entry.model_version_policy.CopyFrom(old.model_version_policy)
        for label, version in sorted(old.version_labels.items()):
            if version in model.versions:
                entry.version_labels[label] = version
            else:
                notices.append(
                    f"{model.name}: version {version}, labelled {label}, is not on disk any more; "
                    "the label is dropped"
                )
    _mend_policy(entry, model, notices)
    return entry


def _mend_policy(entry: wire_pb2.ModelConfig, model: Model, notices: list[str]) -> None:
    """Makes a policy serve something that is on disk, and every labelled version.

    A label of a version that is not loaded makes a server refuse all labels, those of other models too.
    """
    if entry.model_version_policy.WhichOneof("policy_choice") is None:
        entry.model_version_policy.latest.num_versions = 1
    labels = dict(entry.version_labels)
    wanted = selected(entry, model.versions) | set(labels.values())
    if not wanted:
        entry.model_version_policy.latest.num_versions = 1
        notices.append(f"{model.name}: its versions are not on disk any more; the newest is served")
        wanted = {model.newest}
    gone = set(entry.model_version_policy.specific.versions) - wanted
    if gone or wanted - selected(entry, model.versions):
        set_versions(entry, wanted, labels)
        notices.append(f"{model.name}: {listed(sorted(wanted))} of the versions on disk are served")
