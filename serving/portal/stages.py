"""How long the stages of a request took, which its answer tells in a header that browsers show."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from django.http import HttpRequest, HttpResponse


def begin(request: HttpRequest) -> None:
    """Begins to measure a request."""
    request.started, request.stages = time.perf_counter(), {}


@contextmanager
def timed(request: HttpRequest, stage: str) -> Iterator[None]:
    """Measures a stage; one that comes again is added up."""
    started = time.perf_counter()
    try:
        yield
    finally:
        add(request, {stage: 1000.0 * (time.perf_counter() - started)})


def add(request: HttpRequest, milliseconds: Mapping[str, float]) -> None:
    """Adds stages that were measured elsewhere."""
    for stage, spent in milliseconds.items():
        request.stages[stage] = request.stages.get(stage, 0.0) + spent


def note_received(request: HttpRequest) -> None:
    """Tells that all of a form was read and its sender found in order; told again, nothing changes."""
    request.stages.setdefault("receiving", total(request))


def total(request: HttpRequest) -> float:
    """Returns the milliseconds since the request began."""
    return 1000.0 * (time.perf_counter() - request.started)


def tell(request: HttpRequest, response: HttpResponse) -> None:
    """Writes the header Server-Timing, in milliseconds."""
    shown = {**request.stages, "total": total(request)}
    response["Server-Timing"] = ", ".join(f"{stage};dur={spent:.1f}" for stage, spent in shown.items())
