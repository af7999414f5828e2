"""Sparse models, such as SPLADE: one weight per vocabulary entry, most of them zero."""

from embconvert.models.choices import Layout, Output
from embconvert.models.kinds.rules import TOKEN_LOGITS, KindRules, TracedValue

RULES = KindRules(
    words="a sparse model (SPLADE)",
    tasks=("fill-mask", "masked-lm"),
    library_class="SparseEncoder",
    model_types=("SparseEncoder",),
    modules=("SpladePooling", "SparseStaticEmbedding"),
    architecture_ending="ForMaskedLM",
    # Most masked language models are not sparse models.
    is_ending_enough=False,
    values=(
        TracedValue(name=TOKEN_LOGITS, per_token=True, outputs=(Output.LOGITS,)),
        TracedValue(name="sentence_embedding"),
    ),
    unit="vector",
    reference="sentence-transformers SparseEncoder.encode(), float32",
    variants=(
        "token logits (`--output logits`)",
        "inference-free, one weight per token (`SparseStaticEmbedding`), which stays float32",
    ),
    layouts=(Layout.HUB, Layout.SINGLEFILE, Layout.OPENVINO),
    # fastembed and Vespa pool the logits themselves.
    layouts_of={
        Output.LOGITS: (
            Layout.HUB, Layout.FASTEMBED, Layout.VESPA, Layout.SINGLEFILE, Layout.OPENVINO,
        ),
    },
    pipeline_tag="feature-extraction",
    tags=("sentence-transformers", "sparse-encoder", "sparse", "splade", "onnx"),
)  # fmt: skip
