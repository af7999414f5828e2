"""Code samples for each program that loads a published graph, for the card and the report.

They run in the parent of the published folder, or load the model from a repository of a hub; `Home`
says which. Each follows the documentation of its program.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embconvert.errors import SourceError
from embconvert.evaluation.scoring import SIMILARITIES
from embconvert.json_files import MAX_JSON_BYTES
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.manifest.layouts import SERVED_FILE
from embconvert.models.choices import Layout
from embconvert.models.kinds import KINDS
from embconvert.plan.steps import EXPORTED_FILE
from embconvert.regular_files import open_regular
from embconvert.reporting.advised_prefixes import advised_prompts
from embconvert.reporting.home import Home
from embconvert.reporting.kind_words import snippet_makers
from embconvert.reporting.snippet_parts import ON_OPENVINO, ServedModel, Snippet

#: Whose code comes first.
_FIRST: Mapping[Layout, str] = {
    Layout.NIXIESEARCH: "nixiesearch",
    Layout.TRANSFORMERSJS: "transformers.js",
    Layout.FASTEMBED: "fastembed",
    Layout.TEI: "text-embeddings-inference",
    Layout.VESPA: "vespa",
    Layout.LANGCHAIN4J: "langchain4j",
    Layout.SPRINGAI: "spring-ai",
    Layout.SINGLEFILE: "langchain4j",
    Layout.OPENVINO: "sentence-transformers-openvino",
}


def snippets(
    manifest: Manifest, graph: ArtifactRecord, folder: Path, *, home: Home
) -> tuple[Snippet, ...]:
    """Returns the code sample of every program that can load the graph, the layout's own first.

    Its files are now in the folder, and at `home` for whoever runs the code.
    """
    name = KINDS[manifest.kind].main_output(manifest.source.output)
    if not any(tensor.name == name for tensor in graph.outputs):
        return ()
    model = served_model(manifest, graph, folder, home)
    made = (make(model) for make in snippet_makers(manifest.kind))
    found = [s for s in made if s is not None and (s.key in ON_OPENVINO or not model.is_ir)]
    return tuple(sorted(found, key=lambda s: s.key != _FIRST.get(manifest.layout)))


def served_model(
    manifest: Manifest, graph: ArtifactRecord, folder: Path, home: Home
) -> ServedModel:
    """Returns what code samples need to know; the arguments are those of snippets()."""
    source = manifest.source
    by_path = {record.path: record for record in manifest.artifacts}
    return ServedModel(
        home=home,
        layout=manifest.layout,
        graph=graph,
        usual_graph=by_path.get(SERVED_FILE) or by_path.get(EXPORTED_FILE),
        max_tokens=source.max_seq_length,
        dimension=source.dimension or source.hidden_size or 0,
        pooling=tuple(map(str, source.pooling)),
        tokenizer=_json(folder, "tokenizer_config.json"),
        source=source,
        similarity=_similarity(_json(folder, "config_sentence_transformers.json")),
        advised=advised_prompts(manifest),
    )


def _similarity(settings: Mapping[str, Any]) -> str:
    """Returns how sentence-transformers compares embeddings; see its `similarity_fn_name`."""
    named = settings.get("similarity_fn_name")
    return named if named in SIMILARITIES else "cosine"


def _json(folder: Path, file: str) -> Mapping[str, Any]:
    """Reads a JSON object of a folder, {} if there is none; raises SourceError for another file."""
    hint = "convert the model again"
    try:
        with open_regular(folder, file) as stream:
            content = stream.read(MAX_JSON_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SourceError(f"{folder / file} cannot be read: {error.strerror}", hint) from error
    if len(content) > MAX_JSON_BYTES:
        raise SourceError(f"{folder / file} is larger than {MAX_JSON_BYTES >> 20} MiB", hint)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{folder / file} is not JSON: {error}", hint) from error
    return value if isinstance(value, dict) else {}
