"""How each program loads a published graph: code to copy, for the model card and the report.

All of it runs in the folder that holds the published one, or a clone of it.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from embconvert.errors import SourceError
from embconvert.foreign_text import json_string, python_string, url_path, xml_attribute, yaml_block
from embconvert.json_files import MAX_JSON_BYTES
from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.models.kinds import KINDS, Kind
from embconvert.regular_files import open_regular
from embconvert.reporting.late_interaction_snippets import LATE_INTERACTION_CONSUMERS
from embconvert.reporting.reranker_snippets import RERANKER_CONSUMERS
from embconvert.reporting.snippet_parts import (
    TEXTS,
    ServedModel,
    Snippet,
    feed_lines,
    list_of_texts,
    lowered,
    setup_lines,
    text_embeddings_inference,
    transformers_js_file,
)
from embconvert.reporting.sparse_snippets import SPARSE_CONSUMERS

_SENTENCE = "sentence_embedding"


def snippets(
    manifest: Manifest, graph: ArtifactRecord, folder: Path, *, name: str
) -> tuple[Snippet, ...]:
    """Returns the code for every program that the graph suits.

    Args:
        manifest: Of the published folder.
        graph: The graph to load.
        folder: Where the published files are now.
        name: What the folder is called where the code runs.
    """
    value = KINDS[manifest.kind].values[-1]
    if not any(tensor.name == value.name for tensor in graph.outputs):
        return ()
    source = manifest.source
    model = ServedModel(
        name=name,
        graph=graph,
        max_tokens=source.max_seq_length,
        dimension=source.dimension or source.hidden_size or 0,
        pooling=tuple(map(str, source.pooling)),
        tokenizer=_json(folder, "tokenizer_config.json"),
        lowercase=bool(_json(folder, "sentence_bert_config.json").get("do_lower_case")),
        source=source,
    )
    made = (make(model) for make in _CONSUMERS[manifest.kind])
    return tuple(snippet for snippet in made if snippet is not None)


def _json(folder: Path, file: str) -> Mapping[str, Any]:
    """Reads a JSON object of a folder; empty when there is none.

    Raises:
        SourceError: It is no JSON, absurdly large, or no regular file.
    """
    hint = "convert the model again"
    try:
        with open_regular(folder, file) as stream:
            content = stream.read(MAX_JSON_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SourceError(f"{folder / file} cannot be read: {error.strerror}", hint) from error
    if len(content) > MAX_JSON_BYTES:
        raise SourceError(f"{folder / file} is over {MAX_JSON_BYTES >> 20} MiB", hint)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{folder / file} is no JSON: {error}", hint) from error
    return value if isinstance(value, dict) else {}


def _sentence_transformers(model: ServedModel) -> Snippet:
    graph = python_string(model.graph.path)
    return Snippet(
        key="sentence-transformers",
        title="sentence-transformers",
        language="python",
        code=f"""\
# pip install "sentence-transformers[onnx]"
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(
    {python_string(model.name)}, backend="onnx", model_kwargs={{"file_name": {graph}}}
)
embeddings = model.encode({list_of_texts()})
print(model.similarity(embeddings, embeddings))""",
    )


def _fastembed(model: ServedModel) -> Snippet:
    more, name = "", python_string(f"local/{model.name}")
    if model.graph.external_data is not None:
        more = f"\n    additional_files=[{python_string(model.graph.external_data.path)}],"
    return Snippet(
        key="fastembed",
        title="fastembed",
        language="python",
        code=f"""\
# pip install "fastembed>=0.9.1"
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

TextEmbedding.add_custom_model(
    model={name},
    sources=ModelSource(hf={name}),
    model_file={python_string(model.graph.path)},{more}
    dim={model.dimension!r},
    output_name="{_SENTENCE}",
    pooling=PoolingType.DISABLED,
    normalization=False,
)
model = TextEmbedding({name}, specific_model_path={python_string(model.name)})
embeddings = list(model.embed({list_of_texts()}))
print(embeddings[0] @ embeddings[1])""",
        remark="Pooling and normalization are in the graph, so fastembed is told to do neither.",
    )


def _onnxruntime(model: ServedModel) -> Snippet:
    return Snippet(
        key="onnxruntime",
        title="ONNX Runtime",
        language="python",
        code=f"""\
{setup_lines(model)}
texts = {list_of_texts()}
encodings = tokenizer.encode_batch({lowered(model, "texts")})
{feed_lines(model)}(embeddings,) = session.run(["{_SENTENCE}"], feed)
print(embeddings @ embeddings.T)""",
        remark="No framework, from Python or any language that ONNX Runtime has.",
    )


def _transformers_js(model: ServedModel) -> Snippet | None:
    file = transformers_js_file(model)
    if file is None:
        return None
    return Snippet(
        key="transformers.js",
        title="transformers.js",
        language="javascript",
        code=f"""\
// npm install @huggingface/transformers
import {{ AutoModel, AutoTokenizer, env }} from "@huggingface/transformers";

env.allowRemoteModels = false;
env.localModelPath = "./";
const tokenizer = await AutoTokenizer.from_pretrained({json_string(model.name)});
const model = await AutoModel.from_pretrained({json_string(model.name)}, {{
  model_file_name: {json_string(file)},
  dtype: "fp32",
}});

const texts = {list_of_texts()};
const inputs = await tokenizer(texts, {{ padding: true, truncation: true }});
const {{ sentence_embedding }} = await model(inputs);
console.log(sentence_embedding.tolist());""",
        remark='`dtype: "fp32"` adds no suffix to the file name; the graph keeps its precision.',
    )


def _text_embeddings_inference(model: ServedModel) -> Snippet | None:
    return text_embeddings_inference(model, "embed", {"inputs": list(TEXTS)})


def _nixiesearch(model: ServedModel) -> Snippet | None:
    mode = model.pooling[0] if len(model.pooling) == 1 else ""
    # It pools output 0 itself, and knows no other ways.
    first = model.graph.outputs[0]
    if mode not in ("mean", "cls") or len(first.shape) != 3 or model.dimension != first.shape[-1]:
        return None
    settings = {
        "provider": "onnx",
        "model": f"file:///models/{url_path(model.name)}",
        "file": model.graph.path,
        "pooling": mode,
    }
    return Snippet(
        key="nixiesearch",
        title="Nixiesearch",
        language="yaml",
        code=yaml_block({"inference": {"embedding": {model.name.lower(): settings}}}).rstrip("\n"),
        remark="A part of its configuration file; here the folder lies in `/models`.",
    )


def _vespa(model: ServedModel) -> Snippet | None:
    if model.graph.external_data is not None or len(model.inputs) > 3:
        return None
    if not (model.name + model.graph.path).isprintable():
        return None  # XML could not hold it
    graph = xml_attribute(f"{model.name}/{model.graph.path}")
    tokenizer = xml_attribute(f"{model.name}/tokenizer.json")
    limit = model.max_tokens if isinstance(model.max_tokens, int) else 0
    cut = f"  <max-tokens>{limit}</max-tokens>\n" if limit else ""
    types = "" if "token_type_ids" in model.inputs else "  <transformer-token-type-ids/>\n"
    return Snippet(
        key="vespa",
        title="Vespa",
        language="xml",
        code=f"""\
<component id={xml_attribute(model.name.lower())} type="hugging-face-embedder">
  <transformer-model path={graph}/>
  <tokenizer-model path={tokenizer}/>
{cut}{types}  <transformer-output>{_SENTENCE}</transformer-output>
  <pooling-strategy>none</pooling-strategy>
</component>""",
        remark="In `services.xml`, with the folder in the application package.",
    )


_CONSUMERS: Mapping[Kind, tuple[Callable[[ServedModel], Snippet | None], ...]] = {
    Kind.EMBEDDING: (
        _sentence_transformers,
        _fastembed,
        _onnxruntime,
        _transformers_js,
        _text_embeddings_inference,
        _nixiesearch,
        _vespa,
    ),
    Kind.RERANKER: RERANKER_CONSUMERS,
    Kind.SPARSE: SPARSE_CONSUMERS,
    Kind.LATE_INTERACTION: LATE_INTERACTION_CONSUMERS,
}
