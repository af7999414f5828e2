"""How a graph's outputs are read, if they are not float vectors or scores."""

from embconvert.models.splade import Splade
from embconvert.models.vector_code import VectorCode

OutputRules = Splade | VectorCode
