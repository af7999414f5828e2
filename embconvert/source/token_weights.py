"""Sparse vectors from one weight per token, in torch: reading texts, the graph, and idf.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.errors import SourceError
from embconvert.fidelity.texts import Plain
from embconvert.json_files import write_json
from embconvert.models.kinds import TOKEN_LOGITS
from embconvert.overriding import override
from embconvert.source.reading import SourceTokenizer

if TYPE_CHECKING:
    import torch

#: The weight of each token by its text, as OpenSearch reads it.
IDF_FILE = "idf.json"


class WordReading(SourceTokenizer):
    """Reads texts as SparseStaticEmbedding does: without special tokens or token types."""

    @property
    @override
    def _settings_of_calls(self) -> Mapping[str, Any]:
        return {"text": {"add_special_tokens": False}}

    @override
    def features(self, texts: Sequence[Plain], prompt: str = "") -> "dict[str, torch.Tensor]":
        features = super().features(texts, prompt)
        return {name: features[name] for name in ("input_ids", "attention_mask")}


def weigh_words(static: Any) -> "torch.nn.Module":
    """Returns a module from padded tokens to the weight of each token that occurs.

    How often a token occurs does not matter. The library writes padding over a pad token that the
    text itself has, which depends on the batch; here that token counts.
    """
    import torch

    class WordWeights(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = static.weight

        def forward(self, features: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
            ids, kept = features["input_ids"], features["attention_mask"].to(torch.float32)
            counts = torch.zeros(ids.shape[0], self.weight.shape[0], device=ids.device)
            # A sum, because ONNX leaves open which of several values for a place is taken.
            counts = counts.scatter_add(1, ids, kept)
            return {
                **features,
                TOKEN_LOGITS: kept * self.weight[ids],
                "sentence_embedding": counts.clamp(max=1.0) * self.weight,
            }

    return WordWeights()


def write_idf(static: Any, folder: Path) -> None:
    """Writes the weight of each token as JSON.

    Weights of zero are there, too: OpenSearch gives tokens that are missing a weight of 1.

    Raises:
        SourceError: A token has no finite weight, or what the library reads of the file differs.
    """
    import torch

    weights = static.weight.detach().float().cpu()
    vocabulary = static.tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    finite = weights.isfinite().tolist()
    odd = [token for token in tokens if not any(finite[vocabulary[token] :][:1])]
    if odd:
        raise SourceError(
            f"the token {odd[0][:100]!r} has no finite weight",
            "the weights are damaged or belong to another tokenizer; download the model again",
        )
    path = folder / IDF_FILE
    write_json(path, {token: weights[vocabulary[token]].item() for token in tokens})
    used = torch.tensor([vocabulary[token] for token in tokens])
    read = type(static).from_json(str(path), tokenizer=static.tokenizer).weight.detach()
    if not torch.equal(read[used], weights[used]):
        raise SourceError(
            f"sentence-transformers does not read the source's weights from {IDF_FILE}",
            "two tokens of the tokenizer may have the same number; please report the model",
        )
