"""What every template may use."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from serving.portal.assessment.pictures import FORMATS, MAX_BYTES
from serving.portal.web import origins
from serving.portal.web.applications import APPLICATIONS, EVERYTHING, ONE_PICTURE
from serving.portal.web.samples import SAMPLES


def portal(request: HttpRequest) -> dict[str, Any]:
    """Returns the applications, the samples and the limits."""
    return {
        "applications": APPLICATIONS,
        "everything": EVERYTHING,
        "one_picture": ONE_PICTURE,
        "samples": SAMPLES,
        "max_bytes": MAX_BYTES,
        "max_megabytes": MAX_BYTES >> 20,
        "accept": ",".join(f"image/{name.lower()}" for name in FORMATS),
        "session_uploads": settings.SESSION_UPLOADS,
        "upload_minutes": round(settings.UPLOAD_SECONDS / 60),
        "corrections": settings.CORRECTIONS,
        "request_id": getattr(request, "id", ""),
        "all_drawn": origins.all_drawn(settings.HOME),
    }
