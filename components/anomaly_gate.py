"""Stops a pipeline whose data does not match the curated schema."""

import os

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.compat import tfx
from data_validation.errors import InputError


@tfx.dsl.components.component
def AnomalyGate(
    anomalies: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleAnomalies],
    code_fingerprint: tfx.dsl.components.Parameter[str],
) -> None:
    """Lets a pipeline pass only where ExampleValidator found nothing.

    Args:
        anomalies: What ExampleValidator found.
        code_fingerprint: Only for the cache.

    Raises:
        InputError: There is an anomaly; the message has each anomaly's own text and its feature.
    """
    del code_fingerprint
    found = describe_anomalies(anomalies)
    if found:
        raise InputError("data does not match the schema: " + "; ".join(found))


def describe_anomalies(anomalies: tfx.dsl.Artifact) -> list[str]:
    """Lists anomalies as lines.

    Args:
        anomalies: An ExampleAnomalies artifact.

    Returns:
        `<split>: <feature>: <what is wrong>`, one an anomaly.
    """
    lines = []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        uri = artifact_utils.get_split_uri([anomalies], split)
        message = anomalies_pb2.Anomalies()
        with fileio.open(os.path.join(uri, "SchemaDiff.pb"), "rb") as file:
            message.ParseFromString(file.read())
        for feature, info in sorted(message.anomaly_info.items()):
            lines.append(f"{split}: {feature}: {info.description or info.short_description}")
        if message.HasField("dataset_anomaly_info"):
            lines.append(f"{split}: data set: {message.dataset_anomaly_info.description}")
    return lines
