"""Ends a key of the API."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from serving.portal.api import keys


class Command(BaseCommand):
    """`hexaface-portal revoke_api_key NAME`."""

    help = "End a key of the API, at once and for good."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the argument."""
        parser.add_argument("name", help="Whose key it is.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ends the key."""
        try:
            keys.revoke(options["name"])
        except keys.KeyProblem as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"the key of {options['name']} is revoked")
