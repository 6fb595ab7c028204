"""The worker of gunicorn that the portal runs with (`--worker-class`)."""

from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

_LINGER_SECONDS = 3.0
_LINGER_BYTES = 1 << 30


class Worker(ThreadWorker):
    """Ends connections in the thread that served them.

    Before it closes a connection, gunicorn waits up to two seconds for the client to do so, as HTTP asks.
    Its own thread worker waits in the one loop that takes new connections, and a few clients that keep theirs
    open would hold up everybody. The wait also lets a browser that still sends a body that is too large see
    the answer; 64 kB, as far as gunicorn reads on, are not enough for that.
    """

    def handle(self, conn: Any) -> Any:
        """Serves a request; what is returned tells whether the connection stays open."""
        stays = super().handle(conn)
        if stays is False:
            util.close_graceful(conn.sock, _LINGER_SECONDS, _LINGER_BYTES)
        return stays
