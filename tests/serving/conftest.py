"""Toy models, made once, and one server for the tests that only ask."""

from pathlib import Path

import pytest
import toy_models
from model_servers import Server, model_server
from serving_requests import model_config


@pytest.fixture(scope="session")
def toys(tmp_path_factory) -> Path:
    """A folder of base paths: `half` (TF1, version 123), `adder` (TF2, versions 1 and 2) and `tflite` (1)."""
    root = tmp_path_factory.mktemp("toys")
    toy_models.half_plus_two(root / "half")
    toy_models.adder(root / "adder", 1, b=2.0)
    toy_models.adder(root / "adder", 2, b=3.0)
    toy_models.tflite(root / "adder" / "1", root / "tflite", 1)
    return root


@pytest.fixture(scope="session")
def server(toys, tmp_path_factory) -> Server:
    """A server of the toys, with all that can be turned on; tests must not change what it serves."""
    folder = tmp_path_factory.mktemp("server")
    config, monitoring = folder / "models.config", folder / "monitoring.config"
    every = "model_version_policy { all {} }"
    labels = 'version_labels { key: "stable" value: 1 } version_labels { key: "new one" value: 2 }'
    config.write_text(
        model_config(
            half=f'base_path: "{toys}/half"',
            adder=f'base_path: "{toys}/adder" {every} {labels}',
            tflite=f'base_path: "{toys}/tflite"',
        )
    )
    monitoring.write_text("prometheus_config { enable: true }")
    flags = (
        f"--model_config_file={config}",
        f"--monitoring_config_file={monitoring}",
        "--enable_grpc_healthcheck_service",
        "--rest_api_enable_cors_support",
        "--max_request_bytes=4000000",
        # As scripts that were written for the binary pass it.
        "--grpc_channel_arguments=grpc.lb_policy_name=grpclb,grpc.so_reuseaddr=1",
        "--xla_cpu_compilation_enabled",
        "--no_such_flag=1",
    )
    with model_server(*flags) as running:
        yield running
