"""Labels and their codes in the data sets' own forms.

They stand here again since the portal imports nothing of training; a test keeps them equal to those of
`data_validation.labels` and of the readers.
"""

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""In the order of FER-2013's codes."""
GENDERS = ("female", "male")
"""The data sets' own binary labels."""
MAX_AGE = 100
"""Years; models have no class for what is above."""

CELEBA_MALE = {"female": "-1", "male": "1"}
UTKFACE_GENDER = {"male": "0", "female": "1"}
UTKFACE_OTHER = "4"
"""UTKFace's code for `other`: its names must tell a race, and nobody was asked for one."""
