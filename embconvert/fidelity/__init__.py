"""Compares a graph's outputs with the source's: texts, runs, figures."""
