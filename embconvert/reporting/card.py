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
from embconvert.manifest import Manifest, SourceRecord
from embconvert.models.choices import Precision
from embconvert.models.source_records import AdapterRecord, SourceCard
from embconvert.reporting.advised_prefixes import advice_for
from embconvert.reporting.form_notes import form_notes, form_snippets
from embconvert.reporting.home import Home
from embconvert.reporting.kind_words import described, heads_of, tags_of, words_for
from embconvert.reporting.prompt_rows import prompt_rows, texts_without_prompt
from embconvert.reporting.snippets import snippets
from embconvert.reporting.summary import ManifestSummary
from embconvert.reporting.templates import render


def model_card(manifest: Manifest, folder: Path, *, home: Home) -> str:
    """Returns the card as Markdown with front matter, for files that are now in the folder."""
    conversion = ManifestSummary(manifest)
    chosen = conversion.recommended
    return render(
        "card.md",
        {
            "front_matter": Markdown(yaml_block(front_matter(manifest))),
            "conversion": conversion,
            "manifest": manifest,
            "source": manifest.source,
            "words": words_for(manifest),
            "described": described(manifest),
            "heads": heads_of(manifest),
            "prompt_rows": prompt_rows(manifest),
            "advice": advice_for(manifest),
            "without_prompt": texts_without_prompt(manifest),
            "source_link": _source_link(manifest),
            "license": _license(manifest.source.card),
            "adapters": [_adapter(record) for record in manifest.source.adapters],
            "oldest_runtime": conversion.oldest_runtime,
            "home": home,
            "chosen": chosen,
            "form_notes": form_notes(manifest),
            "form_snippets": form_snippets(manifest, folder, home=home),
            "snippets": snippets(manifest, chosen[0].record, folder, home=home) if chosen else (),
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
        "license": _license_ids(source),
        "license_name": source.card.license_name,
        "license_link": _license_link(source.card.license_link),
        "language": list(source.card.languages),
        "base_model": _base_models(source),
        "base_model_relation": "quantized" if _base_models(source) and quantized else None,
        "library_name": "sentence-transformers",
        "pipeline_tag": pipeline_tag,
        "tags": [*tags, "embconvert"],
    }
    return {key: value for key, value in values.items() if value}


def _license_ids(source: SourceRecord) -> str | list[str] | None:
    """Returns the licence of the source, with those of its adapters if they differ."""
    cards = (source.card, *(record.card for record in source.adapters))
    ids = list(dict.fromkeys(card.license for card in cards if card.license is not None))
    return ids if len(ids) > 1 else ids[0] if ids else None


def _base_models(source: SourceRecord) -> str | list[str] | None:
    """Returns the ids on the hub; a hub cannot use the name of a local folder."""
    ids = [source.model_id] if source.revision else []
    ids += [record.adapter for record in source.adapters if record.revision]
    return ids if len(ids) > 1 else ids[0] if ids else None


def _license_link(link: str | None) -> str | None:
    """Returns a link that hubs may show: a URL, or a file beside the card."""
    return link if link and re.fullmatch(r"https?://\S+|[\w.-]+(/[\w.-]+)*", link) else None


def _source_link(manifest: Manifest) -> Markdown:
    source = manifest.source
    if source.revision is None:
        name = source.model_id.rstrip("/").rpartition("/")[2]
        return Markdown(f"{markdown_code(name)}, a local folder")
    return _on_hub(source.model_id)


def _on_hub(model_id: str) -> Markdown:
    return markdown_link(model_id, f"https://huggingface.co/{url_path(model_id)}")


def _adapter(record: AdapterRecord) -> Markdown:
    """Returns what a card says of an adapter: its name, revision, factor and licence."""
    name = markdown_code(record.adapter)
    if record.revision is not None:
        name = Markdown(f"{_on_hub(record.adapter)}, revision {markdown_code(record.revision)}")
    times = "" if record.weight == 1 else f", times {record.weight:g}"
    return Markdown(f"{name}{times}; licence: {_license(record.card)}")


def _license(card: SourceCard) -> Markdown:
    words = card.license
    if words is None:
        return Markdown("the source's card names none; ask its authors")
    shown = ": ".join(map(markdown, filter(None, (words, card.license_name))))
    link = https_address(card.license_link or "")
    return Markdown(f"{shown}, <{link}>" if link else shown)
