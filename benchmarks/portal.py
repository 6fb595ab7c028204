"""How long the portal takes from a photo to its result, and where the time goes.

    python benchmarks/portal.py --models WORKSPACE

The portal runs as in production (gunicorn, a process of its own, as the model server), and one visitor sends
a photo of 640 pixels to each application in turn, in rounds, so that a slow minute of the machine meets all
of them. Measured is what a browser waits for: the form with the photo is sent, the answer leads to the
result, and the result is read. Prints a Markdown table: median and 90th percentile, the ratio to a page
without models in the same rounds, and the medians of the stages as the portal tells them (Server-Timing).
Ends with 1 if the median of an application is above the limit.
"""

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

# Files beside this one have names of packages; the harness is that of the tests.
_HERE = Path(__file__).parent
sys.path[:] = [str(_HERE.parent), str(_HERE.parent / "tests")] + [
    path for path in sys.path if path != str(_HERE)
]

from model_servers import Server, launch  # noqa: E402
from portal_server import Portal, Visitor, portal_server  # noqa: E402

LIMIT = 1.5  # seconds, median, on two cores
SIDE = 640
PAGES = ("detection", "gender", "age", "emotion", "verification", "synthesis", "everything")
FACES = 16  # of synthesis, as the form has it
LOADING = 600  # seconds that the models may take to load


@dataclass
class Measured:
    """Seconds of each request, and milliseconds of each stage of it."""

    seconds: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True, help="workspace with the six models; only read")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--photo", type=Path, help="a photo with one face or more; a drawn scene without")
    arguments = parser.parse_args()
    photo = _photo(arguments.photo)
    measured = {page: Measured() for page in ("/privacy/", *PAGES)}
    with tempfile.TemporaryDirectory() as scratch, _portal(Path(scratch), arguments.models) as portal:
        visitor = Visitor(portal)
        for number in range(-2, arguments.rounds):  # two rounds to warm up
            name = f"round {number + 1} of {arguments.rounds}" if number >= 0 else "warming up"
            print(name, file=sys.stderr)
            for page, figures in measured.items():
                seconds, stages = _ask(visitor, page, photo)
                if number >= 0:
                    figures.seconds.append(seconds)
                    for stage, spent in stages.items():
                        figures.stages[stage].append(spent)
    print(_table(measured))
    slow = [page for page in PAGES if statistics.median(measured[page].seconds) > LIMIT]
    if slow:
        print(f"above {LIMIT} s at the median: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


def _photo(file: Path | None) -> bytes:
    """A JPEG whose longer side has 640 pixels."""
    if file:
        picture = Image.open(file).convert("RGB")
    else:
        from components.samples.scenes import draw_scene

        picture = next(
            picture for number in range(100) for picture, faces in [draw_scene(1, number)] if len(faces) > 1
        )
    scale = SIDE / max(picture.size)
    buffer = io.BytesIO()
    picture.resize([round(side * scale) for side in picture.size]).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@contextlib.contextmanager
def _portal(scratch: Path, workspace: Path) -> Iterator[Portal]:
    """The portal on a server of the workspace's models, with what `hexaface serve` gives the server."""
    from serving import local_server
    from serving.rollout import refresh
    from serving.rollout.model_config import workspace_roots

    home = scratch / "workspace"
    for theirs, ours in zip(workspace_roots(workspace), workspace_roots(home), strict=True):
        for model in theirs.path.iterdir() if theirs.path.is_dir() else ():
            if model.is_dir():
                ours.path.mkdir(parents=True, exist_ok=True)
                (ours.path / model.name).symlink_to(model.resolve())
    config, _ = refresh(workspace_roots(home))
    local_server.write_files(config.parent)
    options = local_server.ServerOptions()
    flags = [
        flag
        for flag in local_server.arguments(config, options)
        if not flag.startswith(("--host", "--port", "--rest_api_port"))
    ]
    with (
        _server(flags) as server,
        portal_server(
            scratch / "portal", server.address, HEXAFACE_HOME=str(home), PORTAL_MODEL_SECONDS="60"
        ) as portal,
    ):
        yield portal


@contextlib.contextmanager
def _server(flags: list[str]) -> Iterator[Server]:
    server = launch(*flags)
    try:
        server.wait_for("Exporting HTTP/REST API", LOADING)
        yield server
    finally:
        server.process.terminate()
        server.process.wait()


def _ask(visitor: Visitor, page: str, photo: bytes) -> tuple[float, dict[str, float]]:
    """Sends a photo and reads the result; returns seconds, and milliseconds by stage."""
    token = visitor.token()
    started = time.perf_counter()
    if page.startswith("/"):
        answers = [visitor.get(page)]
    elif page == "synthesis":
        answers = [visitor.get(f"/synthesis/?count={FACES}&seed={time.time_ns() % 10**6}", fragment=True)]
    else:
        files = {"first": photo, "second": photo} if page == "verification" else {"image": photo}
        sent = visitor.send(page, token=token, **files)
        answers = [sent, visitor.get(sent.headers["Location"], fragment=True)]
    seconds = time.perf_counter() - started
    if answers[-1].status_code != 200:
        raise SystemExit(f"{page}: {answers[-1].text}")
    stages: dict[str, float] = defaultdict(float)
    for answer in answers:
        for part in answer.headers["Server-Timing"].split(", "):
            stage, spent = part.split(";dur=")
            stages[stage] += float(spent)
    # Within `total`, what no stage tells; outside of it, sockets and the server's own threads.
    stages["other"] = 2 * stages["total"] - sum(stages.values())
    stages["transport"] = 1000.0 * seconds - stages.pop("total")
    return seconds, dict(stages)


def _table(measured: dict[str, Measured]) -> str:
    names = list(dict.fromkeys(stage for figures in measured.values() for stage in figures.stages))
    smallest = statistics.median(measured["/privacy/"].seconds)
    lines = [
        "| ms | median | p90 | of a plain page | " + " | ".join(names) + " |",
        "| --- |" + " ---: |" * (3 + len(names)),
    ]
    for page, figures in measured.items():
        median, high = (1000.0 * value for value in np.percentile(figures.seconds, [50, 90]))
        stages = [
            f"{statistics.median(figures.stages[name]):.1f}" if figures.stages[name] else "" for name in names
        ]
        ratio = median / 1000.0 / smallest
        lines.append(f"| {page} | {median:.0f} | {high:.0f} | {ratio:.1f} | " + " | ".join(stages) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
