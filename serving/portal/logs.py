"""Keeps out of the log what tells of people: addresses of pages name uploads and corrections."""

import logging
import re

_FAILED = 500
# Of uploads and records of corrections, and of pictures that are kept for training, with the label that their
# folder tells; errors of the disk name the file.
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|span-[0-9]{8}/[^\s'\"]+")
_FORMATTER = logging.Formatter()


class WithoutAddresses(logging.Filter):
    """Takes ids out of traces.

    Of Django's lines about requests, those that failed by an error keep it; the others are told already.

    A form that nobody can read is no error of the portal: strangers could fill the log with traces of it.

    `middleware.RequestId` logs a line about every request, with the route in the place of the address.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Drops a line, or takes the address and the ids out of it."""
        if record.exc_info:
            record.exc_text = _ID.sub("(id)", _FORMATTER.formatException(record.exc_info))
        request = getattr(record, "request", None)
        if request is None:
            return True
        record.msg, record.args = "%s failed", (getattr(request, "id", "a request"),)
        return bool(record.exc_info) and getattr(record, "status_code", _FAILED) >= _FAILED
