"""The worker of gunicorn that the portal runs with (`--worker-class`)."""

import contextlib
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import _DEFER, ThreadWorker

_LINGER_SECONDS = 3.0
_LINGER_BYTES = 1 << 30
# As gunicorn's own; of what else cannot be read, 400.
_STATUSES = {
    errors.ForbiddenProxyRequest: HTTPStatus.FORBIDDEN,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.ConfigurationProblem: HTTPStatus.INTERNAL_SERVER_ERROR,
}
# What can be wrong with a body in chunks, or with the headers that may follow it.
_UNREADABLE = (
    errors.InvalidChunkSize,
    errors.InvalidChunkExtension,
    errors.ChunkMissingTerminator,
    errors.ParseException,
)


class Worker(ThreadWorker):
    """Ends connections in the thread that served them, and logs nothing of who asks.

    Before it closes a connection, gunicorn waits up to two seconds for the client to do so, as HTTP asks.
    Its own thread worker waits in the one loop that takes new connections, and a few clients that keep theirs
    open would hold up everybody. The wait also lets a browser that still sends a body that is too large see
    the answer; 64 kB, as far as gunicorn reads on, are not enough for that.
    """

    def handle(self, conn: Any) -> Any:
        """Serves a request; what is returned tells whether the connection stays open."""
        # Browsers open connections ahead. The loop waits for a first byte, and ends those at a stop that sent
        # none; gunicorn would wait five seconds in a thread before.
        silent = not conn.initialized and not conn.wait_for_data(0.0)
        stays = _DEFER if silent else super().handle(conn)
        if stays is False or not self.alive:
            util.close_graceful(conn.sock, _LINGER_SECONDS, _LINGER_BYTES)
            # The loop closes it again; where that failed, the connection would be counted down twice.
            conn.close = _is_closed
            return False
        return stays

    def set_accept_enabled(self, enabled: bool) -> None:
        """Starts or ends the taking of connections; a worker that stops ends those that nobody uses."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            # Else gunicorn would wait for them as for running requests, up to its graceful timeout.
            for conn in (*self.keepalived_conns, *self.pending_conns):
                conn.timeout = 0.0
            self.murder_keepalived()
            self.murder_pending()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answers what cannot be read or served; gunicorn would log the address and a part of the request."""
        if isinstance(exc, errors.ParseException):
            status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
            self._log_unreadable(exc)
        else:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            self.log.error("a request failed", exc_info=exc)
        with contextlib.suppress(OSError):
            util.write_error(client, status.value, status.phrase, "")

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Reads what the portal left of a body; where it cannot be read, the connection ends.

        The request is answered. Gunicorn would log a part of the body, or send a second answer.
        """
        try:
            return bool(super()._keepalive_after(conn, keepalive))
        except _UNREADABLE as error:
            self._log_unreadable(error)
            return False

    def _log_unreadable(self, error: Exception) -> None:
        # Its message has a part of the request.
        self.log.warning("a request cannot be read: %s", type(error).__name__)


def _is_closed(graceful: bool = False) -> None:
    """Stands for the close of a connection that is closed."""
