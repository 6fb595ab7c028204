"""Workarounds for the stack, each with its issue, its solution and when it can go."""

import logging
import sys
import types

# Issue: `tfx.v1` imports its Google Cloud AI extensions, which takes 8 of its 22 seconds (2 cores) a process.
# Solution: an empty module in their place; the project uses none of them.
# Can go: when tfx.v1 imports its extensions lazily.
if "tfx.v1" not in sys.modules:
    sys.modules.setdefault("tfx.v1.extensions", types.ModuleType("tfx.v1.extensions"))

# Issue: Beam, TFX and TensorFlow log every step at INFO, to stderr, over the progress table.
# Solution: warnings and errors only.
# Can go: when they log through handlers that a program can choose.
for _name in ("apache_beam", "tensorflow", "absl"):
    logging.getLogger(_name).setLevel(logging.WARNING)

from tfx import v1 as tfx  # noqa: E402 - after the workarounds

__all__ = ["tfx"]
