"""The client's way to a model server by REST."""

import ssl
import threading
import time
from typing import Any
from urllib.parse import quote

import urllib3
from google.protobuf import json_format
from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as HTTPTimeout

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
from serving.wire.errors import ServerError, server_error, unreadable
from serving.wire.json_text import named_outputs, parse, predict_body

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.ABORTED,
    413: Code.RESOURCE_EXHAUSTED,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    500: Code.INTERNAL,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
_CONNECTIONS = 64  # kept open; more are made when more threads ask at once
_CHUNK = 1 << 16
_SIGNATURE_SECONDS = 60.0  # how long signatures are taken as known: a new version may have others
_MAX_ERROR = 1024


class RestTransport:
    """A pool of connections to one server; see `calls.Transport`."""

    def __init__(self, url: str, max_bytes: int, trusted: ssl.SSLContext | None = None) -> None:
        """Makes the pool; it connects at the first call.

        Args:
            url: "http://host:port" or "https://host:port", with a path if a proxy wants one.
            max_bytes: The largest body, either way.
            trusted: By which certificates an "https" server is known; None for those of this machine.
        """
        self._prefix = (urllib3.util.parse_url(url).path or "").rstrip("/")
        options = {} if trusted is None else {"ssl_context": trusted}
        self._pool = urllib3.connection_from_url(url, maxsize=_CONNECTIONS, **options)
        self._max_bytes = max_bytes
        self._known: dict[Address, tuple[float, dict[str, Signature]]] = {}
        self._lock = threading.Lock()

    def predict(self, call: PredictCall, deadline: Deadline) -> Prediction:
        """Runs a signature. The first time, and then once a minute, the signatures are asked for as well."""
        address = call.address
        body = predict_body(call.inputs, call.signature)
        answer = self._json("POST", address, ":predict", deadline, body)
        signature = call.signature or DEFAULT_SIGNATURE
        try:
            outputs = self._outputs(answer, address, signature, deadline)
        except ValueError:  # the signature that we know may be of the version before
            self._forget(address)
            try:
                outputs = self._outputs(answer, address, signature, deadline)
            except ValueError as error:
                raise unreadable(address.model, error) from error
        return Prediction(_chosen(outputs, call), address.model, address.version, signature)

    def status(self, address: Address, deadline: Deadline) -> list[VersionStatus]:
        """Lists the versions that the server knows."""
        answer = self._json("GET", address, "", deadline)
        if not isinstance(answer, dict) or "model_version_status" not in answer:
            raise unreadable(address.model, "no 'model_version_status'")
        return statuses(_message(answer, wire_pb2.GetModelStatusResponse(), address))

    def metadata(self, address: Address, deadline: Deadline) -> dict[str, Signature]:
        """Returns the signatures."""
        answer = self._json("GET", address, "/metadata", deadline)
        try:
            definitions = answer["metadata"]["signature_def"]
        except (KeyError, TypeError) as error:
            raise unreadable(address.model, "no signatures in the metadata") from error
        return signatures(_message(definitions, wire_pb2.SignatureDefMap(), address))

    def reload_config(self, config: wire_pb2.ModelServerConfig, deadline: Deadline) -> None:
        """Refuses: TensorFlow Serving has no such call in REST."""
        raise server_error(Code.UNIMPLEMENTED, "REST cannot replace the configuration; use gRPC", "")

    def close(self) -> None:
        """Ends all connections that are not in use."""
        self._pool.close()

    def _outputs(self, answer: Any, address: Address, signature: str, deadline: Deadline) -> dict[str, Any]:
        known = self._signatures(address, deadline)
        if signature not in known:
            raise ValueError(f"no signature {signature!r} in the model's metadata")
        return named_outputs(answer, known[signature].outputs)

    def _signatures(self, address: Address, deadline: Deadline) -> dict[str, Signature]:
        with self._lock:
            until, known = self._known.get(address, (0.0, {}))
        if time.monotonic() < until:
            return known
        known = self.metadata(address, deadline)
        with self._lock:
            self._known[address] = (time.monotonic() + _SIGNATURE_SECONDS, known)
        return known

    def _forget(self, address: Address) -> None:
        with self._lock:
            self._known.pop(address, None)

    def _json(
        self, method: str, address: Address, what: str, deadline: Deadline, body: bytes | None = None
    ) -> Any:
        """Makes one request and returns the parsed body of a good answer."""
        data, status = self._request(method, self._path(address) + what, deadline, address.model, body)
        if status != 200:
            raise _http_error(status, data, address.model)
        try:
            return parse(data)
        except ValueError as error:
            raise unreadable(address.model, error) from error

    def _path(self, address: Address) -> str:
        path = f"{self._prefix}/v1/models/{quote(address.model, safe='')}"
        if address.version is not None:
            return f"{path}/versions/{address.version}"
        return path if address.label is None else f"{path}/labels/{quote(address.label, safe='')}"

    def _request(
        self, method: str, path: str, deadline: Deadline, model: str, body: bytes | None
    ) -> tuple[bytes, int]:
        if body and len(body) > self._max_bytes:
            message = f"the request has {len(body)} bytes, the limit is {self._max_bytes}"
            raise server_error(Code.RESOURCE_EXHAUSTED, message, model)
        try:
            response = self._pool.urlopen(
                method,
                path,
                body=body,
                headers={"Content-Type": "application/json"} if body else None,
                timeout=urllib3.Timeout(total=deadline.left()),
                retries=False,
                preload_content=False,
            )
            return self._body(response, deadline, model), response.status
        except NewConnectionError as error:  # nothing was sent, so it can be sent again
            raise server_error(Code.UNAVAILABLE, f"cannot connect: {error}", model, retryable=True) from error
        except HTTPTimeout as error:
            raise deadline.exceeded() from error
        except HTTPError as error:
            raise server_error(Code.UNAVAILABLE, f"the connection broke: {error}", model) from error

    def _body(self, response: urllib3.BaseHTTPResponse, deadline: Deadline, model: str) -> bytes:
        """Reads in pieces: a socket's timeout is for each piece, and a body may come slowly or be endless."""
        data = bytearray()
        try:
            while piece := response.read1(_CHUNK):
                data += piece
                if len(data) > self._max_bytes:
                    message = f"the answer has more than {self._max_bytes} bytes"
                    raise server_error(Code.RESOURCE_EXHAUSTED, message, model)
                deadline.left()
        except BaseException:
            response.close()  # what is left of the answer must not be read as the next one
            raise
        response.release_conn()
        return bytes(data)


def _http_error(status: int, data: bytes, model: str) -> ServerError:
    code = _CODES.get(status, Code.UNKNOWN)
    try:
        message = str(parse(data)["error"])
    except (KeyError, TypeError, ValueError):
        text = data[:_MAX_ERROR].decode(errors="replace").strip()
        message = f"HTTP {status}{text and f': {text}'}"
    return server_error(code, message, model, retryable=status == 503)


def _message(answer: Any, message: Any, address: Address) -> Any:
    """Fills a message from JSON; fields that we do not declare are passed over."""
    try:
        return json_format.ParseDict(answer, message, ignore_unknown_fields=True)
    except (json_format.ParseError, AttributeError, TypeError, ValueError) as error:
        raise unreadable(address.model, error) from error


def _chosen(outputs: dict[str, Any], call: PredictCall) -> dict[str, Any]:
    """Returns the outputs that the caller wants; REST has no filter of its own."""
    for name in call.outputs:
        if name not in outputs:
            message = f"no output {name!r}; outputs are {', '.join(sorted(outputs))}"
            raise server_error(Code.INVALID_ARGUMENT, message, call.address.model)
    return {name: outputs[name] for name in call.outputs} if call.outputs else outputs
