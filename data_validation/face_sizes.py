"""Sizes of faces on which readers and models must agree."""

# What the synthesis model draws (report section 3.1.1: 64 pixels wide and 76 tall). Smaller images would
# teach it the blur of their enlargement.
SYNTHESIS_HEIGHT, SYNTHESIS_WIDTH = 76, 64
