"""The one error of the model server: a code that both transports can say, and a message."""

from serving.wire.codes import Code

# Longer texts (a stack of graph nodes, say) are cut, as the binary does in model_servers/grpc_status_util.cc.
MAX_MESSAGE = 1024
_CUT = "...TRUNCATED"


class ServingError(Exception):
    """A request that cannot be answered, or a model that cannot be served.

    Attributes:
        code: What kind of failure; both transports derive theirs from it.
        message: Text for the client.
    """

    def __init__(self, code: Code, message: str) -> None:
        """Cuts the message to what a status may hold."""
        self.code = code
        if len(message) > MAX_MESSAGE:
            message = message[: MAX_MESSAGE - len(_CUT)] + _CUT
        self.message = message
        super().__init__(message)


def invalid(message: str) -> ServingError:
    """Returns an INVALID_ARGUMENT error, the most frequent one."""
    return ServingError(Code.INVALID_ARGUMENT, message)
