"""What a change of the served versions can end with."""

import difflib
from collections.abc import Iterable


class RolloutError(ValueError):
    """What was asked for cannot be done; nothing was changed.

    The message is one line that names the model, version, label, file or server, and what there is instead.
    """


class RolloutFailed(Exception):
    """A change was begun, failed and was taken back; the message says why, and what is served now."""


def hint(name: object, known: Iterable[object]) -> str:
    """Returns `; did you mean X?` where a known name is close to a wrong one, else nothing."""
    close = difflib.get_close_matches(str(name), [str(one) for one in known], n=1)
    return f"; did you mean {close[0]}?" if close else ""
