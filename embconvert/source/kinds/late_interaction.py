"""Late-interaction models (such as ColBERT) in torch: one vector per token."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from embconvert.errors import UnsupportedModelError
from embconvert.fidelity.figures import Embeddings
from embconvert.fidelity.texts import Item, Query
from embconvert.manifest.kinds.late_interaction import LateInteractionRecord
from embconvert.models.kinds import Kind
from embconvert.models.late_interaction import Expansion, LateInteraction
from embconvert.overriding import override
from embconvert.source.retriever import settle_retriever
from embconvert.source.torch_model import SourceModel, as_numpy

if TYPE_CHECKING:
    import torch

#: Supported modules; modules that merge tokens are not.
_MODULES = {"Transformer", "Dense", "MultiVectorMask", "Normalize", "Dropout", "LayerNorm"}


class LateInteractionModel(SourceModel):
    """A MultiVectorEncoder: projected token vectors, usually normalized."""

    kind: ClassVar[Kind] = Kind.LATE_INTERACTION

    @override
    def _settle(self, warn: Callable[[str], None]) -> None:
        """Raises UnsupportedModelError for models that merge tokens or read only images."""
        others = [name for name in self.modules if name not in _MODULES]
        if others:
            raise UnsupportedModelError(
                f"this late-interaction model has the unsupported module {others[0]}",
                f"use a model with these modules only: {', '.join(sorted(_MODULES))}",
            )
        transformer = self._model[0]
        if transformer.transformer_task == "retrieval":
            settle_retriever(self._model, self._resolved.folder, warn)
        if any(getattr(m, "keep_only_token_ids", None) for m in self._model):
            raise UnsupportedModelError(
                "this late-interaction model is for images", "use a model for text"
            )

    @property
    def _rules(self) -> LateInteraction:
        transformer, prompts = self._model[0], self._model.prompts
        masks = [m for m in self._model if type(m).__name__ == "MultiVectorMask"]
        skipped = [m._skiplist_ids for m in masks if m._skiplist_ids is not None]
        # encode_document() uses the first of these prompts that exists.
        named = next((n for n in ("document", "passage", "corpus") if n in prompts), "")
        cuts = self.reading.cuts_texts
        return LateInteraction(
            query_prompt=prompts.get("query") or "",
            document_prompt=prompts.get(named) or "",
            query_length=transformer.query_length if cuts else None,
            document_length=transformer.document_length if cuts else None,
            expansion=self._expansion(),
            skipped_ids=tuple(sorted({int(i) for ids in skipped for i in ids})),
            skipped_in=tuple(masks[0].skiplist_tasks) if skipped else (),
        )

    def _expansion(self) -> Expansion | None:
        """Returns the query expansion; the token is chosen as in Transformer.preprocess."""
        asked = self._model[0].query_expansion
        if asked is None:
            return None
        tokenizer = self.tokenizer
        if asked["token"] is not None:
            token = tokenizer.convert_tokens_to_ids(asked["token"])
        else:
            token = tokenizer.mask_token_id
            token = tokenizer.eos_token_id if token is None else token
        if token is None:
            token = tokenizer.pad_token_id
        return Expansion(
            length=asked["length"],
            token_id=int(token),
            attend=bool(asked["attend"]),
            fixed=asked["strategy"] == "fixed" and self.reading.cuts_texts,
        )

    @property
    @override
    def record(self) -> LateInteractionRecord:
        return LateInteractionRecord(
            dimension=self.dimension,
            similarity=str(self._model.similarity_fn_name),
            late_interaction=self._rules,
        )

    @property
    def dimension(self) -> int | None:
        return int(self._model.get_embedding_dimension())

    @property
    @override
    def value_sizes(self) -> dict[str, int | None]:
        return {"token_embeddings": self.dimension}

    @override
    def _values(self, features: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        return (features["token_embeddings"],)

    @override
    def _encode(self, texts: Sequence[Item]) -> Embeddings:
        is_query = isinstance(texts[0], Query)
        encode = self._model.encode_query if is_query else self._model.encode_document
        vectors = encode(
            [str(text) for text in texts], batch_size=len(texts), show_progress_bar=False
        )
        return Embeddings(
            sentence=None, token_mean=None, tokens=tuple(as_numpy(tokens) for tokens in vectors)
        )

    @override
    def tokens(self, texts: Sequence[Item]) -> list[dict[str, list[int]]]:
        """Returns the model's inputs for each text, by name."""
        rules = self._rules
        read = []
        for text in texts:
            is_query = isinstance(text, Query)
            features = self._model.preprocess(
                [str(text)],
                prompt=rules.prompt(query=is_query) or None,
                task="query" if is_query else "document",
            )
            filled = features.get("query_expansion_positions")
            kept = features["attention_mask"][0].bool()
            if filled is not None:
                kept = kept | filled[0]
            names = ("input_ids", "token_type_ids", "attention_mask")
            read.append({n: features[n][0][kept].tolist() for n in names if n in features})
        return read


SOURCE = LateInteractionModel
