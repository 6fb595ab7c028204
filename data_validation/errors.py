"""The one error that a user can mend, shared by every room above."""


class InputError(ValueError):
    """Input that cannot be used: a file, a column, a setting.

    The message is one line that names the file, key or field, what was expected and what was found. The
    command line prints it as it is and exits with code 2.
    """
