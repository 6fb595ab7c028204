"""Values that are taken as the document says, and in no other writing."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Strict


def _flag(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    """Lets 4.0 be 4, as JSON Schema has it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Flag = Annotated[bool, Strict(), BeforeValidator(_flag)]
"""Of a form or an address: `true` or `false`, but not `1` or `yes`."""
Whole = Annotated[int, Strict(), BeforeValidator(_whole)]
"""Of JSON: a whole number, but not one in quotation marks."""
