"""The portal's own settings, with what production takes from the environment."""

import atexit
import os
import shutil
import tempfile

_BEFORE = dict(os.environ)
_FOLDER = tempfile.mkdtemp(prefix="hexaface-portal-tests-")
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
os.environ.update(
    PORTAL_SECRET_KEY="of-the-tests-" * 5,
    PORTAL_HOSTS="testserver,localhost,127.0.0.1",
    PORTAL_HTTPS="0",
    PORTAL_UPLOAD_RATE="1000/s",
    HEXAFACE_HOME=_FOLDER,
)
os.environ.pop("PORTAL_DATA", None)

from serving.portal.settings import *  # noqa: E402, F403

# Other tests, and the programs that they start, know nothing of it.
os.environ.clear()
os.environ.update(_BEFORE)

# Pages in tests need no collected files; a running portal of the browser tests collects its own.
STORAGES["staticfiles"] = {  # noqa: F405
    "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
}
# A file, as in production: a database in memory does not let threads wait for each other.
DATABASES["default"]["TEST"] = {"NAME": os.path.join(_FOLDER, "tests.db")}  # noqa: F405
