"""The embedded model server of a workspace: the files that it needs and its command line.

`compose.yaml` starts TensorFlow Serving's own image on the same files.
"""

import errno
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from serving.model_server.flags import CPUS
from serving.rollout.errors import RolloutError
from serving.rollout.model_config import write_atomically

BATCHING_FILE, MONITORING_FILE = "batching.config", "monitoring.config"

_KEPT = "# Made by `hexaface serve`, which keeps what is changed here; deleted, it is made anew.\n"
_MONITORING = f'{_KEPT}prometheus_config {{ enable: true path: "/monitoring/prometheus/metrics" }}\n'
# For CPUs, measured with benchmarks/serving.py: eight images keep the cores almost as busy as thirty-two, so
# larger requests are split, and a full batch is worth a wait of 3 ms. A request that comes alone does not
# wait (model_server/saved_model.py). TensorFlow uses several cores for one batch: fewer batches at a time
# than cores.
_BATCHING = f"""{_KEPT}max_batch_size {{ value: 128 }}
enable_large_batch_splitting {{ value: true }}
max_execution_batch_size {{ value: 8 }}
batch_timeout_micros {{ value: 3000 }}
num_batch_threads {{ value: {max(1, CPUS // 2)} }}
max_enqueued_batches {{ value: 100 }}
"""


@dataclass(frozen=True)
class ServerOptions:
    """How the server listens.

    Attributes:
        host: Address.
        port: Port of gRPC.
        rest_port: Port of REST; 0 for none.
        batching: Whether requests of several clients run together.
    """

    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int = 8501
    batching: bool = True


def write_files(folder: Path) -> None:
    """Writes the monitoring and batching configuration into a folder, each if it is not there yet."""
    for name, text in ((MONITORING_FILE, _MONITORING), (BATCHING_FILE, _BATCHING)):
        if not (folder / name).exists():
            write_atomically(folder / name, text)


def arguments(config_file: Path, options: ServerOptions) -> list[str]:
    """Returns the command line of the embedded server.

    Args:
        config_file: `models.config`, with the files of `write_files` beside it.
        options: How it listens.
    """
    folder = config_file.parent
    flags = [
        f"--host={options.host}",
        f"--port={options.port}",
        f"--rest_api_port={options.rest_port}",
        f"--model_config_file={config_file}",
        "--model_config_file_poll_wait_seconds=1",
        f"--monitoring_config_file={folder / MONITORING_FILE}",
        "--num_load_threads=2",
        "--enable_grpc_healthcheck_service=true",
    ]
    if options.batching:
        flags += ["--enable_batching=true", f"--batching_parameters_file={folder / BATCHING_FILE}"]
    return flags


def run(config_file: Path, options: ServerOptions) -> int:
    """Runs the server in this process until Ctrl-C or SIGTERM; returns its exit code."""
    # While TensorFlow is loading there is nothing to close, and no other way out of its native code.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    from serving.model_server.__main__ import main

    return main(arguments(config_file, options))


def check_ports(options: ServerOptions) -> None:
    """Raises RolloutError, which names the option, if the server could not listen."""
    if options.port == options.rest_port:
        raise RolloutError(f"--rest-port {options.rest_port}: expected another than --port")
    for name, port in (("--port", options.port), ("--rest-port", options.rest_port)):
        check_port(name, options.host, port)


def check_port(option: str, host: str, port: int) -> None:
    """Raises RolloutError, which names the option, if nothing could listen on a port now."""
    try:
        _bind(host, port)
    except socket.gaierror as error:
        raise RolloutError(f"--host {host}: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise RolloutError(f"--host {host}: {error.strerror}") from error
        raise RolloutError(f"{option} {port}: cannot be opened: {error.strerror}") from error


def _bind(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        # As the server does it: a port that was closed a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
