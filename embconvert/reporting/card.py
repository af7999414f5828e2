"""The model card: what hubs and people read first in a published folder."""

import re
from pathlib import Path
from typing import Any

from embconvert.config import Precision
from embconvert.manifest import Manifest
from embconvert.reporting.kind_words import described, tags_of, words_for
from embconvert.reporting.snippets import snippets
from embconvert.reporting.summary import Conversion
from embconvert.reporting.templates import render

#: What Markdown takes for more than a letter, in words that come from elsewhere.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#])")


def model_card(manifest: Manifest, folder: Path, *, name: str) -> str:
    """Returns the card as Markdown with front matter.

    Args:
        manifest: Of the folder.
        folder: Where the published files are now.
        name: What the folder is called where it is used.
    """
    import yaml

    conversion = Conversion(manifest)
    smallest = conversion.smallest
    return render(
        "card.md",
        {
            "front_matter": yaml.safe_dump(
                front_matter(manifest), sort_keys=False, allow_unicode=True
            ),
            "conversion": conversion,
            "manifest": manifest,
            "source": manifest.source,
            "words": words_for(manifest),
            "described": described(manifest),
            "source_link": _source_link(manifest),
            "license": _license(manifest),
            "oldest_runtime": conversion.oldest_runtime,
            "name": name,
            "snippets": snippets(manifest, smallest.record, folder, name=name) if smallest else (),
        },
    )


def front_matter(manifest: Manifest) -> dict[str, Any]:
    """Returns the card's metadata, by the hub's names.

    Source: https://huggingface.co/docs/hub/model-cards, "Model card metadata".
    """
    source = manifest.source
    pipeline_tag, tags = tags_of(manifest)
    quantized = any(a.precision is not Precision.FLOAT32 for a in manifest.artifacts)
    values = {
        "license": source.card.license,
        "license_name": source.card.license_name,
        "license_link": source.card.license_link,
        "language": list(source.card.languages),
        # A local folder's name means nothing to a hub.
        "base_model": source.model_id if source.revision else None,
        "base_model_relation": "quantized" if source.revision and quantized else None,
        "library_name": "sentence-transformers",
        "pipeline_tag": pipeline_tag,
        "tags": [*tags, "embconvert"],
    }
    return {key: value for key, value in values.items() if value}


def _source_link(manifest: Manifest) -> str:
    source = manifest.source
    if source.revision is None:
        return f"`{Conversion(manifest).title}`, a local folder"
    return f"[{source.model_id}](https://huggingface.co/{source.model_id})"


def _license(manifest: Manifest) -> str:
    source = manifest.source
    words = source.card.license
    if words is None:
        return "the source's card names none; ask its authors"
    if source.card.license_name:
        words = f"{words}: {source.card.license_name}"
    escaped = _MARKUP.sub(r"\\\1", words)
    link = source.card.license_link or ""
    return f"{escaped}, <{link}>" if re.fullmatch(r"https://[^\s<>]+", link) else escaped
