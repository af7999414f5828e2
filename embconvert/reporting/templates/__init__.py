"""The templates of the pages and the card, and how they are filled in."""

import html
import re
from functools import cache
from importlib import resources
from typing import Any

from embconvert.reporting.words import beginning, cosine_text, loss_text, size_text


def render(template: str, values: dict[str, Any]) -> str:
    """Fills in a template.

    Args:
        template: A file of this folder; `.html` escapes what it is given.
        values: By name; a name that a template uses and that is missing is an error.
    """
    return str(_environment().get_template(template).render(values)) + "\n"


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


@cache
def _environment() -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def load(name: str) -> str:
        return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(load),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "cosine": cosine_text,
        "loss": loss_text,
        "size": size_text,
        "decimal": lambda value, digits: f"{value:.{digits}f}",
        "beginning": beginning,
        "ticks": _ticks,
    }
    return environment
