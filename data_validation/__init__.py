"""Curated schemas, image-quality features and the errors of bad input."""

from data_validation import environment  # noqa: F401 - settings that come before all other imports
