"""The class that loads a model, by its kind."""

from embconvert.models.kinds import Kind
from embconvert.source.late_interaction import LateInteractionModel
from embconvert.source.reranker import Reranker
from embconvert.source.sparse import SparseModel
from embconvert.source.torch_model import SourceModel

_CLASSES: tuple[type[SourceModel], ...] = (
    SourceModel, Reranker, SparseModel, LateInteractionModel,
)  # fmt: skip


def class_for(kind: Kind) -> type[SourceModel]:
    """Returns the class that loads models of a kind."""
    return next(found for found in _CLASSES if found.kind is kind)
