"""Which loaded models cannot read texts as a published folder will."""

from types import SimpleNamespace
from typing import Any

import pytest

from embconvert.errors import UnsupportedModelError
from embconvert.models.prompts import NO_PROMPTS, Prompt, Prompts
from embconvert.source.text_checks import (
    refuse_chat_template,
    refuse_what_reads_no_text,
    tell_of_left_out,
)


def chain(*ways: object) -> list[Any]:
    """A chain whose first module reads these kinds of inputs."""
    return [SimpleNamespace(modality_config={way: {} for way in ways})]


@pytest.mark.parametrize("ways", [("text",), ("image", "text"), ("message",), None])
def test_a_model_of_texts_or_messages_reads_texts(ways: tuple[str, ...] | None) -> None:
    without_any = [SimpleNamespace()]
    refuse_what_reads_no_text(without_any if ways is None else chain(*ways), "bert")


@pytest.mark.parametrize("ways", [(), ("image",), (("image", "text"),)])
def test_a_model_of_something_else_is_refused(ways: tuple[object, ...]) -> None:
    with pytest.raises(UnsupportedModelError, match="with the architecture dpr"):
        refuse_what_reads_no_text(chain(*ways), "dpr")


def test_a_chat_template_is_refused() -> None:
    refuse_chat_template(chain("text"))
    refuse_chat_template([SimpleNamespace()])
    with pytest.raises(UnsupportedModelError, match="chat template"):
        refuse_chat_template(chain("text", "message"))


def test_prompts_that_are_not_pooled_are_said() -> None:
    named = (Prompt(name="query", text="q: "), Prompt(name="document", text=""))
    said: list[str] = []
    tell_of_left_out(NO_PROMPTS, said.append)
    tell_of_left_out(Prompts(named=named), said.append)
    assert not said
    tell_of_left_out(Prompts(named=named, pooled=False), said.append)
    assert len(said) == 1
    assert "those of the model's settings (1)" in said[0]
