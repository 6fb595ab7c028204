"""What MLflow knows of the served models."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.portal.operations.asking import Question
from serving.portal.operations.states import Version

KEEP_SECONDS = 60.0
"""How long an answer of MLflow is good."""
REST_SECONDS = 10.0
"""How long it is left in peace after it did not answer."""

_LONGEST_SECONDS = 60.0
_SQLITE = "sqlite:///"
# Who waits for a dead server waits in vain.
_QUICK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
_EXPERIMENTS = {"real": ("{}",), "sample": ("{}-demo",), "": ("{}", "{}-demo")}

_Asked = tuple[str, int, tuple[str, ...]]


@dataclass(frozen=True)
class Figures:
    """What the run of a pushed model says.

    Attributes:
        model: Name of the model.
        version: Its version.
        experiment_id: Of MLflow.
        run_id: Of MLflow.
        blessed: "true", "false" or empty.
        fingerprint: Of the data.
        champion: Whether it is the registered model's champion.
        metrics: By name, as the pipeline logged them.
    """

    model: str
    version: int
    experiment_id: str
    run_id: str
    blessed: str
    fingerprint: str
    champion: bool
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Answer:
    """What MLflow answered.

    Attributes:
        figures: By model and version.
        problem: Why there are none or old ones, a sentence for people; empty if it answered.
        waiting: Whether they are being read, and are here for who asks again in some seconds.
    """

    figures: Mapping[tuple[str, int | None], Figures]
    problem: str = ""
    waiting: bool = False


def find(uri: str, versions: Iterable[Version]) -> Answer:
    """Asks MLflow about versions, and does not wait for it: that takes seconds.

    Args:
        uri: MLflow's store or server.
        versions: Of models.
    """
    asked = tuple(
        (each.model, each.number, tuple(name.format(each.model) for name in _EXPERIMENTS[each.source]))
        for each in versions
        if each.number is not None
    )
    # MLflow would make one.
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).is_file():
        return Answer({}, "There is no MLflow store in this workspace.")
    question = _question(uri, asked)
    answer = question.ask()
    # Older ones are better than none, while new ones are read and where MLflow is gone.
    found: dict[tuple[str, int | None], Figures] = {
        (each.model, each.version): each for each in question.latest or ()
    }
    if not answer.done():
        return Answer(found, waiting=question.latest is None)
    return Answer(found, "MLflow does not answer." if answer.exception() else "")


@functools.lru_cache(maxsize=8)
def _question(uri: str, asked: tuple[_Asked, ...]) -> Question[list[Figures]]:
    """Returns the question, the same one while the models are the same."""
    return Question(lambda: _ask(uri, asked), KEEP_SECONDS, REST_SECONDS)


def _ask(uri: str, asked: tuple[_Asked, ...]) -> list[Figures]:
    # By stdin: the address may hold a password, and command lines are seen by all.
    done = subprocess.run(
        [sys.executable, "-m", "serving.portal.operations.mlflow_reader"],
        input=json.dumps({"uri": uri, "models": asked}),
        env={**os.environ, **_QUICK},
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=True,
    )
    return [Figures(**each) for each in json.loads(done.stdout)]
