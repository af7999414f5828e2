"""Embeds texts by text-embeddings-inference's rules: FOLDER < texts.json > vectors.json.

Source: backends/ort/src/lib.rs and router/src/lib.rs of text-embeddings-inference 1.8.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder = Path(sys.argv[1])
path = folder / "model.onnx"
path = path if path.exists() else folder / "onnx" / "model.onnx"
config = json.loads((folder / "config.json").read_text())
assert isinstance(config["hidden_size"], int)
assert isinstance(config["num_hidden_layers"], int)
padding = json.loads((folder / "tokenizer_config.json").read_text()).get("padding_side", "right")
pad_id = config.get("pad_token_id") or config.get("eos_token_id") or 0
limit = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
assert (folder / "1_Pooling" / "config.json").is_file()

tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.enable_truncation(limit)
session = onnxruntime.InferenceSession(str(path))
inputs = {i.name for i in session.get_inputs()}
assert inputs <= {"input_ids", "attention_mask", "token_type_ids", "position_ids"}


def embed(texts: list[str]) -> np.ndarray:
    encodings = tokenizer.encode_batch(texts)
    longest = max(len(e.ids) for e in encodings)
    shape = (len(texts), longest)
    feed = {
        "input_ids": np.full(shape, pad_id, np.int64),
        "attention_mask": np.zeros(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
        "position_ids": np.zeros(shape, np.int64),
    }
    for row, encoding in enumerate(encodings):
        length = len(encoding.ids)
        where = slice(longest - length, longest) if padding == "left" else slice(0, length)
        feed["input_ids"][row, where] = encoding.ids
        feed["attention_mask"][row, where] = 1
        feed["token_type_ids"][row, where] = encoding.type_ids
    outputs = [o.name for o in session.get_outputs()]
    values = session.run(None, {name: feed[name] for name in inputs})
    vectors = dict(zip(outputs, values, strict=True))["sentence_embedding"]
    assert vectors.dtype == np.float32
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


all_texts = json.load(sys.stdin)
groups = [all_texts[start : start + 8] for start in range(0, len(all_texts), 8)]
json.dump(np.concatenate([embed(group) for group in groups]).tolist(), sys.stdout)
