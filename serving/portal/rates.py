"""Rates, such as 60/min: how often somebody may ask."""

import re
from dataclasses import dataclass

_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_FORM = re.compile(r"([1-9][0-9]{0,5})/([a-z]+)", re.ASCII)


@dataclass(frozen=True)
class Rate:
    """So many requests in so much time.

    Attributes:
        count: Requests, which may all come at once.
        seconds: After which as many may come again.
    """

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Reads a rate, such as 60/min; units are s, min, h and day.

        Raises:
            ValueError: It is none.
        """
        found = _FORM.fullmatch(text.strip())
        if not found or found[2] not in _SECONDS:
            raise ValueError(f"expected a rate such as 60/min (units: s, min, h, day), found {text!r}")
        return cls(int(found[1]), _SECONDS[found[2]])

    @property
    def step(self) -> float:
        """Seconds after which one request more may come."""
        return self.seconds / self.count
