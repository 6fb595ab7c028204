"""Puts the server together, listens, and stops in order."""

import asyncio
import logging
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.model_server import config, servable
from serving.model_server.admission import Admission, Memory
from serving.model_server.data_plane import DataPlane, Limits, OneServable
from serving.model_server.errors import ServingError, invalid
from serving.model_server.flags import Flags, unused
from serving.model_server.grpc_front import Front, ModelService, PredictionService
from serving.model_server.metrics import Metrics
from serving.model_server.repository import Options, Repository
from serving.model_server.rest_front import RestFront, RestOptions
from serving.model_server.warmup import warm_up

_log = logging.getLogger("serving.model_server")

# Requests in flight get this long when the server is told to stop.
_GRACE_SECONDS = 10.0
_CLOSE_SECONDS = 3.0
# Requests of all clients together, as a multiple of the largest single one.
_BYTES_IN_FLIGHT = 8
_MOST_THREADS = 256


def serve(flags: Flags) -> int:
    """Serves until SIGTERM or SIGINT.

    Args:
        flags: The command line.

    Returns:
        The exit code.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s", force=True
    )
    tf.get_logger().setLevel(logging.ERROR)
    # A stranger's garbage is answered, and is no fault of ours to be told with a traceback.
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    if unused(flags):
        _log.info("Flags without effect in this server: %s", ", ".join(unused(flags)))
    try:
        return asyncio.run(_Server(flags).run())
    except ServingError as error:
        _log.error("Failed to start server. Error: %s: %s", error.code.name, error.message)
        return 1
    except OSError as error:
        _log.error("Failed to start server. Error: %s", error)
        return 1


class _Server:
    """One run of the server."""

    def __init__(self, flags: Flags) -> None:
        """Reads all files that the flags name, so that a wrong one ends the program before models are loaded.

        Raises:
            ServingError: A file cannot be used.
        """
        self._flags = flags
        self._taken: ModelServerConfig | None = None
        self._health: health.HealthServicer | None = None
        if flags.model_config_file:
            self._config = config.read_model_config(flags.model_config_file)
        elif flags.model_base_path:
            self._config = config.single_model(flags.model_name, flags.model_base_path)
        else:
            raise invalid(
                "Both server_options.model_base_path and server_options.model_config_file are empty! "
                "Give --model_base_path or --model_config_file."
            )
        _check_together(flags)
        batching = None
        if flags.enable_batching:
            batching = config.BatchingParameters()
            if flags.batching_parameters_file:
                batching = config.read_batching_parameters(flags.batching_parameters_file)
        self._metrics_path = (
            config.read_monitoring(flags.monitoring_config_file) if flags.monitoring_config_file else ""
        )
        self._credentials = _credentials(flags.ssl_config_file) if flags.ssl_config_file else None
        self._metrics = Metrics()
        self._limits = Limits(flags.max_image_pixels, flags.enable_signature_method_name_check)
        self._load_options = _load_options(flags, batching)
        self._repository = Repository(self._load, _repository_options(flags))
        self._plane = DataPlane(self._repository, self._limits, self._metrics)
        threads = max(flags.grpc_max_threads, flags.rest_api_num_threads, 1)
        if batching:
            # A batch forms only of requests that are in TensorFlow at once, each in a thread.
            threads = max(threads, min(2 * batching.max_batch_size, _MOST_THREADS))
        self._threads = threads
        self._admission = Admission(threads, flags.max_concurrent_requests)
        self._memory = Memory(_BYTES_IN_FLIGHT * flags.max_request_bytes)

    def _load(self, name: str, version: int, folder: Path) -> servable.Servable:
        """Loads and warms a version."""
        started = time.monotonic()
        try:
            loaded = servable.load(folder, self._load_options)
        except ServingError:
            self._metrics.loaded(str(folder), time.monotonic() - started, ok=False)
            raise
        self._metrics.loaded(str(folder), time.monotonic() - started)
        if self._flags.enable_model_warmup:
            plane = DataPlane(OneServable(loaded, version), self._limits, Metrics())
            started = time.monotonic()
            try:
                count = warm_up(folder, plane, self._flags.num_request_iterations_for_warmup)
            except ServingError:
                loaded.close()
                raise
            if count:
                self._metrics.warmed_up(str(folder), time.monotonic() - started)
                _log.info("Finished reading %d warmup records of %s", count, folder)
        return loaded

    def _apply(self, new: ModelServerConfig) -> None:
        self._repository.apply(new)
        self._metrics.serve(self._repository.names())

    async def run(self) -> int:
        """Loads the models, listens, and waits for a signal."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loading = loop.run_in_executor(None, self._apply_first)
        stopped = asyncio.ensure_future(stop.wait())
        waiting: set[asyncio.Future[Any]] = {loading, stopped}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            return 0
        await loading
        self._repository.start()
        # Only now: whoever sees the port open may ask for the models.
        grpc_server = self._start_grpc()
        rest_server = await self._start_rest()
        watcher = asyncio.ensure_future(self._watch_config())
        await stopped
        _log.info("Stopping: requests in flight have %g s", _GRACE_SECONDS)
        watcher.cancel()
        if self._health:
            self._health.enter_graceful_shutdown()
        grpc_stopped = grpc_server.stop(_GRACE_SECONDS)
        if rest_server:
            await rest_server.cleanup()
        await loop.run_in_executor(None, grpc_stopped.wait)
        self._admission.close()
        self._close_repository()
        return 0

    def _close_repository(self) -> None:
        """Frees the models, unless one of them is still computing for a client that has gone."""
        closing = threading.Thread(target=self._repository.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)
        if closing.is_alive():
            _log.warning("Requests whose clients have gone are still running; leaving without them")
            logging.shutdown()
            # Python would wait for their threads, and an operation of TensorFlow cannot be stopped.
            os._exit(0)

    def _apply_first(self) -> None:
        try:
            self._apply(self._config)
        except ServingError as error:
            config.check_model_config(self._config)
            # One broken model must not take the others away; it is tried again, and its state tells why.
            _log.error("%s", error.message)
        else:
            self._taken = self._config

    def _start_grpc(self) -> grpc.Server:
        flags = self._flags
        options = {
            # Two servers on one port would each get half of the requests.
            "grpc.so_reuseport": 0,
            "grpc.max_receive_message_length": min(flags.max_request_bytes, 2**31 - 1),
            "grpc.max_send_message_length": -1,
            **_channel_arguments(flags.grpc_channel_arguments),
        }
        # Threads, not an event loop: measured, each request costs a third less of the processor.
        server = grpc.server(
            ThreadPoolExecutor(self._threads, thread_name_prefix="grpc"),
            options=list(options.items()),
            maximum_concurrent_rpcs=flags.max_concurrent_requests,
        )
        front = Front(self._memory, self._metrics)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(
                front,
                self._plane,
                as_content=flags.enable_serialization_as_tensor_content,
                max_bytes=flags.max_request_bytes,
            ),
            server,
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(front, self._repository, self._apply), server
        )
        if flags.enable_grpc_healthcheck_service:
            self._health = _add_health(server)
        for address in self._grpc_addresses():
            try:
                if self._credentials:
                    server.add_secure_port(address, self._credentials)
                else:
                    server.add_insecure_port(address)
            except RuntimeError as error:
                raise OSError(f"cannot listen on {address}: {error}") from error
        server.start()
        for address in self._grpc_addresses():
            # Scripts wait for these lines.
            _log.info("Running gRPC ModelServer at %s ...", address.replace("unix:", "UNIX socket "))
        return server

    def _grpc_addresses(self) -> list[str]:
        addresses = [f"{self._flags.host}:{self._flags.port}"] if self._flags.port else []
        if self._flags.grpc_socket_path:
            # gRPC takes away a socket that a dead process left there.
            addresses.append(f"unix:{self._flags.grpc_socket_path}")
        return addresses

    async def _start_rest(self) -> web.ServerRunner | None:
        flags = self._flags
        if not flags.rest_api_port:
            return None
        options = RestOptions(
            seconds=flags.rest_api_timeout_in_ms / 1000,
            max_bytes=flags.max_request_bytes,
            cors=flags.rest_api_enable_cors_support,
            metrics_path=self._metrics_path,
        )
        front = RestFront(
            self._admission, self._memory, self._plane, self._repository, self._metrics, options
        )
        runner = web.ServerRunner(
            web.Server(front.handle, access_log=None, handler_cancellation=True, auto_decompress=False),
            shutdown_timeout=_GRACE_SECONDS,
        )
        await runner.setup()
        await web.TCPSite(runner, flags.host, flags.rest_api_port).start()
        _log.info("Exporting HTTP/REST API at:%s:%d ...", flags.host, flags.rest_api_port)
        return runner

    async def _watch_config(self) -> None:
        """Takes the configuration file again whenever its text has changed."""
        seconds = self._flags.model_config_file_poll_wait_seconds
        if not self._flags.model_config_file or seconds <= 0:
            return
        loop = asyncio.get_running_loop()
        said = ""
        while True:
            await asyncio.sleep(seconds)
            try:
                new = await loop.run_in_executor(
                    None, config.read_model_config, self._flags.model_config_file
                )
                # What could not be applied is tried again: a label's version may have come.
                if new != self._taken:
                    await loop.run_in_executor(None, self._apply, new)
                    self._taken = new
                said = ""
            except Exception as error:
                # The file must be looked at again, whatever was wrong this time.
                if str(error) != said:
                    said = str(error)
                    _log.error("Failed to read or apply %s: %s", self._flags.model_config_file, error)


def _check_together(flags: Flags) -> None:
    """Refuses flags that contradict each other, in the words of model_servers/server.cc."""
    if flags.batching_parameters_file and not flags.enable_batching:
        raise invalid(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching "
            "to true."
        )
    if flags.tensorflow_session_parallelism and (
        flags.tensorflow_intra_op_parallelism or flags.tensorflow_inter_op_parallelism
    ):
        raise invalid(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all."
        )
    if flags.port and flags.port == flags.rest_api_port:
        raise invalid(f"--rest_api_port cannot be the same as --port: both are {flags.port}")
    if not flags.port and not flags.grpc_socket_path:
        raise invalid("server_options.grpc_port is not set.")


def _load_options(flags: Flags, batching: config.BatchingParameters | None) -> servable.LoadOptions:
    parallelism = flags.tensorflow_session_parallelism
    return servable.LoadOptions(
        tags=tuple(tag for tag in flags.saved_model_tags.split(",") if tag) or ("serve",),
        batching=batching,
        per_model_batching=flags.enable_per_model_batching_parameters,
        prefer_tflite=flags.prefer_tflite_model,
        tflite_pools=flags.num_tflite_pools,
        tflite_interpreters=flags.num_tflite_interpreters_per_pool,
        timeout_ms=max(flags.request_timeout_in_ms, flags.rest_api_timeout_in_ms),
        inter_op_threads=parallelism or flags.tensorflow_inter_op_parallelism,
        intra_op_threads=parallelism or flags.tensorflow_intra_op_parallelism,
    )


def _repository_options(flags: Flags) -> Options:
    return Options(
        poll_seconds=flags.file_system_poll_wait_seconds,
        max_load_retries=flags.max_num_load_retries,
        retry_seconds=max(0.0, flags.load_retry_interval_micros / 1e6),
        load_threads=flags.num_load_threads,
        # Each waits for the requests that still use its version, so one would hold up the others.
        unload_threads=max(flags.num_unload_threads, Options.unload_threads),
        labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
    )


def _channel_arguments(text: str) -> dict[str, int | str]:
    """Reads `key=value,key=value`; whole numbers are numbers."""
    arguments: dict[str, int | str] = {}
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        whole = re.fullmatch(r"-?\d+", value)
        if whole and not -(2**31) <= int(value) < 2**31:
            raise invalid(f"--grpc_channel_arguments: {key} must be a 32-bit number; was {value}")
        arguments[key] = int(value) if whole else value
    return arguments


def _credentials(file: str) -> grpc.ServerCredentials:
    ssl = config.read_ssl(file)
    return grpc.ssl_server_credentials(
        [(ssl.server_key.encode(), ssl.server_cert.encode())],
        root_certificates=ssl.custom_ca.encode() or None,
        require_client_auth=ssl.client_verify,
    )


def _add_health(server: grpc.Server) -> health.HealthServicer:
    servicer = health.HealthServicer()
    # From model_servers/server.cc.
    for name in ("", "ModelService", "PredictionService"):
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer
