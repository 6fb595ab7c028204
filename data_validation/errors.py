"""The one error that a user can mend, and how errors are told."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot be used: a file, a column, a setting.

    The message is one line that names the file, key or field, what was expected and what was found. The
    command line prints it as it is and exits with code 2.
    """


def one_line(error: BaseException) -> str:
    """Returns an error as one line, its type before messages that do not speak for themselves."""
    text = " ".join(str(error).split())[:1000]
    if isinstance(error, InputError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def hint(name: str, known: Iterable[str]) -> str:
    """Returns `; did you mean X?` where a known name is close to a wrong one, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
