"""A page that runs the model in a browser, and shows the similarities of texts."""

import base64
import hashlib
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import Layout
from embconvert.models.kinds import Kind
from embconvert.reporting.advised_prefixes import advised_prompts
from embconvert.reporting.home import Home
from embconvert.reporting.sample_texts import DOCUMENTS, QUERY
from embconvert.reporting.snippet_parts import SENTENCE, ServedModel
from embconvert.reporting.snippets import served_model
from embconvert.reporting.summary import ManifestSummary
from embconvert.reporting.templates import markup, page_style, render
from embconvert.reporting.transformers_js_snippets import loading_options
from embconvert.reporting.words import size_text

#: The release of transformers.js that the page was tested with.
LIBRARY = "4.3.1"
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}


def can_try(manifest: Manifest, folder: Path) -> bool:
    """Whether transformers.js can load a file of the folder and gets its embeddings."""
    return any(_loadable(manifest, folder, Home(name=folder.name)))


def try_page(manifest: Manifest, folder: Path, *, home: Home) -> str:
    """Returns the page as HTML; it connects to nothing but the server that it comes from."""
    script = _own("try.js")
    style = f"{page_style()}{_own('try.css')}"
    models = list(_loadable(manifest, folder, home))
    advised = advised_prompts(manifest)
    prompts = (advised if advised.named else manifest.source.prompts).for_search
    data = {
        "library": LIBRARY,
        "maxTokens": manifest.source.max_seq_length,
        "prompts": {"query": prompts[0], "document": prompts[1]},
        "files": [{"options": loading_options(model)} for model in models],
    }
    return render(
        "try.html",
        {
            "address": quote(home.short_name),
            "data": _script_data(data),
            "documents": "\n".join((*DOCUMENTS, "Wo kann ich mein Passwort ändern?")),
            "files": [_label(model.graph) for model in models],
            "home": home,
            "library": LIBRARY,
            "policy": _policy(script, style),
            "prompts": prompts,
            "query": QUERY,
            "script": markup(script),
            "style": markup(style),
            "tool_version": manifest.tool.version,
        },
    )


def _loadable(manifest: Manifest, folder: Path, home: Home) -> Iterator[ServedModel]:
    """Yields the graphs that a browser loads, the recommended one first, then by size."""
    if manifest.kind is not Kind.EMBEDDING or not manifest.source.prompts.pooled:
        return
    chosen = ManifestSummary(manifest).recommended
    best = chosen[0].record.path if chosen else ""
    lacking = set(LAYOUTS[Layout.TRANSFORMERSJS].lacks)
    for graph in sorted(manifest.artifacts, key=lambda g: (g.path != best, g.size_bytes)):
        if graph.forms:  # of a fixed shape, from texts, or in another format
            continue
        model = served_model(manifest, graph, folder, home)
        output = next((tensor for tensor in graph.outputs if tensor.name == SENTENCE), None)
        if output is None or output.dtype != "float" or not model.inputs <= _INPUTS:
            continue
        if lacking.isdisjoint(graph.operators) and loading_options(model) is not None:
            yield model


def _label(graph: ArtifactRecord) -> str:
    size = size_text(graph.size_bytes / 1e6)
    return f"{graph.path.removeprefix('onnx/')}: {graph.precision}, {size}"


def _own(file: str) -> str:
    templates = resources.files("embconvert.reporting.templates")
    return templates.joinpath(file).read_text(encoding="utf-8")


def _script_data(data: Any) -> Any:
    """Returns JSON that cannot end the element that it is in."""
    return markup(json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e"))


def _policy(script: str, style: str) -> str:
    """Returns a policy that allows this script, libraries of the same server, and WebAssembly."""

    def source(text: str) -> str:
        digest = hashlib.sha256(text.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' blob: 'wasm-unsafe-eval' {source(script)}",
            f"style-src {source(style)}",
            "worker-src 'self' blob:",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
