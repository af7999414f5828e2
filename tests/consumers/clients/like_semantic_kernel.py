"""Embeds texts by Semantic Kernel's rules: FOLDER MAX_TOKENS < texts.json > vectors.json.

Source: BertOnnxTextEmbeddingGenerationService.cs of Semantic Kernel (b39d95a344). Its tokenizer,
FastBertTokenizer, is for .NET; here, tokenizers reads the same vocabulary.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import BertWordPieceTokenizer

folder, max_tokens = Path(sys.argv[1]), int(sys.argv[2])
tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"))
tokenizer.enable_truncation(max_tokens)
session = onnxruntime.InferenceSession((folder / "model.onnx").read_bytes())
dimensions = session.get_outputs()[0].shape[-1]


def embed(text: str) -> list[float]:
    ids = np.array([tokenizer.encode(text).ids], np.int64)
    feed = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }
    vector = session.run(None, feed)[0].ravel()  # all three, whatever the graph has
    # More than one vector would be pooled, without the model's rules.
    assert vector.shape == (dimensions,)
    values: list[float] = vector.tolist()
    return values


json.dump([embed(text) for text in json.load(sys.stdin)], sys.stdout)
