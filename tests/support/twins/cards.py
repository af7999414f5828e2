"""Scores of generative rerankers by the code on their cards, for repositories without modules."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from support.twins.records import Twin

Pair = tuple[str, str]
#: The texts whose tokens a text is made of, of which the second is cut to what is left. (The card
#: of ctxl-rerank cuts the end; sentence-transformers keeps what is at the end of every text.)
Parts = tuple[str, str, str]

_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
_TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. "
    "For each query-document pair, carefully analyze the semantic relationship between them, then "
    "provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
)


def _qwen3(query: str, document: str) -> Parts:
    prefix = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
    )
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    text = f"<Instruct>: {_INSTRUCTION}\n<Query>: {query}\n<Document>: {document}"
    return prefix, text, suffix


def _mxbai(query: str, document: str) -> Parts:
    prefix = (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
        "<|im_end|>\n<|im_start|>user\n"
    )
    text = f"query: {query}\ndocument: {document}"
    return prefix, text, f"\n{_TASK}<|im_end|>\n<|im_start|>assistant\n"


def _zerank(query: str, document: str) -> Parts:
    messages = f"{query}<|im_end|>\n<|im_start|>user\n{document}"
    return "<|im_start|>system\n", messages, "<|im_end|>\n<|im_start|>assistant\n"


def _bge_gemma(query: str, document: str) -> Parts:
    prompt = (
        "Given a query A and a passage B, determine whether the passage contains an answer to the "
        "query by providing a prediction of either 'Yes' or 'No'."
    )
    return "<bos>", f"A: {query}\nB: {document}", f"\n{prompt}"


def _contextual(query: str, document: str) -> Parts:
    task = "Check whether a given document contains information helpful to answer the query."
    return "", f"{task}\n<Document> {document}\n<Query> {query}", " ??"


#: By what a repository's name begins with: its texts, and the words whose logits count.
CARDS: dict[str, tuple[Callable[[str, str], Parts], tuple[str | int, ...]]] = {
    "Qwen3-Reranker": (_qwen3, ("yes", "no")),
    "mxbai-rerank": (_mxbai, ("1", "0")),
    "zerank": (_zerank, ("Yes",)),
    "bge-reranker-v2-gemma": (_bge_gemma, ("Yes",)),
    "ctxl-rerank": (_contextual, (0,)),
}


class CardReranker:
    """A language model that scores pairs as its card says."""

    def __init__(self, twin: Twin, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        name = next(name for name in CARDS if twin.name.startswith(name))
        self._parts, words = CARDS[name]
        self._tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._ids = [word if isinstance(word, int) else self._tokens(word)[0] for word in words]

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def run(self, pairs: Sequence[Any]) -> list[npt.NDArray[np.float32]]:
        """Returns the score of each pair, (1,), of one batch."""
        import torch

        rows = []
        for pair in pairs:
            before, text, after = map(self._tokens, self._parts(*pair))
            room = self._model.config.max_position_embeddings - len(before) - len(after)
            rows.append(before + text[:room] + after)
        padded = self._tokenizer.pad({"input_ids": rows}, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = self._model(**padded).logits[:, -1, self._ids]
        scores = logits[:, :1] - logits[:, 1:] if len(self._ids) == 2 else logits
        return list(scores.numpy())
