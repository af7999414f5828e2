"""How the source's library reads texts: what its tokenizer does, and the settings of its calls."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embconvert.errors import SourceError
from embconvert.fidelity.texts import Item, Plain, plain, prompt_of
from embconvert.fidelity.tokenizer_errors import tokenizer_errors

if TYPE_CHECKING:
    import torch

# Texts of a batch of the tokenizer.
_AT_ONCE = 32
#: Lengths from here on are none: transformers says "unlimited" with numbers such as 1e30.
UNLIMITED = 1_000_000
#: What transformers takes for `truncation` to cut no text, whatever lengths are named.
CUTS_NOTHING = (False, "do_not_truncate")


def call_of_texts(settings: object) -> dict[str, Any]:
    """Returns what `processing_kwargs` say of a call of the tokenizer; what is common wins.

    Source: sentence_transformers.base.modules.transformer.Transformer.preprocess (6.2).
    """
    parts = [settings.get(n) for n in ("text", "common")] if isinstance(settings, Mapping) else []
    return {
        key: value for part in parts if isinstance(part, Mapping) for key, value in part.items()
    }


class SourceTokenizer:
    """Reads texts as sentence-transformers does; `task` is that of the chosen route, if any."""

    def __init__(self, model: Any, samples: Sequence[Plain], task: str | None = None) -> None:
        self._model = model
        self._samples = samples
        self._task = task

    @property
    def tokenizer(self) -> Any:
        return self._model.tokenizer

    @property
    def max_seq_length(self) -> int | None:
        """Tokens after which a text is cut; None when it is not."""
        if not self.cuts_texts:
            return None
        length = self._call.get("max_length") or self._model.max_seq_length
        if self._task in ("query", "document"):
            length = getattr(self._model[0], f"{self._task}_length", None) or length
        if length is None or length >= UNLIMITED or length < self._special_tokens:
            return None  # tokenizers cuts nothing where special tokens alone are longer
        return int(length)

    @property
    def longest(self) -> int | None:
        """Tokens after which every text is cut, queries and documents, too; None when one is not.

        Queries are filled up to a length, which counts as one.
        """
        length = self.max_seq_length
        if length is None:
            return None
        transformer = self._model[0]
        others = [getattr(transformer, f"{task}_length", None) for task in ("query", "document")]
        others.append((getattr(transformer, "query_expansion", None) or {}).get("length"))
        return max(length, *(other or 0 for other in others))

    @property
    def cuts_texts(self) -> bool:
        """Whether texts are cut at all, whatever lengths are named."""
        return self._call.get("truncation") not in CUTS_NOTHING

    @property
    def _special_tokens(self) -> int:
        """How many tokens are put around a text."""
        return int(self.tokenizer.num_special_tokens_to_add()) if self.adds_special_tokens else 0

    @property
    def adds_special_tokens(self) -> bool:
        """Whether special tokens are put around texts."""
        return bool(self._call.get("add_special_tokens", True))

    @property
    def _call(self) -> dict[str, Any]:
        return call_of_texts(self._settings_of_calls)

    @property
    def _settings_of_calls(self) -> Mapping[str, Any]:
        """The `processing_kwargs` of the module that reads the texts."""
        settings: Mapping[str, Any] = self._model[0].processing_kwargs
        return settings

    def cut_at(self, length: int) -> None:
        """Truncates each text to `length` tokens; what is cut before stays.

        Raises:
            SourceError: Queries are filled up to more.
        """
        transformer = self._model[0]
        expansion = transformer.query_expansion
        if expansion is not None and expansion["length"] > length:
            raise SourceError(
                f"queries are padded to {expansion['length']} tokens, but the model has positions "
                f"for only {length}",
                "correct query_expansion in a copy of sentence_bert_config.json",
            )
        had_lengths, was_cut = self.cuts_texts, self.max_seq_length is not None
        own = self._model.max_seq_length
        if not was_cut or own is None or own > length:
            self._model.max_seq_length = length
        said = self._settings_of_calls
        for call in (said[name] for name in ("common", "text") if said.get(name)):
            if "max_length" in call and not (was_cut and (call["max_length"] or length) < length):
                call["max_length"] = length
            call.update({"truncation": True} if "truncation" in call else {})
        for name in ("query_length", "document_length"):
            own = getattr(transformer, name)
            if own is not None and (own > length or not had_lengths):
                setattr(transformer, name, length)

    def refuse_missing_pad_token(self) -> None:
        """Raises SourceError without a pad token: sentence-transformers pads every batch."""
        if self.tokenizer.pad_token_id is not None:
            return
        raise SourceError(
            "the tokenizer has no pad token, with which sentence-transformers pads batches",
            self._set_pad_token,
        )

    def refuse_pad_token_beyond(self, rows: int | None) -> None:
        """Raises SourceError if the model's table has no row for the pad token.

        sentence-transformers embeds single texts with such a model, and no batches.
        """
        number = self.tokenizer.pad_token_id
        if rows is None or number < rows:
            return
        raise SourceError(
            f"the tokenizer's pad token has the id {number}, but the model's table has {rows} "
            "rows: sentence-transformers cannot pad batches with it",
            self._set_pad_token,
        )

    @property
    def _set_pad_token(self) -> str:
        usual = self.tokenizer.eos_token or self.tokenizer.unk_token
        return "set pad_token in a copy of tokenizer_config.json" + (
            f'; models without one mostly take "{usual}"' if usual else ""
        )

    def features(self, texts: Sequence[Plain], prompt: str = "") -> "dict[str, torch.Tensor]":
        """Returns what sentence-transformers makes of a batch for the model, by name."""
        named = {} if self._task is None else {"task": self._task}
        features: dict[str, torch.Tensor] = self._model.preprocess(
            list(texts), prompt=prompt or None, **named
        )
        return features

    def prompt_length(self, prompt: str) -> int:
        """Returns how many tokens of a text with this prompt are the prompt's."""
        return int(self._model.preprocess(["a"], prompt=prompt)["prompt_length"])

    def tokens(self, texts: Sequence[Item]) -> list[dict[str, list[int]]]:
        """Returns what the model reads of each text, by the names of its inputs."""
        read: list[dict[str, list[int]]] = [{} for _ in texts]
        for prompt in dict.fromkeys(map(prompt_of, texts)):
            places = [place for place, text in enumerate(texts) if prompt_of(text) == prompt]
            for start in range(0, len(places), _AT_ONCE):
                batch = places[start : start + _AT_ONCE]
                features = self.features([plain(texts[place]) for place in batch], prompt)
                given = [name for name in ("input_ids", "token_type_ids") if name in features]
                kept = features["attention_mask"].bool()
                for row, place in enumerate(batch):
                    read[place] = {n: features[n][row][kept[row]].tolist() for n in given}
        return read

    def backend(self) -> Any:
        """Returns the tokenizers.Tokenizer as it truncates and pads texts; None for one in Python.

        transformers sets both anew with every call.
        """
        with tokenizer_errors("cannot read a text"):
            self.features(self._samples)
        return self.tokenizer.backend_tokenizer if self.tokenizer.is_fast else None
