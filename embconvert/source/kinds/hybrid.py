"""Hybrid models in torch: an embedding model, and heads over its token vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import starmap
from typing import TYPE_CHECKING, ClassVar

from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.words import word_weights
from embconvert.manifest.kinds.base import HeadRecord
from embconvert.manifest.kinds.hybrid import HybridRecord
from embconvert.models.choices import PoolingMode
from embconvert.models.kinds import Kind
from embconvert.overriding import override
from embconvert.source.heads import (
    LinearHead,
    heads_module,
    load_heads,
    vectors_of,
    weightless_ids,
    weights_of,
)
from embconvert.source.kinds.embedding import EmbeddingModel
from embconvert.source.torch_model import as_numpy

if TYPE_CHECKING:
    import torch


class HybridModel(EmbeddingModel):
    """A SentenceTransformer, with heads that sentence-transformers does not know."""

    kind: ClassVar[Kind] = Kind.HYBRID
    _heads: tuple[LinearHead, ...]

    @override
    def _settle(self, warn: Callable[[str], None]) -> None:
        if not self._resolved.has_modules and self.overrides.pooling is None:
            # Source: FlagEmbedding's BGEM3FlagModel (1.3).
            self.overrides = replace(self.overrides, pooling=PoolingMode.CLS, normalize=True)
            warn(
                "the model has no sentence-transformers modules; cls pooling and normalization "
                "are assumed, as FlagEmbedding does (--pooling overrides)"
            )
        super()._settle(warn)
        self._heads = load_heads(self._resolved, self.token_dimension)

    @property
    def _without(self) -> tuple[int, ...]:
        return weightless_ids(self.tokenizer)

    @property
    @override
    def record(self) -> HybridRecord:
        return HybridRecord(
            pooling=tuple(map(PoolingMode, self.pooling)),
            dimension=self.dimension,
            heads=tuple(
                HeadRecord(
                    kind=Kind(head.head.kind),
                    output=head.head.output,
                    file=head.head.file,
                    dimension=head.size,
                )
                for head in self._heads
            ),
            weightless_ids=self._without,
        )

    @property
    @override
    def value_sizes(self) -> dict[str, int | None]:
        of_heads = {
            head.head.output: None if head.head.is_weight else head.size for head in self._heads
        }
        return {**super().value_sizes, **of_heads}

    @property
    @override
    def weight_files(self) -> frozenset[str]:
        files = {self._resolved.path(head.head.file).resolve() for head in self._heads}
        return super().weight_files | set(map(str, files))

    @override
    def _traced_chain(self) -> "torch.nn.Module":
        import torch

        return torch.nn.Sequential(*self._model, heads_module(self._heads, self._without))

    @override
    def _values(self, features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        return (*super()._values(features), *(features[head.head.output] for head in self._heads))

    @override
    def _embeddings(self, items: "Sequence[Mapping[str, torch.Tensor]]") -> Embeddings:
        """Returns the embeddings from the features of each text, those of heads by numpy."""
        texts = []
        for item in items:
            kept = item["attention_mask"].bool()
            tokens = as_numpy(item["token_embeddings"][kept])
            texts.append((tokens, item["input_ids"][kept].cpu().numpy()))
        found = super()._embeddings(items)
        for head in self._heads:
            if head.head.is_weight:
                weights = (
                    (ids, weights_of(head, tokens, ids, without=self._without))
                    for tokens, ids in texts
                )
                found = replace(found, words=tuple(starmap(word_weights, weights)))
            else:
                vectors = tuple(vectors_of(head, tokens) for tokens, _ in texts)
                found = replace(found, tokens=vectors)
        return found


SOURCE = HybridModel
