"""The client's way to a model server by gRPC."""

import os
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.wire import wire_pb2
from serving.wire.calls import (
    DEFAULT_SIGNATURE,
    Address,
    Deadline,
    PredictCall,
    Prediction,
    Signature,
    VersionStatus,
    signatures,
    statuses,
)
from serving.wire.codes import Code
from serving.wire.errors import server_error, unreadable
from serving.wire.tensors import from_proto, to_proto

_SIGNATURES = "tensorflow.serving.SignatureDefMap"
# While no call waits, gRPC looks after a connection that is being made only this often. With its own 5000, a
# server that is back was found after five to ten seconds. Read when the first channel of a process is made.
os.environ.setdefault("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "500")


class GrpcTransport:
    """A channel to one server; see `calls.Transport`."""

    def __init__(self, target: str, max_bytes: int, credentials: grpc.ChannelCredentials | None) -> None:
        """Opens the channel; it connects at the first call.

        Args:
            target: "host:port", "unix:/path" or any other name that gRPC resolves.
            max_bytes: The largest message, either way.
            credentials: For TLS; None for plain text.
        """
        options = [
            ("grpc.max_send_message_length", max_bytes),
            ("grpc.max_receive_message_length", max_bytes),
            # A server that restarts is found again within the client's own retries, not after gRPC's minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.enable_http_proxy", 0),  # as the REST transport: model servers are near
        ]
        self._max_bytes = max_bytes
        self._channel = (
            grpc.secure_channel(target, credentials, options)
            if credentials
            else grpc.insecure_channel(target, options)
        )
        self._predict = self._method("PredictionService/Predict", wire_pb2.PredictResponse)
        self._metadata = self._method("PredictionService/GetModelMetadata", wire_pb2.GetModelMetadataResponse)
        self._status = self._method("ModelService/GetModelStatus", wire_pb2.GetModelStatusResponse)
        self._reload = self._method("ModelService/HandleReloadConfigRequest", wire_pb2.ReloadConfigResponse)

    def _method(self, name: str, response: Any) -> Callable[..., Any]:
        return self._channel.unary_unary(
            f"/tensorflow.serving.{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def predict(self, call: PredictCall, deadline: Deadline) -> Prediction:
        """Runs a signature."""
        request = wire_pb2.PredictRequest(
            model_spec=_model_spec(call.address, call.signature), output_filter=call.outputs
        )
        for name, array in call.inputs.items():
            request.inputs[name].CopyFrom(to_proto(array))
        model = call.address.model
        response = self._call(self._predict, request, deadline, model)
        spec = response.model_spec
        missing = [name for name in call.outputs if name not in response.outputs]
        if missing:
            raise unreadable(model, f"output {missing[0]!r} is missing")
        try:
            outputs = {name: from_proto(tensor, self._max_bytes) for name, tensor in response.outputs.items()}
        except ValueError as error:
            raise unreadable(model, error) from error
        version = spec.version.value if spec.HasField("version") else call.address.version
        return Prediction(outputs, model, version, spec.signature_name or call.signature or DEFAULT_SIGNATURE)

    def status(self, address: Address, deadline: Deadline) -> list[VersionStatus]:
        """Lists the versions that the server knows."""
        request = wire_pb2.GetModelStatusRequest(model_spec=_model_spec(address))
        return statuses(self._call(self._status, request, deadline, address.model))

    def metadata(self, address: Address, deadline: Deadline) -> dict[str, Signature]:
        """Returns the signatures."""
        request = wire_pb2.GetModelMetadataRequest(
            model_spec=_model_spec(address), metadata_field=["signature_def"]
        )
        response = self._call(self._metadata, request, deadline, address.model)
        packed = response.metadata["signature_def"]
        if not packed.type_url.endswith(f"/{_SIGNATURES}"):
            raise unreadable(address.model, f"metadata of type {packed.type_url!r}, not {_SIGNATURES}")
        try:
            return signatures(wire_pb2.SignatureDefMap.FromString(packed.value))
        except DecodeError as error:
            raise unreadable(address.model, error) from error

    def reload_config(self, config: wire_pb2.ModelServerConfig, deadline: Deadline) -> None:
        """Replaces the server's configuration."""
        request = wire_pb2.ReloadConfigRequest(config=config)
        status = self._call(self._reload, request, deadline, "").status
        if status.error_code != wire_pb2.OK:
            code = Code(status.error_code) if status.error_code in list(Code) else Code.UNKNOWN
            raise server_error(code, status.error_message, "")

    def close(self) -> None:
        """Ends all connections; calls under way are cancelled."""
        self._channel.close()

    def _call(self, method: Callable[..., Any], request: Any, deadline: Deadline, model: str) -> Any:
        if request.ByteSize() > self._max_bytes:
            message = f"the request has {request.ByteSize()} bytes, the limit is {self._max_bytes}"
            raise server_error(Code.RESOURCE_EXHAUSTED, message, model)
        try:
            return method(request, timeout=deadline.left())
        except grpc.RpcError as error:
            code = Code[error.code().name]
            message = error.details() or ""
            raise server_error(code, message, model, retryable=code is Code.UNAVAILABLE) from error


def _model_spec(address: Address, signature: str = "") -> wire_pb2.ModelSpec:
    spec = wire_pb2.ModelSpec(name=address.model, signature_name=signature)
    if address.version is not None:
        spec.version.value = address.version
    elif address.label is not None:
        spec.version_label = address.label
    return spec
