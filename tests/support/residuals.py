"""Exported models of the zoo with residual streams as large models grow them.

Channels of the stream are as large as asked for, in pairs of opposite signs, so that the mean which
a LayerNormalization subtracts is that of the other channels. The norms that read the stream make
the other channels large again and the planted ones small, as trained ones do; without that nothing
but the planted channels would reach the embedding, and any graph would pass.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from support import zoo

_PLANTED = [5, 17]
#: Of these two the size differs from text to text; modernbert's first norm evens the others out.
_VARIED = [9, 21]
_OTHERS = [n for n in range(zoo.HIDDEN_SIZE) if n not in (*_PLANTED, *_VARIED)]
_READERS = ("query.weight", "key.weight", "value.weight")
_TABLES = ("embed_tokens.weight", "embeddings.tok_embeddings.weight")


def plant(source: Path, target: Path, size: float) -> None:
    """Writes a copy of an exported graph whose residual stream reaches about a size."""
    model = onnx.load(str(source))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = {n: numpy_helper.to_array(t).copy() for n, t in tensors.items() if t.data_type == 1}
    if any("LayerNorm" in name for name in arrays):
        _plant_behind_norms(arrays, size)
    else:
        _plant_before_norms(arrays, size)
    for name, array in arrays.items():
        tensors[name].CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, str(target))


def _plant_before_norms(arrays: dict[str, np.ndarray], size: float) -> None:
    """qwen3, llama and modernbert: nothing normalizes the stream itself."""
    table = next(arrays[name] for name in _TABLES if name in arrays)
    random = np.random.default_rng(1)
    share = random.uniform(0.5, 1, len(table))  # of each token
    first = arrays.get("embeddings.norm.weight")
    large = size if first is None else 100.0
    table[:, _PLANTED] = large * share[:, None] * [1, -1]
    small = [*_PLANTED, *(_VARIED if first is not None else [])]
    for name, array in arrays.items():
        is_norm = "norm" in name and name.endswith(".weight")
        if is_norm and array.shape == (zoo.HIDDEN_SIZE,) and array is not first:
            np.multiply(array, size / 16, out=array)
            array[small] = 0.1
    if first is not None:
        table[:, _VARIED] = random.uniform(-50, 50, (len(table), 1)) * [1, -1]
        table[:, _OTHERS] -= table[:, _OTHERS].mean(axis=1, keepdims=True)
        first *= 25
        first[_PLANTED], first[_VARIED] = size / 4, size / 6
        for name, array in arrays.items():
            if "layers.0.attn.Wqkv" in name:  # reads the stream itself
                array[[*_PLANTED, *_VARIED]] /= size


def _plant_behind_norms(arrays: dict[str, np.ndarray], size: float) -> None:
    """bert: its norms' weights and biases make the channels, and differ from text to text."""
    last = max(name for name in arrays if name.endswith("output.LayerNorm.weight"))
    for name, array in arrays.items():
        is_last = name.rpartition(".")[0] == last.rpartition(".")[0]
        if name.endswith("LayerNorm.weight"):
            np.multiply(array, 1 if "embeddings" in name else size / 8, out=array)
            array[_PLANTED] = 0.1 if is_last else size / 28
        elif name.endswith("LayerNorm.bias") and not is_last:
            array[_PLANTED] = [size, -size]
        elif name.endswith((*_READERS, "intermediate.dense.weight")):
            array[_PLANTED] /= size
        elif name.endswith(("embeddings.weight", "output.dense.weight", "output.dense.bias")):
            array[..., _PLANTED[1]] = -array[..., _PLANTED[0]]
            if name.endswith("embeddings.weight"):
                others = [n for n in range(zoo.HIDDEN_SIZE) if n not in _PLANTED]
                array[:, others] -= array[:, others].mean(axis=1, keepdims=True)


def texts(count: int, seed: int, words: range) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of random texts of some words, 1 to 64 tokens, padded on the right."""
    random = np.random.default_rng(seed)
    for start in range(0, count, 32):
        rows, longest = min(32, count - start), int(random.integers(3, 65))
        ids = random.integers(words.start, words.stop, (rows, longest))
        ids[:, 0] = zoo.BOS_ID
        lengths = random.integers(1, longest + 1, rows)
        mask = (np.arange(longest) < lengths[:, None]).astype(np.int64)
        ids[mask == 0] = zoo.PAD_ID
        yield {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
