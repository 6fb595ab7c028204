"""Django's command line for the portal: `hexaface-portal migrate`, `purge_uploads`, `corrections`."""

import os
import sys

_FAILED, _BAD_INPUT = 1, 2


def main() -> None:
    """Runs a command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving.portal.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db.utils import OperationalError, ProgrammingError

    try:
        execute_from_command_line(sys.argv)
    except (OperationalError, ProgrammingError) as error:
        print(
            f"error: the database cannot be used ({' '.join(str(error).split())}); "
            "`hexaface-portal prepare_portal` makes its tables",
            file=sys.stderr,
        )
        sys.exit(_FAILED)
    except ImproperlyConfigured as error:
        # A wrong variable, which the message names; a trace would hide it.
        print(f"error: {error}", file=sys.stderr)
        sys.exit(_BAD_INPUT)


if __name__ == "__main__":
    main()
