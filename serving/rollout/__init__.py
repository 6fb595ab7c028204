"""Which version of a model answers: look, promote, roll back, label.

A model server answers requests of a version, of a label, or of neither (the highest version that is loaded).
Here `stable` is the label that clients should ask for, and `canary` a version that is being tried. A change
goes in an order in which every request finds an answer all the time:

    load the new version beside the old -> wait until it is AVAILABLE -> label it `canary` -> compare its
    answers with the recorded ones -> label it `stable` -> unload the old version

Each step goes into `models.config` and to the server: TensorFlow Serving takes the file again each time that
it looks at it, and so would undo what only the server was told. Whatever fails, both are put back; and should
the command be killed, `stable` is still on the old version in both.
"""

import contextlib
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from serving.client import Client, DeadlineExceeded, NotFound, ServerError, Unavailable, VersionStatus
from serving.rollout.errors import RolloutError, RolloutFailed, hint
from serving.rollout.model_config import (
    ConfigFile,
    Model,
    Root,
    Site,
    connect,
    entry_of,
    find_model,
    listed,
    pushed_models,
    selected,
    set_versions,
)
from serving.rollout.records import RecordError, has_records, replay
from serving.wire import wire_pb2
from serving.wire.codes import Code

__all__ = [
    "CANARY",
    "STABLE",
    "RolloutError",
    "RolloutFailed",
    "Root",
    "Site",
    "promote",
    "refresh",
    "remove_label",
    "rollback",
    "set_label",
]

STABLE, CANARY = "stable", "canary"
Say = Callable[[str], None]

# Who does not listen is known at once; a busy machine may take long to answer.
_ASK_SECONDS = 10.0
_PREDICT_SECONDS = 30.0
_AGAIN_SECONDS = 1.0
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def refresh(roots: Sequence[Root]) -> tuple[Path, tuple[str, ...]]:
    """Writes `models.config` for what is on disk now; makes the roots where they are missing.

    Args:
        roots: Where models are.

    Returns:
        The file, and a line for each thing in it that could not be kept.

    Raises:
        RolloutError: The file cannot be used, or another command is changing it.
    """
    for root in roots:
        root.path.mkdir(parents=True, exist_ok=True)
    file = ConfigFile(roots)
    with file.locked():
        config, notices = file.current(pushed_models(roots))
        file.write(config)
    return file.path, tuple(notices)


def promote(site: Site, task: str, version: int | None = None, *, keep: bool = False, say: Say) -> int:
    """Makes a version the stable one, if it answers as it should.

    The version before is unloaded, unless it is to be kept: requests without label or version go to the
    highest version that is loaded, so one that stays would go on answering them after a step back; and it
    costs its memory, while loading it again takes seconds.

    Args:
        site: Models and server.
        task: The model's name.
        version: Which version; the newest on disk if None.
        keep: Whether the version before stays loaded.
        say: Takes a line about each step.

    Returns:
        The version.

    Raises:
        RolloutError: There is no such model, version or server; nothing was changed.
        RolloutFailed: It did not work, and was taken back.
    """
    with _change(site, task, say) as change:
        target = change.model.newest if version is None else version
        change.model.check(target)
        change.run(lambda: change.move_stable(target, keep))
    return target


def rollback(site: Site, task: str, *, say: Say) -> int:
    """Makes the version before the stable one the stable one, as `promote` does.

    Args:
        site: Models and server.
        task: The model's name.
        say: Takes a line about each step.

    Returns:
        The version.

    Raises:
        RolloutError: There is no such model, no older version or no server; nothing was changed.
        RolloutFailed: It did not work, and was taken back.
    """
    with _change(site, task, say) as change:
        present = change.stable()
        older = [version for version in change.model.versions if version < present]
        if not older:
            raise RolloutError(
                f"{task}: nothing to go back to: {present} is stable, and the versions in "
                f"{change.model.base_path} are {listed(change.model.versions)}"
            )
        target = max(older)
        change.run(lambda: change.move_stable(target, keep=False))
    return target


def set_label(site: Site, task: str, label: str, version: int, *, say: Say) -> None:
    """Puts a label on a version, which is loaded if it is not yet.

    Args:
        site: Models and server.
        task: The model's name.
        label: Letters, digits, `.`, `_` and `-`.
        version: Which version.
        say: Takes a line about each step.

    Raises:
        RolloutError: There is no such model, version or server, or no such label can be; nothing was changed.
        RolloutFailed: It did not work, and was taken back.
    """
    if not _LABEL.fullmatch(label):
        raise RolloutError(f"label {label!r}: expected 1 to 64 letters, digits, '.', '_' or '-'")
    with _change(site, task, say) as change:
        change.model.check(version)
        change.run(lambda: change.put_label(label, version))


def remove_label(site: Site, task: str, label: str, *, say: Say) -> None:
    """Takes a label away; its version is unloaded if it has no other and is not the last one.

    Args:
        site: Models and server.
        task: The model's name.
        label: Which label.
        say: Takes a line about each step.

    Raises:
        RolloutError: There is no such model, label or server; nothing was changed.
        RolloutFailed: It did not work, and was taken back.
    """
    with _change(site, task, say) as change:
        if label not in change.labels:
            raise RolloutError(
                f"{task}: label {label!r}: there is none; there are: "
                f"{listed(sorted(change.labels))}{hint(label, change.labels)}"
            )
        change.run(lambda: change.drop_label(label))


@contextlib.contextmanager
def _change(site: Site, task: str, say: Say) -> Iterator["_Change"]:
    """Prepares a change of a model, alone with the file; the caller checks what is asked for and runs it."""
    models = pushed_models(site.roots)
    model = find_model(models, task)
    file = ConfigFile(site.roots)
    with file.locked(), connect(site.server, _PREDICT_SECONDS) as client:
        before, notices = file.current(models)
        for notice in notices:
            say(notice)
        yield _Change(site, file, model, before, client, say)


class _Change:
    """One change of one model's versions: its steps, and the way back."""

    def __init__(
        self,
        site: Site,
        file: ConfigFile,
        model: Model,
        before: wire_pb2.ModelServerConfig,
        client: Client,
        say: Say,
    ) -> None:
        self.model = model
        self.labels = dict(entry_of(before, model.name).version_labels)
        self._site = site
        self._file = file
        self._before = before
        self._client = client
        self._say = say
        self._text = file.text()
        self._available: set[int] | None = None

    # ---- what the server says

    @property
    def available(self) -> set[int]:
        """Versions on disk that were AVAILABLE at first, once it is sure that the server is the right one."""
        if self._available is None:
            self._available = self._checked_available()
        return self._available

    def _checked_available(self) -> set[int]:
        """Asks for all models: a new configuration would take a stranger's models away from a server."""
        answers = {entry.name: self._ask(entry.name) for entry in self._before.model_config_list.config}
        if not any(answers.values()):
            raise RolloutError(
                f"{self._site.server}: this server has none of the models in {self._file.path} "
                f"({listed(answers)}); is it another workspace's?"
            )
        found = {status.version for status in answers[self.model.name] if status.state == "AVAILABLE"}
        strangers = found - set(self.model.versions)
        if strangers:
            raise RolloutError(
                f"{self._site.server}: this server has {self.model.name} {listed(sorted(strangers))}, not in "
                f"{self.model.base_path}; is it another workspace's?"
            )
        return found

    def _ask(self, name: str) -> list[VersionStatus]:
        try:
            return self._client.status(name, timeout=_ASK_SECONDS)
        except NotFound:
            return []
        except (Unavailable, DeadlineExceeded) as error:
            raise RolloutError(
                f"no model server answers at {self._site.server}, so nothing can be verified; "
                "`hexaface serve` starts one, --server HOST:PORT names another"
            ) from error
        except ServerError as error:
            raise RolloutError(f"{self._site.server}: {error}") from error

    def stable(self) -> int:
        """Returns the version with the label `stable`, or else the one that answers without a label."""
        if STABLE in self.labels:
            return self.labels[STABLE]
        return max(self._served())

    # ---- changes, each a row of steps

    def run(self, steps: Callable[[], None]) -> None:
        """Makes a change; takes it back if a step fails."""
        # Outside of what is taken back: a server that is not there, or not ours, must not be touched.
        before = self.available
        try:
            steps()
        except (ServerError, RecordError, RolloutFailed, RolloutError, OSError) as error:
            reason = error.message if isinstance(error, ServerError) else str(error)
            raise RolloutFailed(f"{self.model.name}: {reason}; {self._take_back(before)}") from error
        except BaseException:  # Ctrl-C
            self._say(f"{self.model.name}: interrupted; {self._take_back(before)}")
            raise

    def move_stable(self, target: int, keep: bool) -> None:
        """Moves `stable` by way of `canary`."""
        kept = {self.stable()} & self.available if keep else set()
        if self.labels.get(CANARY, target) != target:
            self._say(f"{self.model.name}: {CANARY} moves from {self.labels[CANARY]} to {target} for this")
        self._load(target)
        self._tell(self._held(target), {**self._held_labels(), CANARY: target})
        self._say(f"{self.model.name} {target}: loaded, labelled {CANARY}")
        self._verify(target)
        final = {label: version for label, version in self.labels.items() if label != CANARY}
        final[STABLE] = target
        self._tell(self._held(target), final)
        self._settle(set(final.values()) | kept, final)
        if max(kept, default=target) > target:
            self._say(f"{self.model.name}: requests without a label still go to {max(kept)}, which is kept")

    def put_label(self, label: str, version: int) -> None:
        """Puts a label on a version."""
        follows = entry_of(self._before, self.model.name).model_version_policy.WhichOneof("policy_choice")
        self._load(version)
        labels = {**self.labels, label: version}
        self._tell(self._held(version), labels)
        # What lost its only label goes; what is served without one stays.
        kept = self._served() - set(self.labels.values())
        self._settle(kept | set(labels.values()), labels)
        if follows == "latest":
            # A version with a label must not go away because a newer one comes.
            self._say(f"{self.model.name}: newer versions are no longer loaded by themselves; promote them")

    def drop_label(self, label: str) -> None:
        """Takes a label away."""
        labels = {name: version for name, version in self.labels.items() if name != label}
        kept = (self._served() - {self.labels[label]} | set(labels.values())) or self._served()
        self._settle(kept, labels)
        if not labels:
            self._say(f"{self.model.name}: no label is left; {listed(sorted(kept))} stays loaded")

    def _served(self) -> set[int]:
        """Returns the versions that answer now; if none does, those that are asked for."""
        return self.available or selected(entry_of(self._before, self.model.name), self.model.versions)

    def _held(self, target: int) -> set[int]:
        """Returns the versions that must be there while a change is under way."""
        return self.available | set(self.labels.values()) | {target}

    def _held_labels(self) -> dict[str, int]:
        """Returns the labels that answer; a server takes no others, also if they are to be moved."""
        return {label: version for label, version in self.labels.items() if version in self.available}

    # ---- steps

    def _load(self, target: int) -> None:
        if target in self.available:
            return
        self._say(f"{self.model.name} {target}: loading")
        self._tell(self._held(target), self._held_labels())
        try:
            self._client.wait_until_available(self.model.name, target, timeout=self._site.load_seconds)
        except ServerError as error:
            raise RolloutFailed(f"version {target} could not be loaded: {error.message}") from error

    def _verify(self, target: int) -> None:
        folder = self.model.versions[target]
        if not has_records(folder):
            self._say(f"{self.model.name} {target}: no warm-up records; checked only that it is AVAILABLE")
            return
        try:
            result = replay(self._client, self.model.name, CANARY, target, folder)
        except ServerError as error:
            raise RolloutFailed(f"version {target} does not answer: {error.message}") from error
        except RecordError as error:
            raise RolloutFailed(f"version {target}: {error}") from error
        others = f"; {result.others} of other calls were left out" if result.others else ""
        self._say(
            f"{self.model.name} {target}: {result.answered} recorded requests answered, "
            f"{result.compared} compared with the recorded answer{others}"
        )

    def _settle(self, versions: Collection[int], labels: Mapping[str, int]) -> None:
        """Makes the change last, with these versions only."""
        self._tell(versions, labels)
        entry = entry_of(self._config(versions, labels), self.model.name)
        going = self.available - selected(entry, self.model.versions)
        if going:
            self._say(f"{self.model.name}: {listed(sorted(going))} is unloaded")

    def _config(self, versions: Collection[int], labels: Mapping[str, int]) -> wire_pb2.ModelServerConfig:
        config = wire_pb2.ModelServerConfig()
        config.CopyFrom(self._before)
        set_versions(entry_of(config, self.model.name), versions, labels)
        return config

    def _tell(self, versions: Collection[int], labels: Mapping[str, int]) -> None:
        """Gives a configuration to the file and to the server."""
        config = self._config(versions, labels)
        self._file.write(config)
        try:
            self._tell_server(config, labels)
        except (DeadlineExceeded, Unavailable):
            raise
        except ServerError:
            # A look at the file from before it was written may have put the server back, until the next look.
            time.sleep(_AGAIN_SECONDS)
            self._tell_server(config, labels)

    def _tell_server(self, config: wire_pb2.ModelServerConfig, labels: Mapping[str, int]) -> None:
        try:
            self._client.reload_config(config, timeout=self._site.load_seconds)
        except ServerError as error:
            # So a server says that some model has no version at all; it has done the rest. Whether that
            # concerns this model is seen at once: by its state, and by who answers under its label.
            if error.code is not Code.UNKNOWN:
                raise
        for label in labels:
            self._client.metadata(self.model.name, label=label, timeout=_ASK_SECONDS)

    def _take_back(self, before: Collection[int]) -> str:
        """Puts file and server back; returns what came of it."""
        problems = []
        try:
            self._file.restore(self._text)
        except OSError as error:
            problems.append(f"{self._file.path} could not be put back: {error.strerror or error}")
        try:
            self._tell_server(self._before, {})
        except ServerError as error:
            problems.append(f"the server did not take the old configuration again: {error.message}")
        return "; ".join([*(problems or ["the configuration is the old one again"]), self._serving(before)])

    def _serving(self, before: Collection[int]) -> str:
        """Tells what the server serves, beginning with what it served before a change."""
        try:
            states = self._client.status(self.model.name, timeout=_ASK_SECONDS)
        except ServerError as error:
            return f"the server does not tell what it serves: {error.message}"
        found = {status.version for status in states if status.state == "AVAILABLE"}
        version = self.labels.get(STABLE, max(before, default=None))
        if version in found:
            label = f" ({STABLE})" if STABLE in self.labels else ""
            return f"version {version}{label} still serves"
        return f"available versions: {listed(sorted(found))}"
