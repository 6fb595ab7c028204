"""A client for web apps and services: one method for each task, by gRPC or REST, without TensorFlow.

    with Client("127.0.0.1:8500") as client:
        for answer in client.emotion([Path("face.jpg").read_bytes()]):
            print(answer.label, answer.score)

It speaks TensorFlow Serving's protocol, so it works with that server as well as with the project's own.
"""

import math
import os
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import grpc
import numpy as np

from serving import client_results
from serving.client_results import AgeEstimate, Box, Classification, Detection, Face, Point, Verification
from serving.wire import tls, wire_pb2
from serving.wire.calls import (
    Address,
    Deadline,
    PredictCall,
    Prediction,
    Signature,
    TensorSpec,
    Transport,
    VersionStatus,
    checked_integer,
)
from serving.wire.codes import Code
from serving.wire.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServerError,
    Unavailable,
)
from serving.wire.grpc_transport import GrpcTransport
from serving.wire.rest_transport import RestTransport
from serving.wire.tensors import checked_array, object_array

__all__ = [
    "AgeEstimate",
    "Box",
    "Classification",
    "Client",
    "Code",
    "DeadlineExceeded",
    "Detection",
    "Face",
    "InvalidArgument",
    "NotFound",
    "Point",
    "Prediction",
    "ResourceExhausted",
    "ServerError",
    "Signature",
    "TensorSpec",
    "Unavailable",
    "Verification",
    "VersionStatus",
]

MAX_MESSAGE_BYTES = 64 << 20
_DEFAULT_TARGETS = {"grpc": "127.0.0.1:8500", "rest": "http://127.0.0.1:8501"}
_FIRST_PAUSE = 0.2  # seconds before the first retry; twice as long before each next
_LONGEST_PAUSE = 5.0
_POLL_SECONDS = 0.2

_T = TypeVar("_T")
_File = str | os.PathLike[str]


class Client:
    """A model server, seen from a program that uses it. Threads may share one; processes may not.

    Every call has a deadline. A call that finds no server (UNAVAILABLE) is made again after a pause, if the
    deadline allows; no other failure is tried again.

    All task methods take `version` or `label` (which version of the model; without, the latest) and `timeout`
    (seconds for the whole call, retries included; without, the client's own), and raise:
        TypeError, ValueError: An argument is wrong; nothing was sent.
        ServerError: No answer, or not one of the task's form; see its subclasses.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        transport: Literal["grpc", "rest"] = "grpc",
        timeout: float = 10.0,
        retries: int = 2,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        credentials: grpc.ChannelCredentials | None = None,
        ca_file: _File | None = None,
    ) -> None:
        """Prepares the connection; it is made at the first call.

        Args:
            target: gRPC: "host:port" or "unix:/path/of/socket", with TLS "grpcs://host:port"; REST:
                "http(s)://host:port". Without, this machine and the usual port: 8500 or 8501.
            transport: "grpc" or "rest".
            timeout: Seconds that a call may take if it does not say so itself.
            retries: How many times more a call is made that finds no server.
            max_message_bytes: The largest request and the largest answer.
            credentials: For TLS with certificates of the client's own, gRPC only.
            ca_file: Certificates in PEM, for "grpcs" and "https": the server's own, or that of who signed it.
                Without, those that gRPC brings along, or for REST those of this machine. A server that shows
                another one, or one for another name, is not asked: Unavailable.

        Raises:
            TypeError, ValueError: An argument is wrong.
        """
        if transport not in _DEFAULT_TARGETS:
            raise ValueError(f"transport: expected grpc or rest, got {transport!r}")
        if target is None:
            target = _DEFAULT_TARGETS[transport]
        if not isinstance(target, str):
            raise TypeError(f"target: expected text, got {type(target).__name__}")
        self._timeout = _checked_timeout(timeout)
        self._retries = checked_integer("retries", retries, 0, 100)
        checked_integer("max_message_bytes", max_message_bytes, 1, 2**31 - 1)
        make = _grpc_transport if transport == "grpc" else _rest_transport
        self._transport = make(target, max_message_bytes, credentials, ca_file)
        self._closed = False

    @classmethod
    def rest(
        cls,
        url: str | None = None,
        *,
        timeout: float = 10.0,
        retries: int = 2,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        ca_file: _File | None = None,
    ) -> "Client":
        """Returns a client by REST, of this machine's port 8501 if no URL is given."""
        return cls(
            url,
            transport="rest",
            timeout=timeout,
            retries=retries,
            max_message_bytes=max_message_bytes,
            ca_file=ca_file,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all connections; the client cannot be used any more."""
        self._closed = True
        self._transport.close()

    # ---- tasks

    def detect(
        self,
        images: Sequence[bytes],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Detection]:
        """Finds the faces in each image (JPEG or PNG)."""
        inputs = {"image_bytes": _images("images", images)}
        address = Address("detection", version, label)
        answer = self._predict(PredictCall(address, inputs, "", client_results.DETECTION), timeout)
        return client_results.detections(answer, len(images))

    def verify(
        self,
        pairs: Sequence[tuple[bytes, bytes]],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Verification]:
        """Tells for each pair of images (JPEG or PNG) whether they show one person."""
        first, second = _pairs(pairs)
        inputs = {"image_bytes_a": first, "image_bytes_b": second}
        address = Address("verification", version, label)
        answer = self._predict(PredictCall(address, inputs, "", client_results.VERIFICATION), timeout)
        return client_results.verifications(answer, len(pairs))

    def embed(
        self,
        images: Sequence[bytes],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> np.ndarray:
        """Returns float32 [N, D]: a vector for the face in each image (JPEG or PNG)."""
        inputs = {"image_bytes": _images("images", images)}
        address = Address("verification", version, label)
        answer = self._predict(PredictCall(address, inputs, "embed", client_results.EMBEDDING), timeout)
        return client_results.embeddings(answer, len(images))

    def gender(
        self,
        images: Sequence[bytes],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Classification]:
        """Classifies the face in each image (JPEG or PNG) by the data sets' binary label."""
        return self._classify(Address("gender", version, label), images, timeout)

    def emotion(
        self,
        images: Sequence[bytes],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[Classification]:
        """Classifies the expression of the face in each image (JPEG or PNG)."""
        return self._classify(Address("emotion", version, label), images, timeout)

    def age(
        self,
        images: Sequence[bytes],
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[AgeEstimate]:
        """Estimates the age of the face in each image (JPEG or PNG)."""
        inputs = {"image_bytes": _images("images", images)}
        address = Address("age", version, label)
        answer = self._predict(PredictCall(address, inputs, "", client_results.AGE), timeout)
        return client_results.age_estimates(answer, len(images))

    def generate(
        self,
        seed: int,
        count: int,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[bytes]:
        """Makes `count` faces (PNG); the same seed (64 bits, signed) makes the same faces."""
        inputs: dict[str, np.ndarray] = {
            "seed": np.asarray(checked_integer("seed", seed, -(2**63), 2**63 - 1), np.int64),
            "count": np.asarray(checked_integer("count", count, 1, 2**31 - 1), np.int32),
        }
        address = Address("synthesis", version, label)
        answer = self._predict(PredictCall(address, inputs, "sample", client_results.SYNTHESIS), timeout)
        return client_results.images(answer, count)

    def generate_from(
        self,
        latent: np.ndarray,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> list[bytes]:
        """Makes the faces (PNG) of float vectors [N, 100]."""
        inputs = {"latent": _latent(latent)}
        address = Address("synthesis", version, label)
        answer = self._predict(PredictCall(address, inputs, "", client_results.SYNTHESIS), timeout)
        return client_results.images(answer, len(latent))

    def _classify(
        self, address: Address, images: Sequence[bytes], timeout: float | None
    ) -> list[Classification]:
        inputs = {"image_bytes": _images("images", images)}
        answer = self._predict(PredictCall(address, inputs, "", client_results.CLASSIFICATION), timeout)
        return client_results.classifications(answer, len(images))

    # ---- any model

    def predict(
        self,
        model: str,
        inputs: Mapping[str, np.ndarray],
        *,
        signature: str = "",
        outputs: Sequence[str] = (),
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """Runs a signature of a model.

        Args:
            model: Its name.
            inputs: Arrays by input name; bytes and text in arrays of objects.
            signature: Empty for the default.
            outputs: Which outputs are wanted; none named: all.
            version: Which version; without, the latest.
            label: Which version, by label.
            timeout: Seconds for the whole call.

        Returns:
            The outputs; the same arrays on both transports, but for the sizes that JSON cannot tell of arrays
            without elements.

        Raises:
            TypeError: An array, or another argument, is of a type that cannot be sent.
            ValueError: No inputs, an output named twice, or an argument out of range.
            ServerError: No answer.
        """
        address = Address(model, version, label)
        if isinstance(outputs, str) or len(set(outputs)) != len(outputs):
            raise ValueError(f"outputs: expected a list of different names, got {outputs!r}")
        return self._predict(PredictCall(address, _arrays(inputs), signature, tuple(outputs)), timeout)

    def status(
        self, model: str, version: int | None = None, *, timeout: float | None = None
    ) -> list[VersionStatus]:
        """Lists the versions of a model that the server knows, highest first; NotFound if there are none."""
        address = Address(model, version)
        return self._call(model, timeout, lambda deadline: self._transport.status(address, deadline))

    def metadata(
        self,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> dict[str, Signature]:
        """Returns a model's signatures by name: their inputs and outputs, with types and shapes."""
        address = Address(model, version, label)
        return self._call(model, timeout, lambda deadline: self._transport.metadata(address, deadline))

    def reload_config(self, config: wire_pb2.ModelServerConfig, *, timeout: float | None = None) -> None:
        """Replaces the server's set of models by another (gRPC only: REST answers UNIMPLEMENTED)."""
        if not isinstance(config, wire_pb2.ModelServerConfig):
            raise TypeError(f"config: expected wire_pb2.ModelServerConfig, got {type(config).__name__}")
        self._call("", timeout, lambda deadline: self._transport.reload_config(config, deadline))

    def wait_until_available(self, model: str, version: int | None = None, timeout: float = 60.0) -> int:
        """Waits until a version is served: this one, or any.

        Args:
            model: Its name.
            version: The version to wait for.
            timeout: Seconds to wait.

        Returns:
            The version that is available (the highest, if there are several).

        Raises:
            DeadlineExceeded: None is; the message has the last thing that the server said.
            ServerError: The server cannot load the version that is waited for, or refuses to tell.
        """
        address = Address(model, version)
        deadline = Deadline(_checked_timeout(timeout), model)
        while True:
            last = self._available(address, deadline)
            if isinstance(last, int):
                return last
            if not deadline.allows(_POLL_SECONDS):
                raise deadline.exceeded(last)
            time.sleep(_POLL_SECONDS)

    def _available(self, address: Address, deadline: Deadline) -> int | str:
        """Returns the available version, or why there is none yet."""
        self._check_open()
        try:
            found = self._transport.status(address, deadline)
        except (NotFound, Unavailable) as error:
            return str(error)
        for status in found:
            if status.state == "AVAILABLE":
                return status.version
            failed = status.state == "END" and status.error_code is not Code.OK
            if failed and status.version == address.version:
                raise ServerError(status.error_code, status.error_message, address.model)
        return ", ".join(f"version {status.version}: {status.state}" for status in found) or "no versions"

    # ---- calls

    def _predict(self, call: PredictCall, timeout: float | None) -> Prediction:
        return self._call(
            call.address.model, timeout, lambda deadline: self._transport.predict(call, deadline)
        )

    def _call(self, model: str, timeout: float | None, attempt: Callable[[Deadline], _T]) -> _T:
        """Makes a call, again and again if no server is found, within one deadline."""
        self._check_open()
        deadline = Deadline(self._timeout if timeout is None else _checked_timeout(timeout), model)
        for tries in range(self._retries + 1):
            try:
                return attempt(deadline)
            except ServerError as error:
                # Clients that lost the same server must not all come back at the same moment.
                pause = min(_FIRST_PAUSE * 2**tries, _LONGEST_PAUSE) * random.uniform(0.5, 1.0)
                if not error.retryable or tries == self._retries or not deadline.allows(pause):
                    raise
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the client is closed")


def _grpc_transport(
    target: str, max_bytes: int, credentials: grpc.ChannelCredentials | None, ca_file: _File | None
) -> Transport:
    _check_target(target, tls.GRPCS, ca_file)
    if target.startswith(("http://", "https://")):
        raise ValueError(
            f"target: gRPC takes host:port, grpcs://host:port or unix:/path, got {target!r}; "
            "see transport='rest'"
        )
    if credentials is not None and ca_file is not None:
        raise ValueError("credentials: they know the server's certificates already; leave ca_file out")
    if credentials is None and target.startswith(tls.GRPCS):
        credentials = _credentials(ca_file)
    return GrpcTransport(target.removeprefix(tls.GRPCS), max_bytes, credentials)


def _rest_transport(
    target: str, max_bytes: int, credentials: grpc.ChannelCredentials | None, ca_file: _File | None
) -> Transport:
    _check_target(target, "https://", ca_file)
    is_url = target.startswith(("http://", "https://"))
    if credentials is not None:
        raise ValueError("credentials: for gRPC only; by REST, use an https:// target")
    if ("://" in target and not is_url) or target.startswith("unix:"):
        raise ValueError(f"target: REST takes http(s)://host:port, got {target!r}")
    trusted = None if ca_file is None else _trusting(ca_file)
    return RestTransport(target if is_url else f"http://{target}", max_bytes, trusted)


def _check_target(target: str, scheme: str, ca_file: _File | None) -> None:
    if not target.removeprefix(scheme):
        raise ValueError("target: the text is empty")
    if ca_file is not None and not target.startswith(scheme):
        # Whoever names certificates must not be left without encryption.
        raise ValueError(f"ca_file: for a target that begins with {scheme}, got {target!r}")


def _credentials(ca_file: _File | None) -> grpc.ChannelCredentials:
    if ca_file is None:
        return grpc.ssl_channel_credentials()
    # Of a file without certificates, gRPC itself would tell at the first call only, as Unavailable.
    _trusting(ca_file)
    return grpc.ssl_channel_credentials(Path(ca_file).read_bytes())


def _trusting(ca_file: _File) -> ssl.SSLContext:
    try:
        return tls.trusting(ca_file)
    except ValueError as error:
        raise ValueError(f"ca_file: {error}") from error


def _checked_timeout(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"timeout: expected seconds, got {type(seconds).__name__}")
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"timeout: expected seconds above 0, got {seconds}")
    return float(seconds)


def _images(name: str, images: Sequence[bytes]) -> np.ndarray:
    """Returns an object array [N] of encoded images, N above 0 and none of them empty."""
    _check_list(name, images)
    for index, image in enumerate(images):
        _check_image(f"{name}[{index}]", image)
    return object_array([bytes(image) for image in images])


def _pairs(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and the second images of the pairs, each an object array [N]."""
    _check_list("pairs", pairs)
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise TypeError(f"pairs[{index}]: expected two images")
        for side, image in enumerate(pair):
            _check_image(f"pairs[{index}][{side}]", image)
    return object_array([bytes(a) for a, _ in pairs]), object_array([bytes(b) for _, b in pairs])


def _check_list(name: str, values: object) -> None:
    if isinstance(values, (str, bytes, bytearray, memoryview)) or not isinstance(values, Sequence):
        raise TypeError(f"{name}: expected a list, got {type(values).__name__}")
    if not values:
        raise ValueError(f"{name}: the list is empty")


def _check_image(name: str, image: object) -> None:
    if not isinstance(image, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name}: expected the bytes of a JPEG or PNG file, got {type(image).__name__}")
    if not len(image):
        raise ValueError(f"{name}: the image has no bytes")


def _latent(latent: np.ndarray) -> np.ndarray:
    if not isinstance(latent, np.ndarray) or latent.dtype.kind not in "fiu":
        raise TypeError("latent: expected an array of numbers")
    if latent.ndim != 2 or not latent.size:
        raise ValueError(f"latent: expected shape [N, 100], got {list(latent.shape)}")
    return latent.astype(np.float32)


def _arrays(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs: expected arrays by name, got {type(inputs).__name__}")
    if not inputs:
        raise ValueError("inputs: there are none")
    arrays = {}
    for name, value in inputs.items():
        try:
            arrays[name] = checked_array(value)
        except TypeError as error:
            raise TypeError(f"inputs[{name!r}]: {error}") from error
    return arrays
