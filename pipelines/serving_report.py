"""What a person sees of served models: tables, and how to ask a server."""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from pipelines.settings import Workspace
from pipelines.tasks import TASKS
from serving.local_server import ServerOptions
from serving.rollout.model_config import Root, workspace_roots
from serving.rollout.overview import ModelInfo, Overview, VersionInfo

# Tasks whose models take one image, with the client's method.
_METHODS = {"emotion": "emotion", "gender": "gender", "age": "age", "detection": "detect"}
# Columns that are read as one word, on narrow terminals too.
_WHOLE = ("model", "version", "pushed")
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_PLAIN = re.compile(r"[\w/.-]+")


def roots(workspace: Workspace) -> tuple[Root, ...]:
    """Returns where pushed models are: those of real data before those of drawn sample data."""
    return workspace_roots(workspace.root)


def served_table(models: Sequence[ModelInfo]) -> Table:
    """Lays out what a server will serve."""
    table = _table("Served models", "model", "versions", "data", "folder")
    for model in models:
        labels = {version.number: version.labels for version in model.versions}
        versions = ", ".join(_labelled(number, labels[number]) for number in model.wanted)
        table.add_row(model.name, versions, model.source, Text(str(model.base_path)))
    return table


def _labelled(number: int, labels: Sequence[str]) -> str:
    return f"{number} ({', '.join(labels)})" if labels else str(number)


def versions_table(overview: Overview) -> Table:
    """Lays out all versions on disk, with their states."""
    table = _table("", "model", "version", "state", "labels", "pushed", "MiB", "data", "warm-up")
    for model in overview.models:
        for version in model.versions:
            table.add_row(
                model.name,
                str(version.number),
                _state(version, version.number in model.wanted, overview.running),
                ", ".join(version.labels),
                f"{version.pushed:%Y-%m-%d %H:%M}" if version.pushed else "",
                f"{version.bytes / 2**20:.1f}",
                model.source,
                "yes" if version.has_records else "no",
            )
    return table


def _state(version: VersionInfo, wanted: bool, running: bool) -> Text:
    if not running:
        return Text("wanted" if wanted else "", "dim")
    if version.error:
        return Text(f"{version.state}: {version.error}", "red")
    if version.state in ("", "END"):
        return Text("not loaded", "dim")
    return Text(version.state, "green" if version.state == "AVAILABLE" else "yellow")


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in _WHOLE)
    return table


def addresses(models: Sequence[ModelInfo], options: ServerOptions, image: Path | None) -> Iterator[str]:
    """Tells where a server answers, and how to ask it.

    Args:
        models: What it serves, at least one.
        options: How it listens.
        image: An image to ask about; None for any.

    Yields:
        Lines.
    """
    host = _ANY_ADDRESS.get(options.host, options.host)
    host = f"[{host}]" if ":" in host else host
    target, url = f"{host}:{options.port}", f"http://{host}:{options.rest_port}"
    yield "ready in some seconds; Ctrl-C ends it"
    yield f"gRPC     {target}"
    yield f"REST     {url}/v1/models/{models[0].name}"
    yield f"metrics  {url}/monitoring/prometheus/metrics"
    name = next((model.name for model in models if model.name in _METHODS), "")
    if name:
        yield from _examples(name, target, url, image)
    else:
        yield f"curl {url}/v1/models/{models[0].name}"


def _examples(name: str, target: str, url: str, image: Path | None) -> Iterator[str]:
    # Names that a shell or Python would read otherwise are left to the reader.
    file = str(image) if image and _PLAIN.fullmatch(str(image)) else "face.jpg"
    # By way of stdin: an argument cannot hold a large image.
    body = f"""(printf '{{"instances":[{{"b64":"'; base64 -w0 {file}; printf '"}}]}}')"""
    yield f"{body} | curl -sS --data-binary @- {url}/v1/models/{name}:predict"
    call = f"Client('{target}').{_METHODS[name]}([open('{file}', 'rb').read()])"
    yield f'{sys.executable} -c "from serving.client import Client; print({call})"'


def sample_image(workspace: Workspace, models: Sequence[ModelInfo]) -> Path | None:
    """Returns one of the drawn faces of the served models, if there are any as files."""
    for model in models:
        task = TASKS.get(model.name)
        folder = workspace.for_samples().sample(task.sample) if task else None
        found = next(_pictures(folder), None) if folder and folder.is_dir() else None
        if found:
            return found
    return None


def _pictures(folder: Path) -> Iterator[Path]:
    return (file for form in ("*.png", "*.jpg") for file in folder.rglob(form))
