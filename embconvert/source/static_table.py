"""Static embeddings in torch: loading, reading texts, and the masked mean that is traced."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embconvert.errors import SourceError
from embconvert.fidelity.texts import Item, Plain, Prompted, joined
from embconvert.fidelity.tokenizer_errors import tokenizer_errors
from embconvert.models.values import ResolvedModel
from embconvert.overriding import override
from embconvert.source.loading import LoadedModel, hush_libraries
from embconvert.source.reading import SourceTokenizer
from embconvert.source.static_files import MAPPING, TABLES, WEIGHTS, static_max_length
from embconvert.source.stored_weights import present_as_float32

if TYPE_CHECKING:
    import tokenizers
    import torch

# What tokenizers without padding call the token that fills texts up.
_PAD_TOKENS = ("[PAD]", "<pad>", "<|endoftext|>")


def load_model2vec(
    resolved: ResolvedModel, folder: Path, config: Mapping[str, Any], *, device: str
) -> LoadedModel:
    """Loads a model of model2vec as a chain of sentence-transformers' modules.

    The first module has the table as it is stored; its buffers `mapping`, from tokens to rows, and
    `weights`, by token, may be None.

    Raises:
        SourceError: The tokenizer is broken, or a token has no row.
    """
    import torch
    from safetensors import safe_open
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    hush_libraries()
    with tokenizer_errors("cannot be loaded"):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with safe_open(folder / "model.safetensors", framework="pt", device=device) as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    table = stored[TABLES[1]]
    mapping = stored.get(MAPPING)
    if mapping is not None:
        mapping = mapping.long()
        if mapping.min() < 0 or mapping.max() >= len(table):
            raise SourceError(
                f"model.safetensors: {MAPPING} names rows that the table does not have",
                "the file is damaged; download the model again",
            )
    static = StaticEmbedding(
        tokenizer, table if table.is_floating_point() else table.to(torch.float32)
    )
    length = static_max_length(resolved.static, config) if resolved.static else None
    if length is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(length)
    static.register_buffer(MAPPING, mapping)
    static.register_buffer(WEIGHTS, stored.get(WEIGHTS))
    modules = [static, *([Normalize()] if config.get("normalize") else [])]
    chain = SentenceTransformer(modules=modules, device=device)
    casts = present_as_float32(chain)
    chain.eval().requires_grad_(False)
    return LoadedModel(chain=chain, made_up=frozenset(), casts=casts)


def unknown_token(tokenizer: "tokenizers.Tokenizer") -> int | None:
    """Returns the id of unknown words, which model2vec leaves out.

    Source: model2vec.model._get_unk_token_id (0.10).
    """
    model = tokenizer.model
    if hasattr(model, "unk_token"):
        return None if model.unk_token is None else tokenizer.token_to_id(model.unk_token)
    # Unigram tells it in its file only.
    unknown: int | None = json.loads(tokenizer.to_str())["model"].get("unk_id")
    return unknown


def rows_of(static: Any) -> int:
    """Returns how many tokens have a vector in a StaticEmbedding."""
    mapping = getattr(static, MAPPING, None)
    return int(static.num_embeddings if mapping is None else len(mapping))


def tell_of_model2vec(
    unread: Sequence[str],
    tokenizer: "tokenizers.Tokenizer",
    length: int | None,
    warn: Callable[[str], None],
) -> None:
    """Warns about what model2vec does with a model otherwise than its files suggest.

    Args:
        unread: The modules of modules.json that it does not have.
        length: Tokens after which it cuts texts; None if it does not.
    """
    if unread:
        warn(
            f"model2vec, as config.json says, reads no modules.json: its {', '.join(unread)} "
            "is left out; remove config.json from a copy to convert what "
            "sentence-transformers reads"
        )
    if length is not None:
        # Source: model2vec.model.StaticModel._encode_dispatch (0.10).
        median = int(np.median([len(token) for token in tokenizer.get_vocab()]))
        warn(
            f"model2vec also cuts texts after {length * median} characters, before it "
            "tokenizes them, which tokenizer.json cannot say: such texts are cut only after "
            f"{length} tokens"
        )


def model2vec_means(static: Any, texts: "Sequence[torch.Tensor]") -> "torch.Tensor":
    """Returns the mean of each text's vectors as model2vec computes it, (texts, dim) float32.

    Source: model2vec.model.StaticModel._encode_batch and _encode_helper (0.10).

    Args:
        texts: The tokens of each, (tokens,) int64.
    """
    import torch

    means = []
    for ids in texts:
        places = ids if static.mapping is None else static.mapping[ids]
        vectors = torch.nn.functional.embedding(places, static.embedding.weight)
        if static.weights is not None:
            vectors = vectors * static.weights[ids][:, None]
        means.append(vectors.sum(dim=0) / max(len(ids), 1))
    return torch.stack(means)


class StaticReading(SourceTokenizer):
    """Reads texts as sentence-transformers' StaticEmbedding does: without special tokens."""

    adds_special_tokens = False

    @property
    def _raw(self) -> "tokenizers.Tokenizer":
        raw: tokenizers.Tokenizer = self._model[0].tokenizer
        return raw

    @property
    @override
    def tokenizer(self) -> Any:
        from transformers import PreTrainedTokenizerFast

        backend = self.backend()
        return PreTrainedTokenizerFast(
            tokenizer_object=backend, pad_token=backend.padding["pad_token"]
        )

    @property
    @override
    def max_seq_length(self) -> int | None:
        cut = self._raw.truncation
        return int(cut["max_length"]) if cut else None

    @override
    def refuse_missing_pad_token(self) -> None:
        """Does nothing: the mask leaves padding out, whichever token it is."""

    @override
    def refuse_pad_token_beyond(self, rows: int | None) -> None:
        """Does nothing: backend() chooses a token that the table has."""

    @override
    def backend(self) -> Any:
        from tokenizers import Tokenizer

        raw = Tokenizer.from_str(self._raw.to_str())
        rows = rows_of(self._model[0])
        vocabulary = raw.get_vocab()
        first = min(vocabulary, key=lambda token: vocabulary[token])
        token = next((t for t in _PAD_TOKENS if vocabulary.get(t, rows) < rows), first)
        raw.enable_padding(pad_id=vocabulary[token], pad_token=token)
        return raw

    @override
    def features(self, texts: Sequence[Plain], prompt: str = "") -> "dict[str, torch.Tensor]":
        import torch

        whole = [joined(Prompted(text, prompt)) for text in texts]
        encodings = self.backend().encode_batch(whole, add_special_tokens=False)
        return {
            "input_ids": torch.tensor([e.ids for e in encodings], dtype=torch.long),
            "attention_mask": torch.tensor([e.attention_mask for e in encodings]).long(),
        }

    @override
    def tokens(self, texts: Sequence[Item]) -> list[dict[str, list[int]]]:
        encodings = self._raw.encode_batch(list(map(joined, texts)), add_special_tokens=False)
        return [{"input_ids": e.ids} for e in encodings]


def token_table(static: Any, unknown: int | None) -> "torch.nn.Module":
    """Returns a module from padded tokens to the mean of a StaticEmbedding's vectors.

    It shares the table and buffers, and leaves the token `unknown` out.
    """
    import torch

    class TokenTable(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = static.embedding.weight
            self.register_buffer(MAPPING, getattr(static, MAPPING, None))
            self.register_buffer(WEIGHTS, getattr(static, WEIGHTS, None))

        def forward(self, features: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
            ids, kept = features["input_ids"], features["attention_mask"]
            if unknown is not None:
                kept = kept * (ids != unknown)
            kept = kept.to(torch.float32)
            scale = kept if self.weights is None else kept * self.weights[ids]
            rows = ids if self.mapping is None else self.mapping[ids]
            vectors = torch.nn.functional.embedding(rows, self.embeddings) * scale.unsqueeze(-1)
            count = kept.sum(dim=1, keepdim=True).clamp(min=1.0)
            # A product: faster than a sum over the middle axis.
            mean = torch.matmul((kept / count).unsqueeze(1), vectors).squeeze(1)
            return {**features, "token_embeddings": vectors, "sentence_embedding": mean}

    return TokenTable()
