"""Parts that code samples share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from embconvert.foreign_text import python_string
from embconvert.manifest import ArtifactRecord, SourceRecord
from embconvert.models.choices import OFFSETS, Layout
from embconvert.models.forms import FormKind
from embconvert.models.prompts import NO_PROMPTS, Prompts
from embconvert.reporting.home import Home
from embconvert.reporting.sample_texts import QUERY, SampleTexts, query_prompt, sample_texts


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """A code sample for one program.

    Attributes:
        language: Markdown's name of the language.
        code: Without a trailing line break.
        remark: One sentence for the user, with code in backticks and no untrusted text; may be
            empty.
    """

    key: str
    title: str
    code: str
    language: str = "python"
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """What the code samples depend on.

    Attributes:
        usual_graph: The graph of programs that load a fixed name; None if there is none.
        max_tokens: Texts are truncated to this.
        tokenizer: Content of tokenizer_config.json.
        similarity: How sentence-transformers compares embeddings: cosine, dot, euclidean or
            manhattan.
        advised: The prompts that only the source's card asks for.
    """

    home: Home
    layout: Layout
    graph: ArtifactRecord
    usual_graph: ArtifactRecord | None
    max_tokens: int | None
    dimension: int
    pooling: tuple[str, ...]
    tokenizer: Mapping[str, Any]
    source: SourceRecord
    similarity: str = "cosine"
    advised: Prompts = NO_PROMPTS

    @property
    def inputs(self) -> set[str]:
        return {tensor.name for tensor in self.graph.inputs}

    @property
    def is_ir(self) -> bool:
        """Whether OpenVINO runs it, not ONNX Runtime."""
        return any(form.kind is FormKind.OPENVINO for form in self.graph.forms)

    @property
    def compares_by_dot(self) -> bool:
        """Whether dot products of embeddings are the model's similarities."""
        normalized = self.source.overrides.normalize or "Normalize" in self.source.modules
        return self.similarity == "dot" or (self.similarity == "cosine" and normalized)

    @property
    def texts(self) -> SampleTexts:
        """The texts of a sample for one text at a time."""
        return sample_texts(self.source.prompts, self.source.route, self.advised)

    @property
    def query(self) -> str:
        """The query of a sample for pairs, after its prompt."""
        prompts = self.source.prompts
        return prompts.text(query_prompt(prompts)) + QUERY

    @property
    def pooled_by_client(self) -> str | None:
        """How a program may pool output 0 itself, mean or cls; None if that is not enough."""
        first = self.graph.outputs[0]
        if not self.source.prompts.pooled:
            return None
        simple = set(self.source.modules) <= {"Transformer", "Pooling", "Normalize"}
        whole = len(first.shape) == 3 and first.shape[-1] == self.dimension
        if not (simple and whole and len(self.pooling) == 1):
            return None
        return self.pooling[0] if self.pooling[0] in ("mean", "cls") else None

    @property
    def truncates_elsewhere(self) -> bool:
        """Whether tokenizer_config.json, which some programs use, has another maximum length."""
        return self.max_tokens is not None and self.tokenizer.get("model_max_length") != (
            self.max_tokens
        )


#: Makes the code sample of a program; None if the program cannot load the graph.
SnippetMaker = Callable[[ServedModel], Snippet | None]


def only(condition: Callable[[ServedModel], bool], make: SnippetMaker) -> SnippetMaker:
    """Returns the code of a program that can load only some models."""
    return lambda model: make(model) if condition(model) else None


#: What is said of the programs that load graphs by optimum-onnx.
OWN_ENVIRONMENT = (
    "Install it into an environment of its own: it loads graphs by `optimum-onnx`, which needs "
    "transformers 4, and embconvert needs transformers 5."
)
#: The keys of samples that run on OpenVINO.
ON_OPENVINO = frozenset({"openvino", "sentence-transformers-openvino"})
# What the figures were computed with.
_IR_PRECISION = '{"INFERENCE_PRECISION_HINT": "f32"}'
_IR_REMARK = (
    "Without `INFERENCE_PRECISION_HINT`, CPUs with bfloat16 (AMX) compute in it: faster, and a "
    "little less exact than the figures above."
)
#: Name of the output with pooled embeddings.
SENTENCE = "sentence_embedding"


def python_arguments(**named: str | None) -> str:
    """Returns arguments of a call in Python, one a line; those that are None are left out."""
    lines = [f"    {name}={value},\n" for name, value in named.items() if value is not None]
    return "".join(lines)


def revision_argument(model: ServedModel) -> str | None:
    """Returns Python for the branch of the repository; None for the main branch."""
    revision = model.home.revision
    return None if revision is None else python_string(revision)


def download_lines(model: ServedModel, *files: str) -> str:
    """Returns Python that fetches some files of a repository; `folder` is where they are then."""
    arguments = python_arguments(
        revision=revision_argument(model),
        allow_patterns=f"[{', '.join(map(python_string, files))}]",
    )
    return f"folder = snapshot_download(\n    {python_string(model.home.name)},\n{arguments})\n"


def files_of_graph(model: ServedModel) -> tuple[str, ...]:
    external = model.graph.external_data
    return (model.graph.path, *(() if external is None else (external.path,)))


def setup_lines(model: ServedModel) -> str:
    """Returns Python code that loads the tokenizer and the graph, with its runtime only."""
    folder = f"folder = {python_string(model.home.reference)}\n"
    package = library = ""
    if model.home.on_hub:
        folder = download_lines(model, "tokenizer.json", *files_of_graph(model))
        package, library = " huggingface_hub", "from huggingface_hub import snapshot_download\n"
    runtime = python_string(f"onnxruntime>={model.graph.min_onnxruntime}")
    graph = f"folder + {python_string(f'/{model.graph.path}')}"
    opened = f"session = onnxruntime.InferenceSession({graph})"
    if model.is_ir:
        runtime = "openvino"
        opened = f"""\
model = openvino.Core().compile_model(
    {graph}, "CPU", {_IR_PRECISION}
)"""
    return f"""\
# pip install {runtime} tokenizers numpy{package}
import numpy as np
import {"openvino" if model.is_ir else "onnxruntime"}
{library}from tokenizers import Tokenizer

{folder}tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
{opened}
"""


def output_line(model: ServedModel, variable: str, output: str) -> str:
    """Returns Python code that computes an output of `feed`, after setup_lines()."""
    if model.is_ir:
        return f'{variable} = model(feed)["{output}"]'
    return f'({variable},) = session.run(["{output}"], feed)'


def runtime_snippet(model: ServedModel, code: str, remark: str = "") -> Snippet:
    """Returns the code that begins with setup_lines(), with a remark about the outputs."""
    general = (
        _IR_REMARK
        if model.is_ir
        else "No framework needed; ONNX Runtime has APIs for other languages, too."
    )
    return Snippet(
        key="openvino" if model.is_ir else "onnxruntime",
        title="OpenVINO" if model.is_ir else "ONNX Runtime",
        code=code,
        remark=f"{general} {remark}".strip(),
    )


def comparison_lines(model: ServedModel) -> str:
    """Returns Python code that prints the similarities of the rows of `embeddings`, an array."""
    if model.compares_by_dot:
        return "print(embeddings @ embeddings.T)"
    if model.similarity == "cosine":
        return """\
embeddings = embeddings / (embeddings**2).sum(axis=1, keepdims=True) ** 0.5
print(embeddings @ embeddings.T)  # cosines"""
    distances = "(difference**2).sum(axis=2) ** 0.5"
    if model.similarity == "manhattan":
        distances = "abs(difference).sum(axis=2)"
    return f"""\
difference = embeddings[:, None] - embeddings
print(-{distances})  # the higher, the more similar"""


def sentence_transformers_snippet(model: ServedModel, library_class: str, use: str) -> Snippet:
    """Returns the code for sentence-transformers: a class that loads `model`, and its use."""
    backend = "openvino" if model.is_ir else "onnx"
    file = f'"file_name": {python_string(model.graph.path)}'
    if model.is_ir:
        file = f'\n        {file},\n        "ov_config": {_IR_PRECISION},\n    '
    arguments = python_arguments(
        backend=f'"{backend}"', model_kwargs=f"{{{file}}}", revision=revision_argument(model)
    )
    return Snippet(
        key="sentence-transformers-openvino" if model.is_ir else "sentence-transformers",
        title="sentence-transformers on OpenVINO" if model.is_ir else "sentence-transformers",
        code=f"""\
# pip install "sentence-transformers[{backend}]"
from sentence_transformers import {library_class}

model = {library_class}(
    {python_string(model.home.reference)},
{arguments})
{use}""",
        remark=_IR_REMARK if model.is_ir else OWN_ENVIRONMENT,
    )


def feed_lines(model: ServedModel) -> str:
    """Returns Python code that makes `feed`, the graph's inputs, from `encodings`."""
    arrays = {
        "input_ids": "np.array([e.ids for e in encodings])",
        "attention_mask": "np.array([e.attention_mask for e in encodings])",
        "token_type_ids": "np.array([e.type_ids for e in encodings])",
    }
    if OFFSETS in model.inputs:
        return (
            "tokens = [[i for i, m in zip(e.ids, e.attention_mask) if m] for e in encodings]\n"
            "feed = {\n"
            '    "input_ids": np.array([i for ids in tokens for i in ids], np.int64),\n'
            '    "offsets": np.cumsum([0] + [len(ids) for ids in tokens[:-1]]),\n'
            "}\n"
        )
    feed = "".join(f'    "{n}": {code},\n' for n, code in arrays.items() if n in model.inputs)
    positions = ""
    if "position_ids" in model.inputs:
        positions = (
            'feed["position_ids"] = np.maximum(feed["attention_mask"].cumsum(axis=1) - 1, 0)\n'
        )
    return f"feed = {{\n{feed}}}\n{positions}"


def side_argument(model: ServedModel) -> str:
    """Returns Python for `enable_truncation` that removes the start of texts, if the model does."""
    return ', direction="left"' if model.tokenizer.get("truncation_side") == "left" else ""


def texts_lines(model: ServedModel) -> str:
    """Returns Python code that makes `feed` of the sample's texts, from setup_lines() on."""
    return f"""\
{setup_lines(model)}
texts = {model.texts.in_python}
encodings = tokenizer.encode_batch(texts)
{feed_lines(model)}"""
