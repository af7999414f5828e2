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
from embconvert.fidelity.texts import Item, Query
from embconvert.fidelity.tokenizer_errors import check_range, tokenizer_errors
from embconvert.json_files import read_json
from embconvert.models.late_interaction import LateInteraction

IntArray = npt.NDArray[np.int64]


#: Inputs of graphs that tokenization gives.
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


@dataclass(frozen=True, kw_only=True)
class TokenizedTexts:
    """Token ids of some texts, not padded.

    Attributes:
        ids: For each text (tokens,) int64.
        type_ids: The same for token types.
        pad_id: What fills a shorter text up.
        pad_left: Whether it fills up on the left.
        attended: For each text whether the transformer sees a token, (tokens,) int64; empty when
            it sees all.
        counted: For each text whether a token's vector counts, (tokens,) bool; empty when all do.
    """

    ids: tuple[IntArray, ...]
    type_ids: tuple[IntArray, ...]
    pad_id: int
    pad_left: bool
    attended: tuple[IntArray, ...] = ()
    counted: tuple[npt.NDArray[np.bool_], ...] = ()

    @property
    def lengths(self) -> list[int]:
        """Tokens of each text."""
        return [len(ids) for ids in self.ids]

    def are(self, theirs: Sequence[Mapping[str, Sequence[int]]]) -> bool:
        """Whether another tokenizer gives the same ids and, where it gives some, token types.

        Args:
            theirs: For each text its inputs, by name.
        """
        attended = self.attended or tuple(np.ones_like(ids) for ids in self.ids)
        ours = zip(self.ids, self.type_ids, attended, strict=True)
        return all(
            list(ids) == list(text["input_ids"])
            and list(types) == list(text.get("token_type_ids", types))
            and list(seen) == list(text.get("attention_mask", seen))
            for (ids, types, seen), text in zip(ours, theirs, strict=True)
        )

    def subset(self, indices: Sequence[int]) -> "TokenizedTexts":
        """Returns some of the texts."""
        return replace(
            self,
            ids=tuple(self.ids[i] for i in indices),
            type_ids=tuple(self.type_ids[i] for i in indices),
            attended=tuple(self.attended[i] for i in indices) if self.attended else (),
            counted=tuple(self.counted[i] for i in indices) if self.counted else (),
        )

    def _where(self, index: int, longest: int) -> slice:
        """Returns where a text's tokens are among those of a batch."""
        length = len(self.ids[index])
        return slice(longest - length, longest) if self.pad_left else slice(0, length)

    def counting(self, indices: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Returns which tokens of a batch count, (texts, longest): not those that fill it up."""
        longest = max(len(self.ids[i]) for i in indices)
        mask = np.zeros((len(indices), longest), np.bool_)
        for row, index in enumerate(indices):
            mask[row, self._where(index, longest)] = self.counted[index] if self.counted else True
        return mask

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
            where = self._where(index, longest)
            arrays["input_ids"][row, where] = self.ids[index]
            arrays["attention_mask"][row, where] = self.attended[index] if self.attended else 1
            arrays["token_type_ids"][row, where] = self.type_ids[index]
        if "position_ids" in inputs:
            positions = arrays["attention_mask"].cumsum(axis=1) - 1
            arrays["position_ids"] = np.maximum(positions, 0)
        unknown = set(inputs) - set(arrays)
        if unknown:
            raise ValueError(f"the graph has inputs that no tokenizer gives: {sorted(unknown)}")
        return {name: arrays[name] for name in inputs}


def tokenize(
    folder: Path,
    texts: Sequence[Item],
    *,
    max_length: int | None,
    late: LateInteraction | None = None,
    rows: int | None = None,
) -> TokenizedTexts:
    """Tokenizes texts with the tokenizer files of a folder; in a worker, for it may be foreign.

    Args:
        folder: Has tokenizer.json and tokenizer_config.json.
        texts: The texts, or pairs of texts, of which the longer one is cut first.
        max_length: Tokens after which a text is cut; None for no limit.
        late: How queries and documents are read, for late-interaction models.
        rows: Of the model's table of embeddings; None when they are not known.

    Raises:
        SourceError: There is no tokenizer.json, or it is broken, or of a model with more rows.
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
    with tokenizer_errors("is broken"):
        tokenizer = Tokenizer.from_file(str(path))
    config = _optional(folder / "tokenizer_config.json")
    if _optional(folder / "sentence_bert_config.json").get("do_lower_case"):
        steps = [Lowercase()] + ([tokenizer.normalizer] if tokenizer.normalizer else [])
        tokenizer.normalizer = NormalizerSequence(steps)
    tokenizer.no_padding()
    side = config.get("truncation_side", "right")

    def encode(items: Sequence[Item], limit: int | None) -> list[Any]:
        with tokenizer_errors("cannot read a text"):
            tokenizer.no_truncation()
            if limit is not None:
                tokenizer.enable_truncation(limit, direction=side)
            encodings: list[Any] = tokenizer.encode_batch(list(items))
        return encodings

    pad_token = config.get("pad_token")
    if isinstance(pad_token, dict):  # an AddedToken
        pad_token = pad_token.get("content")
    pad_id = tokenizer.token_to_id(pad_token) if pad_token else None
    encodings: list[Any] = [None] * len(texts)
    if late is None:
        encodings = encode(texts, max_length)
    else:
        for is_query in (False, True):
            places = [i for i, text in enumerate(texts) if isinstance(text, Query) is is_query]
            prompted = [late.prompt(query=is_query) + str(texts[i]) for i in places]
            limit = late.limit(max_length, query=is_query)
            for place, encoding in zip(places, encode(prompted, limit), strict=True):
                encodings[place] = encoding
    check_range([{"input_ids": e.ids} for e in encodings], {"input_ids": rows})
    tokenized = TokenizedTexts(
        ids=tuple(np.asarray(e.ids, np.int64) for e in encodings),
        type_ids=tuple(np.asarray(e.type_ids, np.int64) for e in encodings),
        pad_id=pad_id or 0,
        pad_left=config.get("padding_side") == "left",
    )
    if late is None:
        return tokenized
    return _as_late_interaction(tokenized, [isinstance(text, Query) for text in texts], late)


def _as_late_interaction(
    texts: TokenizedTexts, queries: Sequence[bool], late: LateInteraction
) -> TokenizedTexts:
    """Fills queries up, and notes which tokens count.

    Args:
        texts: As they are cut.
        queries: For each text whether it is a query.
        late: How it is done.
    """
    ids, types, attended, counted = [], [], [], []
    for text, type_ids, is_query in zip(texts.ids, texts.type_ids, queries, strict=True):
        fill = late.expansion if is_query else None
        missing = max(0, fill.length - len(text)) if fill is not None else 0
        around = (missing, 0) if texts.pad_left else (0, missing)
        filler = fill.token_id if fill is not None else 0
        seen = int(fill is not None and fill.attend)
        ids.append(np.pad(text, around, constant_values=filler))
        types.append(np.pad(type_ids, around))
        attended.append(np.pad(np.ones_like(text), around, constant_values=seen))
        skips = ("query" if is_query else "document") in late.skipped_in
        counted.append(~np.isin(ids[-1], late.skipped_ids if skips else ()))
    return replace(
        texts,
        ids=tuple(ids),
        type_ids=tuple(types),
        attended=tuple(attended),
        counted=tuple(counted),
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
