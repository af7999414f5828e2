"""The code that shows how each program in Python loads an embedding model's graph."""

from embconvert.foreign_text import python_string
from embconvert.models.choices import Layout, OutputPrecision
from embconvert.models.vector_code import VectorCode
from embconvert.reporting.fastembed_parts import (
    fastembed_arguments,
    fastembed_folder,
    fastembed_name,
)
from embconvert.reporting.snippet_parts import (
    OWN_ENVIRONMENT,
    SENTENCE,
    ServedModel,
    Snippet,
    comparison_lines,
    output_line,
    python_arguments,
    revision_argument,
    runtime_snippet,
    sentence_transformers_snippet,
    texts_lines,
)


def sentence_transformers(model: ServedModel) -> Snippet:
    return sentence_transformers_snippet(
        model, "SentenceTransformer", model.texts.for_sentence_transformers
    )


def fastembed(model: ServedModel) -> Snippet:
    name = fastembed_name(model)
    fetched, where = fastembed_folder(model)
    arguments = fastembed_arguments(
        model,
        dim=repr(model.dimension),
        output_name=f'"{SENTENCE}"',
        pooling="PoolingType.DISABLED",
        normalization="False",
    )
    compared = "print(embeddings[0] @ embeddings[1])"
    if not model.compares_by_dot:
        compared = f"embeddings = np.stack(embeddings)\n{comparison_lines(model)}"
    numpy = "" if model.compares_by_dot else "import numpy as np\n"
    remark = "Pooling and normalization are in the graph, so both are turned off in fastembed."
    if model.truncates_elsewhere and model.layout is not Layout.FASTEMBED:
        remark += " `--layout fastembed` makes it cut long texts where the source does."
    return Snippet(
        key="fastembed",
        title="fastembed",
        code=f"""\
# pip install "fastembed>=0.9.1"
{numpy}from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
{fetched}
TextEmbedding.add_custom_model(
{arguments})
model = TextEmbedding({name}{where})
embeddings = list(model.embed({model.texts.in_python}))
{compared}""",
        remark=remark,
    )


def onnxruntime(model: ServedModel) -> Snippet:
    """Returns the code for ONNX Runtime alone."""
    code = model.source.model.code
    if code is not None:
        return _compare_codes(model, code)
    return runtime_snippet(
        model,
        f"""\
{texts_lines(model)}{output_line(model, "embeddings", SENTENCE)}
{comparison_lines(model)}""",
    )


def _compare_codes(model: ServedModel, code: VectorCode) -> Snippet:
    """Returns the code that compares embeddings of integers."""
    precision = code.precision
    if precision.is_bits:
        codes = "codes.view(np.uint8) ^ 128" if precision is OutputPrecision.BINARY else "codes"
        compared = f"""\
bits = np.unpackbits({codes}, axis=1)
distances = (bits[:, None] != bits).sum(axis=2)  # Hamming
print(distances)"""
        remark = "Compare embeddings by the number of bits that differ (Hamming distance)."
    else:
        less = " - 128" if precision is OutputPrecision.UINT8 else ""
        compared = f"""\
vectors = codes.astype(np.float32){less}
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
print(vectors @ vectors.T)"""
        remark = (
            "Compare embeddings by the cosine of the integers. The ranges of the components are in "
            "`embconvert.json` (`source.model.code`)."
        )
    return runtime_snippet(
        model,
        f"""\
{texts_lines(model)}{output_line(model, "codes", SENTENCE)}  # {precision.dtype}
{compared}""",
        remark=f"{remark} The graph gives {code.size} integers for a text.",
    )


def optimum(model: ServedModel) -> Snippet:
    """Returns the code for optimum, whose class for any outputs gives pooled embeddings."""
    folder, _, file = model.graph.path.rpartition("/")
    name, revision = python_string(model.home.reference), revision_argument(model)
    arguments = python_arguments(
        subfolder=python_string(folder) if folder else None,
        file_name=python_string(file),
        revision=revision,
    )
    pinned = "" if revision is None else f", revision={revision}"
    limit = f"max_length={model.max_tokens!r}, " if model.max_tokens else ""
    return Snippet(
        key="optimum",
        title="Optimum",
        code=f"""\
# pip install "optimum-onnx[onnxruntime]"
from optimum.onnxruntime import ORTModelForCustomTasks
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({name}{pinned})
model = ORTModelForCustomTasks.from_pretrained(
    {name},
{arguments})
texts = {model.texts.in_python}
inputs = tokenizer(
    texts, padding=True, truncation=True, {limit}return_tensors="np"
)
embeddings = model(**inputs).{SENTENCE}
{comparison_lines(model)}""",
        remark=OWN_ENVIRONMENT,
    )
