"""Warm-up records: requests that a version is given before it is served.

The first request of a graph makes its kernels, and takes many times as long as the next.
"""

from pathlib import Path
from typing import Protocol

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_server.errors import Code, ServingError, invalid

# Both from servables/tensorflow/saved_model_warmup_util.cc.
RECORDS_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS = 1000


class Replayer(Protocol):
    """What answers a recorded request."""

    def replay(self, log: prediction_log_pb2.PredictionLog) -> None:
        """Runs a request; raises ServingError if it fails."""


def warm_up(folder: Path, replayer: Replayer, iterations: int) -> int:
    """Gives a version its warm-up requests.

    Args:
        folder: The version's folder.
        replayer: Answers them.
        iterations: How often each.

    Returns:
        How many records there are; 0 without a file.

    Raises:
        ServingError: A record cannot be read or is not answered, or there are more than 1,000; so the version
            must not be served.
    """
    file = folder / RECORDS_FILE
    if not file.is_file():
        return 0
    count = 0
    try:
        for record in tf.compat.v1.io.tf_record_iterator(str(file)):
            count += 1
            if count > MAX_RECORDS:
                raise invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
            log = prediction_log_pb2.PredictionLog.FromString(record)
            for _ in range(max(1, iterations)):
                replayer.replay(log)
    except (tf.errors.OpError, DecodeError) as error:
        raise ServingError(
            Code.DATA_LOSS, f"Failed to read warmup record {count} of {file}: {error}"
        ) from error
    return count
