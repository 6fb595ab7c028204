"""Reading a data set's files: regular ones, inside of its folder."""

from pathlib import Path, PurePosixPath

from components.readers.record import RecordRejected
from data_validation.image_quality import MAX_FILE_BYTES

NOT_FOUND = "image file not found"


def read_inside(root: Path, path: str) -> bytes | None:
    """Reads a file that a data set names.

    Args:
        root: Folder that the file must be in, links followed: a foreign archive must not make us read the
            files of its user.
        path: Relative to it.

    Returns:
        The content, None where there is no such file.

    Raises:
        RecordRejected: The path leads outside of the folder, or is no regular file, or cannot be read.
    """
    relative = PurePosixPath(path)
    try:
        file = (root / relative).resolve()
        if relative.is_absolute() or ".." in relative.parts or not file.is_relative_to(root.resolve()):
            raise RecordRejected("path leads outside of the data folder")
        # A pipe would be waited for.
        if file.exists() and not file.is_file():
            raise RecordRejected("expected an image file, found something else")
        if file.stat().st_size > MAX_FILE_BYTES:
            raise RecordRejected(f"expected at most {MAX_FILE_BYTES} bytes, found {file.stat().st_size}")
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RecordRejected(f"file cannot be read: {error.strerror}") from error
    except (ValueError, RuntimeError):  # a NUL character, a loop of links
        return None


def read_image(root: Path, path: str) -> bytes:
    """Reads an image that must be there.

    Args:
        root: See `read_inside`.
        path: See `read_inside`.

    Raises:
        RecordRejected: As `read_inside`, or there is no such file.
    """
    image = read_inside(root, path)
    if image is None:
        raise RecordRejected(NOT_FOUND)
    return image
