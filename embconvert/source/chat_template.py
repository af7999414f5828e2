"""A chat template, as the texts around an input.

A template is a program from the model's files. transformers runs it in jinja's sandbox, and
embconvert only in the worker that loads the model, which has no network and a time limit. What is
published are the texts that it puts around the texts of an input, and only if it does nothing else.
"""

import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar

from embconvert.errors import UnsupportedModelError, reason_of
from embconvert.fidelity.texts import Plain
from embconvert.models.pair_template import PairTemplate, joined_by
from embconvert.overriding import override
from embconvert.source.reading import SourceTokenizer

if TYPE_CHECKING:
    import torch

_QUERY, _DOCUMENT = "embconvertQUERYtext", "embconvertDOCUMENTtext"
# What templates may strip, escape, cut or take for their own.
_PROBES = (
    ("", ""),
    ("  spaces around\n", "\n\ttabs and lines \n"),
    ("{{ 1 + 1 }} {% raw %}", "<b>&amp;</b> \"quoted\" 'twice' \\n"),
    ("é 日本 👩‍🚀", "<|im_end|> </s> [SEP] " + "long " * 3000),
)
_TIME = "embconvertTIMEtext"
_MOST_CHARACTERS = 20_000
# A template takes milliseconds.
_SECONDS = 30.0
# Of sentence-transformers' own, and those that decide where a text is cut.
_RESTORE = "restore_suffix"
_SIZES = ("padding", "truncation", "max_length", "pad_to_multiple_of", "padding_side")


class _TemplateReading(SourceTokenizer):
    """Reads inputs through a chat template, with a prompt, if any, as system message."""

    #: The texts of an input, and of what templates are tried with.
    _marks: ClassVar[tuple[str, ...]]
    _probes: ClassVar[Sequence[tuple[str, ...]]]

    def __init__(self, model: Any, samples: Sequence[Plain], prompt: str) -> None:
        super().__init__(model, samples)
        self.prompt = prompt
        #: The places of the texts of an input in its template.
        self._order: Sequence[int] = range(len(self._marks))

    @override
    def features(self, texts: Sequence[Plain], prompt: str = "") -> "dict[str, torch.Tensor]":
        return super().features(texts, prompt or self.prompt)

    def _messages(self, texts: tuple[str, ...]) -> Any:
        """Returns what sentence-transformers makes of an input."""
        raise NotImplementedError

    def around(self, seconds: float = _SECONDS) -> tuple[str, ...]:
        """Returns the texts before, between and after the texts of an input.

        Raises UnsupportedModelError if the template does anything else with them, or takes longer
        than so many seconds; such a template runs on until the process ends.
        """
        found: Future[tuple[str, ...]] = Future()

        def find() -> None:
            try:
                found.set_result(self._around())
            except BaseException as error:  # noqa: BLE001 - raised again by result()
                found.set_exception(error)

        Thread(target=find, daemon=True).start()
        try:
            return found.result(seconds)
        except TimeoutError as error:
            raise _refused(f"takes longer than {seconds:g} seconds") from error

    def _around(self) -> tuple[str, ...]:
        rendered = self._render(self._marks)
        parts = re.split("|".join(self._marks), rendered)
        places = [rendered.find(mark) for mark in self._marks]
        self._order = sorted(range(len(places)), key=places.__getitem__)
        if (
            len(parts) != len(places) + 1
            or min(places) < 0
            or max(map(len, parts)) > _MOST_CHARACTERS
        ):
            raise _refused(f"does not contain {self._words} exactly once")
        for texts in (self._marks, *self._probes):
            if self._render(texts) != joined_by(parts, [texts[n] for n in self._order]):
                raise _refused(f"does more than put fixed texts around {self._words}")
        if self._render(self._marks, strftime_now=lambda _: _TIME) != rendered:
            raise _refused("contains the current date, which changes every day")
        return tuple(parts)

    @property
    def _words(self) -> str:
        return "the query and the document" if len(self._marks) > 1 else "the input"

    def _render(self, texts: tuple[str, ...], **given: Any) -> str:
        """Returns an input as one text; the template finds `given` by name."""
        transformer = self._model[0]
        settings = dict(transformer.processing_kwargs.get("chat_template") or {})
        if not settings.pop(_RESTORE, True) or any(name in settings for name in _SIZES):
            raise _refused("has settings of its own for truncation or padding")
        messages = [self._messages(texts)]
        if self.prompt:
            formatter = transformer.input_formatter
            messages = formatter.prepend_prompt_to_messages(messages, self.prompt)
        try:
            rendered = self.tokenizer.apply_chat_template(
                messages[0], tokenize=False, **settings, **given
            )
        except Exception as error:
            raise _refused(f"fails: {reason_of(error)}") from error
        return str(rendered)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


class PairReading(_TemplateReading):
    """Reads pairs through a chat template; the manifest has what is around them."""

    adds_special_tokens = False
    _marks = (_QUERY, _DOCUMENT)
    _probes = _PROBES

    @override
    def _messages(self, texts: tuple[str, ...]) -> Any:
        return self._model[0].input_formatter.pair_to_messages(texts)

    def template(self, seconds: float = _SECONDS) -> PairTemplate:
        """Returns the texts around a pair; see around()."""
        prefix, middle, suffix = self.around(seconds)
        found = PairTemplate(
            prefix=prefix, middle=middle, suffix=suffix, document_first=self._order[0] == 1,
            suffix_ids=(),
        )  # fmt: skip
        return replace(found, suffix_ids=self._suffix_ids(found))

    def _suffix_ids(self, template: PairTemplate) -> tuple[int, ...]:
        """Returns the tokens that any two pairs have in common at the end.

        Source: sentence_transformers.base.modules.transformer.Transformer._chat_template_suffix_ids
        (6.2).
        """
        first, second = (self._ids(template.text(text, text)) for text in ("0", "1 2 3 4"))
        pairs = list(zip(reversed(first), reversed(second), strict=False))
        same = next((n for n, (one, other) in enumerate(pairs) if one != other), 0)
        return tuple(first[len(first) - same :])


class TextReading(_TemplateReading):
    """Reads texts through a chat template; tokenizer.json gets the tokens around them.

    As sentence-transformers does, it leaves them where they are when it cuts a text.
    """

    adds_special_tokens = True
    _marks = (_QUERY,)
    _probes = tuple((text,) for pair in _PROBES for text in pair)

    def __init__(self, model: Any, samples: Sequence[Plain], prompt: str) -> None:
        super().__init__(model, samples, prompt)
        before, after = self.around()
        self._before, self._after = self._ids(before), self._ids(after)

    @override
    def _messages(self, texts: tuple[str, ...]) -> Any:
        formatter = self._model[0].input_formatter
        return formatter.batch_to_message("text", {"text": list(texts)})[1]["message"][0]

    def settle(self, warn: Callable[[str], None]) -> None:
        """Says what is around texts; raises UnsupportedModelError where tokens grow together."""
        if self.differing(("a", "A text.")):
            raise _refused("shares tokens with the beginning or end of a text")
        counts = f"{len(self._before)} tokens before and {len(self._after)} after"
        if self._before or self._after:
            warn(
                "the model reads texts in its chat template: tokenizer.json adds "
                f"{counts} each text"
            )
        others = self.differing(("\n\n a", "  a", "a\n\n", "a  "))
        if others:
            warn(
                "texts that begin or end with spaces or line breaks get other tokens there than in "
                f"the chat template itself, such as {others[0]!r}"
            )

    def differing(self, texts: Sequence[str]) -> list[str]:
        """Returns those texts whose first or last token grows together with what is around."""
        backend = self.backend()
        backend.no_padding()
        ours = [encoding.ids for encoding in backend.encode_batch(list(texts))]
        read = zip(texts, ours, self.tokens(texts), strict=True)
        return [text for text, ids, theirs in read if ids != theirs["input_ids"]]

    @override
    def backend(self) -> Any:
        """Returns the tokenizers.Tokenizer that puts the template's tokens around texts."""
        from tokenizers import Tokenizer

        found = super().backend()
        if found is None:
            raise _refused("belongs to a tokenizer that has no tokenizer.json")
        made = Tokenizer.from_str(found.to_str())
        made.post_processor = putting_around(self.tokenizer, self._before, self._after)
        return made


def putting_around(tokenizer: Any, before: Sequence[int], after: Sequence[int]) -> Any:
    """Returns a post-processor of tokenizers that puts tokens, by id, around a text.

    In tokenizer.json, each token is named by itself: some programs go by that.
    """
    from tokenizers import Tokenizer, models

    names = {number: tokenizer.convert_ids_to_tokens(number) for number in (*before, *after)}

    def pieces(ids: Sequence[int]) -> list[Any]:
        return [{"SpecialToken": {"id": names[number], "type_id": 0}} for number in ids]

    texts = [{"Sequence": {"id": name, "type_id": 0}} for name in ("A", "B")]
    value = json.loads(Tokenizer(models.WordLevel({}, unk_token="")).to_str())
    value["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [*pieces(before), texts[0], *pieces(after)],
        "pair": [*pieces(before), *texts, *pieces(after)],
        "special_tokens": {
            token: {"id": token, "ids": [number], "tokens": [token]}
            for number, token in names.items()
        },
    }
    return Tokenizer.from_str(json.dumps(value)).post_processor


def _refused(what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"the model's chat template {what}, so fixed tokens around a text cannot replace it",
        "correct the template in a copy (chat_template.jinja, or chat_template in "
        "tokenizer_config.json)",
    )
