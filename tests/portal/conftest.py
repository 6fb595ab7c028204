"""A model server with models whose answers can be told by hand, and the portal in this process."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_servers import Server, model_server
from portal_server import Portal, portal_server

VERSION = 3


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Path:
    """A workspace with the six models pushed, and the file of error rates beside the verification model."""
    import portal_models

    home = tmp_path_factory.mktemp("workspace")
    for task in portal_models.TASKS:
        portal_models.save(task, home / "models" / task, VERSION)
    extra = home / "models" / "verification" / str(VERSION) / "assets.extra"
    extra.mkdir(exist_ok=True)
    rates = {"distance": "cosine", "threshold": portal_models.THRESHOLD, "far": 0.01}
    rates["table"] = [{"far": 0.1, "threshold": 0.3}, {"far": 0.01, "threshold": 0.2}]
    (extra / "thresholds.json").write_text(json.dumps(rates))
    return home


@pytest.fixture(scope="session")
def models(workspace) -> Iterator[Server]:
    """A model server of the workspace."""
    from serving.rollout import refresh
    from serving.rollout.model_config import workspace_roots

    config, _ = refresh(workspace_roots(workspace))
    with model_server(f"--model_config_file={config}") as running:
        yield running


@pytest.fixture
def portal(settings, tmp_path, workspace):
    """Settings of the portal in this process, with a data folder of its own; no model server answers."""
    from serving.portal import model_server as connection

    settings.DATA, settings.HOME = tmp_path / "portal", workspace
    settings.MODEL_SERVER, settings.MODEL_SECONDS = "127.0.0.1:1", 2.0
    connection.client.cache_clear()
    connection.assessor.cache_clear()
    yield settings
    connection.client.cache_clear()
    connection.assessor.cache_clear()


@pytest.fixture
def patient(monkeypatch):
    """Probes and pages wait as long as a busy machine may take, where it does not matter how long they do."""
    from serving.portal.api import v1
    from serving.portal.operations import probes, states

    for place, name in (
        (probes, "_ALL_SECONDS"),
        (probes, "_MODEL_SECONDS"),
        (states, "_SECONDS"),
        (v1, "STATUS_SECONDS"),
    ):
        monkeypatch.setattr(place, name, 60.0)


@pytest.fixture
def served(portal, models, patient):
    """The same, with the model server."""
    portal.MODEL_SERVER, portal.MODEL_SECONDS = models.address, 60.0
    return portal


@pytest.fixture(scope="session")
def running(models, workspace, tmp_path_factory) -> Iterator[Portal]:
    """The portal as it runs in production, in a process of its own, with the model server."""
    folder = tmp_path_factory.mktemp("running")
    with portal_server(folder, models.address, HEXAFACE_HOME=str(workspace)) as portal:
        yield portal
