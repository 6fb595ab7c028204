"""Tells Django of the portal."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The portal as a Django application."""

    name = "serving.portal"
    label = "portal"
    verbose_name = "HexaFace"
    default_auto_field = "django.db.models.BigAutoField"
