"""What a call to a model server can fail with, the same on gRPC and REST."""

from serving.wire.codes import Code


class ServerError(Exception):
    """A call that got no answer.

    Attributes:
        code: What kind of failure. REST knows fewer: its 400 reads as INVALID_ARGUMENT and its 500
            as INTERNAL, whatever the server meant.
        message: The server's text, or what the client found.
        model: The model that was asked.
        retryable: Whether the same call may succeed if it is made again soon.
    """

    def __init__(self, code: Code, message: str, model: str = "", retryable: bool = False) -> None:
        """Keeps all arguments in `args`, so that the error can be pickled."""
        super().__init__(code, message, model, retryable)
        self.code = code
        self.message = message
        self.model = model
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.model or 'model server'}: {self.code.name}: {self.message}"


class NotFound(ServerError):
    """No such model, or no such version of it."""


class InvalidArgument(ServerError):
    """The model does not take this input, version label, signature or output name."""


class DeadlineExceeded(ServerError):
    """The answer did not come in time; whether the server works on it is unknown."""


class Unavailable(ServerError):
    """No server there, or it cannot answer now."""


class ResourceExhausted(ServerError):
    """Too much at once: a message over the size limit, or a queue that is full."""


_CLASSES = {
    Code.NOT_FOUND: NotFound,
    Code.INVALID_ARGUMENT: InvalidArgument,
    Code.DEADLINE_EXCEEDED: DeadlineExceeded,
    Code.UNAVAILABLE: Unavailable,
    Code.RESOURCE_EXHAUSTED: ResourceExhausted,
}


def server_error(code: Code, message: str, model: str, *, retryable: bool = False) -> ServerError:
    """Returns the error of the class that stands for the code."""
    return _CLASSES.get(code, ServerError)(code, message, model, retryable)


def unreadable(model: str, problem: object) -> ServerError:
    """Returns the error for an answer that came and is not what the protocol or the signature promises."""
    return server_error(Code.INTERNAL, f"the answer cannot be read: {problem}", model)
