"""Licence and languages from the source's model card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embconvert.manifest import CARD_FILE
from embconvert.models.source_records import SourceCard

_MAX_BYTES = 1 << 20
_MAX_WORD = 200
_MAX_LANGUAGES = 500
# YAML parses the language `no`, Norwegian, as a boolean.
_NORWEGIAN = ("no", "off", "false")


def read_card(folder: Path) -> SourceCard:
    """Reads the front matter of a model's README.md.

    A missing or broken card is ignored, because no graph depends on it.
    """
    metadata = _front_matter(folder / CARD_FILE)
    # The hub also allows a list of licences.
    licenses = _items(metadata.get("license"))
    return SourceCard(
        license=_word(licenses[0]) if len(licenses) == 1 else None,
        license_name=_word(metadata.get("license_name")),
        license_link=_word(metadata.get("license_link")),
        languages=tuple(
            word
            for node in _items(metadata.get("language"))[:_MAX_LANGUAGES]
            if (word := "no" if _is_norwegian(node) else _word(node))
        ),
    )


def _items(node: Any) -> list[Any]:
    """Returns the nodes of a list, or a node that is none."""
    import yaml

    return node.value if isinstance(node, yaml.SequenceNode) else [node]


def _is_norwegian(node: Any) -> bool:
    return (_scalar(node, "bool") or "").lower() in _NORWEGIAN


def _word(node: Any) -> str | None:
    """Returns a node's value if it is one line of text, otherwise None."""
    value = _scalar(node, "str")
    if value is None or not value.strip() or len(value) > _MAX_WORD:
        return None
    return value.strip() if value.isprintable() else None


def _scalar(node: Any, kind: str) -> str | None:
    """Returns a node's text as written if it is of a kind, otherwise None."""
    import yaml

    is_one = isinstance(node, yaml.ScalarNode) and node.tag == f"tag:yaml.org,2002:{kind}"
    return str(node.value) if is_one else None


def _front_matter(path: Path) -> Mapping[str, Any]:
    """Returns the YAML between the first two lines of dashes, or {}.

    The values are nodes: making Python's values of them fails in many ways.
    """
    import yaml

    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return {}
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        if not lines or lines[0].rstrip() != "---":
            return {}
        end = [line.rstrip() for line in lines].index("---", 1)
        root = yaml.compose("\n".join(lines[1:end]), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    if not isinstance(root, yaml.MappingNode):
        return {}
    return {key.value: node for key, node in root.value if isinstance(key, yaml.ScalarNode)}
