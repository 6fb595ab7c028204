"""Brings the database and the static files up to date, before a web server starts."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db.utils import DatabaseError

_STAMP = ".collected"


class Command(BaseCommand):
    """`hexaface-portal prepare_portal`; quiet, and quick where nothing is to be done."""

    help = "Bring the database and the static files up to date."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepares."""
        try:
            settings.DATA.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make_private()
            call_command("migrate", interactive=False, verbosity=0)
            if not settings.DEBUG:
                _collect()
        except DatabaseError as error:
            raise CommandError(f"the database cannot be used: {_one_line(error)}") from error
        except OSError as error:
            raise CommandError(f"{error.filename or settings.DATA}: {error.strerror}") from error


def _make_private() -> None:
    """Makes the file of SQLite for its owner alone, also where others may look into the folder."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        Path(database["NAME"]).touch(mode=0o600)


def _collect() -> None:
    """Collects and compresses the static files, if they are others than the last time."""
    stamp, found = Path(settings.STATIC_ROOT) / _STAMP, _fingerprint()
    if not stamp.is_file() or stamp.read_text(encoding="ascii") != found:
        call_command("collectstatic", interactive=False, verbosity=0)
        stamp.write_text(found, encoding="ascii")


def _fingerprint() -> str:
    found = hashlib.sha256(f"{version('django')} {version('whitenoise')}".encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            status = Path(storage.path(name)).stat()
            found.update(f"\n{name} {status.st_size} {status.st_mtime_ns}".encode())
    return found.hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
