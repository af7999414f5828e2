"""The code that shows how each program loads a reranker."""

import json
from collections.abc import Callable

from embconvert.reporting.snippet_parts import (
    ServedModel,
    Snippet,
    feed_lines,
    setup_lines,
)
from embconvert.steps import EXPORTED_FILE

_QUERY = "How do I reset my password?"
_DOCUMENTS = (
    "To change your login, open the settings and choose a new password.",
    "Our office is closed on Sundays.",
)
_SETUP = f"""\
query = {json.dumps(_QUERY)}
documents = [
    {json.dumps(_DOCUMENTS[0])},
    {json.dumps(_DOCUMENTS[1])},
]
"""
#: What turns logits into what CrossEncoder.predict() gives, by the end of the activation's name.
_ACTIVATIONS = {"Sigmoid": "1 / (1 + np.exp(-logits))", "Identity": "logits"}


def _cross_encoder(model: ServedModel) -> Snippet:
    return Snippet(
        key="sentence-transformers",
        title="sentence-transformers",
        language="python",
        code=f"""\
# pip install "sentence-transformers[onnx]"
from sentence_transformers import CrossEncoder

model = CrossEncoder(
    "{model.name}", backend="onnx", model_kwargs={{"file_name": "{model.graph.path}"}}
)
{_SETUP}scores = model.predict([(query, document) for document in documents])
print(scores)""",
    )


def _fastembed(model: ServedModel) -> Snippet | None:
    if model.source["labels"] > 1 or model.graph.external_data is not None:
        return None
    return Snippet(
        key="fastembed",
        title="fastembed",
        language="python",
        code=f"""\
# pip install "fastembed>=0.9.1"
from fastembed.common.model_description import ModelSource
from fastembed.rerank.cross_encoder import TextCrossEncoder

TextCrossEncoder.add_custom_model(
    model="local/{model.name}",
    sources=ModelSource(hf="local/{model.name}"),
    model_file="{model.graph.path}",
)
model = TextCrossEncoder("local/{model.name}", specific_model_path="{model.name}")
{_SETUP}scores = list(model.rerank(query, documents))
print(scores)""",
        remark="It gives the logits as they are; what they rank is the same.",
    )


def _onnxruntime(model: ServedModel) -> Snippet:
    name = model.source["activation"].rpartition(".")[2]
    pairs = "[(query, document) for document in documents]"
    if model.lowercase:
        pairs = "[(query.lower(), document.lower()) for document in documents]"
    return Snippet(
        key="onnxruntime",
        title="ONNX Runtime",
        language="python",
        code=f"""\
{setup_lines(model)}
{_SETUP}encodings = tokenizer.encode_batch({pairs})
{feed_lines(model)}(logits,) = session.run(["logits"], feed)
scores = {_ACTIVATIONS.get(name, "logits")}
print(scores)""",
        remark="No framework, from Python or any language that ONNX Runtime has. The graph gives "
        f"logits; sentence-transformers applies `{model.source['activation']}` to them.",
    )


def _transformers_js(model: ServedModel) -> Snippet | None:
    folder, _, file = model.graph.path.rpartition("/")
    if folder != "onnx" or model.graph.external_data is not None:
        return None
    return Snippet(
        key="transformers.js",
        title="transformers.js",
        language="javascript",
        code=f"""\
// npm install @huggingface/transformers
import {{
  AutoModelForSequenceClassification,
  AutoTokenizer,
  env,
}} from "@huggingface/transformers";

env.allowRemoteModels = false;
env.localModelPath = "./";
const tokenizer = await AutoTokenizer.from_pretrained("{model.name}");
const model = await AutoModelForSequenceClassification.from_pretrained("{model.name}", {{
  model_file_name: "{file.removesuffix(".onnx")}",
  dtype: "fp32",
}});

const query = {json.dumps(_QUERY)};
const documents = [
  {json.dumps(_DOCUMENTS[0])},
  {json.dumps(_DOCUMENTS[1])},
];
const inputs = tokenizer(Array(documents.length).fill(query), {{
  text_pair: documents,
  padding: true,
  truncation: true,
}});
const {{ logits }} = await model(inputs);
console.log(logits.tolist());""",
        remark='`dtype: "fp32"` adds no suffix to the file name; the graph keeps its precision.',
    )


def _text_embeddings_inference(model: ServedModel) -> Snippet | None:
    if model.graph.path.rpartition("/")[0] not in ("", "onnx") or model.source["labels"] > 1:
        return None
    body = json.dumps({"query": _QUERY, "texts": list(_DOCUMENTS)})
    return Snippet(
        key="text-embeddings-inference",
        title="text-embeddings-inference",
        language="sh",
        code=f"""\
docker run --rm -p 8080:80 -v "$PWD/{model.name}:/model:ro" \\
  ghcr.io/huggingface/text-embeddings-inference:cpu-latest --model-id /model

curl 127.0.0.1:8080/rerank -H 'Content-Type: application/json' \\
  -d '{body}'""",
        remark=f"It loads `{EXPORTED_FILE}` and no other graph.",
    )


RERANKER_CONSUMERS: tuple[Callable[[ServedModel], Snippet | None], ...] = (
    _cross_encoder,
    _fastembed,
    _onnxruntime,
    _transformers_js,
    _text_embeddings_inference,
)
