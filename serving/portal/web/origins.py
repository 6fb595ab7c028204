"""Which of the served models learnt from drawn sample data only, as people should know who send photos."""

import functools
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from serving.rollout.errors import RolloutError
from serving.rollout.model_config import pushed_models, workspace_roots

_DRAWN = "sample"
_KEPT_SECONDS = 60
_log = logging.getLogger("portal.models")


def any_drawn(home: Path, models: Iterable[str]) -> bool:
    """Tells whether one of some models learnt from drawn faces only.

    Args:
        home: The workspace whose models are served.
        models: Names; one that is not in the workspace is not taken for such a model.
    """
    titles = _titles(home, _minute())
    return any(titles.get(name) == _DRAWN for name in models)


def all_drawn(home: Path) -> bool:
    """Tells whether a workspace has models, and only such."""
    titles = set(_titles(home, _minute()).values())
    return titles == {_DRAWN}


def _minute() -> int:
    return int(time.monotonic() // _KEPT_SECONDS)


@functools.lru_cache(maxsize=4)
def _titles(home: Path, minute: int) -> Mapping[str, str]:
    """Titles of the roots of models by name; `minute` lets what is kept grow old."""
    try:
        models = pushed_models(workspace_roots(home))
    except RolloutError as error:
        _log.warning("the workspace's models cannot be looked up: %s", error)
        return MappingProxyType({})
    return MappingProxyType({name: model.root.title for name, model in models.items()})
