"""Pools token logits as a program does that gets them from a graph; numpy only."""

import numpy as np
import numpy.typing as npt

from embconvert.fidelity.figures import Embeddings, FloatArray
from embconvert.models.splade import Activation, Splade, Strategy

#: Number of vocabulary entries whose logits are compared for each token: the logits of all entries
#: and tokens would not fit into memory.
COMPARED_ENTRIES = 512


def sampled(logits: FloatArray) -> FloatArray:
    """Returns the logits, (tokens, vocabulary) float32, of entries that are spread evenly.

    They are (tokens, COMPARED_ENTRIES), or all entries of a smaller vocabulary.
    """
    size = logits.shape[-1]
    entries = np.linspace(0, size - 1, min(size, COMPARED_ENTRIES)).round().astype(np.int64)
    return logits[:, entries]


def pooled(logits: FloatArray, rules: Splade) -> FloatArray:
    """Returns the sparse vector, (vocabulary,), of logits, (tokens, vocabulary), both float32.

    Source: sentence_transformers.sparse_encoder.modules.SpladePooling.forward and
    sentence_transformers.util.select_max_active_dims (6.2).
    """
    if rules.strategy is Strategy.MAX:  # logarithms keep the order
        vector = _weights(logits.max(axis=0), rules.activation)
    else:
        vector = _weights(logits, rules.activation).sum(axis=0)
    most = rules.max_active_dims
    if most is not None and most < len(vector):
        vector[np.argpartition(-vector, most)[most:]] = 0.0
    return vector


def _weights(logits: FloatArray, activation: Activation) -> FloatArray:
    weights: FloatArray = np.log1p(np.maximum(logits, np.float32(0)))
    return np.log1p(weights) if activation is Activation.LOG1P_RELU else weights


def read_logits(logits: FloatArray, mask: npt.NDArray[np.bool_], rules: Splade) -> Embeddings:
    """Returns the pooled vectors of a batch, and for each token a sample of its logits.

    Logits are (batch, seq, vocabulary); `mask` is False for padding, (batch, seq).
    """
    texts = [
        row[kept].astype(np.float32, copy=False) for row, kept in zip(logits, mask, strict=True)
    ]
    return Embeddings(
        sentence=np.stack([pooled(text, rules) for text in texts]),
        token_mean=None,
        tokens=tuple(map(sampled, texts)),
    )
