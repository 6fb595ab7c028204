"""Files and folders that appear whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_validation.errors import InputError


@contextmanager
def appearing_whole(target: Path) -> Iterator[Path]:
    """Gives a hidden place beside the target to write to, which becomes the target when all went well.

    What exists is never replaced: sample data must not take the place of somebody's real data.

    Args:
        target: The file or folder to make; its parent folders are made as needed.
    """
    if target.exists():
        raise InputError(f"{target}: expected a new file or folder, found one that exists; remove it first")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{target.parent}: expected a folder to write to, found: {error.strerror}"
        ) from error
    if not os.access(target.parent, os.W_OK):
        raise InputError(
            f"{target.parent}: expected a folder to write to, found one without write permission"
        )
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        yield unfinished
        unfinished.rename(target)
    finally:
        # Only there when something failed, or the user stopped it.
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)
