"""Embeds texts by Milvus' rules: FOLDER < texts.json > vectors.json.

Source: pymilvus/model/dense/onnx.py of milvus-model (2fe97ac).
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from transformers import AutoConfig, AutoTokenizer

folder = Path(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
dim = AutoConfig.from_pretrained(folder, local_files_only=True).hidden_size


def embed(text: str) -> np.ndarray:
    read = tokenizer(text, padding="max_length", truncation=True)
    feed = {
        name: np.array(read[name], np.int64)[None]
        for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    tokens = session.run(None, feed)[0][0]  # all three, whatever the graph has
    weights = feed["attention_mask"][0, :, None]
    vector = (tokens * weights).sum(0) / max(weights.sum(), 1e-9)
    assert vector.shape == (dim,)
    unit: np.ndarray = vector / np.linalg.norm(vector)
    return unit


json.dump([embed(text).tolist() for text in json.load(sys.stdin)], sys.stdout)
