"""Makes a key of the API."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from serving.portal.api import keys


class Command(BaseCommand):
    """`hexaface-portal create_api_key NAME [--rate 60/min]`."""

    help = "Make a key of the API and print it, once: only its hash is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the arguments."""
        parser.add_argument("name", help="Whose key it is.")
        parser.add_argument(
            "--rate", default="60/min", help="Requests; units are s, min, h and day. Default: 60/min."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Makes the key."""
        try:
            token = keys.create(options["name"], options["rate"])
        except keys.KeyProblem as error:
            raise CommandError(str(error)) from error
        self.stderr.write("Keep this key: it cannot be shown again.")
        self.stdout.write(token)
