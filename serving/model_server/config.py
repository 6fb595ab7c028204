"""The text files of the model server: which models, how to batch, what to monitor, which keys.

Every file is a protocol message in text form with the field names of `tensorflow_model_server`. Where the
binary has a message for a mistake, its words are used, since scripts look for them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_serving.config import model_server_config_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from serving.model_server.errors import Code, ServingError, invalid
from serving.model_server.flags import CPUS
from serving.wire import wire_pb2

PLATFORM = "tensorflow"
PROMETHEUS_PATH = "/monitoring/prometheus/metrics"

# How TensorFlow tells a URI, such as gs://bucket/model, from a path.
_URI = re.compile(r"[a-zA-Z][0-9a-zA-Z.]*://")
# What the parser says may quote a long line of the file, with the fault before or behind the quote.
_HEAD, _TAIL = 120, 180


def read_model_config(path: str) -> ModelServerConfig:
    """Reads a ModelServerConfig; `check_model_config` says whether it can be served.

    Raises:
        ServingError: If the file is missing or is not a ModelServerConfig in text form.
    """
    config = ModelServerConfig()
    _parse(path, config)
    return config


def single_model(name: str, base_path: str) -> ModelServerConfig:
    """Returns the configuration that `--model_name` and `--model_base_path` stand for."""
    config = ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    return config


def check_model_config(new: ModelServerConfig, running: ModelServerConfig | None = None) -> None:
    """Refuses a configuration that cannot be served, before anything is changed.

    Args:
        new: From a file, from flags or from a HandleReloadConfigRequest.
        running: What is served now, on a reload.

    Raises:
        ServingError: INVALID_ARGUMENT that names the model and what is wrong; FAILED_PRECONDITION if
            `running` lists models and `new` has no list at all, as an empty file has not. An empty list is
            legal.
    """
    listed = new.WhichOneof("config") == "model_config_list"
    if running is not None and running.WhichOneof("config") == "model_config_list" and not listed:
        # This also keeps the models when a file is polled while it is being written.
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "Cannot transition to requested config. It is only legal to transition from one ModelConfigList"
            " to another.",
        )
    if new.WhichOneof("config") == "custom_model_config":
        raise invalid("ModelServer does not yet support custom model config.")
    models = new.model_config_list.config
    _check_names(models)
    for model in models:
        _check_base_path(model)
    # Before the platforms themselves, as in the binary: a change is the more telling mistake.
    _check_platform_changes(models, running)
    for model in models:
        if (platform := _platform(model)) != PLATFORM:
            raise invalid(f"Model {model.name} requests unsupported platform {platform}")


def _check_names(models: Iterable[ModelConfig]) -> None:
    seen: set[str] = set()
    for model in models:
        if not model.name:
            raise invalid(
                "Expected every model in config list to have a name; got name()= with"
                f" base_path()={model.base_path}"
            )
        if model.name in seen:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)


def _check_base_path(model: ModelConfig) -> None:
    if not model.base_path.startswith("/") and not _URI.match(model.base_path):
        raise invalid(
            f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
        )


def _check_platform_changes(models: Iterable[ModelConfig], running: ModelServerConfig | None) -> None:
    before = {} if running is None else {each.name: each for each in running.model_config_list.config}
    for model in models:
        if model.name not in before:
            continue
        old, new = _platform(before[model.name]), _platform(model)
        if old != new:
            raise invalid(
                f"Illegal to change a model's platform. For model {model.name} platform was {old} and new"
                f" platform requested is {new}"
            )


def _platform(model: ModelConfig) -> str:
    """Returns a model's platform, which older files give as a number."""
    deprecated = model.model_type
    if deprecated and model.model_platform:
        raise invalid(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and"
            f" ModelServerConfig::model_platform. Model: {model.name}"
        )
    if deprecated == model_server_config_pb2.TENSORFLOW:
        return PLATFORM
    if deprecated:
        raise invalid(f"ModelServerConfig::model_type choice {deprecated} not supported. Model: {model.name}")
    if not model.model_platform:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor"
            f" ModelServerConfig::model_platform. Model: {model.name}"
        )
    return model.model_platform


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are run together; the defaults are the binary's.

    Attributes:
        max_batch_size: Most examples in one request and, unless large requests are split, in one batch.
        batch_timeout_micros: Longest time that a request waits for others.
        max_enqueued_batches: Longest queue; requests beyond it are refused.
        num_batch_threads: Batches that run at once.
        thread_pool_name: Label of the queue in the metrics.
        allowed_batch_sizes: Sizes to which batches are padded, increasing; empty allows all.
        pad_variable_length_inputs: Pad inputs of different shapes to the largest.
        enable_large_batch_splitting: Split requests that are larger than a batch.
        max_execution_batch_size: Most examples in one batch.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = CPUS
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 1000


# The fields of BatchingParameters whose absence means the default rather than 0.
_WRAPPED = (
    "max_batch_size",
    "batch_timeout_micros",
    "max_enqueued_batches",
    "num_batch_threads",
    "thread_pool_name",
    "enable_large_batch_splitting",
    "max_execution_batch_size",
)


def read_batching_parameters(path: str) -> BatchingParameters:
    """Reads and checks a BatchingParameters file.

    Raises:
        ServingError: If the file is missing, is not such a message or asks for something impossible.
    """
    message = wire_pb2.BatchingParameters()
    _parse(path, message)
    given: dict[str, Any] = {
        name: getattr(message, name).value for name in _WRAPPED if message.HasField(name)
    }
    # Without splitting a batch is as large as a request may be, whatever else the file says.
    largest = given.get("max_batch_size", BatchingParameters.max_batch_size)
    if not given.get("enable_large_batch_splitting"):
        given["max_execution_batch_size"] = largest
    given.setdefault("max_execution_batch_size", largest)
    parameters = BatchingParameters(
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length_inputs=message.pad_variable_length_inputs,
        **given,
    )
    if fault := _batching_fault(parameters):
        raise _unusable("BatchingParameters", path, fault)
    return parameters


def _batching_fault(parameters: BatchingParameters) -> str:
    for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads", "max_execution_batch_size"):
        if (value := getattr(parameters, name)) < 1:
            return f"{name} must be positive; was {value}"
    if parameters.batch_timeout_micros < 0:
        return f"batch_timeout_micros must be non-negative; was {parameters.batch_timeout_micros}"
    if parameters.max_execution_batch_size > parameters.max_batch_size:
        return (
            "max_execution_batch_size must be less than or equal to max_batch_size; was"
            f" {parameters.max_execution_batch_size}; expected at most {parameters.max_batch_size}"
        )
    return _sizes_fault(parameters)


def _sizes_fault(parameters: BatchingParameters) -> str:
    sizes = parameters.allowed_batch_sizes
    if not sizes:
        return ""
    if sizes[0] < 1 or any(left >= right for left, right in pairwise(sizes)):
        return f"allowed_batch_sizes must be positive and increasing; was {list(sizes)}"
    if sizes[-1] == parameters.max_execution_batch_size:
        return ""
    split = parameters.enable_large_batch_splitting
    rule = "be equal to max_execution_batch_size" if split else "match max_batch_size"
    return (
        f"Last entry in allowed_batch_sizes must {rule}; last entry was {sizes[-1]};"
        f" expected {parameters.max_execution_batch_size}"
    )


def read_monitoring(path: str) -> str:
    """Returns the URL path at which Prometheus metrics are wanted, or nothing where they are not.

    Raises:
        ServingError: If the file is missing, is not a MonitoringConfig or holds no URL path.
    """
    message = wire_pb2.MonitoringConfig()
    _parse(path, message)
    prometheus = message.prometheus_config
    if not prometheus.enable:
        return ""
    wanted = prometheus.path or PROMETHEUS_PATH
    if not wanted.startswith("/"):
        raise _unusable("MonitoringConfig", path, f"prometheus_config.path must start with /; was {wanted}")
    return wanted


@dataclass(frozen=True)
class SSLConfig:
    """Keys of a secure gRPC port, as PEM text. What is printed of it never shows the private key."""

    server_key: str = field(repr=False)
    server_cert: str
    custom_ca: str
    client_verify: bool


def read_ssl(path: str) -> SSLConfig:
    """Reads and checks an SSLConfig file.

    Raises:
        ServingError: If the file is missing, is not such a message or lacks a key. The message quotes no key.
    """
    message = wire_pb2.SSLConfig()
    _parse(path, message, secret=True)
    for name in ("server_key", "server_cert", "custom_ca"):
        text = getattr(message, name)
        if text and "-----BEGIN " not in text:
            raise _unusable(
                "SSLConfig", path, f"{name} must hold PEM text, not a file's name; was {len(text)} characters"
            )
        if not text and name != "custom_ca":
            raise _unusable("SSLConfig", path, f"{name} must hold PEM text; was empty")
    if message.client_verify and not message.custom_ca:
        raise _unusable(
            "SSLConfig", path, "custom_ca must hold PEM text where client_verify is set; was empty"
        )
    return SSLConfig(message.server_key, message.server_cert, message.custom_ca, message.client_verify)


def _unusable(kind: str, path: str, fault: str) -> ServingError:
    return invalid(f"Invalid {kind} in '{path}': {fault}")


def _parse(path: str, message: Message, secret: bool = False) -> None:
    """Fills a message from a text file; of a secret file nothing is quoted."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ServingError(Code.NOT_FOUND, f"{path}; No such file or directory") from None
    except (OSError, ValueError) as error:
        # A ValueError is a path that no file can have, such as one with a zero byte.
        raise invalid(f"Cannot read '{path}': {getattr(error, 'strerror', None) or error}") from None
    try:
        text_format.Parse(data.decode(), message)
    except UnicodeDecodeError as error:
        line, column = data.count(b"\n", 0, error.start) + 1, error.start - data.rfind(b"\n", 0, error.start)
        raise _parse_error(path, message, f"{line}:{column}", "Expected UTF-8 text") from None
    except text_format.ParseError as error:
        where = f"{error.GetLine() or 1}:{error.GetColumn() or 1}"
        what = str(error).removeprefix(f"{where} : ")
        raise _parse_error(
            path, message, where, "Not shown, as it may hold a key" if secret else what
        ) from None


def _parse_error(path: str, message: Message, where: str, what: str) -> ServingError:
    name = f"tensorflow.serving.{message.DESCRIPTOR.name}"
    # The project's own copies of messages are told by the names that people know.
    words = " ".join(what.replace("hexaface.wire.", "tensorflow.serving.").split()).rstrip(".")
    if len(words) > _HEAD + _TAIL:
        words = f"{words[:_HEAD]}...{words[-_TAIL:]}"
    return invalid(f"Error parsing text-format {name}: {where}: {words}. Invalid protobuf file: '{path}'")
