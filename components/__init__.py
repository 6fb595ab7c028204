"""Custom TFX components, data-set readers and sample data."""

import os

# TFX 1.16 works with Keras 2 only; TensorFlow reads this when it is first imported.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
