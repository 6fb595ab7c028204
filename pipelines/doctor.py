"""Checks of the machine, the installation and the workspace, each with what to do where it fails."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.table import Table
from rich.text import Text

from data_validation.errors import InputError
from pipelines.settings import Workspace

# Versions that make the supported stack (requirements/tfx-1.16.in).
_STACK = {"tfx": "1.16.", "tensorflow": "2.16.", "tf-keras": "2.16.", "apache-beam": "2.65.", "mlflow": "3."}
_PYTHON = (3, 10)
_FREE_GIB = 5
_MEMORY_GIB = 6


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        passed: Whether it is as it should be.
        found: What was found.
        advice: What to do where it is not.
    """

    name: str
    passed: bool
    found: str
    advice: str = ""


def examine(workspace: Path | None) -> Iterator[Check]:
    """Runs all checks, the quick ones first.

    Args:
        workspace: As given on the command line.

    Yields:
        A finding a check.
    """
    yield _python()
    for package, prefix in _STACK.items():
        yield _package(package, prefix)
    yield _guard("memory", _memory)
    yield _guard("workspace", lambda: _workspace(workspace))
    yield _guard("MLflow store", lambda: _store(workspace))
    yield _guard("TensorFlow", _tensorflow)


def _guard(name: str, check: Callable[[], Check]) -> Check:
    """Turns a check's own failure into a finding."""
    try:
        return check()
    except Exception as error:
        return Check(name, False, " ".join(str(error).split())[:200], "see the message")


def _python() -> Check:
    found = platform.python_version()
    passed = sys.version_info[:2] == _PYTHON
    return Check(
        "Python", passed, found, "" if passed else "`make demo` makes an environment with Python 3.10"
    )


def _package(package: str, prefix: str) -> Check:
    try:
        found = version(package)
    except PackageNotFoundError:
        return Check(package, False, "missing", "`make demo` installs the lock")
    passed = found.startswith(prefix)
    return Check(
        package, passed, found, "" if passed else f"expected {prefix}*; `make demo` installs the lock"
    )


def _memory() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    advice = "" if total >= _MEMORY_GIB else f"below {_MEMORY_GIB} GiB real data sets may not fit"
    return Check("memory", total >= _MEMORY_GIB, f"{total:.0f} GiB, {os.cpu_count()} cores", advice)


def _workspace(workspace: Path | None) -> Check:
    try:
        place = Workspace.at(workspace)
    except InputError as error:
        return Check("workspace", False, str(error), "choose another with --workspace or HEXAFACE_HOME")
    free = shutil.disk_usage(place.root).free / 2**30
    advice = "" if free >= _FREE_GIB else f"less than {_FREE_GIB} GiB free"
    return Check("workspace", free >= _FREE_GIB, f"{place.root}, {free:.0f} GiB free", advice)


def _store(workspace: Path | None) -> Check:
    import mlflow

    uri = Workspace.at(workspace).tracking_uri
    experiments = mlflow.MlflowClient(uri).search_experiments()
    return Check("MLflow store", True, f"{uri}, {len(experiments)} experiments")


def _tensorflow() -> Check:
    import tensorflow as tf

    from trainers.devices import gpu_count, has_bfloat16

    value = float(tf.reduce_sum(tf.ones([2, 2]) @ tf.ones([2, 2])))
    gpus = gpu_count()
    arithmetic = f"{gpus} GPUs" if gpus else f"CPU{', bfloat16' if has_bfloat16() else ''}"
    return Check("TensorFlow", value == 8.0, f"computes on {arithmetic}")


def table(checks: list[Check]) -> Table:
    """Lays findings out for a terminal."""
    result = Table(title="hexaface doctor", title_justify="left", box=None, pad_edge=False)
    for heading in ("check", "", "found", "what to do"):
        result.add_column(heading, overflow="fold")
    for check in checks:
        mark = Text("ok", "green") if check.passed else Text("failed", "bold red")
        result.add_row(check.name, mark, check.found, check.advice)
    return result
