"""Hybrid models, such as BGE-M3: a vector per text, and heads over its token vectors."""

from dataclasses import replace

from embconvert.models.choices import Layout
from embconvert.models.kinds.embedding import RULES as EMBEDDING
from embconvert.models.kinds.rules import Head, TracedValue

#: The graph has all that an embedding model's has, so programs for those read it, too.
RULES = replace(
    EMBEDDING,
    words="a hybrid model (dense, sparse and late-interaction heads)",
    tasks=("hybrid",),
    own_tasks=("hybrid",),
    model_types=(),
    # FlagEmbedding writes and reads these files.
    heads=(
        Head(kind="sparse", file="sparse_linear.pt", output="token_weights", is_weight=True),
        Head(kind="late-interaction", file="colbert_linear.pt", output="colbert_embeddings"),
    ),
    values=(
        *EMBEDDING.values,
        # (batch, seq), not (batch, vocabulary): a vector of 250,002 weights would be 1 MB per text,
        # and all programs want the few tokens that have one.
        TracedValue(name="token_weights", per_token=True, outputs=EMBEDDING.outputs),
        # Not token_embeddings: beside sentence_embedding, these are hidden states for optimum.
        TracedValue(name="colbert_embeddings", per_token=True, outputs=EMBEDDING.outputs),
    ),
    overrides=tuple(name for name in EMBEDDING.overrides if name != "output_precision"),
    reference="sentence-transformers encode(), float32, and the heads' formulas in numpy over its "
    "token vectors",
    # The other programs read a single output.
    variants=("BGE-M3 and models of FlagEmbedding (`sparse_linear.pt`, `colbert_linear.pt`)",),
    layouts=(Layout.HUB, Layout.TRANSFORMERSJS, Layout.SINGLEFILE, Layout.OPENVINO),
    tags=(*EMBEDDING.tags, "sparse", "multi-vector", "colbert", "late-interaction"),
)
