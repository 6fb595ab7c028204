"""What both transports of the client take and give: addresses, deadlines, predictions, status, signatures."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from serving.wire import wire_pb2
from serving.wire.codes import Code
from serving.wire.errors import server_error
from serving.wire.tensors import type_name

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Address:
    """One model, and which version of it; without version or label, the server's choice (the latest).

    Raises:
        TypeError: A part is of another type.
        ValueError: No name, a negative version, an empty label, or both version and label.
    """

    model: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, str):
            raise TypeError(f"model: expected a name, got {type(self.model).__name__}")
        if not self.model:
            raise ValueError("model: the name is empty")
        if self.version is not None:
            checked_integer("version", self.version, 0, 2**63 - 1)
        if self.label is not None and not isinstance(self.label, str):
            raise TypeError(f"label: expected text, got {type(self.label).__name__}")
        if self.label == "":
            raise ValueError("label: the text is empty")
        if self.version is not None and self.label is not None:
            raise ValueError(f"give a version or a label, not both (got {self.version} and {self.label!r})")


class Deadline:
    """A moment by which a call must have ended."""

    def __init__(self, seconds: float, model: str) -> None:
        """Starts the clock.

        Args:
            seconds: Time from now, above 0.
            model: Who is asked, for the error.
        """
        self.seconds = seconds
        self._at = time.monotonic() + seconds
        self._model = model

    def left(self) -> float:
        """Returns the seconds left, above 0.

        Raises:
            DeadlineExceeded: None are left.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise self.exceeded()
        return left

    def allows(self, pause: float) -> bool:
        """Tells whether anything is left after a pause of so many seconds."""
        return time.monotonic() + pause < self._at

    def exceeded(self, detail: str = "") -> Exception:
        """Returns the error for a call that was not done in time."""
        message = f"no answer within {self.seconds:g} s{detail and f' ({detail})'}"
        return server_error(Code.DEADLINE_EXCEEDED, message, self._model)


@dataclass(frozen=True)
class Prediction:
    """What a signature answered.

    Attributes:
        outputs: Arrays by output name; text is bytes in arrays of objects.
        model: The model's name.
        version: Which version answered; None if the transport did not say (REST without a version asked for).
        signature: The signature that ran.
    """

    outputs: dict[str, np.ndarray]
    model: str
    version: int | None
    signature: str


@dataclass(frozen=True)
class VersionStatus:
    """Where the server is with one version.

    Attributes:
        version: Its number.
        state: START, LOADING, AVAILABLE, UNLOADING, END or UNKNOWN.
        error_code: OK, or why it is not served.
        error_message: The server's text, empty if OK.
    """

    version: int
    state: str
    error_code: Code
    error_message: str


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a signature.

    Attributes:
        dtype: Numpy's name ("float32"), "string" for bytes, or TensorFlow's name of a type that numpy lacks.
        shape: Sizes, None for one that varies; None as a whole if the rank is unknown.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """A function of a model: its tensors by name, and TensorFlow Serving's name for its method."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    method: str


@dataclass(frozen=True)
class PredictCall:
    """One prediction to make: whom to ask, the arrays, and which outputs are wanted (none named: all)."""

    address: Address
    inputs: Mapping[str, np.ndarray]
    signature: str
    outputs: Sequence[str]


class Transport(Protocol):
    """A way to the server. All methods raise ServerError and keep to the deadline; none tries twice."""

    def predict(self, call: PredictCall, deadline: Deadline) -> Prediction:
        """Runs a signature."""

    def status(self, address: Address, deadline: Deadline) -> list[VersionStatus]:
        """Lists the versions that the server knows."""

    def metadata(self, address: Address, deadline: Deadline) -> dict[str, Signature]:
        """Returns the signatures."""

    def reload_config(self, config: wire_pb2.ModelServerConfig, deadline: Deadline) -> None:
        """Replaces the server's configuration."""

    def close(self) -> None:
        """Ends all connections."""


def checked_integer(name: str, value: int, low: int, high: int) -> int:
    """Returns an argument that is a whole number between two others (both included).

    Raises:
        TypeError: It is none.
        ValueError: It is outside.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected a whole number, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {value}")
    return int(value)


def statuses(response: wire_pb2.GetModelStatusResponse) -> list[VersionStatus]:
    """Reads a status answer, highest version first."""
    found = [_status(status) for status in response.model_version_status]
    return sorted(found, key=lambda status: status.version, reverse=True)


def _status(status: wire_pb2.ModelVersionStatus) -> VersionStatus:
    states = wire_pb2.ModelVersionStatus.State
    code = status.status.error_code
    return VersionStatus(
        version=status.version,
        state=states.Name(status.state) if status.state in states.values() else "UNKNOWN",
        error_code=Code(code) if code in list(Code) else Code.UNKNOWN,
        error_message=status.status.error_message,
    )


def signatures(definitions: wire_pb2.SignatureDefMap) -> dict[str, Signature]:
    """Reads the signatures of a metadata answer."""
    return {
        name: Signature(_specs(definition.inputs), _specs(definition.outputs), definition.method_name)
        for name, definition in definitions.signature_def.items()
    }


def _specs(infos: Mapping[str, wire_pb2.TensorInfo]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(type_name(info.dtype), _shape(info.tensor_shape)) for name, info in infos.items()
    }


def _shape(shape: wire_pb2.TensorShapeProto) -> tuple[int | None, ...] | None:
    if shape.unknown_rank:
        return None
    return tuple(dim.size if dim.size >= 0 else None for dim in shape.dim)
