"""Workarounds for the stack, each with its issue, its solution and when it can go."""

import logging
import sys
import types
from collections.abc import Sequence

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

__all__ = ["beam_args", "tfx"]


def beam_args(chosen: Sequence[str]) -> list[str]:
    """Returns Beam's options for the nodes of a pipeline.

    Issue: TFX packs itself anew (2,250 files, 2 s) for every node on Beam, to be sent to workers elsewhere.
    Solution: where Beam runs in this process, name an image for workers; TFX then takes it that they have all
    they need, and no worker ever asks for it.
    Can go: when TFX packs for remote runners only.

    Args:
        chosen: The options of the settings.
    """
    if any(option.startswith(("--runner", "--sdk_container_image")) for option in chosen):
        return list(chosen)
    return [*chosen, "--sdk_container_image=none"]
