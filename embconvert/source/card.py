"""The source's model card: its licence and its languages, which are kept."""

from pathlib import Path
from typing import Any

from embconvert.manifest import CARD_FILE
from embconvert.models.values import SourceCard

_MAX_BYTES = 1 << 20
_MAX_WORD = 200
_MAX_LANGUAGES = 500


def read_card(folder: Path) -> SourceCard:
    """Reads the front matter of a model's README.md.

    A card that is missing or broken says nothing, and is no reason to stop: no graph depends on it.

    Args:
        folder: The model's.
    """
    metadata = _front_matter(folder / CARD_FILE)
    languages = metadata.get("language", ())
    if isinstance(languages, str | bool):
        languages = (languages,)
    if not isinstance(languages, list | tuple):
        languages = ()
    # The hub takes a list too, of which a model with one licence has one.
    license_id = metadata.get("license")
    if isinstance(license_id, list) and len(license_id) == 1:
        license_id = license_id[0]
    return SourceCard(
        license=_word(license_id),
        license_name=_word(metadata.get("license_name")),
        license_link=_word(metadata.get("license_link")),
        # YAML takes the language `no`, Norwegian, for a boolean.
        languages=tuple(
            word
            for value in languages[:_MAX_LANGUAGES]
            if (word := _word("no" if value is False else value))
        ),
    )


def _word(value: object) -> str | None:
    """Returns a value that is one line of text, no other."""
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_WORD:
        return None
    return value.strip() if value.isprintable() else None


def _front_matter(path: Path) -> dict[str, Any]:
    """Returns the YAML between the first two lines of dashes; empty when there is none."""
    import yaml

    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return {}
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        if not lines or lines[0].rstrip() != "---":
            return {}
        end = [line.rstrip() for line in lines].index("---", 1)
        value = yaml.safe_load("\n".join(lines[1:end]))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
