"""What must be set before TensorFlow or a Google library is first imported. Every room imports this first."""

import os
import warnings

# Issue: TFX 1.16 works with Keras 2 only, TensorFlow 2.16 brings Keras 3.
# Solution: TensorFlow reads this when it is first imported, and takes tf_keras.
# Can go: when TFX works with Keras 3.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

# Issue: TensorFlow, gRPC and MLflow print notices of their own working to stderr, over the progress table.
# Solution: errors only. Setting the variables to 0 and INFO brings all of it back.
# Can go: when they log through Python's logging.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

# Issue: MLflow's client tries a dead server for minutes, which a training would wait for at every epoch.
# Solution: give up after two tries; what could not be sent is kept and sent later.
# Can go: never, these are our choice of MLflow's own settings.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

# Issue: TensorFlow takes all of a GPU's memory, and can be told otherwise only before its first operation,
# which happens in other nodes of the same process.
# Solution: its environment variable.
# Can go: when it grows by default.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

# Issue: the Google client libraries warn about Python's and gRPC's age, some twenty lines an import.
# Solution: hide just these; nothing here calls them.
# Can go: with the TFX 1.16 stack.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\..*")
