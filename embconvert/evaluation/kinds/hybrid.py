"""Hybrid models are evaluated by their dense vectors."""

from embconvert.evaluation.kinds.embedding import SCORING

__all__ = ["SCORING"]
