"""The code that shows how transformers.js loads a graph."""

import json
from pathlib import PurePosixPath

from embconvert.foreign_text import json_string, json_text
from embconvert.manifest.layouts import LAYOUTS
from embconvert.models.choices import Layout
from embconvert.reporting.sample_texts import DOCUMENTS
from embconvert.reporting.snippet_parts import ServedModel, Snippet

#: The names of the files that it finds by a dtype; DEFAULT_DTYPE_SUFFIX_MAPPING of its
#: src/utils/dtypes.js, 4.3.
_DTYPES = {
    "model": "fp32",
    "model_fp16": "fp16",
    "model_quantized": "q8",
    "model_int8": "int8",
    "model_uint8": "uint8",
    "model_q4": "q4",
    "model_q4f16": "q4f16",
}


def loading_options(model: ServedModel) -> dict[str, str | bool] | None:
    """Returns the options that name the graph; None when it looks for no graph there."""
    folder, _, file = model.graph.path.rpartition("/")
    if folder != "onnx":
        return None
    stem = file.removesuffix(".onnx")
    named = {"dtype": _DTYPES[stem]} if stem in _DTYPES else None
    options: dict[str, str | bool] = {**(named or {"model_file_name": stem, "dtype": "fp32"})}
    if model.graph.external_data is not None and model.layout is not Layout.TRANSFORMERSJS:
        options["use_external_data_format"] = True
    return options


def _options(model: ServedModel) -> str | None:
    """Returns the same as JavaScript, with the revision."""
    options = loading_options(model)
    if options is None:
        return None
    if model.home.revision is not None:
        options = {"revision": model.home.revision, **options}
    lines = [f"  {name}: {json_text(value, indent=None)},\n" for name, value in options.items()]
    if "model_file_name" in options:
        remark = f"only means that the name has no suffix; the weights are {model.graph.precision}"
        lines = [line.replace('"fp32",', f'"fp32", // {remark}') for line in lines]
    return "{\n" + "".join(lines) + "}"


def _remark(model: ServedModel) -> str:
    if model.layout is Layout.TRANSFORMERSJS:
        return ""
    gains = []
    usual = LAYOUTS[Layout.TRANSFORMERSJS].names.get(model.graph.precision)
    if usual is not None and "model_file_name" in (_options(model) or ""):
        dtype = _DTYPES[PurePosixPath(usual).stem]
        gains.append(f'names this graph so that `dtype: "{dtype}"` alone finds it')
    if model.truncates_elsewhere:
        gains.append("makes it cut long texts where the source does")
    return f"`--layout transformersjs` {' and '.join(gains)}." if gains else ""


def _imports(model: ServedModel, *names: str) -> str:
    wanted = sorted((*names, *(() if model.home.on_hub else ("env",))), key=str.lower)
    line = f'import {{ {", ".join(wanted)} }} from "@huggingface/transformers";'
    if len(line) > 88:
        inside = "".join(f"  {name},\n" for name in wanted)
        line = f'import {{\n{inside}}} from "@huggingface/transformers";'
    return f"// npm install @huggingface/transformers\n{line}\n\n{_settings(model)}"


def _settings(model: ServedModel) -> str:
    """Returns JavaScript that allows local files, where that is needed."""
    if model.home.on_hub:
        return ""
    return (
        "env.allowLocalModels = true; // it is false in browsers\n"
        'env.allowRemoteModels = false;\nenv.localModelPath = "./";\n'
    )


def embed_in_javascript(model: ServedModel) -> Snippet | None:
    """Returns the code for an embedding model."""
    options = _options(model)
    if options is None:
        return None
    name = json_string(model.home.name)
    if model.pooled_by_client is not None:
        normalize = json.dumps("Normalize" in model.source.modules)
        code = f"""\
{_imports(model, "cos_sim", "pipeline")}\
const extractor = await pipeline("feature-extraction", {name}, {options});

const texts = {model.texts.in_javascript};
const embeddings = await extractor(texts, {{
  pooling: "{model.pooled_by_client}",
  normalize: {normalize},
}});
const [query, ...others] = embeddings.tolist();
console.log(others.map((other) => cos_sim(query, other)));"""
    else:
        code = f"""\
{_imports(model, "AutoModel", "AutoTokenizer")}\
const tokenizer = await AutoTokenizer.from_pretrained({_tokenizer_arguments(model)});
const model = await AutoModel.from_pretrained({name}, {options});

const texts = {model.texts.in_javascript};
const inputs = tokenizer(texts, {{ padding: true, truncation: true }});
const {{ sentence_embedding }} = await model(inputs);
console.log(sentence_embedding.tolist());"""
    return _snippet(model, code)


def score_in_javascript(model: ServedModel) -> Snippet | None:
    """Returns the code for a reranker."""
    options = _options(model)
    if options is None:
        return None
    name = json_string(model.home.name)
    code = f"""\
{_imports(model, "AutoModelForSequenceClassification", "AutoTokenizer")}\
const tokenizer = await AutoTokenizer.from_pretrained({_tokenizer_arguments(model)});
const model = await AutoModelForSequenceClassification.from_pretrained({name}, {options});

const query = {json_string(model.query)};
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
console.log(logits.tolist());"""
    return _snippet(model, code)


def _tokenizer_arguments(model: ServedModel) -> str:
    name, revision = json_string(model.home.name), model.home.revision
    return name if revision is None else f"{name}, {{ revision: {json_string(revision)} }}"


def _snippet(model: ServedModel, code: str) -> Snippet:
    return Snippet(
        key="transformers.js",
        title="transformers.js",
        language="javascript",
        code=code,
        remark=_remark(model),
    )
