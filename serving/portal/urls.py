"""The addresses of the portal."""

from django.urls import path

from serving.portal.api.v1 import api
from serving.portal.corrections.urls import urlpatterns as corrections
from serving.portal.operations.views import status
from serving.portal.web import views
from serving.portal.web.applications import ONE_PICTURE

urlpatterns = [
    path("", views.home, name="home"),
    path("api/v1/", api.urls),
    path("privacy/", views.privacy, name="privacy"),
    path("status/", status, name="status"),
    path("verification/", views.verification, name="verification"),
    path(
        "verification/<uuid:first_id>/<uuid:second_id>/",
        views.verification_result,
        name="verification-result",
    ),
    path("synthesis/", views.synthesis, name="synthesis"),
    path("synthesis/faces.png", views.synthesis_sheet, name="synthesis-sheet"),
    path("uploads/<uuid:upload_id>.jpg", views.picture, name="picture"),
    path("uploads/<uuid:upload_id>/forget/", views.forget, name="forget"),
    *corrections,
]
for each in ONE_PICTURE:
    urlpatterns += [
        path(f"{each.name}/", views.application, {"name": each.name}, name=each.name),
        path(f"{each.name}/<uuid:upload_id>/", views.result, {"name": each.name}, name=f"{each.name}-result"),
    ]

handler400 = "serving.portal.web.errors.bad_request"
handler404 = "serving.portal.web.errors.not_found"
handler500 = "serving.portal.web.errors.failed"
