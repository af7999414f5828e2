"""Weights in pickles, read without unpickling."""
