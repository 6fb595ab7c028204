"""Programs that know nothing of the API but its document send it what they can think of."""

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from portal_pictures import encoded
from schemathesis.specs.openapi.checks import negative_data_rejection

from serving.portal.api import access, keys

EXAMPLES = 15
# What models answer about, and what only looks like it.
PICTURES = (
    encoded((0, 0, 0)),
    encoded((90, 90, 90)),
    encoded((200, 200, 200), kind="PNG"),
    encoded((90, 90, 90), kind="WEBP"),
    encoded((90, 90, 90))[:200],
    encoded((90, 90, 90), kind="GIF"),
)
# No empty ones: the WSGI client leaves such files out of a form.
schemathesis.openapi.format("binary", st.sampled_from(PICTURES) | st.binary(min_size=1, max_size=64))

pytestmark = pytest.mark.django_db
api = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())
api.config.generation.update(deterministic=True, max_examples=EXAMPLES)


@pytest.fixture
def patient(served, monkeypatch):
    """The portal, which says each time that a key is wrong, however often that was."""
    monkeypatch.setattr(access, "REFUSED_RATE", "100000/s")
    # They would close the connection of the test's own transaction.
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield served
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def key(db):
    return keys.create("tests", "100000/s")


@api.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_answers_are_as_the_document_says(case, key, patient):
    """Server errors, statuses, content types, headers and bodies; also that keys are asked for.

    Not that all which the document does not allow is refused: bytes that are no picture are answered
    (`bad_image`), and parameters that nobody knows are ignored.
    """
    case.call_and_validate(headers={"X-API-Key": key}, excluded_checks=[negative_data_rejection])
