"""Drawn sample faces, written in the formats of the real data sets."""
