"""Embeds texts by Chroma's rules: FOLDER < texts.json > vectors.json.

Source: chromadb/utils/embedding_functions/onnx_mini_lm_l6_v2.py of Chroma (93652ec08).
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder = Path(sys.argv[1])
# Without one of them, it would download its own model.
for file in (
    "config.json", "model.onnx", "special_tokens_map.json", "tokenizer_config.json",
    "tokenizer.json", "vocab.txt",
):  # fmt: skip
    assert (folder / file).exists(), file

tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(max_length=256)
tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=256)
session = onnxruntime.InferenceSession(str(folder / "model.onnx"))


def embed(texts: list[str]) -> np.ndarray:
    encodings = [tokenizer.encode(text) for text in texts]
    ids = np.array([e.ids for e in encodings], np.int64)
    mask = np.array([e.attention_mask for e in encodings], np.int64)
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    tokens = session.run(None, feed)[0]  # all three, whatever the graph has
    weights = mask[:, :, None]
    vectors = (tokens * weights).sum(1) / np.clip(weights.sum(1), 1e-9, None)
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


all_texts = json.load(sys.stdin)
groups = [all_texts[start : start + 32] for start in range(0, len(all_texts), 32)]
json.dump(np.concatenate([embed(group) for group in groups]).tolist(), sys.stdout)
