"""The data plane: finds models and runs them on tensors. It knows no transport.

Messages are those of the binary, from servables/tensorflow/{predict,classifier,regressor,multi_inference}.cc.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from serving.model_server import tensors
from serving.model_server.errors import Code, ServingError, invalid
from serving.model_server.example_results import classification_result, regression_result
from serving.model_server.image_guard import check_example, check_images
from serving.model_server.metrics import Metrics
from serving.model_server.repository import Lender, Spec
from serving.model_server.servable import DEFAULT_SIGNATURE, Servable
from serving.model_server.signature_checks import (
    CLASSIFY_METHOD,
    REGRESS_METHOD,
    check_predict_method,
    checked_inputs,
    wanted_outputs,
)


@dataclass(frozen=True)
class Answered:
    """Which model answered: what goes into a response's model_spec."""

    name: str
    version: int
    signature: str


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        max_image_pixels: Most pixels of one encoded image.
        check_method_names: A signature serves only the method that it was exported for.
    """

    max_image_pixels: int = 50_000_000
    check_method_names: bool = False


class DataPlane:
    """Answers requests. All methods block until the answer is there, and may be called from many threads."""

    def __init__(self, repository: Lender, limits: Limits, metrics: Metrics) -> None:
        """Puts it on top of a repository."""
        self._repository = repository
        self._limits = limits
        self._metrics = metrics

    def signature(self, spec: Spec) -> SignatureDef:
        """Returns a signature.

        Raises:
            ServingError: There is no such model or signature.
        """
        with self._repository.lease(spec) as (_, servable):
            name = spec.signature or DEFAULT_SIGNATURE
            if name not in servable.signatures:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            return servable.signatures[name]

    def signatures(self, spec: Spec) -> tuple[Answered, Mapping[str, SignatureDef]]:
        """Returns all signatures of a model, and which version they are of."""
        with self._repository.lease(spec) as (version, servable):
            return Answered(spec.name, version, ""), servable.signatures

    def predict(
        self, spec: Spec, inputs: Mapping[str, np.ndarray], output_filter: Sequence[str] = ()
    ) -> tuple[Answered, dict[str, np.ndarray]]:
        """Runs a signature.

        Args:
            spec: Model and signature.
            inputs: An array for each input.
            output_filter: Outputs wanted; all if empty.

        Returns:
            Which model answered, and the outputs by name.

        Raises:
            ServingError: No such model, inputs that do not fit, or a failure inside the graph.
        """
        with self._repository.lease(spec) as (version, servable):
            name = spec.signature or DEFAULT_SIGNATURE
            outputs = self._predict(servable, name, inputs, output_filter, spec.name)
            return Answered(spec.name, version, name), outputs

    def _predict(
        self,
        servable: Servable,
        name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str],
        model: str,
    ) -> dict[str, np.ndarray]:
        if name not in servable.signatures:
            raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        signature = servable.signatures[name]
        if self._limits.check_method_names:
            check_predict_method(signature)
        fed = checked_inputs(signature, inputs)
        wanted = wanted_outputs(signature, output_filter)
        self._guard(fed)
        started = time.perf_counter()
        outputs = servable.run(name, fed, wanted)
        self._metrics.ran(model, "Predict", time.perf_counter() - started)
        return dict(zip(wanted, outputs, strict=True))

    def _guard(self, inputs: Mapping[str, np.ndarray]) -> None:
        for value in inputs.values():
            if value.dtype == object:
                check_images(value.flat, self._limits.max_image_pixels)

    def classify(
        self, spec: Spec, examples: input_pb2.Input
    ) -> tuple[Answered, classification_pb2.ClassificationResult]:
        """Runs a signature on tf.Examples and returns labels with scores for each."""
        with self._repository.lease(spec) as (version, servable):
            name = spec.signature or DEFAULT_SIGNATURE
            result = self._classify(servable, name, self._serialized(examples, spec.name), spec.name)
            return Answered(spec.name, version, name), result

    def regress(
        self, spec: Spec, examples: input_pb2.Input
    ) -> tuple[Answered, regression_pb2.RegressionResult]:
        """Runs a signature on tf.Examples and returns a number for each."""
        with self._repository.lease(spec) as (version, servable):
            name = spec.signature or DEFAULT_SIGNATURE
            result = self._regress(servable, name, self._serialized(examples, spec.name), spec.name)
            return Answered(spec.name, version, name), result

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        """Runs several signatures of one model on the same tf.Examples."""
        specs = [spec_of(task.model_spec) for task in request.tasks]
        _check_tasks(specs)
        response = inference_pb2.MultiInferenceResponse()
        if not specs:
            raise invalid(
                "Input is empty." if not _examples(request.input) else "ModelSpec has no name specified."
            )
        with self._repository.lease(specs[0]) as (version, servable):
            _check_shared_input(request.tasks, servable)
            serialized = self._serialized(request.input, specs[0].name)
            for task, spec in zip(request.tasks, specs, strict=True):
                name = spec.signature or DEFAULT_SIGNATURE
                result = response.results.add()
                fill_spec(result.model_spec, Answered(spec.name, version, name))
                if task.method_name == CLASSIFY_METHOD:
                    answer = self._classify(servable, name, serialized, spec.name)
                    result.classification_result.CopyFrom(answer)
                else:
                    regression = self._regress(servable, name, serialized, spec.name)
                    result.regression_result.CopyFrom(regression)
        return response

    def _serialized(self, examples: input_pb2.Input, model: str) -> np.ndarray:
        """Returns string [N]: the examples, each behind the context that all share."""
        found = _examples(examples)
        if not found:
            raise invalid("Input is empty.")
        self._metrics.examples(model, len(found))
        context = examples.example_list_with_context.context
        for example in (*found, context):
            check_example(example, self._limits.max_image_pixels)
        prefix = context.SerializeToString()
        array = np.empty(len(found), dtype=object)
        # Two serialised messages after one another are read as one, the later values winning.
        array[:] = [prefix + example.SerializeToString() for example in found]
        return array

    def _classify(
        self, servable: Servable, name: str, serialized: np.ndarray, model: str
    ) -> classification_pb2.ClassificationResult:
        signature = _signature_for(servable, name, "No signature was found with the name: ")
        self._check_method(signature, CLASSIFY_METHOD, "classification")
        _check_one_input(signature)
        if len(signature.outputs) not in (1, 2):
            raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
        if "inputs" not in signature.inputs:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"No classification inputs found in SignatureDef: {signature}"
            )
        wanted = [output for output in ("classes", "scores") if output in signature.outputs]
        if not wanted:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                'Expected classification signature outputs to contain at least one of "classes" or "scores". '
                f"Signature was: {signature}",
            )
        answer = self._run_examples(servable, name, serialized, wanted, "Classify", model)
        return classification_result(answer.get("classes"), answer.get("scores"), len(serialized))

    def _regress(
        self, servable: Servable, name: str, serialized: np.ndarray, model: str
    ) -> regression_pb2.RegressionResult:
        signature = _signature_for(servable, name, "No signature was found with the name: ")
        self._check_method(signature, REGRESS_METHOD, "regression")
        _check_one_input(signature)
        if len(signature.outputs) != 1:
            raise invalid("Expected one output Tensor.")
        if "inputs" not in signature.inputs:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"No regression inputs found in SignatureDef: {signature}"
            )
        if "outputs" not in signature.outputs:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"No regression outputs found in SignatureDef: {signature}"
            )
        answer = self._run_examples(servable, name, serialized, ["outputs"], "Regress", model)
        return regression_result(answer["outputs"], len(serialized))

    def _check_method(self, signature: SignatureDef, expected: str, kind: str) -> None:
        if self._limits.check_method_names and signature.method_name != expected:
            raise invalid(
                f"Expected {kind} signature method_name to be {expected}. Was: {signature.method_name}"
            )

    def _run_examples(
        self, servable: Servable, name: str, serialized: np.ndarray, wanted: list[str], api: str, model: str
    ) -> dict[str, np.ndarray]:
        started = time.perf_counter()
        outputs = servable.run(name, {"inputs": serialized}, wanted)
        self._metrics.ran(model, api, time.perf_counter() - started)
        return dict(zip(wanted, outputs, strict=True))

    def replay(self, log: prediction_log_pb2.PredictionLog) -> None:
        """Runs a recorded request; see `warmup.Replayer`."""
        replay(self, log)


class OneServable:
    """Stands for the repository while a version is warmed that is not in it yet."""

    def __init__(self, servable: Servable, version: int) -> None:
        """Wraps a loaded version."""
        self._answer = (version, servable)

    def lease(self, spec: Spec) -> contextlib.AbstractContextManager[tuple[int, Servable]]:
        """Lends the version, whatever the request names: records carry the version they were made with."""
        return contextlib.nullcontext(self._answer)


def replay(plane: DataPlane, log: prediction_log_pb2.PredictionLog) -> None:
    """Runs a recorded request.

    Raises:
        ServingError: It fails, or is of a kind that cannot be replayed.
    """
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inputs = {name: tensors.to_numpy(value, name) for name, value in request.inputs.items()}
        plane.predict(spec_of(request.model_spec), inputs, list(request.output_filter))
    elif kind == "classify_log":
        plane.classify(spec_of(log.classify_log.request.model_spec), log.classify_log.request.input)
    elif kind == "regress_log":
        plane.regress(spec_of(log.regress_log.request.model_spec), log.regress_log.request.input)
    elif kind == "multi_inference_log":
        plane.multi_inference(log.multi_inference_log.request)
    else:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")


def spec_of(proto: Any) -> Spec:
    """Reads a ModelSpec."""
    choice = proto.WhichOneof("version_choice")
    return Spec(
        name=proto.name,
        version=proto.version.value if choice == "version" else None,
        label=proto.version_label if choice == "version_label" else "",
        signature=proto.signature_name,
    )


def fill_spec(proto: Any, answered: Answered) -> None:
    """Writes a ModelSpec."""
    proto.name = answered.name
    proto.version.value = answered.version
    proto.signature_name = answered.signature


def _signature_for(servable: Servable, name: str, message: str) -> SignatureDef:
    if name not in servable.signatures:
        raise invalid(message + name)
    return servable.signatures[name]


def _check_one_input(signature: SignatureDef) -> None:
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")


def _check_tasks(specs: Sequence[Spec]) -> None:
    signatures = set()
    for spec in specs:
        if not spec.name:
            raise invalid("Found ModelSpec with an empty model name.")
        if spec.name != specs[0].name:
            raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        signature = spec.signature or DEFAULT_SIGNATURE
        if signature in signatures:
            raise invalid(f"Duplicate evaluation of signature: {signature}")
        signatures.add(signature)


def _check_shared_input(tasks: Any, servable: Servable) -> None:
    inputs = set()
    for task in tasks:
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = _signature_for(servable, name, "Requested signature not found in model graph: ")
        if task.method_name not in (CLASSIFY_METHOD, REGRESS_METHOD):
            raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        if "inputs" in signature.inputs:
            inputs.add(signature.inputs["inputs"].name)
    if len(inputs) > 1:
        raise invalid("Input tensor must be the same for all Signatures.")


def _examples(examples: input_pb2.Input) -> Sequence[Any]:
    if examples.WhichOneof("kind") == "example_list_with_context":
        return examples.example_list_with_context.examples
    return examples.example_list.examples
