"""Prompts: which one is applied, and which differ."""

from embconvert.models.prompts import Prompt, Prompts


def prompts(default: str | None = None, **named: str) -> Prompts:
    return Prompts(named=tuple(Prompt(name=n, text=t) for n, t in named.items()), default=default)


def test_without_a_default_a_text_gets_none() -> None:
    assert prompts(query="q: ").usual == ""
    assert prompts(query="q: ", default="query").usual == "q: "


def test_different_prompts_and_none_with_the_usual_first() -> None:
    assert prompts(query="q: ", a="d: ", b="d: ", document="").distinct == ("", "q: ", "d: ")
    assert prompts(query="q: ", a="d: ", default="a").distinct == ("d: ", "", "q: ")


def test_empty_prompts_are_none() -> None:
    assert prompts(query="", document="", default="query").distinct == ()
    assert Prompts().distinct == ()
