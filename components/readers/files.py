"""Reading a data set's files: regular ones, inside of its folder."""

from pathlib import Path, PurePosixPath

from components.readers.record import RecordRejected
from data_validation.errors import InputError
from data_validation.image_quality import MAX_FILE_BYTES

NOT_FOUND = "image file not found"
# WIDER FACE's for training, larger than most published lists, has less than 5 MB.
_MAX_LIST_BYTES = 1 << 24


def read_lines(file: Path, max_bytes: int = _MAX_LIST_BYTES) -> list[tuple[int, str]]:
    """Reads a list or annotation in text form.

    Args:
        file: In UTF-8.
        max_bytes: Size above which it is not read.

    Returns:
        The number, from 1, and the text of each line that is not empty; without spaces around it.

    Raises:
        InputError: The file cannot be read, is too large, or is no text.
    """
    try:
        size = file.stat().st_size
        if size > max_bytes:
            raise InputError(f"{file}: expected at most {max_bytes} bytes, found {size}")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: expected text in UTF-8, found other bytes at {error.start}") from error
    numbered = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in numbered if line]


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
