"""Embeds texts by Nixiesearch's rules: FOLDER POOLING MAX_TOKENS < texts.json > vectors.json.

Source: OnnxModelFile.scala, OnnxEmbedModel.scala and EmbedPooling.scala of Nixiesearch 0.8.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder, pooling, max_tokens = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
files = [path.name for path in folder.iterdir()]  # not what is in folders below
graphs = [name for name in files if name.endswith(".onnx")]
assert len(graphs) == 1, f"it would take any of {graphs}"
assert "tokenizer.json" in files
dim = json.loads((folder / "config.json").read_text())["hidden_size"]

tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(max_tokens)
tokenizer.enable_padding()
session = onnxruntime.InferenceSession(str(folder / graphs[0]))
first = session.get_outputs()[0]
assert (first.type, len(first.shape)) == ("tensor(float)", 3)  # cast to float[][][]


def embed(texts: list[str]) -> np.ndarray:
    encodings = tokenizer.encode_batch(texts)
    known = {
        "input_ids": np.array([e.ids for e in encodings], np.int64),
        "attention_mask": np.array([e.attention_mask for e in encodings], np.int64),
        "token_type_ids": np.array([e.type_ids for e in encodings], np.int64),
    }
    feed = {i.name: known[i.name] for i in session.get_inputs()}  # any other throws
    tokens = session.run(None, feed)[0]
    assert tokens.shape[2] == dim
    if pooling == "cls":
        vectors = tokens[:, 0]
    else:
        lengths = known["attention_mask"].sum(axis=1)
        vectors = np.stack([t[:n].mean(axis=0) for t, n in zip(tokens, lengths, strict=True)])
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


all_texts = json.load(sys.stdin)
groups = [all_texts[start : start + 32] for start in range(0, len(all_texts), 32)]
json.dump(np.concatenate([embed(group) for group in groups]).tolist(), sys.stdout)
