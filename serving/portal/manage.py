"""Django's command line for the portal: `hexaface-portal migrate`, `purge_uploads`, `corrections`."""

import os
import sys


def main() -> None:
    """Runs a command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving.portal.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
