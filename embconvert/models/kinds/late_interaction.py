"""Late-interaction models, such as ColBERT: one vector per token."""

from embconvert.models.choices import Layout
from embconvert.models.kinds.rules import KindRules, Reading, TracedValue

RULES = KindRules(
    words="a late-interaction model (ColBERT)",
    tasks=("late-interaction", "multi-vector"),
    own_tasks=("late-interaction", "multi-vector"),
    library_class="MultiVectorEncoder",
    # PyLate, which is older, writes ColBERT.
    model_types=("MultiVectorEncoder", "ColBERT"),
    # PyLate's projection: until sentence-transformers 5, its models did not tell their kind.
    modules=("pylate.models.Dense.Dense",),
    # The original ColBERT, whose projection is among the transformer's weights; and transformers'
    # retrievers of images.
    architectures=("HF_ColBERT", "ForRetrieval"),
    values=(TracedValue(name="token_embeddings", per_token=True),),
    reading=Reading.QUERY_OR_DOCUMENT,
    unit="vectors",
    reference="sentence-transformers MultiVectorEncoder.encode_query() and "
    "encode_document(), float32",
    variants=(
        "the formats of PyLate and of the original ColBERT (artifact.metadata)",
        "queries of ColQwen2 and ColPali, whose documents are images",
    ),
    layouts=(Layout.HUB, Layout.VESPA, Layout.SINGLEFILE, Layout.OPENVINO),
    pipeline_tag="feature-extraction",
    tags=(
        "sentence-transformers", "multi-vector", "colbert", "late-interaction", "onnx",
    ),
)  # fmt: skip
