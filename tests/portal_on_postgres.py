"""Uses the portal on the database of DATABASE_URL, and tells what it saw; for a process of its own."""

import io
import json
from datetime import timedelta

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from portal_pictures import encoded

from serving.portal import uploads
from serving.portal.assessment import pictures
from serving.portal.models import Upload


def files() -> int:
    return len(list((settings.DATA / "uploads").glob("*.jpg")))


def use_uploads() -> dict[str, object]:
    picture = pictures.receive(encoded())
    mine, other = SessionStore(), SessionStore()
    other.create()
    kept = [uploads.keep(mine, [(picture, False)])[0] for _ in range(settings.SESSION_UPLOADS + 1)]
    found = {"kept": Upload.objects.count(), "files": files()}
    found["read"] = uploads.read(uploads.find(mine, kept[-1].id)) == picture.jpeg
    for name, session, each in (("oldest", mine, kept[0]), ("stranger", other, kept[-1])):
        try:
            uploads.find(session, each.id)
            found[name] = "found"
        except uploads.NoUpload:
            found[name] = "none"
    Upload.objects.filter(id=kept[-1].id).update(created=timezone.now() - timedelta(hours=2))
    found["purged"], found["left"] = uploads.purge(), Upload.objects.count()
    return found


def send() -> list[int]:
    client = Client()
    return [client.post("/detection/", {"image": io.BytesIO(encoded())}).status_code for _ in range(3)]


def main() -> None:
    call_command("prepare_portal")
    call_command("prepare_portal")
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    found = {
        "vendor": connection.vendor,
        "tables": sorted(connection.introspection.table_names()),
        "timeout": connection.get_connection_params()["connect_timeout"],
        "uploads": use_uploads(),
        "sent": send(),
    }
    call_command("purge_uploads", stdout=io.StringIO())
    print(json.dumps(found))
