"""Sizes of faces, and of sets of them, on which readers, models and evaluators must agree."""

# What the synthesis model draws (report section 3.1.1: 64 pixels wide and 76 tall). Smaller images would
# teach it the blur of their enlargement.
SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH = 76, 64

LEAST_HELD_BACK = 20
"""Images of a split that generated faces can be compared with: two in each of ten parts, of which the kernel
distance and its error are estimated."""
