"""The addresses of corrections."""

from django.urls import path

from serving.portal.corrections import views

urlpatterns = [
    path("corrections/", views.give, name="corrections"),
    path("corrections/withdrawn/", views.withdrawn, name="corrections-withdrawn"),
    path("corrections/<uuid:correction_id>/", views.receipt, name="correction"),
    path("corrections/<uuid:correction_id>/withdraw/", views.withdraw, name="correction-withdraw"),
]
