"""What the code for each consumer is made of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embconvert.foreign_text import json_text, python_string, shell_word
from embconvert.manifest import ArtifactRecord, SourceRecord
from embconvert.plan.steps import EXPORTED_FILE


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """One program's code.

    Attributes:
        key: Names it in links and tests.
        title: The program's name.
        language: Of the code, as Markdown names it.
        code: Ends without a line break.
        remark: What to know, one sentence, code in backticks; no stranger's words are in it. May
            be empty.
    """

    key: str
    title: str
    language: str
    code: str
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """What the code must know.

    Attributes:
        name: The published folder's.
        graph: The graph.
        max_tokens: Where texts are cut.
        dimension: Of the embeddings.
        pooling: The model's modes.
        tokenizer: Its tokenizer_config.json.
        lowercase: Whether sentence-transformers lowercases texts first.
        source: What the manifest says of the source.
    """

    name: str
    graph: ArtifactRecord
    max_tokens: int | None
    dimension: int
    pooling: tuple[str, ...]
    tokenizer: Mapping[str, Any]
    lowercase: bool
    source: SourceRecord

    @property
    def inputs(self) -> set[str]:
        """Names of the graph's inputs."""
        return {tensor.name for tensor in self.graph.inputs}

    @property
    def pad_token(self) -> str | None:
        """What fills a shorter text up; None when the tokenizer names none."""
        token = self.tokenizer.get("pad_token")
        content = token.get("content") if isinstance(token, dict) else token
        return content if isinstance(content, str) else None


#: Two texts that mean nearly the same.
TEXTS = ("How do I reset my password?", "Where can I change my login?")
#: A query, and documents of which the first answers it.
QUERY = "How do I reset my password?"
DOCUMENTS = (
    "To change your login, open the settings and choose a new password.",
    "Our office is closed on Sundays.",
)
#: Python for these.
QUERY_LINES = f"""\
query = {json.dumps(QUERY)}
documents = [
    {json.dumps(DOCUMENTS[0])},
    {json.dumps(DOCUMENTS[1])},
]
"""


def list_of_texts() -> str:
    """Returns a list of the texts, in Python or JavaScript."""
    return "[\n" + "".join(f"    {json.dumps(text)},\n" for text in TEXTS) + "]"


def transformers_js_file(model: ServedModel) -> str | None:
    """Returns what transformers.js calls the graph; None when it finds no graph there."""
    folder, _, file = model.graph.path.rpartition("/")
    if folder != "onnx" or model.graph.external_data is not None:
        return None
    return file.removesuffix(".onnx")


def text_embeddings_inference(
    model: ServedModel, route: str, body: Mapping[str, Any]
) -> Snippet | None:
    """Returns the code for text-embeddings-inference.

    Args:
        model: What is served.
        route: Of its HTTP interface.
        body: What to send there.
    """
    # Docker takes what follows a colon for a path of the container's.
    if model.graph.path.rpartition("/")[0] not in ("", "onnx") or ":" in model.name:
        return None
    return Snippet(
        key="text-embeddings-inference",
        title="text-embeddings-inference",
        language="sh",
        code=f"""\
docker run --rm -p 8080:80 -v "$PWD"/{shell_word(f"{model.name}:/model:ro")} \\
  ghcr.io/huggingface/text-embeddings-inference:cpu-latest --model-id /model

curl 127.0.0.1:8080/{route} -H 'Content-Type: application/json' \\
  -d {shell_word(json_text(body, indent=None))}""",
        remark=f"It loads `{EXPORTED_FILE}` and no other graph.",
    )


def setup_lines(model: ServedModel) -> str:
    """Returns Python that loads the tokenizer and the graph with nothing but ONNX Runtime."""
    pad = ""
    if model.pad_token is not None:
        token = python_string(model.pad_token)
        pad = f"pad_id=tokenizer.token_to_id({token}), pad_token={token}"
    if model.tokenizer.get("padding_side") == "left":
        pad += ', direction="left"' if pad else 'direction="left"'
    cut = f"tokenizer.enable_truncation({model.max_tokens!r})\n" if model.max_tokens else ""
    return f"""\
# pip install {python_string(f"onnxruntime>={model.graph.min_onnxruntime}")} tokenizers numpy
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file({python_string(f"{model.name}/tokenizer.json")})
tokenizer.enable_padding({pad})
{cut}session = onnxruntime.InferenceSession({python_string(f"{model.name}/{model.graph.path}")})
"""


def feed_lines(model: ServedModel) -> str:
    """Returns Python that makes `feed`, the graph's inputs, of `encodings`."""
    arrays = {
        "input_ids": "np.array([e.ids for e in encodings])",
        "attention_mask": "np.array([e.attention_mask for e in encodings])",
        "token_type_ids": "np.array([e.type_ids for e in encodings])",
    }
    feed = "".join(f'    "{n}": {code},\n' for n, code in arrays.items() if n in model.inputs)
    positions = ""
    if "position_ids" in model.inputs:
        positions = (
            'feed["position_ids"] = np.maximum(feed["attention_mask"].cumsum(axis=1) - 1, 0)\n'
        )
    return f"feed = {{\n{feed}}}\n{positions}"


def lowered(model: ServedModel, name: str) -> str:
    """Returns Python for the texts of a list, in lower case where the source reads them so."""
    return f"[text.lower() for text in {name}]" if model.lowercase else name
