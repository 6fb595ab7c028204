"""The executable: `hexaface-model-server`, or `python -m serving.model_server`."""

import os
import sys
import warnings
from collections.abc import Sequence

from serving.model_server.flags import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the server until it is told to stop.

    Args:
        argv: The command line, by default the process's own.

    Returns:
        The exit code: 0 after SIGTERM or SIGINT, 1 if it could not start.
    """
    # Before TensorFlow, which takes seconds to load: `--help` and a wrong flag are answered at once.
    flags = parse(sys.argv[1:] if argv is None else argv)
    # Issue: TensorFlow, gRPC and the Google libraries print notices of their own working to stderr.
    # Solution: errors only; setting the variables brings all of it back.
    # Can go: when they log through Python's logging.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # Every call would look whether the process is about to fork, which this one never does.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\..*")
    from serving.model_server.server import serve

    return serve(flags)


if __name__ == "__main__":
    sys.exit(main())
