"""A model's prompts on the pages."""

from dataclasses import dataclass

from embconvert.foreign_text import json_string
from embconvert.manifest import Manifest
from embconvert.models.kinds import KINDS, Reading

_METHODS = {"query": "encode_query()", "document": "encode_document()"}


@dataclass(frozen=True, kw_only=True)
class PromptRow:
    """A prompt as the pages show it; `literal` is in double quotes, so that spaces can be seen.

    Attributes:
        method: The call of sentence-transformers that applies it by itself; None if none does.
        texts: Number of texts that were compared with it; None if that was not by prompt.
    """

    name: str
    literal: str
    is_default: bool
    method: str | None
    texts: int | None


def prompt_rows(manifest: Manifest) -> tuple[PromptRow, ...]:
    """Returns the prompts that are not empty."""
    prompts = manifest.source.prompts
    shares = {share.prompt: share.texts for share in manifest.verification.prompts}
    methods = {} if KINDS[manifest.kind].reading is Reading.PAIR else _METHODS
    return tuple(
        PromptRow(
            name=prompt.name,
            literal=json_string(prompt.text),
            is_default=prompt.name == prompts.default,
            method=methods.get(prompt.name),
            texts=shares.get(prompt.text),
        )
        for prompt in prompts.named
        if prompt.text
    )


def texts_without_prompt(manifest: Manifest) -> int | None:
    """Returns how many texts were compared without a prompt; None if that was not by prompt."""
    if KINDS[manifest.kind].reading is Reading.QUERY_OR_DOCUMENT:
        return None
    shares = {share.prompt: share.texts for share in manifest.verification.prompts}
    return shares.get("")
