"""Settings from a profile and `--set` overrides, checked on load; and where runs leave their things."""

import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from data_validation.errors import InputError, hint
from pipelines.task_settings import Settings
from pipelines.tasks import TASKS, get_task

PROFILES = Path(__file__).with_name("profiles")
# Profiles hold one section a task and one for all.
_SHARED = "all"

# Beam takes these in file names for patterns, and a database's address ends at a question mark.
_PATTERN_CHARACTERS = "*?[]"


@dataclasses.dataclass(frozen=True)
class Workspace:
    """Where runs leave their things.

    Attributes:
        root: Absolute path of the workspace.
        demo: Whether it is the part for drawn sample data, see `for_samples`.
        study: Name of the study that it is a part of, see `for_study`; empty for none.
    """

    root: Path
    demo: bool = False
    study: str = ""

    @classmethod
    def at(cls, root: Path | None) -> "Workspace":
        """Opens a workspace, by default `$HEXAFACE_HOME` or `hexaface_runs` here.

        Raises:
            InputError: The folder cannot be written to.
        """
        chosen = root or Path(os.environ.get("HEXAFACE_HOME") or "hexaface_runs")
        try:
            chosen = chosen.expanduser().resolve()
            if set(str(chosen)) & set(_PATTERN_CHARACTERS):
                raise InputError(
                    f"{chosen}: expected a folder without any of {' '.join(_PATTERN_CHARACTERS)}"
                )
            chosen.mkdir(parents=True, exist_ok=True)
            # Permission bits do not tell of read-only file systems; writing does.
            tempfile.TemporaryFile(dir=chosen).close()
        except OSError as error:
            raise InputError(f"{chosen}: expected a folder to write to: {error.strerror}") from error
        except RuntimeError as error:  # an unknown ~user, a loop of links
            raise InputError(f"{chosen}: expected a folder to write to: {error}") from error
        return cls(chosen)

    def for_samples(self) -> "Workspace":
        """Returns the part for drawn sample data.

        Its models are no comparison for models of real data, and must never be served in their place; only
        MLflow's store is shared, under experiments of their own.
        """
        return Workspace(self.root / "demo", demo=True)

    def for_study(self, study: str, part: str) -> "Workspace":
        """Returns a part for models that are trained to be looked at, and are never served.

        Args:
            study: Name of the study.
            part: What the part is of the study, a name for a folder.
        """
        return Workspace(self.studies(study) / part, self.demo, study)

    def studies(self, study: str) -> Path:
        """Results of a study, and its parts."""
        return self.root / "studies" / study

    def experiment(self, task: str) -> str:
        """Name of a task's MLflow experiment and registered model; a study has one for all that it trains."""
        name = f"{self.study}-study" if self.study else task
        return f"{name}-demo" if self.demo else name

    @property
    def home(self) -> Path:
        """The workspace itself, also for its parts for sample data and studies."""
        # As `for_study` makes it: <workspace>/studies/<study>/<part>.
        root = self.root.parents[2] if self.study else self.root
        return root.parent if self.demo else root

    @property
    def metadata(self) -> Path:
        """The ML Metadata database."""
        return self.root / "metadata.db"

    @property
    def serving(self) -> Path:
        """Pushed models: `<task>/<version>`."""
        return self.root / "models"

    @property
    def tracking_uri(self) -> str:
        """MLflow's store: `$MLFLOW_TRACKING_URI`, or a database in the workspace."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def artifact_root(self) -> str:
        """MLflow's files beside its database; empty where `$MLFLOW_TRACKING_URI` names a server."""
        return "" if os.environ.get("MLFLOW_TRACKING_URI") else str(self.home / "mlflow")

    def pipeline(self, task: str) -> Path:
        """Artifacts of a task's pipeline."""
        return self.root / "pipelines" / task

    def runs(self, task: str) -> Path:
        """Records and logs of a task's runs."""
        return self.root / "runs" / task

    @property
    def cache(self) -> Path:
        """What costs time to make again and depends on nothing but its inputs: downloads, features."""
        return self.home / "cache"

    @property
    def outbox(self) -> Path:
        """What could not be sent to MLflow, for `hexaface track`."""
        return self.home / "outbox"

    def sample(self, name: str) -> Path:
        """Drawn sample data, see `FaceTask.sample`."""
        return self.root / "samples" / name


def profile_names() -> list[str]:
    """Lists the profiles."""
    return sorted(file.stem for file in PROFILES.glob("*.yaml"))


def load(profile: str, task: str, overrides: Iterable[str] = ()) -> Settings:
    """Loads a profile and applies overrides.

    Args:
        profile: Name of a profile, or a YAML file of the same form.
        task: Name of the task.
        overrides: `section.key=value` texts; values are YAML.

    Returns:
        Checked settings.

    Raises:
        InputError: An unknown profile or key, a value of a wrong type or out of range; named in the message.
    """
    values, origin = _read_profile(profile, task)
    for override in overrides:
        _apply(values, override)
    return _check(values, origin, task)


def _read_profile(profile: str, task: str) -> tuple[dict[str, Any], str]:
    file = Path(profile) if profile.endswith((".yaml", ".yml")) else PROFILES / f"{profile}.yaml"
    if not file.is_file():
        known = profile_names()
        raise InputError(
            f"profile {profile!r}: expected {', '.join(known)} or a YAML file{hint(profile, known)}"
        )
    try:
        sections = _read_yaml(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(sections, dict) or not all(isinstance(body, dict) for body in sections.values()):
        raise InputError(f"{file}: expected sections, `{_SHARED}` and one a task, each with settings")
    unknown = [str(name) for name in sections if name not in {_SHARED, *TASKS}]
    if unknown:
        name = min(unknown)
        raise InputError(f"{file}: unknown section {name!r}{hint(name, [_SHARED, *TASKS])}")
    values: dict[str, Any] = {}
    for section in (_SHARED, task):
        _merge(values, sections.get(section, {}))
    return values, f"profile {profile}"


class _Loader(yaml.SafeLoader):
    """YAML's safe types, with numbers as people write them: YAML 1.1 takes `1e-3` for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _read_yaml(text: str) -> Any:
    """Reads plain values: text, numbers, true and false, lists, mappings.

    Raises:
        yaml.YAMLError: The text is not YAML.
        ValueError: It holds a date, bytes, a set or a reference to itself.
    """
    try:
        value = yaml.load(text, _Loader)
        json.dumps(value)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except TypeError as error:
        raise ValueError(f"expected plain values, found {error}") from error
    return value


def _merge(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _merge(values[key], value)
        else:
            # A copy, so that a later merge does not change the profile's section.
            values[key] = json.loads(json.dumps(value))


def _apply(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not all(path.split(".")):
        raise InputError(f"--set {override}: expected section.key=value")
    try:
        value = _read_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(
            f"--set {override}: the value is not valid: {' '.join(str(error).split())}"
        ) from error
    *sections, key = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override}: {section} is no section")
    values[key] = value


def _check(values: Mapping[str, Any], origin: str, task: str) -> Settings:
    kind = get_task(task).settings
    try:
        # JSON mode is strict about scalars and takes lists for tuples.
        return TypeAdapter(kind).validate_json(json.dumps(values))
    except ValidationError as error:
        known = setting_names(kind())
        raise InputError("; ".join(_explain(detail, origin, known) for detail in error.errors())) from error


# Where pydantic's words are not those of a settings file.
_EXPECTED = {
    "tuple_type": "a list",
    "dataclass_type": "a section with settings",
    # There is one pattern, that of hashes.
    "string_pattern_mismatch": "64 hexadecimal digits",
}


def _explain(detail: Any, origin: str, known: list[str]) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "value_error":
        return f"{detail['ctx']['error']} ({origin} or --set)"
    if detail["type"] == "unexpected_keyword_argument":
        return f"unknown setting {path} ({origin} or --set){hint(path, known)}"
    expected = _EXPECTED.get(detail["type"], detail["msg"].removeprefix("Input should be "))
    return f"{path}: expected {expected}, found {detail['input']!r} ({origin} or --set)"


def setting_names(settings: Settings) -> list[str]:
    """Lists all settings as `section.key`."""

    def names(values: Mapping[str, Any], prefix: str) -> Iterable[str]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from names(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}"

    return list(names(settings.as_dict(), ""))
