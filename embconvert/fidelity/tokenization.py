"""Tokenizes texts to a graph's inputs with only the published tokenizer.json.

Consumers do the same, so verification covers that file, too; the reference is tokenized by
sentence-transformers. Whatever the reference does to a text must be in the file: nothing here may
compensate for what is missing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embconvert.errors import SourceError
from embconvert.fidelity.texts import Item, Plain, Query, joined
from embconvert.fidelity.tokenizer_errors import check_range, tokenizer_errors
from embconvert.foreign_text import one_line
from embconvert.models.choices import OFFSETS
from embconvert.models.forms import PaddingRecord
from embconvert.models.late_interaction import LateInteraction
from embconvert.models.pair_template import InputRules, PairTemplate

IntArray = npt.NDArray[np.int64]


#: The graph inputs that tokenization provides.
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", OFFSETS)


@dataclass(frozen=True, kw_only=True)
class Padding:
    """How the texts of a batch are padded; the defaults are those of tokenizers.

    Attributes:
        fixed_length: Minimum tokens; None for the longest text of the batch.
        multiple_of: The length is a multiple of this.
    """

    token_id: int = 0
    token: str = "[PAD]"
    type_id: int = 0
    left: bool = False
    fixed_length: int | None = None
    multiple_of: int = 1

    @property
    def record(self) -> PaddingRecord:
        """What programs that pad to a fixed shape need to know."""
        return PaddingRecord(
            side="left" if self.left else "right",
            token_id=self.token_id,
            token=one_line(self.token),
            type_id=self.type_id,
        )

    def length(self, longest: int) -> int:
        """Returns the padded length of a batch, from its longest text in tokens."""
        least = max(longest, self.fixed_length or 0)
        return -(-least // self.multiple_of) * self.multiple_of


@dataclass(frozen=True, kw_only=True)
class TokenizedTexts:
    """Token ids of some texts, without padding.

    Attributes:
        ids: For each text (tokens,) int64.
        attended: For each text the attention mask, (tokens,) int64; empty if it is all ones.
        counted: For each text whether a token is scored, (tokens,) bool; empty if all are.
        texts: The texts or pairs, with their prompts, for files that tokenize themselves; empty if
            they are not known.
    """

    ids: tuple[IntArray, ...]
    type_ids: tuple[IntArray, ...]
    padding: Padding = Padding()
    attended: tuple[IntArray, ...] = ()
    counted: tuple[npt.NDArray[np.bool_], ...] = ()
    texts: tuple[Plain, ...] = ()

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each text."""
        return [len(ids) for ids in self.ids]

    def are(self, theirs: Sequence[Mapping[str, Sequence[int]]]) -> bool:
        """Whether another tokenizer gives the same ids and, if any, token types.

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
        return replace(
            self,
            ids=tuple(self.ids[i] for i in indices),
            type_ids=tuple(self.type_ids[i] for i in indices),
            attended=tuple(self.attended[i] for i in indices) if self.attended else (),
            counted=tuple(self.counted[i] for i in indices) if self.counted else (),
            texts=tuple(self.texts[i] for i in indices) if self.texts else (),
        )

    def _length(self, indices: Sequence[int]) -> int:
        """Returns the tokens that each of some texts has as a batch."""
        return self.padding.length(max(len(self.ids[i]) for i in indices))

    def _where(self, index: int, longest: int) -> slice:
        """Returns the position of a text's tokens in a padded row."""
        length = len(self.ids[index])
        return slice(longest - length, longest) if self.padding.left else slice(0, length)

    def counting(self, indices: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Returns which tokens of a batch are scored, (texts, longest)."""
        longest = self._length(indices)
        mask = np.zeros((len(indices), longest), np.bool_)
        for row, index in enumerate(indices):
            mask[row, self._where(index, longest)] = self.counted[index] if self.counted else True
        return mask

    def sample(self, tokens: int) -> "TokenizedTexts":
        """Returns a sample of all lengths with about so many tokens, or all texts."""
        by_length = sorted(range(len(self.ids)), key=lambda i: len(self.ids[i]))
        return self.subset(by_length[:: max(1, round(sum(self.lengths) / tokens))])

    def batch(self, indices: Sequence[int], inputs: Collection[str]) -> dict[str, IntArray]:
        """Pads some texts to a graph's inputs, each (texts, longest) int64.

        With `offsets`, (texts,), `input_ids` are those of all texts in a row. Raises ValueError if
        the graph has an input that tokenization does not provide.
        """
        longest = self._length(indices)
        shape = (len(indices), longest)
        arrays = {
            "input_ids": np.full(shape, self.padding.token_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.full(shape, self.padding.type_id, np.int64),
        }
        for row, index in enumerate(indices):
            where = self._where(index, longest)
            arrays["input_ids"][row, where] = self.ids[index]
            arrays["attention_mask"][row, where] = self.attended[index] if self.attended else 1
            arrays["token_type_ids"][row, where] = self.type_ids[index]
        if "position_ids" in inputs:
            positions = arrays["attention_mask"].cumsum(axis=1) - 1
            arrays["position_ids"] = np.maximum(positions, 0)
        if OFFSETS in inputs:
            ids = [self.ids[index] for index in indices]
            arrays["input_ids"] = np.concatenate(ids)
            arrays[OFFSETS] = np.cumsum([0, *map(len, ids[:-1])], dtype=np.int64)
        unknown = set(inputs) - set(arrays)
        if unknown:
            raise ValueError(
                f"the graph has inputs that a tokenizer does not provide: {sorted(unknown)}"
            )
        return {name: arrays[name] for name in inputs}


def tokenize(
    folder: Path,
    texts: Sequence[Item],
    *,
    most: int | None = None,
    rules: InputRules | None = None,
    rows: int | None = None,
) -> TokenizedTexts:
    """Tokenizes texts with a folder's tokenizer.json; see TextTokenizer."""
    return TextTokenizer(folder).tokenize(texts, most=most, rules=rules, rows=rows)


class TextTokenizer:
    """A folder's tokenizer.json; in a worker, as it may be untrusted.

    It says where texts are truncated and how they are padded. Raises SourceError if it is missing
    or broken.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise SourceError(
                "the model has no tokenizer.json, and it could not be created from other files",
                "save its tokenizer as a fast tokenizer (tokenizer.json) and convert again",
            )
        with tokenizer_errors("is broken"):
            self._tokenizer = Tokenizer.from_file(str(path))
        self._cut = self._tokenizer.truncation
        #: How a batch of texts is padded.
        self.padding = padding_of(self._tokenizer.padding)
        # Whoever pads does so for a batch, which is made later; see TokenizedTexts.batch.
        self._tokenizer.no_padding()

    def tokenize(
        self,
        texts: Sequence[Item],
        *,
        most: int | None = None,
        rules: InputRules | None = None,
        rows: int | None = None,
    ) -> TokenizedTexts:
        """Tokenizes texts.

        Args:
            texts: Texts or pairs; prompts are put before them.
            most: Truncate to so many tokens even where tokenizer.json does not: to save time.
            rules: How inputs are read, if not as the file alone says.
            rows: Of the embedding table; None if unknown.

        Raises:
            SourceError: tokenizer.json does not fit the model's table, or cannot read a text.
        """
        usual = self._cut["max_length"] if self._cut else None
        encodings: list[Any] = [None] * len(texts)
        late = rules if isinstance(rules, LateInteraction) else None
        if late is None:
            encodings = self._encode([_as_read(text, rules) for text in texts], usual, most)
        else:
            for is_query in (False, True):
                places = [i for i, text in enumerate(texts) if isinstance(text, Query) is is_query]
                prompted = [late.prompt(query=is_query) + str(texts[i]) for i in places]
                limit = late.limit(usual, query=is_query)
                for place, encoding in zip(
                    places, self._encode(prompted, limit, most), strict=True
                ):
                    encodings[place] = encoding
        check_range([{"input_ids": e.ids} for e in encodings], {"input_ids": rows})
        tokenized = TokenizedTexts(
            ids=tuple(np.asarray(e.ids, np.int64) for e in encodings),
            type_ids=tuple(np.asarray(e.type_ids, np.int64) for e in encodings),
            padding=self.padding,
            texts=tuple(map(joined, texts)),
        )
        if isinstance(rules, PairTemplate):
            limits = [length for length in (usual, most) if length is not None]
            return _with_suffix(tokenized, rules, min(limits)) if limits else tokenized
        if late is None:
            return tokenized
        return _as_late_interaction(tokenized, [isinstance(text, Query) for text in texts], late)

    def _encode(self, items: Sequence[Plain], limit: int | None, most: int | None) -> list[Any]:
        limits = [length for length in (limit, most) if length is not None]
        with tokenizer_errors("cannot read a text"):
            self._tokenizer.no_truncation()
            if limits:
                self._tokenizer.enable_truncation(
                    **{**(self._cut or {}), "max_length": min(limits)}
                )
            encodings: list[Any] = self._tokenizer.encode_batch(list(items))
        return encodings


def _as_read(item: Item, template: InputRules | None) -> Plain:
    """Returns an input as it is tokenized."""
    whole = joined(item)
    if isinstance(template, PairTemplate) and not isinstance(whole, str):
        return template.text(*whole)
    return whole


def _with_suffix(texts: TokenizedTexts, template: PairTemplate, limit: int) -> TokenizedTexts:
    """Puts a template's suffix at the end of texts that are truncated to a length.

    Source: sentence_transformers.base.modules.transformer.Transformer._restore_chat_template_suffix
    (6.2).
    """
    suffix = np.asarray(template.suffix_ids[-limit:], np.int64)

    def kept(ids: IntArray) -> IntArray:
        if len(ids) < limit or not len(suffix):
            return ids
        return np.concatenate([ids[: len(ids) - len(suffix)], suffix])

    return replace(texts, ids=tuple(map(kept, texts.ids)))


def padding_of(said: Mapping[str, Any] | None) -> Padding:
    """Returns what tokenizers' `Tokenizer.padding` says."""
    if said is None:
        return Padding()
    return Padding(
        token_id=said["pad_id"],
        token=said["pad_token"],
        type_id=said["pad_type_id"],
        left=said["direction"] == "left",
        fixed_length=said["length"],
        multiple_of=said["pad_to_multiple_of"] or 1,
    )


def _as_late_interaction(
    texts: TokenizedTexts, queries: Sequence[bool], late: LateInteraction
) -> TokenizedTexts:
    """Expands truncated queries, and determines which tokens are scored."""
    ids, types, attended, counted = [], [], [], []
    for text, type_ids, is_query in zip(texts.ids, texts.type_ids, queries, strict=True):
        fill = late.expansion if is_query else None
        missing = max(0, fill.length - len(text)) if fill is not None else 0
        around = (missing, 0) if texts.padding.left else (0, missing)
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
