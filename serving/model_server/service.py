"""Answers that both fronts give in the same messages: states and signatures."""

from collections.abc import Sequence

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.model_server.data_plane import DataPlane
from serving.model_server.errors import invalid
from serving.model_server.repository import Repository, Spec

_SIGNATURES = "signature_def"


def model_status(repository: Repository, spec: Spec) -> get_model_status_pb2.GetModelStatusResponse:
    """Tells the states of a model's versions; a label is not looked at, as in the binary.

    Raises:
        ServingError: There is no such model or version.
    """
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in repository.statuses(spec.name, spec.version):
        one = response.model_version_status.add(version=status.version, state=int(status.state))
        # Set even when there is nothing to tell: clients read it without asking whether it is there.
        one.status.SetInParent()
        if status.error:
            one.status.error_code = int(status.error.code)
            one.status.error_message = status.error.message
    return response


def model_metadata(
    plane: DataPlane, spec: Spec, fields: Sequence[str]
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Tells a model's signatures.

    Args:
        plane: Knows the models.
        spec: Which one.
        fields: What is asked for; only `signature_def` exists.

    Raises:
        ServingError: There is no such model, or no such field.
    """
    if not fields:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in fields:
        if field != _SIGNATURES:
            raise invalid(f"Metadata field {field} is not supported")
    answered, signatures = plane.signatures(spec)
    known = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in signatures.items():
        known.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = answered.name
    response.model_spec.version.value = answered.version
    response.metadata[_SIGNATURES].Pack(known)
    return response
