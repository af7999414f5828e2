"""The templates of the pages and the card, and their rendering."""

import html
import re
from functools import cache
from importlib import resources
from typing import Any

from embconvert import __version__
from embconvert.foreign_text import Markdown, lines, markdown, markdown_block, markdown_code
from embconvert.reporting.words import beginning, cosine_text, kept_text, loss_text, size_text
from embconvert.speed.records import UNMEASURABLE


def render(template: str, values: dict[str, Any]) -> str:
    """Renders a template of this folder; a missing value is an error.

    Values are escaped for the template's language, except HTML from markup() and
    foreign_text.Markdown.
    """
    environment = _html() if template.endswith(".html") else _markdown()
    usual = {
        "style": page_style(),
        "tool_version": __version__,
        "unmeasurable": UNMEASURABLE,
    }
    return str(environment.get_template(template).render(usual | values)) + "\n"


@cache
def page_style() -> Any:
    return markup(resources.files(__name__).joinpath("page.css").read_text(encoding="utf-8"))


def markup(text: str) -> Any:
    """Marks text as HTML."""
    from markupsafe import Markup

    return Markup(text)


def _ticks(text: str) -> Any:
    """Returns a sentence as HTML, with text in backticks as code."""
    return markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text)))


def _without_controls(value: object) -> Any:
    """Returns a value for HTML, which is escaped later; HTML is not changed."""
    return value if hasattr(value, "__html__") else lines(value)


@cache
def _html() -> Any:
    return _environment(autoescape=True, finalize=_without_controls)


def _breakable(name: str) -> Any:
    """Returns a name as HTML whose lines may end between its parts, but not within one."""
    return markup(re.sub(r"([/_-])", r"\1<wbr>", html.escape(lines(name))))


@cache
def _markdown() -> Any:
    return _environment(autoescape=False, finalize=markdown)


def _environment(**options: Any) -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def load(name: str) -> str:
        return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(load), undefined=StrictUndefined, trim_blocks=True, **options
    )
    environment.filters |= {
        "cosine": cosine_text,
        "kept": kept_text,
        "loss": loss_text,
        "size": size_text,
        "sentence": lambda words: f"{words[0].upper()}{words[1:]}.",
        "beginning": beginning,
        "ticks": _ticks,
        "breakable": _breakable,
        "code": markdown_code,
        "block": markdown_block,
        # Our own text, with backticks.
        "ours": Markdown,
    }
    return environment
