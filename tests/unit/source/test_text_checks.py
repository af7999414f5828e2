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


class Bert:
    def forward(self, input_ids: Any = None, attention_mask: Any = None) -> None: ...


class Remote:
    def forward(self, *inputs: Any, **settings: Any) -> None: ...


class Vision:
    def forward(self, hidden_states: Any, grid_thw: Any, **settings: Any) -> None: ...


def refuse(ways: tuple[object, ...], model: Any) -> None:
    module = SimpleNamespace(modality_config={way: {} for way in ways}, auto_model=model)
    refuse_what_reads_no_text(module, "dpr")


@pytest.mark.parametrize("model", [Bert(), Remote(), None])
@pytest.mark.parametrize("ways", [("text",), ("image", "text"), ("image", "message")])
def test_a_model_of_texts_or_messages_reads_texts(ways: tuple[str, ...], model: Any) -> None:
    refuse(ways, model)


def test_a_module_that_does_not_say_what_it_reads_may_read_texts() -> None:
    refuse_what_reads_no_text(SimpleNamespace(), "static")


@pytest.mark.parametrize(
    ("ways", "model"),
    [((), Bert()), (("image",), Bert()), ((("image", "text"),), Bert()), (("text",), Vision())],
)
def test_a_model_of_something_else_is_refused(ways: tuple[object, ...], model: Any) -> None:
    with pytest.raises(UnsupportedModelError, match="with the architecture dpr"):
        refuse(ways, model)


def test_a_chat_template_is_refused() -> None:
    refuse_chat_template(chain("text"))
    refuse_chat_template([SimpleNamespace()])
    with pytest.raises(UnsupportedModelError, match="chat template"):
        refuse_chat_template(chain("text", "message"))


def test_prompts_that_are_not_pooled_are_said() -> None:
    named = (Prompt(name="query", text="q: "), Prompt(name="document", text=""))
    said: list[str] = []
    tell_of_left_out(NO_PROMPTS, said.append, cuts_beginnings=True)
    tell_of_left_out(Prompts(named=named), said.append, cuts_beginnings=True)
    assert not said
    tell_of_left_out(Prompts(named=named, pooled=False), said.append, cuts_beginnings=False)
    assert len(said) == 1
    assert "those of the model's settings (1)" in said[0]


def test_prompts_that_are_not_pooled_must_not_be_cut_off() -> None:
    named = (Prompt(name="query", text="q: "),)
    said: list[str] = []
    with pytest.raises(UnsupportedModelError, match="cut on the left"):
        tell_of_left_out(Prompts(named=named, pooled=False), said.append, cuts_beginnings=True)
    assert not said
