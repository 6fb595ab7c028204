"""The command line of the model server: every flag of `tensorflow_model_server`, and bounds of its own.

One class declares all of it: a field's metadata says what may be written on the command line and what
`--help` tells. Values are read as the binary reads them, so that its scripts start this server unchanged.
"""

import dataclasses
import difflib
import importlib.metadata
import math
import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

# The CPUs this process may use, which is what the binary counts too.
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_PROGRAM = "model_server"
# The binary returns -1 when its flags cannot be read.
_BAD_FLAGS = 255
_HELP = {"--help", "-h"}
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INT_BITS = {"int32": 31, "int64": 63}


@dataclass(frozen=True)
class _Rule:
    """What one flag takes and what it is for."""

    kind: str
    help: str
    low: int | None = None
    high: int | None = None
    # A bound of this project that the binary does not have.
    own: bool = False

    @property
    def expected(self) -> str:
        """Says in words which values are legal."""
        if self.kind == "bool":
            return "bool (true, false, 1 or 0)"
        if self.low is None and self.high is None:
            return self.kind
        low, high = self._limits()
        return f"{self.kind} from {low} to {high}"

    def read(self, text: str) -> Any:
        """Returns the value that a text stands for; raises ValueError where it stands for none."""
        if self.kind == "string":
            return text
        if self.kind == "bool":
            if text not in _BOOLS:
                raise ValueError(text)
            return _BOOLS[text]
        if self.kind == "float":
            if not _FLOAT.fullmatch(text) or not math.isfinite(float(text)):
                raise ValueError(text)
            return float(text)
        low, high = self._limits()
        if not _INT.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    def _limits(self) -> tuple[int, int]:
        most = 2 ** _INT_BITS[self.kind] - 1
        return (-most - 1 if self.low is None else self.low), (most if self.high is None else self.high)


def _int32(text: str, low: int | None = None, high: int | None = None, own: bool = False) -> dict[str, _Rule]:
    return {"rule": _Rule("int32", text, low, high, own)}


def _int64(text: str, low: int | None = None, own: bool = False) -> dict[str, _Rule]:
    return {"rule": _Rule("int64", text, low, None, own)}


def _float(text: str) -> dict[str, _Rule]:
    return {"rule": _Rule("float", text)}


def _bool(text: str) -> dict[str, _Rule]:
    return {"rule": _Rule("bool", text)}


def _string(text: str, own: bool = False) -> dict[str, _Rule]:
    return {"rule": _Rule("string", text, own=own)}


@dataclass(frozen=True)
class Flags:
    """The flags of one server; `--help` says what each is for."""

    port: int = field(default=8500, metadata=_int32("Port of the gRPC API.", 0, 65535))
    grpc_socket_path: str = field(
        default="", metadata=_string("Serve gRPC on this Unix socket too; the path may be relative.")
    )
    rest_api_port: int = field(
        default=0, metadata=_int32("Port of the REST API, unlike --port; 0 turns REST off.", 0, 65535)
    )
    rest_api_num_threads: int = field(
        default=4 * CPUS, metadata=_int32("Threads that answer REST requests; 4 a CPU by default.")
    )
    rest_api_timeout_in_ms: int = field(
        default=30_000, metadata=_int32("Longest time a REST request may run, in milliseconds.")
    )
    rest_api_enable_cors_support: bool = field(
        default=False, metadata=_bool("Send CORS headers, so that pages of other origins may call REST.")
    )
    enable_batching: bool = field(default=False, metadata=_bool("Run requests of several clients together."))
    allow_version_labels_for_unavailable_models: bool = field(
        default=False, metadata=_bool("Let new labels name versions that are not loaded yet.")
    )
    batching_parameters_file: str = field(
        default="", metadata=_string("Text file with BatchingParameters; needs --enable_batching.")
    )
    enable_per_model_batching_parameters: bool = field(
        default=False, metadata=_bool("Prefer a model's own batching_params.pbtxt over the common file.")
    )
    model_config_file: str = field(
        default="",
        metadata=_string("Text file with ModelServerConfig; replaces --model_name, --model_base_path."),
    )
    model_config_file_poll_wait_seconds: int = field(
        default=0, metadata=_int32("Seconds between two looks at --model_config_file; 0 reads it once.")
    )
    model_name: str = field(default="default", metadata=_string("Name of the one model to serve."))
    model_base_path: str = field(
        default="", metadata=_string("Absolute path of the one model, without its version folder.")
    )
    num_load_threads: int = field(default=0, metadata=_int32("Threads that load models; 0 loads one by one."))
    num_unload_threads: int = field(
        default=0, metadata=_int32("Threads that unload models; 0 unloads one by one.")
    )
    max_num_load_retries: int = field(
        default=5, metadata=_int32("Further attempts at a model that failed to load.")
    )
    load_retry_interval_micros: int = field(
        default=60_000_000,
        metadata=_int64("Microseconds between two attempts to load a model; negative does not wait."),
    )
    file_system_poll_wait_seconds: int = field(
        default=1,
        metadata=_int32("Seconds between two looks for new versions; 0 looks once, negative never."),
    )
    flush_filesystem_caches: bool = field(
        default=True, metadata=_bool("Drop cached file contents once models are loaded.")
    )
    tensorflow_session_parallelism: int = field(
        default=0,
        metadata=_int64("Threads in and between operations, set together; 0 lets TensorFlow choose."),
    )
    tensorflow_session_config_file: str = field(
        default="", metadata=_string("Text file with a session's ConfigProto.")
    )
    tensorflow_intra_op_parallelism: int = field(
        default=0, metadata=_int64("Threads that share one operation; 0 lets TensorFlow choose.")
    )
    tensorflow_inter_op_parallelism: int = field(
        default=0, metadata=_int64("Operations that run side by side; 0 lets TensorFlow choose.")
    )
    use_alts_credentials: bool = field(default=False, metadata=_bool("Use Google's ALTS credentials."))
    ssl_config_file: str = field(
        default="", metadata=_string("Text file with SSLConfig; makes the gRPC port a secure one.")
    )
    platform_config_file: str = field(
        default="", metadata=_string("Text file with PlatformConfigMap, in place of the TensorFlow platform.")
    )
    per_process_gpu_memory_fraction: float = field(
        default=0.0, metadata=_float("Share of GPU memory to take; 0 lets TensorFlow choose.")
    )
    # Newer binaries leave the text empty and take "serve" for it: the same thing.
    saved_model_tags: str = field(
        default="serve", metadata=_string("Tags, with commas, of the graph to load from a SavedModel.")
    )
    grpc_channel_arguments: str = field(
        default="", metadata=_string("Settings of the gRPC server: key=value, with commas.")
    )
    grpc_max_threads: int = field(
        default=4 * CPUS, metadata=_int32("Threads that answer gRPC requests; 4 a CPU by default.")
    )
    enable_model_warmup: bool = field(
        default=True, metadata=_bool("Replay a model's recorded requests before it is served.")
    )
    num_request_iterations_for_warmup: int = field(
        default=0, metadata=_int32("Times each recorded request is replayed, where above 0.")
    )
    version: bool = field(default=False, metadata=_bool("Print the versions and stop."))
    monitoring_config_file: str = field(
        default="", metadata=_string("Text file with MonitoringConfig; turns Prometheus metrics on.")
    )
    remove_unused_fields_from_bundle_metagraph: bool = field(
        default=True, metadata=_bool("Drop parts of a model's graph that serving does not need.")
    )
    prefer_tflite_model: bool = field(
        default=False, metadata=_bool("Serve model.tflite of a version's folder where there is one.")
    )
    num_tflite_pools: int = field(
        default=CPUS, metadata=_int32("Pools of TensorFlow Lite interpreters; one a CPU by default.")
    )
    num_tflite_interpreters_per_pool: int = field(
        default=1, metadata=_int32("TensorFlow Lite interpreters in one pool.")
    )
    enable_signature_method_name_check: bool = field(
        default=False, metadata=_bool("Refuse Classify and Regress on signatures made for another method.")
    )
    xla_cpu_compilation_enabled: bool = field(
        default=False, metadata=_bool("Compile models with XLA for CPUs.")
    )
    xla_gpu_compilation_enabled: bool = field(
        default=False, metadata=_bool("Compile models with XLA for CPUs and GPUs.")
    )
    enable_profiler: bool = field(default=True, metadata=_bool("Offer TensorFlow's profiler service."))
    thread_pool_factory_config_file: str = field(
        default="", metadata=_string("Text file with the configuration of a thread pool factory.")
    )
    mixed_precision: str = field(default="", metadata=_string("Mixed precision mode of the graph optimizer."))
    skip_initialize_tpu: bool = field(default=False, metadata=_bool("Leave TPUs as they are at the start."))
    enable_grpc_healthcheck_service: bool = field(
        default=False, metadata=_bool("Offer the standard gRPC health service.")
    )
    enable_serialization_as_tensor_content: bool = field(
        default=False, metadata=_bool("Answer Predict with tensor_content in place of typed values.")
    )

    # The project's own bounds, which the binary does not have: what one client may cost the others.
    max_request_bytes: int = field(
        default=64 * 1024**2, metadata=_int64("Largest request, in bytes.", 1, own=True)
    )
    max_image_pixels: int = field(
        default=50_000_000, metadata=_int64("Largest image that is decoded, in pixels.", 1, own=True)
    )
    max_concurrent_requests: int = field(
        default=256, metadata=_int32("Requests under way at once; further ones are refused.", 1, own=True)
    )
    request_timeout_in_ms: int = field(
        default=60_000,
        metadata=_int32("Longest run of a graph; the REST timeout if that is longer.", 1, own=True),
    )
    # The binary listens on all addresses and has no flag for it.
    host: str = field(default="0.0.0.0", metadata=_string("Address to listen on.", own=True))


_RULES: dict[str, _Rule] = {item.name: item.metadata["rule"] for item in dataclasses.fields(Flags)}

# Flags that scripts of the binary may give but that change nothing here, each with what it is about.
UNUSED = {
    "enable_profiler": "profiler",
    "flush_filesystem_caches": "page cache",
    "mixed_precision": "graph optimizer",
    "per_process_gpu_memory_fraction": "GPU",
    "platform_config_file": "platforms",
    "remove_unused_fields_from_bundle_metagraph": "graph memory",
    "skip_initialize_tpu": "TPU",
    "tensorflow_session_config_file": "sessions",
    "thread_pool_factory_config_file": "TFRT",
    "use_alts_credentials": "ALTS",
    "xla_cpu_compilation_enabled": "XLA",
    "xla_gpu_compilation_enabled": "XLA",
}


def parse(argv: Sequence[str]) -> Flags:
    """Reads a command line.

    Arguments that are no flags are named on stderr and skipped, as the binary does. `--help` and `--version`
    print and stop the program.

    Args:
        argv: The arguments, without the program's name.

    Returns:
        The flags, defaults where the command line says nothing; of repeated flags the last counts.

    Raises:
        SystemExit: With code 0 after `--help` and `--version`, with 255 after the usage and one line on
            stderr for each value that a flag cannot take.
    """
    values, strangers, faults = _read(argv)
    if faults:
        _refuse(faults)
    if not _HELP.isdisjoint(strangers):
        sys.stdout.write(usage())
        raise SystemExit(0)
    flags = Flags(**values)
    if flags.version:
        sys.stdout.write(version_text())
        raise SystemExit(0)
    for word in strangers:
        print(f"unknown argument: {_shown(word)}{_hint(word)}", file=sys.stderr)
    return flags


def _read(argv: Sequence[str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Returns the values of flags, the arguments that are no flags, and a line for each wrong value."""
    values: dict[str, Any] = {}
    strangers: list[str] = []
    faults: list[str] = []
    words = deque(argv)
    while words:
        word = words.popleft()
        name, equals, text = word.removeprefix("--").partition("=")
        rule = _RULES.get(name) if word.startswith("--") else None
        if word == "--":
            # As in the binary, nothing after two dashes is a flag.
            return values, [*strangers, word, *words], faults
        if rule is None:
            strangers.append(word)
        else:
            _put(name, rule, text if equals else _detached_value(rule, words), values, faults)
    return values, strangers, faults


def _detached_value(rule: _Rule, words: deque[str]) -> str | None:
    """Takes a flag's value from the next argument; a bool alone is true, anything else alone has no value."""
    if rule.kind == "bool":
        return words.popleft() if words and words[0] in _BOOLS else "true"
    return words.popleft() if words and not words[0].startswith("--") else None


def _put(name: str, rule: _Rule, text: str | None, values: dict[str, Any], faults: list[str]) -> None:
    if text is None:
        faults.append(f"Missing value for flag {name}. Expected {rule.expected}.")
        return
    try:
        values[name] = rule.read(text)
    except ValueError:
        faults.append(f"Couldn't interpret value {_shown(text)} for flag {name}. Expected {rule.expected}.")


def _refuse(faults: Iterable[str]) -> NoReturn:
    sys.stdout.write(usage())
    # Before stderr, so that the last line on a terminal is the one that matters.
    sys.stdout.flush()
    for fault in faults:
        print(fault, file=sys.stderr)
    raise SystemExit(_BAD_FLAGS)


def _shown(text: str) -> str:
    """Returns an argument as one short printable line, whatever bytes it came from."""
    short = text if len(text) <= 200 else text[:200] + "..."
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in short)


def _hint(word: str) -> str:
    name = word.lstrip("-").partition("=")[0][:100]
    close = difflib.get_close_matches(name.replace("-", "_"), _RULES, n=1) if word.startswith("-") else []
    return f" (did you mean --{close[0]}?)" if close else ""


def usage() -> str:
    """Returns the text of `--help`: each flag with its default, its type and what it is for."""
    lines = [f"usage: {_PROGRAM}", "Flags:"]
    lines += [_usage_line(name) for name, rule in _RULES.items() if not rule.own]
    lines.append("Bounds of this server, which tensorflow_model_server does not have:")
    lines += [_usage_line(name) for name, rule in _RULES.items() if rule.own]
    return "\n".join(lines) + "\n"


def _usage_line(name: str) -> str:
    rule, default = _RULES[name], getattr(Flags, name)
    shown = {"bool": str(default).lower(), "string": f'"{default}"'}.get(rule.kind, str(default))
    unused = f" Accepted, without effect here ({UNUSED[name]})." if name in UNUSED else ""
    return f"\t{f'--{name}={shown}':<33}\t{rule.kind}\t{rule.help}{unused}"


def version_text() -> str:
    """Returns the text of `--version`, found without loading TensorFlow."""
    server, library = _version("hexaface"), _version("tensorflow")
    return f"HexaFace ModelServer: {server}\nTensorFlow Library: {library}\n"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def unused(flags: Flags) -> list[str]:
    """Returns the flags that were changed from their defaults although they have no effect here.

    Returns:
        One text a flag, such as `--use_alts_credentials (ALTS)`, for one line in the log.
    """
    return [
        f"--{name} ({about})"
        for name, about in UNUSED.items()
        if getattr(flags, name) != getattr(Flags, name)
    ]
