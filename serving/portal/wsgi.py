"""What a WSGI server runs: `gunicorn serving.portal.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving.portal.settings")
application = get_wsgi_application()
