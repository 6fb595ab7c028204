"""Readers of published face data sets, one module a format.

A reader lists its items cheaply and loads one item at a time; it knows nothing of Beam or TFX, so it can be
tried in a Python shell. `components.face_example_gen` runs readers as a Beam pipeline.
"""
