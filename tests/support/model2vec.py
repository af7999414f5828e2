"""What model2vec makes of a static embedding, without model2vec."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from support import zoo


def vectors(model: Path, texts: Sequence[str], length: int | None = None) -> Any:
    """The vectors by the formula of model2vec 0.10, without its limit in characters.

    Source: model2vec/model.py, StaticModel.tokenize, _encode_helper and _encode_batch.
    """
    from tokenizers import Tokenizer

    config = json.loads((model / "config.json").read_text())
    stored = load_file(model / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    if length is not None:
        tokenizer.enable_truncation(length)
    model_of_words = json.loads(tokenizer.to_str())["model"]
    unknown = model_of_words.get("unk_id")
    if model_of_words.get("unk_token") is not None:
        unknown = tokenizer.token_to_id(model_of_words["unk_token"])
    means = []
    for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        ids = [i for i in encoding.ids if i != unknown]
        rows = stored["embeddings"][stored["mapping"][ids] if "mapping" in stored else ids]
        if "weights" in stored:
            rows = rows * stored["weights"][ids][:, None]
        means.append(rows.mean(axis=0) if ids else np.zeros(zoo.HIDDEN_SIZE))
    found = np.stack(means).astype(np.float32)
    if config.get("normalize"):
        found /= np.linalg.norm(found, axis=1, keepdims=True) + 1e-32
    return found
