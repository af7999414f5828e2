"""Hooks of the documentation site (mkdocs.yml)."""

import re
from typing import Any

#: What a browser loads by itself, in contrast to links, which a reader follows.
_LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"']?(?:https?:)?//"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon|manifest))"
    r"[^>]*\bhref=[\"']?(?:https?:)?//"
    r"|url\([\"']?(?:https?:)?//"
)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Fails the build if a page loads something from another host.

    Raises:
        ValueError: It does.
    """
    found = _LOADED.search(output)
    if found is not None:
        raise ValueError(f"{page.file.src_path} loads from another host: {found[0]}")
    return output
