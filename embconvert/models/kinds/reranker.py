"""Rerankers (cross-encoders): scores per pair of texts."""

from embconvert.models.choices import Layout
from embconvert.models.kinds.rules import KindRules, Measure, Reading, TracedValue

RULES = KindRules(
    words="a reranker (cross-encoder)",
    tasks=(
        "text-classification", "sequence-classification", "zero-shot-classification",
        "text-ranking",
    ),
    own_tasks=("text-ranking",),
    library_class="CrossEncoder",
    model_types=("CrossEncoder",),
    modules=("LogitScore",),
    architecture_ending="ForSequenceClassification",
    values=(TracedValue(name="logits"),),
    reading=Reading.PAIR,
    measure=Measure.AGREEMENT,
    unit="score",
    reference="sentence-transformers CrossEncoder.predict(), float32, logits",
    variants=(
        "generative: the next token of a language model (`LogitScore`, or `--reranker_template`)",
        "with a chat template for pairs (`message` in the settings of its Transformer)",
    ),
    layouts=(
        Layout.HUB, Layout.TRANSFORMERSJS, Layout.FASTEMBED, Layout.TEI, Layout.VESPA,
        Layout.SINGLEFILE, Layout.OPENVINO,
    ),
    # The others pad on the right, or know no scores from a language model.
    layouts_with={"LogitScore": (Layout.HUB, Layout.SINGLEFILE, Layout.OPENVINO)},
    pipeline_tag="text-ranking",
    tags=(
        "sentence-transformers", "cross-encoder", "reranker", "onnx", "transformers.js",
        "text-embeddings-inference",
    ),
)  # fmt: skip
