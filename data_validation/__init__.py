"""Curated schemas, image-quality features and the errors of bad input."""
