"""Keeps out of the log what tells of people: addresses of pages name uploads and corrections."""

import logging


class WithoutAddresses(logging.Filter):
    """For Django's lines about requests: those that failed by an error keep it, the others are told already.

    `middleware.RequestId` logs a line about every request, with the route in the place of the address.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Drops a line, or takes the address out of it."""
        request = getattr(record, "request", None)
        if request is None:
            return True
        record.msg, record.args = "%s failed", (getattr(request, "id", "a request"),)
        return bool(record.exc_info)
