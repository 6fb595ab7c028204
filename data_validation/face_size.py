"""The form of faces that are learnt and drawn by the synthesis task (report section 3.1.1)."""

HEIGHT = 76
"""Pixels."""
WIDTH = 64
"""Pixels."""
