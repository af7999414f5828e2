"""Embedding models: one vector per text."""

from embconvert.models.choices import Layout, Output
from embconvert.models.kinds.rules import TOKENS_OUTPUT, KindRules, TracedValue

RULES = KindRules(
    words="an embedding model",
    tasks=(
        "sentence-similarity", "feature-extraction", "default", "mask-generation",
        "image-feature-extraction", "pretraining",
    ),
    library_class="SentenceTransformer",
    optimum_task="feature-extraction",
    model_types=("SentenceTransformer",),
    values=(
        TracedValue(name=TOKENS_OUTPUT, per_token=True),
        TracedValue(name="sentence_embedding", outputs=(Output.BOTH, Output.SENTENCE)),
    ),
    reference="sentence-transformers encode(), float32",
    variants=(
        "static embeddings (`StaticEmbedding`, or model2vec's format)",
        "with a LoRA adapter (`--adapter`, or a repository that is one)",
        "with routes for queries and documents (`Router`)",
        "the text side of CLIP, SigLIP and others (their config.json)",
        "with a chat template (`message` in the settings of its Transformer)",
        "embeddings of integers (`--output_precision`)",
    ),
    layouts=tuple(Layout),
    overrides=("pooling", "normalize", "dimensions", "force_dimensions", "output_precision"),
    pipeline_tag="sentence-similarity",
    tags=(
        "sentence-transformers", "feature-extraction", "sentence-similarity", "onnx",
        "transformers.js", "text-embeddings-inference",
    ),
)  # fmt: skip
