"""Runs one node of a pipeline: driver, executor and publisher, against ML Metadata."""

import time
from dataclasses import dataclass
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler.compiler import Compiler
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from components.compat import tfx

# What TFX calls the parameter; tfx.v1 has no public name for it.
_RUN_ID_PARAMETER = "pipeline-run-id"


@dataclass(frozen=True)
class NodeOutcome:
    """What came of a node.

    Attributes:
        cached: Whether the outputs are an earlier execution's.
        seconds: Wall time.
        outputs: Location of each output by name.
        properties: Texts that executors noted on outputs, by `<output>.<property>`.
    """

    cached: bool
    seconds: float
    outputs: dict[str, str]
    properties: dict[str, str]


def compile_pipeline(pipeline: tfx.dsl.Pipeline, run_id: str) -> pipeline_pb2.Pipeline:
    """Compiles a pipeline to TFX's intermediate representation, for one run.

    Args:
        pipeline: The pipeline.
        run_id: Id of this run.

    Returns:
        The representation; `nodes` is in topological order.
    """
    representation = Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(representation, {_RUN_ID_PARAMETER: run_id})
    _stay_in_this_store(representation)
    return representation


def _stay_in_this_store(representation: pipeline_pb2.Pipeline) -> None:
    """Looks for other pipelines' artifacts where this pipeline's are.

    Issue: for a channel of another pipeline the compiler names a metadata service, of which the open-source
    TFX has none (TFX 1.16).
    Solution: take the name out; the query for the other pipeline's name stays.
    Can go: when TFX compiles such a channel for one shared store.
    """
    for node in representation.nodes:
        for inputs in node.pipeline_node.inputs.inputs.values():
            for channel in inputs.channels:
                channel.ClearField("metadata_connection_config")


def node_ids(representation: pipeline_pb2.Pipeline) -> list[str]:
    """Lists a compiled pipeline's nodes in the order in which they run."""
    return [node.pipeline_node.node_info.id for node in representation.nodes]


def downstream(representation: pipeline_pb2.Pipeline, node_id: str) -> set[str]:
    """Returns a node and all nodes that depend on it."""
    found = {node_id}
    for node in representation.nodes:
        if found & set(node.pipeline_node.upstream_nodes):
            found.add(node.pipeline_node.node_info.id)
    return found


def upstream(representation: pipeline_pb2.Pipeline, node_id: str) -> set[str]:
    """Returns a node and all nodes that it depends on."""
    found = {node_id}
    for node in reversed(representation.nodes):
        if node.pipeline_node.node_info.id in found:
            found |= set(node.pipeline_node.upstream_nodes)
    return found


def run_node(representation: pipeline_pb2.Pipeline, node_id: str, use_cache: bool) -> NodeOutcome:
    """Runs a node whose upstream nodes have run.

    Args:
        representation: The compiled pipeline.
        node_id: Id of the node.
        use_cache: Take the outputs of an earlier execution with equal inputs, where there is one.

    Returns:
        What came of it.

    Raises:
        Exception: Whatever the node's executor raised.
    """
    start = time.monotonic()
    pipeline_node = next(
        node.pipeline_node for node in representation.nodes if node.pipeline_node.node_info.id == node_id
    )
    pipeline_node.execution_options.caching_options.enable_cache = use_cache
    deployment = runner_utils.extract_local_deployment_config(representation)
    connection = getattr(
        deployment.metadata_connection_config,
        deployment.metadata_connection_config.WhichOneof("connection_config"),
    )
    info = launcher.Launcher(
        pipeline_node=pipeline_node,
        mlmd_connection=metadata.Metadata(connection),
        pipeline_info=representation.pipeline_info,
        pipeline_runtime_spec=representation.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
    ).launch()
    if info is None or info.execution_id is None:
        raise RuntimeError(f"{node_id} did not run: its inputs are missing")
    cached, artifacts = _published(connection, info.execution_id)
    return NodeOutcome(
        cached=cached,
        seconds=time.monotonic() - start,
        outputs={name: artifact.uri for name, artifact in artifacts.items()},
        properties={
            f"{name}.{key}": value.string_value
            for name, artifact in artifacts.items()
            for key, value in artifact.custom_properties.items()
            if value.string_value
        },
    )


def _published(connection: Any, execution_id: int) -> tuple[bool, dict[str, metadata_store_pb2.Artifact]]:
    """Reads back what a node published: whether from cache, and its outputs by name.

    Raises:
        RuntimeError: The node published a failure; for inputs that cannot be resolved TFX does not raise.
    """
    with metadata.Metadata(connection) as handle:
        (execution,) = handle.store.get_executions_by_id([execution_id])
        events = [
            event
            for event in handle.store.get_events_by_execution_ids([execution_id])
            if event.type in (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.INTERNAL_OUTPUT)
        ]
        artifacts = {
            artifact.id: artifact
            for artifact in handle.store.get_artifacts_by_id([event.artifact_id for event in events])
        }
    states = metadata_store_pb2.Execution
    if execution.last_known_state not in (states.COMPLETE, states.CACHED):
        raise RuntimeError(f"execution {execution_id} did not complete: its inputs could not be resolved")
    outputs = {event.path.steps[0].key: artifacts[event.artifact_id] for event in events}
    return execution.last_known_state == states.CACHED, outputs
