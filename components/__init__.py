"""Custom TFX components, data-set readers and sample data."""

from data_validation import environment  # noqa: F401 - settings that come before all other imports
