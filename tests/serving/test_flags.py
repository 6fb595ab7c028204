import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.model_server import flags
from serving.model_server.flags import CPUS, Flags, parse, unused

# Every flag of the binary, with its default.
OFFICIAL = {
    "allow_version_labels_for_unavailable_models": False,
    "batching_parameters_file": "",
    "enable_batching": False,
    "enable_grpc_healthcheck_service": False,
    "enable_model_warmup": True,
    "enable_per_model_batching_parameters": False,
    "enable_profiler": True,
    "enable_serialization_as_tensor_content": False,
    "enable_signature_method_name_check": False,
    "file_system_poll_wait_seconds": 1,
    "flush_filesystem_caches": True,
    "grpc_channel_arguments": "",
    "grpc_max_threads": 4 * CPUS,
    "grpc_socket_path": "",
    "load_retry_interval_micros": 60_000_000,
    "max_num_load_retries": 5,
    "mixed_precision": "",
    "model_base_path": "",
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "model_name": "default",
    "monitoring_config_file": "",
    "num_load_threads": 0,
    "num_request_iterations_for_warmup": 0,
    "num_tflite_interpreters_per_pool": 1,
    "num_tflite_pools": CPUS,
    "num_unload_threads": 0,
    "per_process_gpu_memory_fraction": 0.0,
    "platform_config_file": "",
    "port": 8500,
    "prefer_tflite_model": False,
    "remove_unused_fields_from_bundle_metagraph": True,
    "rest_api_enable_cors_support": False,
    "rest_api_num_threads": 4 * CPUS,
    "rest_api_port": 0,
    "rest_api_timeout_in_ms": 30_000,
    "saved_model_tags": "serve",
    "skip_initialize_tpu": False,
    "ssl_config_file": "",
    "tensorflow_inter_op_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_session_config_file": "",
    "tensorflow_session_parallelism": 0,
    "thread_pool_factory_config_file": "",
    "use_alts_credentials": False,
    "version": False,
    "xla_cpu_compilation_enabled": False,
    "xla_gpu_compilation_enabled": False,
}
OWN = {
    "max_request_bytes": 67_108_864,
    "max_image_pixels": 50_000_000,
    "max_concurrent_requests": 256,
    "request_timeout_in_ms": 60_000,
    "host": "0.0.0.0",
}


def refusal(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    out, err = capsys.readouterr()
    return caught.value.code, out, err.splitlines()


def test_all_flags_are_there_with_their_defaults():
    assert dataclasses.asdict(parse([])) == OFFICIAL | OWN


def test_flags_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse([]).port = 1


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--port=1"], "port", 1),
        (["--port", "1"], "port", 1),
        (["--port=+1"], "port", 1),
        (["--port=1", "--port=2"], "port", 2),
        (["--file_system_poll_wait_seconds", "-1"], "file_system_poll_wait_seconds", -1),
        (["--load_retry_interval_micros=-9223372036854775808"], "load_retry_interval_micros", -(2**63)),
        (["--num_load_threads=2147483647"], "num_load_threads", 2**31 - 1),
        (["--per_process_gpu_memory_fraction=.5"], "per_process_gpu_memory_fraction", 0.5),
        (["--per_process_gpu_memory_fraction", "1e-1"], "per_process_gpu_memory_fraction", 0.1),
        (["--model_name="], "model_name", ""),
        (["--model_name", "a b"], "model_name", "a b"),
        (["--model_name=a=b"], "model_name", "a=b"),
        (["--model_base_path=gs://bucket/x"], "model_base_path", "gs://bucket/x"),
        (
            ["--grpc_channel_arguments=grpc.lb_policy_name=grpclb,grpc.so_reuseaddr=1"],
            "grpc_channel_arguments",
            "grpc.lb_policy_name=grpclb,grpc.so_reuseaddr=1",
        ),
        (["--enable_batching"], "enable_batching", True),
        (["--enable_batching=true"], "enable_batching", True),
        (["--enable_batching=1"], "enable_batching", True),
        (["--enable_batching", "true"], "enable_batching", True),
        (["--flush_filesystem_caches=false"], "flush_filesystem_caches", False),
        (["--flush_filesystem_caches=0"], "flush_filesystem_caches", False),
        (["--flush_filesystem_caches", "0"], "flush_filesystem_caches", False),
        (["--host", "127.0.0.1"], "host", "127.0.0.1"),
    ],
)
def test_a_flag_is_read(argv, name, value, capsys):
    assert dataclasses.asdict(parse(argv)) == OFFICIAL | OWN | {name: value}
    assert capsys.readouterr() == ("", "")


def test_a_bool_does_not_take_the_flag_after_it():
    read = parse(
        ["--enable_batching", "--batching_parameters_file=/x", "--prefer_tflite_model", "--port", "7"]
    )
    assert (read.enable_batching, read.batching_parameters_file) == (True, "/x")
    assert (read.prefer_tflite_model, read.port) == (True, 7)


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--port=", "Couldn't interpret value  for flag port. Expected int32 from 0 to 65535."),
        ("--port=x", "Couldn't interpret value x for flag port. Expected int32 from 0 to 65535."),
        ("--port=1.0", "Couldn't interpret value 1.0 for flag port. Expected int32 from 0 to 65535."),
        ("--port=1_0", "Couldn't interpret value 1_0 for flag port. Expected int32 from 0 to 65535."),
        ("--port=65536", "Couldn't interpret value 65536 for flag port. Expected int32 from 0 to 65535."),
        ("--port=-1", "Couldn't interpret value -1 for flag port. Expected int32 from 0 to 65535."),
        ("--port", "Missing value for flag port. Expected int32 from 0 to 65535."),
        (
            "--num_load_threads=2147483648",
            "Couldn't interpret value 2147483648 for flag num_load_threads. Expected int32.",
        ),
        (
            "--load_retry_interval_micros=9223372036854775808",
            "Couldn't interpret value 9223372036854775808 for flag load_retry_interval_micros."
            " Expected int64.",
        ),
        (
            "--per_process_gpu_memory_fraction=nan",
            "Couldn't interpret value nan for flag per_process_gpu_memory_fraction. Expected float.",
        ),
        (
            "--per_process_gpu_memory_fraction=1e999",
            "Couldn't interpret value 1e999 for flag per_process_gpu_memory_fraction. Expected float.",
        ),
        (
            "--enable_batching=yes",
            "Couldn't interpret value yes for flag enable_batching. Expected bool (true, false, 1 or 0).",
        ),
        (
            "--enable_batching=",
            "Couldn't interpret value  for flag enable_batching. Expected bool (true, false, 1 or 0).",
        ),
        (
            "--max_request_bytes=0",
            "Couldn't interpret value 0 for flag max_request_bytes."
            " Expected int64 from 1 to 9223372036854775807.",
        ),
        ("--model_name", "Missing value for flag model_name. Expected string."),
        (
            "--port=a\nb\x1b",
            r"Couldn't interpret value a\nb\x1b for flag port. Expected int32 from 0 to 65535.",
        ),
    ],
)
def test_a_value_of_the_wrong_type_ends_the_program(argument, line, capsys):
    assert refusal([argument], capsys) == (255, flags.usage(), [line])


def test_every_wrong_value_has_its_line(capsys):
    code, _, lines = refusal(["--port=x", "--nonsense", "--rest_api_port", "--help"], capsys)
    assert code == 255
    assert [line.split(". Expected")[0] for line in lines] == [
        "Couldn't interpret value x for flag port",
        "Missing value for flag rest_api_port",
    ]


@pytest.mark.parametrize(
    ("argv", "lines"),
    [
        (["--nothing_alike_whatsoever=1"], ["unknown argument: --nothing_alike_whatsoever=1"]),
        (["--prot=1"], ["unknown argument: --prot=1 (did you mean --port?)"]),
        (["-port=1"], ["unknown argument: -port=1 (did you mean --port?)"]),
        (["--model-name=x"], ["unknown argument: --model-name=x (did you mean --model_name?)"]),
        (
            ["--use_tflite_model=true"],
            ["unknown argument: --use_tflite_model=true (did you mean --prefer_tflite_model?)"],
        ),
        (["port", ""], ["unknown argument: port", "unknown argument: "]),
        (["--", "--port=1"], ["unknown argument: --", "unknown argument: --port=1 (did you mean --port?)"]),
        (["\udcff"], [r"unknown argument: \udcff"]),
        (["x" * 1000], ["unknown argument: " + "x" * 200 + "..."]),
    ],
)
def test_unknown_arguments_are_named_and_skipped(argv, lines, capsys):
    assert parse(["--rest_api_port=8501", *argv]).rest_api_port == 8501
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", lines)


def test_flags_around_unknown_arguments_count():
    assert parse(["--nonsense", "--port=1", "word", "--model_name=m"]) == Flags(port=1, model_name="m")


@pytest.mark.parametrize("argv", [["--help"], ["--port=1", "--help"], ["-h"], ["--version", "--help"]])
def test_help_names_every_flag(argv, capsys):
    code, out, err = refusal(argv, capsys)
    assert (code, err) == (0, [])
    described = [line.strip().split("\t") for line in out.splitlines() if line.startswith("\t")]
    assert [row[0].strip().partition("=")[0] for row in described] == [
        f"--{name}" for name in Flags.__annotations__
    ]
    kinds = {bool: "bool", int: "int", float: "float", str: "string"}
    for (name, kind), (_, shown, text) in zip(Flags.__annotations__.items(), described, strict=True):
        assert shown.startswith(kinds[kind]), name
        assert text.endswith((".", ").")) and "\n" not in text, name
    assert '\t--model_name="default"           \tstring\tName of the one model to serve.\n' in out
    assert "\t--enable_batching=false          \tbool\t" in out
    # The project's own bounds stand apart.
    assert out.index("--enable_serialization_as_tensor_content") < out.index("Bounds of this server")
    assert out.index("Bounds of this server") < out.index("--max_request_bytes")


def test_version(capsys):
    code, out, err = refusal(["--version", "--port=1"], capsys)
    first, second = out.splitlines()
    assert (code, err) == (0, [])
    assert first.startswith("HexaFace ModelServer: ") and first[22:].strip()[0].isdigit()
    assert second.startswith("TensorFlow Library: 2.")
    assert parse(["--version=false"]) == Flags()


def test_unused_flags_are_told_only_when_changed():
    assert unused(parse([])) == []
    assert unused(parse(["--use_alts_credentials=false", "--port=1"])) == []
    given_flags = parse(
        ["--xla_cpu_compilation_enabled", "--flush_filesystem_caches=false", "--enable_batching"]
    )
    assert unused(given_flags) == [
        "--flush_filesystem_caches (page cache)",
        "--xla_cpu_compilation_enabled (XLA)",
    ]


def test_unused_flags_are_flags_of_the_binary():
    assert set(flags.UNUSED) <= set(OFFICIAL)
    assert all(flags.UNUSED.values())


WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(list(OFFICIAL | OWN)).map("--{}".format),
    st.builds("--{}={}".format, st.sampled_from(list(OFFICIAL | OWN)), st.text(max_size=8)),
    st.sampled_from(["--", "--help", "true", "0", "-1", "="]),
)


@given(st.lists(WORDS, max_size=6))
def test_no_command_line_breaks_it(argv):
    try:
        read = parse(argv)
    except SystemExit as error:
        assert error.code in (0, 255)
    else:
        # Whatever was read has its declared type.
        assert all(type(value) is Flags.__annotations__[name] for name, value in vars(read).items())


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "port": st.integers(0, 65535),
            "num_load_threads": st.integers(-(2**31), 2**31 - 1),
            "load_retry_interval_micros": st.integers(-(2**63), 2**63 - 1),
            "per_process_gpu_memory_fraction": st.floats(allow_nan=False, allow_infinity=False),
            "enable_batching": st.booleans(),
            "model_name": st.text(),
        },
    ),
    st.randoms(),
)
def test_what_is_written_is_read(values, random):
    argv = []
    for name, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        together = text.startswith("--") or random.random() < 0.5
        argv += [f"--{name}={text}"] if together else [f"--{name}", text]
    assert parse(argv) == Flags(**values)


def test_it_does_not_load_tensorflow():
    code = (
        "import sys, serving.model_server.flags as f\n"
        "f.version_text()\n"
        "print([name for name in sys.modules if name.startswith(('tensorflow', 'grpc'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
