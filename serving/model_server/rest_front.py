"""The REST front: routes, JSON and HTTP codes over the data plane."""

import asyncio
import logging
import re
import time
import urllib.parse
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import ClientPayloadError, web
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo

from serving.model_server import json_tensor, service
from serving.model_server.admission import Admission, Memory
from serving.model_server.data_plane import DataPlane
from serving.model_server.errors import Code, ServingError, invalid
from serving.model_server.metrics import Metrics
from serving.model_server.repository import Repository, Spec

_log = logging.getLogger(__name__)

# From model_servers/http_server.cc. aiohttp calls no code of its own 499, so plain numbers.
HTTP_CODES = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
# From model_servers/http_rest_api_util.cc.
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.I | re.A
)
_MODEL = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.I | re.A)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}
_LARGEST_VERSION = 2**63 - 1


@dataclass(frozen=True)
class RestOptions:
    """How REST answers.

    Attributes:
        seconds: Longest time that a request may take.
        max_bytes: Largest body.
        cors: Let pages of other origins call.
        metrics_path: Where Prometheus reads; empty for nowhere.
    """

    seconds: float = 30.0
    max_bytes: int = 64 * 2**20
    cors: bool = False
    metrics_path: str = ""


class RestFront:
    """Answers HTTP requests; `handle` takes them all."""

    def __init__(
        self,
        admission: Admission,
        memory: Memory,
        plane: DataPlane,
        repository: Repository,
        metrics: Metrics,
        options: RestOptions,
    ) -> None:
        """Keeps the parts."""
        self._admission = admission
        self._memory = memory
        self._plane = plane
        self._repository = repository
        self._metrics = metrics
        self._options = options

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers a request."""
        path = request.rel_url.raw_path
        if self._options.metrics_path and path == self._options.metrics_path and request.method == "GET":
            return web.Response(body=self._metrics.text(), content_type="text/plain")
        if not path.lower().startswith("/v1/"):
            return web.Response(status=404)
        headers = dict(_CORS) if self._options.cors else {}
        if request.method == "OPTIONS":
            return _preflight(request, headers)
        try:
            body = await self._route(request, path)
            status = 200
        except ServingError as error:
            body, status = json_tensor.encode_error(error.message), HTTP_CODES[error.code]
        except (ConnectionError, ClientPayloadError):
            # The client went away in the middle of its body: nobody will read this.
            body, status = b"", HTTP_CODES[Code.CANCELLED]
        except Exception as error:
            # No request may end the connection without a word, and the cause is worth a look.
            _log.exception("%s %s failed", request.method, path)
            body, status = json_tensor.encode_error(f"{type(error).__name__}: {error}"), 500
        response = web.Response(body=body, status=status, content_type="application/json", headers=headers)
        if not request.content.at_eof():
            # The rest of a body that was refused: nobody will read it, so the connection cannot be used
            # again.
            response.force_close()
        return response

    async def _route(self, request: web.BaseRequest, path: str) -> bytes:
        prediction = _PREDICTION.fullmatch(path) if request.method == "POST" else None
        if prediction:
            return await self._predict(request, _spec(prediction), prediction["method"].lower())
        model = _MODEL.fullmatch(path) if request.method == "GET" else None
        if not model:
            raise invalid(f"Malformed request: {request.method} {path}")
        if not model["name"]:
            raise invalid("Missing model name in request.")
        spec = _spec(model)
        work = self._metadata if model["metadata"] else self._status
        return await self._admission.run(self._options.seconds, work, spec)

    async def _predict(self, request: web.BaseRequest, spec: Spec, method: str) -> bytes:
        works: dict[str, Callable[[Spec, bytes], bytes]] = {
            "predict": self._answer_predict,
            "classify": self._answer_classify,
            "regress": self._answer_regress,
        }
        started = time.perf_counter()
        status = Code.OK
        try:
            size = request.content_length or 0
            if size > self._options.max_bytes:
                raise _too_large(self._options.max_bytes, f" of {size} bytes")
            with self._memory.room() as grow:
                body = await _read(request, self._options, grow)
                left = self._options.seconds - (time.perf_counter() - started)
                return await self._admission.run(left, works[method], spec, body)
        except ServingError as error:
            status = error.code
            raise
        finally:
            self._metrics.request_done(spec.name, method, "REST", status.name, time.perf_counter() - started)

    def _answer_predict(self, spec: Spec, body: bytes) -> bytes:
        def inputs_of(signature: str) -> Mapping[str, TensorInfo]:
            return self._plane.signature(Spec(spec.name, spec.version, spec.label, signature)).inputs

        call = json_tensor.decode_predict(body, inputs_of)
        named = Spec(spec.name, spec.version, spec.label, call.signature_name)
        _, outputs = self._plane.predict(named, call.inputs)
        return json_tensor.encode_predict(outputs, call.format)

    def _answer_classify(self, spec: Spec, body: bytes) -> bytes:
        call = json_tensor.decode_examples(body)
        named = Spec(spec.name, spec.version, spec.label, call.signature_name)
        return json_tensor.encode_classify(self._plane.classify(named, call.input)[1])

    def _answer_regress(self, spec: Spec, body: bytes) -> bytes:
        call = json_tensor.decode_examples(body)
        named = Spec(spec.name, spec.version, spec.label, call.signature_name)
        return json_tensor.encode_regress(self._plane.regress(named, call.input)[1])

    def _status(self, spec: Spec) -> bytes:
        return json_tensor.encode_status(service.model_status(self._repository, spec))

    def _metadata(self, spec: Spec) -> bytes:
        return json_tensor.encode_metadata(service.model_metadata(self._plane, spec, ["signature_def"]))


def _preflight(request: web.BaseRequest, headers: dict[str, str]) -> web.Response:
    origin = request.headers.get("Origin", "")
    if not origin.lower().startswith(("http://", "https://")):
        return web.Response(status=400)
    return web.Response(headers=headers)


def _spec(match: re.Match[str]) -> Spec:
    version = None
    if match["version"]:
        if len(match["version"]) > 19 or int(match["version"]) > _LARGEST_VERSION:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        version = int(match["version"])
    return Spec(urllib.parse.unquote(match["name"]), version, urllib.parse.unquote(match["label"] or ""))


def _too_large(limit: int, size: str = "") -> ServingError:
    return ServingError(Code.RESOURCE_EXHAUSTED, f"Request body{size} is larger than {limit}")


async def _read(request: web.BaseRequest, options: RestOptions, grow: Callable[[int], None]) -> bytes:
    """Reads a body, and unpacks it, to no more than the limit; memory is asked for as it arrives."""
    unpack = _unpacker(request.headers.get("Content-Encoding", ""))
    body = bytearray()

    async def read() -> None:
        async for chunk in request.content.iter_any():
            while chunk:
                # One byte more than allowed tells that there is more.
                piece, chunk = unpack(chunk, options.max_bytes + 1 - len(body))
                grow(len(piece))
                body.extend(piece)
                if len(body) > options.max_bytes:
                    raise _too_large(options.max_bytes)

    try:
        await asyncio.wait_for(read(), options.seconds)
    except asyncio.TimeoutError as error:
        raise ServingError(
            Code.DEADLINE_EXCEEDED, f"The body did not arrive within {options.seconds:g} s"
        ) from error
    except zlib.error as error:
        raise invalid(f"Content-Encoding: the body cannot be unpacked: {error}") from error
    return bytes(body)


def _unpacker(encoding: str) -> Callable[[bytes, int], tuple[bytes, bytes]]:
    """Returns a function that unpacks bytes up to a number: what came out, and what is still packed."""
    if encoding.lower() in ("", "identity"):
        return lambda chunk, _: (chunk, b"")
    if encoding.lower() not in ("gzip", "deflate"):
        raise invalid(f"Content-Encoding: expected gzip, deflate or none, found {encoding[:40]}")
    # 32: the header tells which of the two it is.
    unpacker = zlib.decompressobj(32 + zlib.MAX_WBITS)

    def unpack(chunk: bytes, most: int) -> tuple[bytes, bytes]:
        return unpacker.decompress(chunk, most), unpacker.unconsumed_tail

    return unpack
