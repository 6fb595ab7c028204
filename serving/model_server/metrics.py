"""The Prometheus metrics of `tensorflow_model_server`: its names, labels, types, buckets and text.

prometheus_client is not used: it appends `_total` to counters and writes bucket limits in its own form, while
dashboards made for the binary ask for its names and limits letter by letter.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

Labels = tuple[str, ...]

# Names come from clients too: those that no model has are counted together.
UNKNOWN_MODEL = "(unknown)"
# Above this many combinations of labels in one metric, new ones are counted together.
MAX_SERIES = 1000
OVERFLOW = "(other)"

# The only runtime here; the binary tells it from "TFRT".
_RUNTIME = "TF1"


def _exponential(scale: float, factor: float, count: int) -> tuple[float, ...]:
    return tuple(accumulate([scale] + [factor] * (count - 1), lambda limit, step: limit * step))


# In microseconds, the last one some 20 minutes.
_LATENCY = _exponential(10, 1.8, 33)
_QUEUING = _exponential(100, 1.2, 52)
_GRAPH_RUN = _exponential(1000, 2, 20)
_EXAMPLES = _exponential(1, 2, 15)


class _Counter:
    """A number for each combination of labels."""

    def __init__(self, name: str, *label_names: str) -> None:
        self.name = name
        self._label_names = label_names
        self._cells: dict[Labels, int] = {}

    def add(self, labels: Labels, amount: int = 1) -> None:
        if labels not in self._cells and len(self._cells) >= MAX_SERIES:
            labels = (OVERFLOW,) * len(labels)
        self._cells[labels] = self._cells.get(labels, 0) + amount

    def copy(self) -> "_Counter":
        twin = _Counter(self.name, *self._label_names)
        twin._cells = dict(self._cells)
        return twin

    def lines(self) -> Iterator[str]:
        yield f"# TYPE {self.name} counter"
        for labels, value in sorted(self._cells.items()):
            yield f"{self.name}{{{_pairs(self._label_names, labels)}}} {value}"


class _Histogram:
    """A distribution for each combination of labels."""

    def __init__(self, name: str, limits: tuple[float, ...], *label_names: str) -> None:
        self.name = name
        self._label_names = label_names
        self._limits = limits
        # The last bucket has no limit; behind the buckets stands the sum.
        self._cells: dict[Labels, list[int]] = {}

    def add(self, labels: Labels, value: int) -> None:
        cell = self._cells.get(labels)
        if cell is None:
            if len(self._cells) >= MAX_SERIES:
                labels = (OVERFLOW,) * len(labels)
            cell = self._cells.setdefault(labels, [0] * (len(self._limits) + 2))
        # As in the binary, a value that equals a limit belongs to the bucket above it.
        cell[bisect_right(self._limits, value)] += 1
        cell[-1] += value

    def copy(self) -> "_Histogram":
        twin = _Histogram(self.name, self._limits, *self._label_names)
        twin._cells = {labels: list(cell) for labels, cell in self._cells.items()}
        return twin

    def lines(self) -> Iterator[str]:
        yield f"# TYPE {self.name} histogram"
        for labels, cell in sorted(self._cells.items()):
            pairs = _pairs(self._label_names, labels)
            before = pairs + "," if pairs else ""
            counts = list(accumulate(cell[:-1]))
            for limit, count in zip(self._limits, counts, strict=False):
                # Six digits, as the binary writes them: queries name these texts.
                yield f'{self.name}_bucket{{{before}le="{limit:g}"}} {count}'
            yield f'{self.name}_bucket{{{before}le="+Inf"}} {counts[-1]}'
            yield f"{self.name}_sum{{{pairs}}} {cell[-1]}"
            yield f"{self.name}_count{{{pairs}}} {counts[-1]}"


def _pairs(names: Iterable[str], values: Iterable[str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Metrics:
    """What one server counts. All methods may be called from any thread, and none holds up the others."""

    def __init__(self, models: Iterable[str] = ()) -> None:
        """Starts with nothing counted.

        Args:
            models: Names that may appear as labels, as for `serve`.
        """
        self._lock = threading.Lock()
        self._models: set[str] = set(models)
        serving = ":tensorflow:serving:"
        core = ":tensorflow:core:"
        saved_model = ":tensorflow:cc:saved_model:"
        self._request_count = _Counter(f"{serving}request_count", "model_name", "status")
        self._request_latency = _Histogram(
            f"{serving}request_latency", _LATENCY, "model_name", "API", "entrypoint"
        )
        self._runtime_latency = _Histogram(
            f"{serving}runtime_latency", _LATENCY, "model_name", "API", "runtime"
        )
        self._example_counts = _Histogram(f"{serving}request_example_counts", _EXAMPLES, "model")
        self._example_total = _Counter(f"{serving}request_example_count_total", "model")
        self._log_count = _Counter(f"{serving}request_log_count", "model_name", "status_code")
        self._warmup_latency = _Histogram(f"{serving}model_warmup_latency", _LATENCY, "model_path", "status")
        self._queuing_latency = _Histogram(
            f"{serving}batching_session:queuing_latency", _QUEUING, "thread_pool_name"
        )
        self._batches = _Counter(f"{serving}batching_session:wrapped_run_count")
        self._load_attempts = _Counter(f"{saved_model}load_attempt_count", "model_path", "status")
        self._load_latency = _Counter(f"{saved_model}load_latency", "model_path")
        self._graph_runs = _Counter(f"{core}graph_runs")
        self._graph_time = _Counter(f"{core}graph_run_time_usecs")
        self._graph_times = _Histogram(f"{core}graph_run_time_usecs_histogram", _GRAPH_RUN)

    def serve(self, models: Iterable[str]) -> None:
        """Says which names belong to models, now or from here on; all others share one label.

        Names of models that are served no longer stay known, so that their series go on.
        """
        with self._lock:
            self._models.update(models)

    def request_done(self, model: str, api: str, entrypoint: str, code_name: str, seconds: float) -> None:
        """Counts an answered request.

        Args:
            model: The name that the client asked for.
            api: As in the binary: `Predict`, `Classify`, ... over gRPC, `predict`, `classify`, ... over REST.
            entrypoint: `GRPC` or `REST`.
            code_name: Name of the status code, `OK` or an error's.
            seconds: From the request's arrival to its answer.
        """
        micros = _micros(seconds)
        with self._lock:
            name = self._known(model)
            self._request_count.add((name, code_name))
            # As in the binary, which measures only what it could answer.
            if code_name == "OK":
                self._request_latency.add((name, api, entrypoint), micros)

    def ran(self, model: str, api: str, seconds: float) -> None:
        """Counts one run of a model's graph."""
        micros = _micros(seconds)
        with self._lock:
            self._runtime_latency.add((self._known(model), api, _RUNTIME), micros)
            self._graph_runs.add(())
            self._graph_time.add((), micros)
            self._graph_times.add((), micros)

    def examples(self, model: str, count: int) -> None:
        """Counts the examples (or rows) of one request."""
        with self._lock:
            name = (self._known(model),)
            self._example_counts.add(name, count)
            self._example_total.add(name, count)

    def request_logged(self, model: str, code_name: str) -> None:
        """Counts an attempt to write a request to the request log."""
        with self._lock:
            self._log_count.add((self._known(model), code_name))

    def warmed_up(self, path: str, seconds: float, code_name: str = "OK") -> None:
        """Counts the warm-up of the version in folder `path`."""
        micros = _micros(seconds)
        with self._lock:
            self._warmup_latency.add((path, code_name), micros)

    def loaded(self, path: str, seconds: float, ok: bool = True) -> None:
        """Counts an attempt to load the version in folder `path`."""
        micros = _micros(seconds)
        with self._lock:
            self._load_attempts.add((path, "success" if ok else "fail"))
            self._load_latency.add((path,), micros)

    def queued(self, thread_pool_name: str, seconds: float) -> None:
        """Counts the time that a request waited for its batch."""
        micros = _micros(seconds)
        with self._lock:
            self._queuing_latency.add((thread_pool_name,), micros)

    def batch_ran(self) -> None:
        """Counts a batch that was run."""
        with self._lock:
            self._batches.add(())

    def text(self) -> bytes:
        """Returns the page for Prometheus; its content type is `text/plain`."""
        metrics = [value for value in vars(self).values() if isinstance(value, _Counter | _Histogram)]
        with self._lock:
            copies = [metric.copy() for metric in metrics]
        # Formatting takes long enough to be done where nobody waits for it.
        lines = [line for metric in sorted(copies, key=lambda each: each.name) for line in metric.lines()]
        return ("\n".join(lines) + "\n").encode(errors="replace")

    def _known(self, model: str) -> str:
        return model if model in self._models else UNKNOWN_MODEL


def _micros(seconds: float) -> int:
    # Never below nothing, should a clock step back.
    return max(0, int(seconds * 1e6))
