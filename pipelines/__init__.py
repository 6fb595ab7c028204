"""What runs, and where: settings, tasks, the pipeline, its runners and the command line."""

from data_validation import environment  # noqa: F401 - settings that come before all other imports
