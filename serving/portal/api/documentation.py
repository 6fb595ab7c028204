"""What the OpenAPI document says beside the forms of answers."""

from typing import Any

from serving.portal.api.access import HEADER
from serving.portal.api.schemas import Answer, ErrorAnswer

DESCRIPTION = f"""\
The six applications of the portal for programs. Pictures are decoded in memory, asked about and forgotten:
none is stored, and neither pictures nor names of files are logged. Gender labels are the binary labels of the
data sets that the models learned from.

**Keys.** Send one in the header `{HEADER}`. A key has a rate; `RateLimit-Limit`, `RateLimit-Remaining` and
`RateLimit-Reset` (seconds) tell what is left of it, and who asks too often gets 429 with `Retry-After`.
The API uses no cookies.

**Batches.** One request takes up to 16 pictures of 10 MB and 40 million pixels each (a WebP: 16 million), 200
million together. Each has a status of its own: a file that is no picture (`bad_image`) does not fail the
others.

**Every answer** has the request's id, the version of each model that was asked, and the time of each stage.

**Errors** have one form: `{{"error": {{"code", "message", "field", "request_id"}}}}`, with `field` only where
one is wrong.

| status | code | what |
| --- | --- | --- |
| 400 | `bad_request` | the request cannot be read |
| 401 | `unauthorized` | no key, or none that is good |
| 404 | `not_found` | there is no such address |
| 405 | `method_not_allowed` | the address takes other methods, which `Allow` names |
| 411 | `length_required` | the request does not tell its length |
| 413 | `too_large` | the request is too long, or its pictures have too many pixels together |
| 422 | `invalid` | a field is missing or wrong |
| 429 | `rate_limited` | too many requests; `Retry-After` tells when to come back |
| 500 | `internal` | a fault of the portal |
| 503 | `model_unavailable` | the models do not answer now; `Retry-After` tells when to come back |
"""

TAGS = [
    {"name": "Faces", "description": "What models see in pictures."},
    {"name": "Generated faces", "description": "Persons who do not exist."},
    {"name": "Models", "description": "What answers."},
]

_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_RATE = {
    f"RateLimit-{name}": {"description": text, "schema": {"type": "integer"}}
    for name, text in (
        ("Limit", "Requests that may come at once."),
        ("Remaining", "How many more of them may come now."),
        ("Reset", "Seconds until all of them may come again."),
    )
}
_OK = "The answer."
_ERRORS: dict[int, dict[str, Any]] = {
    400: {"description": "The request cannot be read."},
    401: {
        "description": "There is no key, or none that is good.",
        "headers": {"WWW-Authenticate": {"description": "The header to send.", "schema": {"type": "string"}}},
    },
    411: {"description": "The request does not tell its length."},
    413: {"description": "The request is too long, or its pictures have too many pixels together."},
    422: {"description": "A field is missing or wrong."},
    429: {"description": "Too many requests.", "headers": {**_AFTER, **_RATE}},
    500: {"description": "A fault of the portal."},
    503: {"description": "The models do not answer now.", "headers": _AFTER},
}
_OF_READING = (429, 500, 503)


def operation(
    name: str, summary: str, tag: str, answer: type[Answer], *, reads: bool = False
) -> dict[str, Any]:
    """Returns what the framework is to be told of an operation.

    Args:
        name: Of the operation, for programs that are made of the document.
        summary: In a few words.
        tag: Of TAGS.
        answer: The form of its answer.
        reads: Whether it takes neither a key nor a body.
    """
    errors = {status: _ERRORS[status] for status in (_OF_READING if reads else _ERRORS)}
    return {
        "operation_id": name,
        "summary": summary,
        "tags": [tag],
        "response": {200: answer, **dict.fromkeys(errors, ErrorAnswer)},
        "openapi_extra": {"responses": {200: {"description": _OK, "headers": _RATE}, **errors}},
    }
