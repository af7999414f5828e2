"""The templates of the pages and the card, and how they are filled in."""

import html
import re
from functools import cache
from importlib import resources
from typing import Any

from embconvert.foreign_text import Markdown, lines, markdown, markdown_block, markdown_code
from embconvert.reporting.words import beginning, cosine_text, loss_text, size_text


def render(template: str, values: dict[str, Any]) -> str:
    """Fills in a template.

    Every value is escaped for the language of the template, unless it is marked as markup: by
    markup() for HTML, by being of foreign_text.Markdown for the card.

    Args:
        template: A file of this folder.
        values: By name; a name that a template uses and that is missing is an error.
    """
    environment = _html() if template.endswith(".html") else _markdown()
    return str(environment.get_template(template).render(values)) + "\n"


@cache
def page_style() -> Any:
    """Returns the style sheet of the pages."""
    return markup(resources.files(__name__).joinpath("page.css").read_text(encoding="utf-8"))


def markup(text: str) -> Any:
    """Marks text that is HTML already."""
    from markupsafe import Markup

    return Markup(text)


def _ticks(text: str) -> Any:
    """Returns a sentence as HTML, what is between backticks as code."""
    return markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text)))


def _without_controls(value: object) -> Any:
    """Returns a value for HTML, which escapes it next; HTML stays as it is."""
    return value if hasattr(value, "__html__") else lines(value)


@cache
def _html() -> Any:
    return _environment(autoescape=True, finalize=_without_controls)


@cache
def _markdown() -> Any:
    return _environment(autoescape=False, finalize=markdown)


def _environment(**options: Any) -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def load(name: str) -> str:
        return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(load),
        undefined=StrictUndefined,
        trim_blocks=True,
        **options,
    )
    environment.filters |= {
        "cosine": cosine_text,
        "loss": loss_text,
        "size": size_text,
        "decimal": lambda value, digits: f"{value:.{digits}f}",
        "beginning": beginning,
        "ticks": _ticks,
        "code": markdown_code,
        "block": markdown_block,
        # What no stranger has a part in, with backticks.
        "ours": Markdown,
    }
    return environment
