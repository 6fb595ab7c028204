"""The gRPC front: PredictionService and ModelService over the data plane."""

import logging
import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.model_server import service, tensors
from serving.model_server.admission import Memory
from serving.model_server.data_plane import DataPlane, fill_spec, spec_of
from serving.model_server.errors import Code, ServingError, invalid
from serving.model_server.metrics import Metrics
from serving.model_server.repository import Repository

_log = logging.getLogger(__name__)
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Front:
    """What both services share: bounds, deadlines, errors and counts. Calls come in the server's threads."""

    def __init__(self, memory: Memory, metrics: Metrics) -> None:
        """Keeps the parts.

        Args:
            memory: Bound on the bytes of requests.
            metrics: Counts.
        """
        self._memory = memory
        self._metrics = metrics

    def answer(
        self, api: str, model: str, work: Callable[[Any], Message], request: Message, context: Any
    ) -> Message:
        """Runs a request and turns errors into a status."""
        started = time.perf_counter()
        try:
            left = context.time_remaining()
            if not context.is_active() or (left is not None and left <= 0):
                # Nobody waits any more: the request was too long in the queue.
                raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the request could run")
            with self._memory.room() as grow:
                grow(request.ByteSize())
                response = work(request)
        except ServingError as error:
            failure = error
        except Exception as error:
            # No request may end the server, and no client should guess: the type is told, the rest is logged.
            _log.exception("%s failed", api)
            failure = ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
        else:
            self._metrics.request_done(model, api, "GRPC", "OK", time.perf_counter() - started)
            return response
        self._metrics.request_done(model, api, "GRPC", failure.code.name, time.perf_counter() - started)
        context.abort(_STATUS_CODES[failure.code.value], failure.message)
        raise AssertionError("abort raises")


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """tensorflow.serving.PredictionService."""

    def __init__(self, front: Front, plane: DataPlane, as_content: bool, max_bytes: int) -> None:
        """Keeps the parts.

        Args:
            front: Bounds and errors.
            plane: Answers.
            as_content: Send tensors as raw content, not as typed fields.
            max_bytes: Largest tensor of a request.
        """
        self._front = front
        self._plane = plane
        self._as_content = as_content
        self._max_bytes = max_bytes

    # The names are those of the protocol.
    def Predict(self, request: predict_pb2.PredictRequest, context: Any) -> Message:
        """Runs a signature on tensors."""
        return self._front.answer("Predict", request.model_spec.name, self._predict, request, context)

    def _predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        _check_spec(request)
        spec = spec_of(request.model_spec)
        inputs = {
            name: tensors.to_numpy(value, name, self._max_bytes) for name, value in request.inputs.items()
        }
        answered, outputs = self._plane.predict(spec, inputs, list(request.output_filter))
        response = predict_pb2.PredictResponse()
        fill_spec(response.model_spec, answered)
        for name, value in outputs.items():
            tensors.to_proto(value, response.outputs[name], self._as_content)
        return response

    def Classify(self, request: classification_pb2.ClassificationRequest, context: Any) -> Message:
        """Labels and scores for tf.Examples."""
        return self._front.answer("Classify", request.model_spec.name, self._classify, request, context)

    def _classify(self, request: classification_pb2.ClassificationRequest) -> Message:
        _check_spec(request)
        answered, result = self._plane.classify(spec_of(request.model_spec), request.input)
        response = classification_pb2.ClassificationResponse(result=result)
        fill_spec(response.model_spec, answered)
        return response

    def Regress(self, request: regression_pb2.RegressionRequest, context: Any) -> Message:
        """A number for each tf.Example."""
        return self._front.answer("Regress", request.model_spec.name, self._regress, request, context)

    def _regress(self, request: regression_pb2.RegressionRequest) -> Message:
        _check_spec(request)
        answered, result = self._plane.regress(spec_of(request.model_spec), request.input)
        response = regression_pb2.RegressionResponse(result=result)
        fill_spec(response.model_spec, answered)
        return response

    def MultiInference(self, request: inference_pb2.MultiInferenceRequest, context: Any) -> Message:
        """Several signatures on the same tf.Examples."""
        model = request.tasks[0].model_spec.name if request.tasks else ""
        return self._front.answer("MultiInference", model, self._plane.multi_inference, request, context)

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: Any
    ) -> Message:
        """The signatures of a model."""
        return self._front.answer(
            "GetModelMetadata", request.model_spec.name, self._metadata, request, context
        )

    def _metadata(self, request: get_model_metadata_pb2.GetModelMetadataRequest) -> Message:
        _check_spec(request)
        return service.model_metadata(self._plane, spec_of(request.model_spec), request.metadata_field)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """tensorflow.serving.ModelService."""

    def __init__(self, front: Front, repository: Repository, reload: Callable[[Any], None]) -> None:
        """Keeps the parts.

        Args:
            front: Bounds and errors.
            repository: Tells states.
            reload: Takes a new configuration.
        """
        self._front = front
        self._repository = repository
        self._reload = reload

    def GetModelStatus(self, request: get_model_status_pb2.GetModelStatusRequest, context: Any) -> Message:
        """States of a model's versions."""
        return self._front.answer("GetModelStatus", request.model_spec.name, self._status, request, context)

    def _status(self, request: get_model_status_pb2.GetModelStatusRequest) -> Message:
        _check_spec(request)
        return service.model_status(self._repository, spec_of(request.model_spec))

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: Any
    ) -> Message:
        """Takes a configuration in the place of the present one."""
        return self._front.answer("HandleReloadConfigRequest", "", self._reload_config, request, context)

    def _reload_config(self, request: model_management_pb2.ReloadConfigRequest) -> Message:
        if request.config.WhichOneof("config") != "model_config_list":
            kind = request.config.WhichOneof("config") or "CONFIG_NOT_SET"
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is "
                f"supported. Config type received: {kind}"
            )
        self._reload(request.config)
        # An OK status; failures are the call's own status.
        return model_management_pb2.ReloadConfigResponse(status={"error_code": 0})


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
