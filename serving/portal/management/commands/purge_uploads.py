"""Deletes pictures whose time is over; to be run on a schedule."""

import time
from typing import Any

from django.contrib.sessions.backends.db import SessionStore
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, close_old_connections

from serving.portal import throttling, uploads
from serving.portal.corrections import keeping

_LONGEST = 24 * 3600.0


class Command(BaseCommand):
    """`hexaface-portal purge_uploads [--every SECONDS]`."""

    help = (
        "Delete uploaded pictures whose time is over, sessions that have ended, counts of old requests, and "
        "who gave the corrections of other days."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the options."""
        parser.add_argument("--every", type=_seconds, default=0.0, metavar="SECONDS", help="Go on, so often.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Deletes."""
        while True:
            close_old_connections()
            try:
                gone = uploads.purge()
                SessionStore.clear_expired()
                throttling.forget_idle()
                keeping.forget_givers()
            except (DatabaseError, OSError) as error:
                if not options["every"]:
                    raise
                # A database that restarts must not end the schedule.
                self.stderr.write(f"could not delete, will try again: {type(error).__name__}")
                gone = 0
            if gone or not options["every"]:
                self.stdout.write(f"{gone} pictures deleted")
            if not options["every"]:
                return
            time.sleep(options["every"])


def _seconds(text: str) -> float:
    seconds = float(text)
    # Also false for NaN.
    if not 0.0 < seconds <= _LONGEST:
        raise ValueError
    return seconds
