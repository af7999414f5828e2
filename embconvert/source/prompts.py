"""Reads the prompts of a loaded model."""

from typing import Any

from embconvert.errors import SourceError
from embconvert.models.prompts import MAX_PROMPT_CHARACTERS, MAX_PROMPTS, Prompt, Prompts

_FILE = "config_sentence_transformers.json"


def prompts_of(model: Any) -> Prompts:
    """Returns the prompts of a sentence-transformers model, which adds empty ones; none if all are.

    Raises SourceError if there are absurdly many, or one is absurdly long.
    """
    named = tuple(Prompt(name=name, text=text or "") for name, text in model.prompts.items())
    if not any(prompt.text for prompt in named):
        return Prompts(pooled=_pools_prompts(model))
    if len(named) > MAX_PROMPTS:
        raise _refused(f"has {len(named)} prompts; the limit is {MAX_PROMPTS}")
    for prompt in named:
        size = max(len(prompt.name), len(prompt.text))
        if size > MAX_PROMPT_CHARACTERS:
            raise _refused(
                f"has a prompt of {size} characters; the limit is {MAX_PROMPT_CHARACTERS}"
            )
    return Prompts(named=named, default=model.default_prompt_name, pooled=_pools_prompts(model))


def _pools_prompts(model: Any) -> bool:
    return all(getattr(module, "include_prompt", True) for module in model)


def _refused(what: str) -> SourceError:
    return SourceError(f"{_FILE} {what}", "correct the prompts in a copy of that file")
