"""Lists the keys of the API."""

from typing import Any

from django.core.management.base import BaseCommand

from serving.portal.models import ApiKey

_ROW = "{:<30} {:<12} {:<17} {}"


class Command(BaseCommand):
    """`hexaface-portal list_api_keys`."""

    help = "List the keys of the API: whose they are, their rates, and whether they are good."

    def handle(self, *args: Any, **options: Any) -> None:
        """Lists them."""
        self.stdout.write(_ROW.format("name", "rate", "created", "state"))
        for key in ApiKey.objects.order_by("created"):
            state = f"revoked {key.revoked:%Y-%m-%d %H:%M}" if key.revoked else "good"
            self.stdout.write(_ROW.format(key.name, key.rate, f"{key.created:%Y-%m-%d %H:%M}", state))
