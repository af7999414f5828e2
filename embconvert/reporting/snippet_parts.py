"""What the code for each consumer is made of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embconvert.manifest import ArtifactRecord


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """One program's code.

    Attributes:
        key: Names it in links and tests.
        title: The program's name.
        language: Of the code, as Markdown names it.
        code: Ends without a line break.
        remark: What to know, one sentence; may be empty.
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
    source: Mapping[str, Any]

    @property
    def inputs(self) -> set[str]:
        """Names of the graph's inputs."""
        return {tensor.name for tensor in self.graph.inputs}

    @property
    def pad_token(self) -> str | None:
        """What fills a shorter text up; None when the tokenizer names none."""
        token = self.tokenizer.get("pad_token")
        return token.get("content") if isinstance(token, dict) else token


def setup_lines(model: ServedModel) -> str:
    """Returns Python that loads the tokenizer and the graph with nothing but ONNX Runtime."""
    pad = ""
    if model.pad_token is not None:
        token = json.dumps(model.pad_token)
        pad = f"pad_id=tokenizer.token_to_id({token}), pad_token={token}"
    if model.tokenizer.get("padding_side") == "left":
        pad += ', direction="left"' if pad else 'direction="left"'
    cut = f"tokenizer.enable_truncation({model.max_tokens})\n" if model.max_tokens else ""
    return f"""\
# pip install "onnxruntime>={model.graph.min_onnxruntime}" tokenizers numpy
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("{model.name}/tokenizer.json")
tokenizer.enable_padding({pad})
{cut}session = onnxruntime.InferenceSession("{model.name}/{model.graph.path}")
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
