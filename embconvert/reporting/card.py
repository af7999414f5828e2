"""The model card: what hubs and people read first in a published folder."""

import re
from pathlib import Path
from typing import Any

from embconvert.foreign_text import (
    Markdown,
    https_address,
    markdown,
    markdown_code,
    markdown_link,
    url_path,
    yaml_block,
)
from embconvert.manifest import Manifest
from embconvert.models.choices import Precision
from embconvert.reporting.kind_words import described, tags_of, words_for
from embconvert.reporting.snippets import snippets
from embconvert.reporting.summary import Conversion
from embconvert.reporting.templates import render


def model_card(manifest: Manifest, folder: Path, *, name: str) -> str:
    """Returns the card as Markdown with front matter.

    Args:
        manifest: Of the folder.
        folder: Where the published files are now.
        name: What the folder is called where it is used.
    """
    conversion = Conversion(manifest)
    smallest = conversion.smallest
    return render(
        "card.md",
        {
            "front_matter": Markdown(yaml_block(front_matter(manifest))),
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
        "license_link": _license_link(source.card.license_link),
        "language": list(source.card.languages),
        # A local folder's name means nothing to a hub.
        "base_model": source.model_id if source.revision else None,
        "base_model_relation": "quantized" if source.revision and quantized else None,
        "library_name": "sentence-transformers",
        "pipeline_tag": pipeline_tag,
        "tags": [*tags, "embconvert"],
    }
    return {key: value for key, value in values.items() if value}


def _license_link(link: str | None) -> str | None:
    """Returns a link that hubs may show: an address on the web, or a file beside the card."""
    return link if link and re.fullmatch(r"https?://\S+|[\w.-]+(/[\w.-]+)*", link) else None


def _source_link(manifest: Manifest) -> Markdown:
    source = manifest.source
    if source.revision is None:
        return Markdown(f"{markdown_code(Conversion(manifest).title)}, a local folder")
    model_id = source.model_id
    return markdown_link(model_id, f"https://huggingface.co/{url_path(model_id)}")


def _license(manifest: Manifest) -> Markdown:
    source = manifest.source
    words = source.card.license
    if words is None:
        return Markdown("the source's card names none; ask its authors")
    shown = ": ".join(map(markdown, filter(None, (words, source.card.license_name))))
    link = https_address(source.card.license_link or "")
    return Markdown(f"{shown}, <{link}>" if link else shown)
