"""How much work is taken at once, and for how long: what keeps the process from growing."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from serving.model_server.errors import Code, ServingError

_Answer = TypeVar("_Answer")


class Memory:
    """A bound on the bytes that requests of both transports hold until they are answered.

    What gRPC has received but not yet given to a thread is not counted; their number is bounded.
    """

    def __init__(self, max_bytes: int) -> None:
        """Sets the bound."""
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def room(self) -> Iterator[Callable[[int], None]]:
        """Holds memory for a request while it is read and answered.

        Yields:
            A function that takes some bytes more; it raises ServingError with RESOURCE_EXHAUSTED if others
            hold so much that there is no room now.
        """
        held = 0

        def grow(size: int) -> None:
            nonlocal held
            with self._lock:
                # A request that has no others beside it is let in, whatever its own bound is.
                if self._bytes > held and self._bytes + size > self._max_bytes:
                    raise ServingError(
                        Code.RESOURCE_EXHAUSTED,
                        f"Requests in flight hold {self._bytes} of {self._max_bytes} bytes: "
                        f"no room for {size}",
                    )
                self._bytes += size
                held += size

        try:
            yield grow
        finally:
            with self._lock:
                self._bytes -= held


class Admission:
    """Runs blocking work of the event loop in threads, within bounds.

    Work whose client has gone, or whose deadline has passed, is not begun; what has begun keeps its place
    until it ends, as TensorFlow cannot be stopped in the middle of an operation.
    """

    def __init__(self, threads: int, max_requests: int) -> None:
        """Sets the bounds.

        Args:
            threads: Requests that run at once.
            max_requests: Requests that run or wait; more are refused.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._max_requests = max_requests
        self._requests = 0
        self._lock = threading.Lock()

    async def run(self, seconds: float, work: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """Runs work in a thread and waits for it.

        Args:
            seconds: Time left until the client's deadline.
            work: A blocking function.
            *arguments: Its arguments.

        Returns:
            What it returns.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, too many requests wait; DEADLINE_EXCEEDED; or the work's own.
        """
        if seconds <= 0:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the request could run")
        with self._lock:
            if self._requests >= self._max_requests:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"{self._requests} requests are waiting or running; try again later",
                )
            self._requests += 1
        try:
            job = self._pool.submit(work, *arguments)
        except RuntimeError as error:
            self._leave(None)
            raise ServingError(Code.UNAVAILABLE, "The server is shutting down") from error
        job.add_done_callback(self._leave)
        future = asyncio.wrap_future(job)
        try:
            done, _ = await asyncio.wait({future}, timeout=seconds)
        except asyncio.CancelledError:
            # The client went away.
            job.cancel()
            raise
        if not done:
            job.cancel()
            raise ServingError(Code.DEADLINE_EXCEEDED, f"Deadline exceeded after {seconds:.3g} s")
        return future.result()

    def _leave(self, _: Any) -> None:
        with self._lock:
            self._requests -= 1

    def close(self) -> None:
        """Begins no new work; what runs goes on."""
        self._pool.shutdown(wait=False, cancel_futures=True)
