"""Django's command line for the portal: `hexaface-portal migrate`, `purge_uploads`, `corrections`."""

import os
import sys

_BAD_INPUT = 2


def main() -> None:
    """Runs a command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving.portal.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A wrong variable, which the message names; a trace would hide it.
        print(f"error: {error}", file=sys.stderr)
        sys.exit(_BAD_INPUT)


if __name__ == "__main__":
    main()
