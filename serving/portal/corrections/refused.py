"""Why a correction is not kept, or not taken back."""

OF_A_SAMPLE = "This is one of the portal's drawn samples, which models are not trained with."
"""Drawn pictures stay apart from those of people."""


class Refused(ValueError):
    """A correction that is not kept or not taken back; the message tells a person why.

    Attributes:
        status: Of HTTP.
        code: A word for programs.
    """

    def __init__(self, message: str, status: int = 400, code: str = "bad_correction") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
