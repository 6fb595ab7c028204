"""What runs, and where: settings, tasks, the pipeline, its runners and the command line."""

import os

# TFX 1.16 works with Keras 2 only; TensorFlow reads this when it is first imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
