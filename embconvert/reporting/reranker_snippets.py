"""The code that shows how each program loads a reranker."""

import json
from collections.abc import Callable

from embconvert.foreign_text import json_string, markdown_code, python_string
from embconvert.manifest import RerankerRecord
from embconvert.reporting.snippet_parts import (
    DOCUMENTS,
    QUERY,
    QUERY_LINES,
    ServedModel,
    Snippet,
    feed_lines,
    setup_lines,
    text_embeddings_inference,
    transformers_js_file,
)

#: What turns logits into what CrossEncoder.predict() gives, by the end of the activation's name.
_ACTIVATIONS = {"Sigmoid": "1 / (1 + np.exp(-logits))", "Identity": "logits"}


def _record(model: ServedModel) -> RerankerRecord:
    record = model.source.model
    assert isinstance(record, RerankerRecord)
    return record


def _labels(model: ServedModel) -> int:
    return _record(model).labels or 1


def _cross_encoder(model: ServedModel) -> Snippet:
    graph = python_string(model.graph.path)
    return Snippet(
        key="sentence-transformers",
        title="sentence-transformers",
        language="python",
        code=f"""\
# pip install "sentence-transformers[onnx]"
from sentence_transformers import CrossEncoder

model = CrossEncoder(
    {python_string(model.name)}, backend="onnx", model_kwargs={{"file_name": {graph}}}
)
{QUERY_LINES}scores = model.predict([(query, document) for document in documents])
print(scores)""",
    )


def _fastembed(model: ServedModel) -> Snippet | None:
    if _labels(model) > 1 or model.graph.external_data is not None:
        return None
    name = python_string(f"local/{model.name}")
    return Snippet(
        key="fastembed",
        title="fastembed",
        language="python",
        code=f"""\
# pip install "fastembed>=0.9.1"
from fastembed.common.model_description import ModelSource
from fastembed.rerank.cross_encoder import TextCrossEncoder

TextCrossEncoder.add_custom_model(
    model={name},
    sources=ModelSource(hf={name}),
    model_file={python_string(model.graph.path)},
)
model = TextCrossEncoder({name}, specific_model_path={python_string(model.name)})
{QUERY_LINES}scores = list(model.rerank(query, documents))
print(scores)""",
        remark="It gives the logits as they are; what they rank is the same.",
    )


def _onnxruntime(model: ServedModel) -> Snippet:
    activation = _record(model).activation or "an activation"
    applied = markdown_code(activation)
    name = activation.rpartition(".")[2]
    pairs = "[(query, document) for document in documents]"
    if model.lowercase:
        pairs = "[(query.lower(), document.lower()) for document in documents]"
    return Snippet(
        key="onnxruntime",
        title="ONNX Runtime",
        language="python",
        code=f"""\
{setup_lines(model)}
{QUERY_LINES}encodings = tokenizer.encode_batch({pairs})
{feed_lines(model)}(logits,) = session.run(["logits"], feed)
scores = {_ACTIVATIONS.get(name, "logits")}
print(scores)""",
        remark="No framework, from Python or any language that ONNX Runtime has. The graph gives "
        f"logits; sentence-transformers applies {applied} to them.",
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
import {{
  AutoModelForSequenceClassification,
  AutoTokenizer,
  env,
}} from "@huggingface/transformers";

env.allowRemoteModels = false;
env.localModelPath = "./";
const tokenizer = await AutoTokenizer.from_pretrained({json_string(model.name)});
const model = await AutoModelForSequenceClassification.from_pretrained({json_string(model.name)}, {{
  model_file_name: {json_string(file)},
  dtype: "fp32",
}});

const query = {json.dumps(QUERY)};
const documents = [
  {json.dumps(DOCUMENTS[0])},
  {json.dumps(DOCUMENTS[1])},
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
    if _labels(model) > 1:
        return None
    return text_embeddings_inference(model, "rerank", {"query": QUERY, "texts": list(DOCUMENTS)})


RERANKER_CONSUMERS: tuple[Callable[[ServedModel], Snippet | None], ...] = (
    _cross_encoder,
    _fastembed,
    _onnxruntime,
    _transformers_js,
    _text_embeddings_inference,
)
