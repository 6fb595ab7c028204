"""Deletes pictures whose time is over; to be run on a schedule."""

import time
from typing import Any

from django.contrib.sessions.backends.db import SessionStore
from django.core.management.base import BaseCommand, CommandParser

from serving.portal import throttling, uploads


class Command(BaseCommand):
    """`hexaface-portal purge_uploads [--every SECONDS]`."""

    help = (
        "Delete uploaded pictures whose time is over, sessions that have ended, and counts of old requests."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the options."""
        parser.add_argument("--every", type=float, default=0.0, metavar="SECONDS", help="Go on, so often.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Deletes."""
        while True:
            gone = uploads.purge()
            SessionStore.clear_expired()
            throttling.forget_idle()
            if gone or not options["every"]:
                self.stdout.write(f"{gone} pictures deleted")
            if not options["every"]:
                return
            time.sleep(options["every"])
