"""Settings of the portal, out of environment variables; without any, those for production.

| variable | what | default |
| --- | --- | --- |
| PORTAL_SECRET_KEY | signs cookies; 50 random characters or more | what `hexaface portal` made |
| PORTAL_DEBUG | Django's error pages, for development only | 0 |
| PORTAL_HOSTS | names that the portal is reached by, with commas between them | localhost,127.0.0.1,[::1] |
| PORTAL_HTTPS | whether browsers reach it by HTTPS: secure cookies, HSTS, redirects | 1 |
| PORTAL_PROXIES | proxies in front of it, whose X-Forwarded-For and -Proto are believed | 0 |
| PORTAL_PREFIX | path such as /faces below which a proxy offers it, and which the proxy takes off | none |
| DATABASE_URL | such as postgres://user:password@host/name | SQLite in PORTAL_DATA |
| PORTAL_DATA | folder for the database, uploads and corrections | hexaface_runs/portal |
| PORTAL_MODEL_SERVER | gRPC address of the model server; grpcs://host:port to ask by TLS | 127.0.0.1:8500 |
| PORTAL_MODEL_CA | PEM file by which it is known then: its certificate, or its signer's | those of gRPC |
| PORTAL_MODEL_SECONDS | longest time that a model may take; of a batch, for each four pictures | 10 |
| HEXAFACE_HOME | workspace whose models are served, for their error rates and states | hexaface_runs |
| PORTAL_UPLOAD_MINUTES | how long a picture is kept | 60 |
| PORTAL_SESSION_UPLOADS | pictures that a session may keep; the oldest go first | 40 |
| PORTAL_UPLOADS_MB | megabytes of all pictures that are kept; more are refused | 2000 |
| PORTAL_UPLOAD_RATE | uploads of one address, and as many results, such as 60/min | 60/min |
| PORTAL_API_ANONYMOUS | whether the API answers without a key, at the rate of uploads | 0 |
| PORTAL_CORRECTIONS | whether people may give corrected pictures for training | 1 |
| PORTAL_SESSION_CORRECTIONS | how many a session may give in a day | 20 |
| PORTAL_DAY_CORRECTIONS | how many all together may give in a day | 500 |
| PORTAL_CORRECTIONS_MB | megabytes of all that are kept, for detection a picture each | 1000 |
| MLFLOW_TRACKING_URI | where the models' figures are | the workspace's database |
| PORTAL_DASHBOARD | address of MLflow's pages, for a link | none |

The web server has some of its own: see gunicorn_settings.py.
"""

from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from serving.portal import environment
from serving.wire.tls import GRPCS

_LEAST_KEY = 50

DEBUG = environment.flag("PORTAL_DEBUG", False)
HOME = environment.path("HEXAFACE_HOME", Path("hexaface_runs"))
SECRET_KEY = environment.text("PORTAL_SECRET_KEY") or environment.kept_key(HOME / "portal" / "secret_key")
if DEBUG:
    SECRET_KEY = SECRET_KEY or "only-for-development"
if not DEBUG and len(SECRET_KEY) < _LEAST_KEY:
    raise ImproperlyConfigured(
        f"PORTAL_SECRET_KEY: expected {_LEAST_KEY} random characters or more, found {len(SECRET_KEY)}; "
        "`python -c 'import secrets; print(secrets.token_urlsafe(50))'` makes some"
    )
ALLOWED_HOSTS = environment.names("PORTAL_HOSTS", "localhost,127.0.0.1,[::1]")
FORCE_SCRIPT_NAME = environment.prefix("PORTAL_PREFIX") or None
PROXIES = int(environment.number("PORTAL_PROXIES", 0, 0, 10))

DATA = environment.path("PORTAL_DATA", HOME / "portal")
MODEL_SERVER = environment.model_server("PORTAL_MODEL_SERVER", "127.0.0.1:8500")
MODEL_CA = environment.certificates("PORTAL_MODEL_CA")
if MODEL_CA and not MODEL_SERVER.startswith(GRPCS):
    raise ImproperlyConfigured(
        f"PORTAL_MODEL_CA: expected an address {GRPCS}host:port in PORTAL_MODEL_SERVER, found "
        f"{MODEL_SERVER!r}, which is asked without encryption"
    )
MODEL_SECONDS = environment.number("PORTAL_MODEL_SECONDS", 10.0, 0.1, 300.0)
MLFLOW_URI = environment.text("MLFLOW_TRACKING_URI", f"sqlite:///{HOME / 'mlflow.db'}")
DASHBOARD = environment.text("PORTAL_DASHBOARD")

UPLOAD_SECONDS = 60.0 * environment.number("PORTAL_UPLOAD_MINUTES", 60, 1, 24 * 60)
SESSION_UPLOADS = int(environment.number("PORTAL_SESSION_UPLOADS", 40, 2, 1000))
UPLOADS_BYTES = environment.megabytes("PORTAL_UPLOADS_MB", 2000)
UPLOAD_RATE = environment.rate("PORTAL_UPLOAD_RATE", "60/min")
API_ANONYMOUS = environment.flag("PORTAL_API_ANONYMOUS", False)
CORRECTIONS = environment.flag("PORTAL_CORRECTIONS", True)
SESSION_CORRECTIONS = int(environment.number("PORTAL_SESSION_CORRECTIONS", 20, 1, 10_000))
DAY_CORRECTIONS = int(environment.number("PORTAL_DAY_CORRECTIONS", 500, 1, 100_000))
CORRECTIONS_BYTES = environment.megabytes("PORTAL_CORRECTIONS_MB", 1000)

INSTALLED_APPS = [
    "serving.portal.apps.PortalConfig",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "csp",
    "ninja",  # its pages of API documentation
]
MIDDLEWARE = [
    "serving.portal.operations.probes.Probes",
    "serving.portal.middleware.RequestId",
    # Before what refuses a wrong name of the portal, so that this page has their headers too.
    "csp.middleware.CSPMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "serving.portal.middleware.PermissionsPolicy",
    "serving.portal.api.middleware.ApiAnswers",
    "serving.portal.middleware.BodyLimit",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
ROOT_URLCONF = "serving.portal.urls"
WSGI_APPLICATION = "serving.portal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "serving.portal.web.context.portal",
            ]
        },
    }
]

DATABASES = {"default": environment.database("DATABASE_URL", DATA / "portal.db")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Readers and a writer side by side; a writer waits for another one.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif DATABASES["default"]["ENGINE"].endswith("postgresql"):
    # A request does not wait for ever for a database that is not there.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

# Whole: a web server reads it before the first request tells Django how paths begin.
STATIC_URL = f"{FORCE_SCRIPT_NAME or ''}/static/"
STATIC_ROOT = DATA / "static"
_FINGERPRINTED = "whitenoise.storage.CompressedManifestStaticFilesStorage"
_PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"
STORAGES = {
    "staticfiles": {"BACKEND": _PLAIN if DEBUG else _FINGERPRINTED},
}

# ---- what comes in

FILE_UPLOAD_HANDLERS = ["serving.portal.upload_handler.BoundedUploadHandler"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
DATA_UPLOAD_MAX_NUMBER_FILES = 16

# ---- what goes out

_HTTPS = environment.flag("PORTAL_HTTPS", True)
SECURE_SSL_REDIRECT = _HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _HTTPS else 0
# A host of which only a path is the portal's has others, for whom it does not speak.
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _HTTPS and not FORCE_SCRIPT_NAME
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"] if FORCE_SCRIPT_NAME else []
if PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
# So named, browsers take them from no other host of the domain; with a path of their own, by HTTPS only.
_GUARD = ("__Secure-" if FORCE_SCRIPT_NAME else "__Host-") if _HTTPS else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{_GUARD}hexaface_session", f"{_GUARD}hexaface_csrf"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{FORCE_SCRIPT_NAME or ''}/"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 24 * 3600
SESSION_ENGINE = "django.contrib.sessions.backends.db"
CSRF_FAILURE_VIEW = "serving.portal.web.errors.csrf_failure"

CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF],
        "media-src": [SELF, "blob:"],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

NINJA_NUM_PROXIES = PROXIES

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "filters": {
        "no_probes": {"()": "serving.portal.operations.probes.NoProbes"},
        "without_addresses": {"()": "serving.portal.logs.WithoutAddresses"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["no_probes", "without_addresses"],
        },
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # Whoever scans for hosts would fill the log with traces.
    "loggers": {"django.security.DisallowedHost": {"level": "CRITICAL"}},
}
