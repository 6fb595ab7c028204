"""Files that are written whole or not at all."""

import os
from pathlib import Path


def write_whole(file: Path, content: bytes) -> None:
    """Writes a file, with the folders that it lies in; what was there is replaced in one step.

    Args:
        file: The file.
        content: All of it.

    Raises:
        OSError: It cannot be written; it names this file, or the folder that could not be made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.partial")
    try:
        try:
            unfinished.write_bytes(content)
            os.replace(unfinished, file)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        # Nobody has asked for the unfinished one.
        raise OSError(error.errno, error.strerror, str(file)) from error
