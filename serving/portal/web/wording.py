"""Small words for people."""


def counted(count: int, what: str) -> str:
    """Returns such as "1 face" or "3 faces"."""
    return f"{count} {what}{'' if count == 1 else 's'}"
