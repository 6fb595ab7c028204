"""What serving costs: the model server over gRPC and REST, beside the same SavedModel called directly.

    python benchmarks/serving.py VERSION_FOLDER

The server runs in a process of its own, with batching; so do the clients, on the same machine, and they take
their share of it. Requests are made beforehand and sent without a pause; answers are received and not looked
at. All cases are measured in turn, in several rounds, so that a slow minute of the machine meets all of them;
the median round counts. Prints a Markdown table: images a second, their ratio to the direct call at its best
batch size, and the latency of single requests.
"""

import argparse
import base64
import contextlib
import http.client
import itertools
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# This file has the name of a package that it uses, and Python looks beside a script first.
sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]

BATCHES, CLIENTS = (1, 8, 32), (1, 8)
TRANSPORTS = ("gRPC bytes", "REST b64", "gRPC pixels", "REST list")
MODEL = "face"
# Seconds of load before the measuring begins: new connections and threads are no steady state.
WARM_UP = 0.7


@dataclass(frozen=True)
class Case:
    """What is measured together."""

    transport: str
    batch: int
    clients: int


@dataclass
class Measured:
    """Figures of a case, one a round."""

    images_per_second: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", type=Path, help="folder of a SavedModel with image_bytes and pixels")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=Path, help="folder of images; drawn faces without")
    parser.add_argument("--only", default="", help="transport that starts so, e.g. 'gRPC bytes'")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--flags", nargs="*", default=[], help="further flags of the server")
    parser.add_argument("--batching", type=Path, help="batching parameters; `hexaface serve`'s own without")
    arguments = parser.parse_args()
    images = _images(arguments.images, max(BATCHES))
    transports = [name for name in TRANSPORTS if name.startswith(arguments.only)]
    cases = [Case(*case) for case in itertools.product(transports, BATCHES, arguments.clients)]
    measured = {case: Measured() for case in cases}
    direct: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    with (
        _server(arguments.version, arguments.batching, arguments.flags) as (port, rest_port),
        _Direct(arguments.version, images) as model,
    ):
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            for batch in BATCHES:
                direct[batch].append(model.measure(batch, arguments.seconds))
            for case in cases:
                result = _measure(case, images, port, rest_port, arguments.seconds)
                measured[case].images_per_second.append(result[0])
                measured[case].latencies.extend(result[1])
    print(_table(measured, direct))


def _images(folder: Path | None, count: int) -> list[bytes]:
    """Encoded images of 48 x 48: those of a folder, or drawn faces."""
    if folder:
        files = sorted(file for file in folder.rglob("*") if file.suffix in (".jpg", ".jpeg", ".png"))
        return [file.read_bytes() for file in files[:count]]
    from rich.console import Console

    from components.readers.catalog import ReaderOptions, open_readers
    from pipelines.samples import draw_sample
    from pipelines.tasks import TASKS

    with tempfile.TemporaryDirectory() as scratch:
        draw_sample(
            TASKS["emotion"].sample, Path(scratch) / "data", 210, seed=1, console=Console(stderr=True)
        )
        # The first of the data sets that are drawn: FER-2013's form, all of one size.
        reader = open_readers(Path(scratch) / "data", ReaderOptions())[0]
        records = (reader.load(item) for item in reader.items())
        return [record.image for record, _ in zip(records, range(count), strict=False)]


class _Direct:
    """The SavedModel in a process of its own, called as Python programs call it."""

    def __init__(self, version: Path, images: list[bytes]) -> None:
        self._pipe, other = multiprocessing.get_context("spawn").Pipe()
        arguments = (str(version), images, other)
        self._process = multiprocessing.get_context("spawn").Process(target=_serve_direct, args=arguments)

    def __enter__(self) -> "_Direct":
        self._process.start()
        self._pipe.recv()
        return self

    def measure(self, batch: int, seconds: float) -> float:
        """Images a second."""
        self._pipe.send((batch, seconds))
        return self._pipe.recv()

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join()


def _serve_direct(version: str, images: list[bytes], pipe) -> None:
    import tensorflow as tf

    call = tf.saved_model.load(version).signatures["serving_default"]
    for batch in BATCHES:
        call(tf.constant(images[:batch]))
    pipe.send("ready")
    while (asked := pipe.recv()) is not None:
        batch, seconds = asked
        inputs = tf.constant(images[:batch])
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            {name: value.numpy() for name, value in call(inputs).items()}
            count += batch
        pipe.send(count / (time.perf_counter() - started))


@contextlib.contextmanager
def _server(version: Path, batching: Path | None, flags: list[str]) -> Iterator[tuple[int, int]]:
    from serving import local_server

    port, rest_port = _free_port(), _free_port()
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / MODEL
        base.mkdir()
        (base / "1").symlink_to(version.resolve())
        if not batching:
            local_server.write_files(Path(scratch))
            batching = Path(scratch) / local_server.BATCHING_FILE
        command = [sys.executable, "-m", "serving.model_server", "--host=127.0.0.1", f"--port={port}"]
        command += [f"--rest_api_port={rest_port}", f"--model_name={MODEL}", f"--model_base_path={base}"]
        command += ["--enable_batching", f"--batching_parameters_file={batching}", *flags]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            _wait(rest_port, process)
            yield port, rest_port
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(port: int, process: subprocess.Popen) -> None:
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise SystemExit(f"the server ended with code {process.returncode}")


def _measure(
    case: Case, images: list[bytes], port: int, rest_port: int, seconds: float
) -> tuple[float, list[float]]:
    """Runs a case's clients; returns images a second and the seconds of each request."""
    context = multiprocessing.get_context("fork")
    parent, child = context.Pipe()
    process = context.Process(target=_clients, args=(case, images, port, rest_port, seconds, child))
    process.start()
    # So that the end of the process is seen here, whatever ended it.
    child.close()
    result = parent.recv()
    process.join()
    return result


def _clients(case: Case, images: list[bytes], port: int, rest_port: int, seconds: float, pipe) -> None:
    """Runs in a process of its own: its threads compete with the server, but not for the server's lock."""
    latencies: list[float] = []
    calls = [_call(case, images, port, rest_port) for _ in range(case.clients)]
    begin = time.perf_counter() + WARM_UP
    end = begin + seconds

    def loop(call: Callable[[], None]) -> None:
        while (started := time.perf_counter()) < end:
            call()
            ended = time.perf_counter()
            if begin <= ended < end:
                latencies.append(ended - started)

    threads = [threading.Thread(target=loop, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Answers that came within the time.
    pipe.send((len(latencies) * case.batch / seconds, latencies))


def _call(case: Case, images: list[bytes], port: int, rest_port: int) -> Callable[[], None]:
    """Returns a function that sends one prepared request on a connection of its own."""
    batch = images[: case.batch]
    if case.transport.startswith("gRPC"):
        return _grpc_call(_grpc_request(case.transport, batch), port)
    return _rest_call(_rest_body(case.transport, batch), rest_port)


def _grpc_request(transport: str, batch: list[bytes]) -> bytes:
    from serving.wire import wire_pb2
    from serving.wire.tensors import to_proto

    request = wire_pb2.PredictRequest()
    request.model_spec.name = MODEL
    if transport == "gRPC bytes":
        request.inputs["image_bytes"].CopyFrom(to_proto(np.array(batch, object)))
    else:
        request.model_spec.signature_name = "pixels"
        request.inputs["pixels"].CopyFrom(to_proto(_pixels(batch)))
    return request.SerializeToString()


def _grpc_call(request: bytes, port: int) -> Callable[[], None]:
    import grpc

    # A channel of its own for each client: one would put all requests on one connection.
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    return lambda: call(request, timeout=60)


def _rest_body(transport: str, batch: list[bytes]) -> bytes:
    if transport == "REST b64":
        return json.dumps(
            {"instances": [{"b64": base64.b64encode(image).decode()} for image in batch]}
        ).encode()
    return json.dumps({"signature_name": "pixels", "instances": _pixels(batch).tolist()}).encode()


def _rest_call(body: bytes, port: int) -> Callable[[], None]:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def call() -> None:
        connection.request("POST", f"/v1/models/{MODEL}:predict", body)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(answer[:500])

    return call


def _pixels(batch: list[bytes]) -> np.ndarray:
    import io

    from PIL import Image

    return np.stack([np.asarray(Image.open(io.BytesIO(image)).convert("L"))[..., None] for image in batch])


def _table(measured: dict[Case, Measured], direct: dict[int, list[float]]) -> str:
    best = max(statistics.median(values) for values in direct.values())
    lines = [
        "| call | batch | clients | images/s | of direct | p50 ms | p95 ms | p99 ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for batch, values in direct.items():
        rate = statistics.median(values)
        lines.append(f"| direct | {batch} | 1 | {rate:.0f} | {rate / best:.2f} | | | |")
    for case, figures in measured.items():
        rate = statistics.median(figures.images_per_second)
        milliseconds = 1000 * np.percentile(figures.latencies, [50, 95, 99])
        values = [case.transport, str(case.batch), str(case.clients), f"{rate:.0f}", f"{rate / best:.2f}"]
        lines.append("| " + " | ".join([*values, *(f"{value:.1f}" for value in milliseconds)]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
