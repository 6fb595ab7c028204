"""Models: preprocessing, networks, losses, training and export. TensorFlow only."""

from data_validation import environment  # noqa: F401 - settings that come before all other imports
