"""The source model in torch, one file for each kind."""

from embconvert.models.kinds import Kind, class_of
from embconvert.source.torch_model import SourceModel


def class_for(kind: Kind, *, static: bool = False) -> type[SourceModel]:
    """Returns the class for a kind of model, or TypeError if it has none for static embeddings."""
    return class_of(kind, __name__, "STATIC_SOURCE" if static else "SOURCE", SourceModel)
