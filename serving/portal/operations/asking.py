"""Questions that may take long, asked in a thread, so that who waits can stop waiting."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Question(Generic[T]):
    """A question that is asked by one thread at a time: who asks it meanwhile waits for the same answer.

    Attributes:
        latest: The last good answer, however old; None before there was one.
    """

    def __init__(self, ask: Callable[[], T], keep_seconds: float = 0.0, rest_seconds: float = 0.0) -> None:
        """Prepares the question.

        Args:
            ask: Asks, and returns the answer.
            keep_seconds: How long an answer is good.
            rest_seconds: How long after a failure nothing is asked, so that who did not wait learns of it.
        """
        self.latest: T | None = None
        self._ask = ask
        self._keep_seconds = keep_seconds
        self._rest_seconds = rest_seconds
        self._lock = threading.Lock()
        self._answer: Future[T] | None = None
        self._until = 0.0

    def ask(self) -> "Future[T]":
        """Returns the answer, or what will become the answer."""
        with self._lock:
            if self._answer is None or self._is_over(self._answer):
                self._answer = Future()
                # Daemons: a process that ends does not wait for them.
                thread = threading.Thread(target=self._run, args=(self._answer,), daemon=True)
                try:
                    thread.start()
                except Exception as error:  # there are too many of them
                    self._answer.set_exception(error)
            return self._answer

    def _is_over(self, answer: "Future[T]") -> bool:
        return answer.done() and time.monotonic() >= self._until

    def _run(self, answer: "Future[T]") -> None:
        try:
            found = self._ask()
        except Exception as error:  # for who waits, whatever it is
            self._until = time.monotonic() + self._rest_seconds
            answer.set_exception(error)
        else:
            self._until = time.monotonic() + self._keep_seconds
            self.latest = found
            answer.set_result(found)
