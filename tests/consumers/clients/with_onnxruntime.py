"""Embeds texts with tokenizers and ONNX Runtime alone.

FOLDER FILE [memory] < texts.json > vectors.json; with `memory`, the graph is read from its bytes.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder, file = Path(sys.argv[1]), sys.argv[2]
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
path = folder / file
graph = path.read_bytes() if sys.argv[3:] == ["memory"] else str(path)
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

vectors = []
texts = json.load(sys.stdin)
for start in range(0, len(texts), 16):
    encodings = tokenizer.encode_batch(texts[start : start + 16])
    feed = {
        "input_ids": np.array([e.ids for e in encodings], np.int64),
        "attention_mask": np.array([e.attention_mask for e in encodings], np.int64),
        "token_type_ids": np.array([e.type_ids for e in encodings], np.int64),
    }
    named = {i.name: feed[i.name] for i in session.get_inputs()}
    vectors += session.run(["sentence_embedding"], named)[0].tolist()
json.dump(vectors, sys.stdout)
