"""Measures how fast graphs are, so that the figures can be compared."""
