"""Retrievers of page images, such as ColQwen2: how they read queries.

Their documents are images. A text is always read as a query: between a prefix and tokens that the
model was trained to fill, both of which a class of transformers adds that needs libraries for
images. Here the prefix is a prompt, and the tokenizer adds the tokens.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embconvert.errors import SourceError, UnsupportedModelError
from embconvert.json_files import read_json
from embconvert.source.chat_template import putting_around
from embconvert.source.settings.files import PROCESSOR

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class _Retriever:
    """How a query is read.

    Attributes:
        architecture: The class in transformers.
        prefix: Before a query, unless the processor's settings name another.
        is_paligemma: Whether only the bos token is before the prefix, and all tokens of a query see
            each other.
    """

    architecture: str
    prefix: str
    is_paligemma: bool = False


#: By model_type. Source: transformers.models.colqwen2.processing_colqwen2.ColQwen2Processor and
#: transformers.models.colpali.processing_colpali.ColPaliProcessor (5.24).
_RETRIEVERS = {
    "colqwen2": _Retriever(architecture="ColQwen2ForRetrieval", prefix="Query: "),
    "colpali": _Retriever(
        architecture="ColPaliForRetrieval", prefix="Question: ", is_paligemma=True
    ),
}
#: How many padding tokens are after a query, before a line break.
_FILLED = 10
_MOST_CHARACTERS = 1000


def refuse_other_retrievers(config: Mapping[str, Any]) -> None:
    """Raises UnsupportedModelError for other retrievers of images: how they read queries varies.

    sentence-transformers looks up their class in transformers, by the architectures in config.json.
    """
    names = list(config.get("architectures") or [])
    if not any(str(name).endswith("ForRetrieval") for name in names):
        return
    known = _RETRIEVERS.get(str(config.get("model_type")))
    if known is None or names != [known.architecture]:
        supported = ", ".join(retriever.architecture for retriever in _RETRIEVERS.values())
        raise UnsupportedModelError(
            f"{names[0]} is a retriever of images, whose way to read queries is not supported",
            f"use a model for text, or one of {supported}",
        )


def settle_retriever(chain: Any, folder: Path, warn: Callable[[str], None]) -> None:
    """Makes a MultiVectorEncoder of page images read texts without its processor.

    Raises SourceError if the processor's settings in the model's folder are broken.
    """
    tokenizer = chain[0].tokenizer
    reading = _RETRIEVERS[chain[0].config.model_type]
    said = read_json(folder / PROCESSOR) if (folder / PROCESSOR).is_file() else {}
    prefix = said.get("query_prefix") or reading.prefix
    if not isinstance(prefix, str) or len(prefix) > _MOST_CHARACTERS:
        raise SourceError(
            f"{PROCESSOR}: query_prefix should be a text of at most {_MOST_CHARACTERS} characters",
            "correct query_prefix in a copy of the file",
        )
    text = tokenizer("a", add_special_tokens=False)["input_ids"]
    filled = f"a{tokenizer.pad_token * _FILLED}\n"
    whole = tokenizer(filled)["input_ids"]
    if reading.is_paligemma:
        whole = tokenizer(tokenizer.bos_token + filled, add_special_tokens=False)["input_ids"]
        chain[0].model.forward = _seeing_all(chain[0].model.forward)
    start = next(n for n in range(len(whole)) if whole[n : n + len(text)] == text)
    before, after = whole[:start], whole[start + len(text) :]
    tokenizer.backend_tokenizer.post_processor = putting_around(tokenizer, before, after)
    chain.prompts.update(query=prefix, document=prefix)
    warn(
        "the documents of this model are images, for which there is no graph: a text is read as a "
        f"query, as transformers does, with {json.dumps(prefix)} before it and {len(after)} tokens "
        "after it, which stay where it is cut"
    )


def _seeing_all(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a call of a ColPali that gives the token types of its processor.

    By them, PaliGemma lets the tokens of a prefix see each other; without them it is causal.
    """

    def call(input_ids: "torch.Tensor", attention_mask: "torch.Tensor", **given: Any) -> Any:
        types = input_ids.new_zeros(input_ids.shape)
        given = {**given, "token_type_ids": types}
        return forward(input_ids=input_ids, attention_mask=attention_mask, **given)

    return call
