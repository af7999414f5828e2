"""Licence and languages from the source's model card."""

from pathlib import Path
from typing import Any

from embconvert.manifest import CARD_FILE
from embconvert.models.source_records import SourceCard

_MAX_BYTES = 1 << 20
_MAX_WORD = 200
_MAX_LANGUAGES = 500


def read_card(folder: Path) -> SourceCard:
    """Reads the front matter of a model's README.md.

    A missing or broken card is ignored, because no graph depends on it.
    """
    metadata = _front_matter(folder / CARD_FILE)
    languages = metadata.get("language", ())
    if isinstance(languages, str | bool):
        languages = (languages,)
    if not isinstance(languages, list | tuple):
        languages = ()
    # The hub also allows a list of licences.
    license_id = metadata.get("license")
    if isinstance(license_id, list) and len(license_id) == 1:
        license_id = license_id[0]
    return SourceCard(
        license=_word(license_id),
        license_name=_word(metadata.get("license_name")),
        license_link=_word(metadata.get("license_link")),
        # YAML parses the language `no`, Norwegian, as a boolean.
        languages=tuple(
            word
            for value in languages[:_MAX_LANGUAGES]
            if (word := _word("no" if value is False else value))
        ),
    )


def _word(value: object) -> str | None:
    """Returns a value if it is one line of text, otherwise None."""
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_WORD:
        return None
    return value.strip() if value.isprintable() else None


def _front_matter(path: Path) -> dict[str, Any]:
    """Returns the YAML between the first two lines of dashes, or {}."""
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
