"""Texts to a graph's inputs, by the tokenizer files of the output folder alone.

This is the way a consumer goes, so verification proves the tokenizer files together with the
graph; the reference goes through sentence-transformers.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.errors import SourceError
from embconvert.fidelity.texts import Item
from embconvert.source.json_files import read_json

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TokenizedTexts:
    """Token ids of some texts, not padded.

    Attributes:
        ids: For each text (tokens,) int64.
        type_ids: The same for token types.
        pad_id: What fills a shorter text up.
        pad_left: Whether it fills up on the left.
    """

    ids: tuple[IntArray, ...]
    type_ids: tuple[IntArray, ...]
    pad_id: int
    pad_left: bool

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.ids]

    def are(self, theirs: Sequence[Mapping[str, Sequence[int]]]) -> bool:
        """Whether another tokenizer gives the same ids and, where it gives some, token types.

        Args:
            theirs: For each text its inputs, by name.
        """
        ours = zip(self.ids, self.type_ids, strict=True)
        return all(
            list(ids) == list(text["input_ids"])
            and list(types) == list(text.get("token_type_ids", types))
            for (ids, types), text in zip(ours, theirs, strict=True)
        )

    def subset(self, indices: Sequence[int]) -> "TokenizedTexts":
        """Returns some of the texts."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in indices),
            type_ids=tuple(self.type_ids[i] for i in indices),
        )

    def sample(self, tokens: int) -> "TokenizedTexts":
        """Returns every so manieth of the texts, by length: about so many tokens, or all."""
        by_length = sorted(range(len(self.ids)), key=lambda i: len(self.ids[i]))
        return self.subset(by_length[:: max(1, round(sum(self.lengths) / tokens))])

    def batch(self, indices: Sequence[int], inputs: Collection[str]) -> dict[str, IntArray]:
        """Pads some texts into a graph's inputs, each (texts, longest) int64.

        Args:
            indices: Which texts.
            inputs: The names that the graph has.

        Raises:
            ValueError: The graph has an input that tokenization does not give.
        """
        longest = max(len(self.ids[i]) for i in indices)
        shape = (len(indices), longest)
        arrays = {
            "input_ids": np.full(shape, self.pad_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }
        for row, index in enumerate(indices):
            length = len(self.ids[index])
            where = slice(longest - length, longest) if self.pad_left else slice(0, length)
            arrays["input_ids"][row, where] = self.ids[index]
            arrays["attention_mask"][row, where] = 1
            arrays["token_type_ids"][row, where] = self.type_ids[index]
        if "position_ids" in inputs:
            positions = arrays["attention_mask"].cumsum(axis=1) - 1
            arrays["position_ids"] = np.maximum(positions, 0)
        unknown = set(inputs) - set(arrays)
        if unknown:
            raise ValueError(f"the graph has inputs that no tokenizer gives: {sorted(unknown)}")
        return {name: arrays[name] for name in inputs}


def tokenize(folder: Path, texts: Sequence[Item], *, max_length: int | None) -> TokenizedTexts:
    """Tokenizes texts with the tokenizer files of a folder.

    Args:
        folder: Has tokenizer.json and tokenizer_config.json.
        texts: The texts, or pairs of texts, of which the longer one is cut first.
        max_length: Tokens after which a text is cut; None for no limit.

    Raises:
        SourceError: There is no tokenizer.json, or it is broken.
    """
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Lowercase
    from tokenizers.normalizers import Sequence as NormalizerSequence

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise SourceError(
            "the model has no tokenizer.json, and none could be made of its other files",
            "save its tokenizer as a fast one (tokenizer.json) and convert again",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise SourceError(f"tokenizer.json is broken: {error}", "download it again") from error
    config = _optional(folder / "tokenizer_config.json")
    if _optional(folder / "sentence_bert_config.json").get("do_lower_case"):
        steps = [Lowercase()] + ([tokenizer.normalizer] if tokenizer.normalizer else [])
        tokenizer.normalizer = NormalizerSequence(steps)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if max_length is not None:
        side = config.get("truncation_side", "right")
        tokenizer.enable_truncation(max_length, direction=side)
    encodings = tokenizer.encode_batch(list(texts))
    pad_token = config.get("pad_token")
    if isinstance(pad_token, dict):  # an AddedToken
        pad_token = pad_token.get("content")
    pad_id = tokenizer.token_to_id(pad_token) if pad_token else None
    return TokenizedTexts(
        ids=tuple(np.asarray(e.ids, np.int64) for e in encodings),
        type_ids=tuple(np.asarray(e.type_ids, np.int64) for e in encodings),
        pad_id=pad_id or 0,
        pad_left=config.get("padding_side") == "left",
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
