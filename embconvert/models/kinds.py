"""The kinds of models that are converted, and what follows from a model's kind; one table of data.

Which words of --task name it, which class of sentence-transformers is its reference, what its graph
gives, how two of its outputs are compared, which layouts and overrides make sense.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from embconvert.models.choices import Layout

#: The value, and mostly an output, with the vectors that the transformer makes of tokens.
TOKENS_OUTPUT = "last_hidden_state"
#: The value with a number for each word of the vocabulary, of each token.
TOKEN_LOGITS = "token_logits"


class Kind(StrEnum):
    """What a model makes of what it reads, as the manifest names it."""

    #: A vector of a text.
    EMBEDDING = "embedding"
    #: Scores of a pair of texts.
    RERANKER = "reranker"
    #: Weights of the words of a vocabulary, most of them zero.
    SPARSE = "sparse"
    #: A vector of each token.
    LATE_INTERACTION = "late-interaction"


class Reading(StrEnum):
    """What a model reads at a time."""

    TEXT = "text"
    #: Two texts with the tokenizer's separator between, and token types where it gives some.
    PAIR = "pair"
    #: A text that is searched with, or one that is searched in; each is read in its own way.
    QUERY_OR_DOCUMENT = "query or document"


class Measure(StrEnum):
    """How near what a graph gives is to what the source gives, for one text or pair; 1 is the same.

    The words are the manifest's: `fidelity.similarity.measure`.
    """

    #: Between two vectors.
    COSINE = "cosine"
    #: 1 - d² / 2, where d is the largest difference of a pair's scores, in units of the standard
    #: deviation of the source's scores over all pairs: the cosine of vectors that lie d apart at
    #: length 1, so that floors mean the same.
    AGREEMENT = "agreement"


@dataclass(frozen=True, kw_only=True)
class Value:
    """Something that a graph computes, by its name there.

    Attributes:
        name: Of the value.
        per_token: Whether it is of each token, (batch, seq, ...), or of each text, (batch, ...).
        is_output: Whether the graph gives it. Another keeps its name: Float16 knows by it where
            the transformer ends.
    """

    name: str
    per_token: bool = False
    is_output: bool = True


@dataclass(frozen=True, kw_only=True)
class KindRules:
    """What follows from a kind.

    Attributes:
        words: What such a model is called, with its article.
        tasks: The words of --task that name it: optimum's first, with those that optimum's
            TasksManager takes for the same; others' after them.
        own_tasks: Of these, the words that optimum does not know.
        library_class: The class of sentence-transformers that loads it.
        model_types: What `model_type` in config_sentence_transformers.json says of it.
        values: What is traced; the graph gives its outputs in this order.
        reading: What it reads at a time.
        measure: How two outputs are compared.
        unit: What it gives, in a word.
        reference: What it is compared with, for people.
        layouts: Those whose program can load it.
        overrides: The options that change what it gives.
        pipeline_tag: The hub's name of what it does.
        tags: The hub's tags, beside those of every conversion.
    """

    words: str
    tasks: tuple[str, ...]
    own_tasks: tuple[str, ...] = ()
    library_class: str
    model_types: tuple[str, ...]
    values: tuple[Value, ...]
    reading: Reading = Reading.TEXT
    measure: Measure = Measure.COSINE
    unit: str = "embedding"
    reference: str
    layouts: tuple[Layout, ...]
    overrides: tuple[str, ...] = ()
    pipeline_tag: str
    tags: tuple[str, ...]

    @property
    def task(self) -> str:
        """The usual word of --task."""
        return self.tasks[0]


KINDS: Mapping[Kind, KindRules] = MappingProxyType(
    {
        Kind.EMBEDDING: KindRules(
            words="an embedding model",
            tasks=(
                "sentence-similarity", "feature-extraction", "default", "mask-generation",
                "image-feature-extraction", "pretraining",
            ),
            library_class="SentenceTransformer",
            model_types=("SentenceTransformer",),
            values=(
                Value(name=TOKENS_OUTPUT, per_token=True), Value(name="sentence_embedding"),
            ),
            reference="sentence-transformers encode(), float32, no prompt",
            layouts=tuple(Layout),
            overrides=("pooling", "normalize", "dimensions", "force_dimensions", "output"),
            pipeline_tag="sentence-similarity",
            tags=(
                "sentence-transformers", "feature-extraction", "sentence-similarity", "onnx",
                "transformers.js", "text-embeddings-inference",
            ),
        ),
        Kind.RERANKER: KindRules(
            words="a reranker (cross-encoder)",
            tasks=(
                "text-classification", "sequence-classification", "zero-shot-classification",
                "text-ranking",
            ),
            own_tasks=("text-ranking",),
            library_class="CrossEncoder",
            model_types=("CrossEncoder",),
            values=(Value(name="logits"),),
            reading=Reading.PAIR,
            measure=Measure.AGREEMENT,
            unit="score",
            reference="sentence-transformers CrossEncoder.predict(), float32, logits, no prompt",
            layouts=(
                Layout.HUB, Layout.TRANSFORMERSJS, Layout.FASTEMBED, Layout.TEI, Layout.VESPA,
                Layout.SINGLEFILE,
            ),
            pipeline_tag="text-ranking",
            tags=(
                "sentence-transformers", "cross-encoder", "reranker", "onnx", "transformers.js",
                "text-embeddings-inference",
            ),
        ),
        Kind.SPARSE: KindRules(
            words="a sparse model (SPLADE)",
            tasks=("fill-mask", "masked-lm"),
            library_class="SparseEncoder",
            model_types=("SparseEncoder",),
            values=(
                Value(name=TOKEN_LOGITS, per_token=True, is_output=False),
                Value(name="sentence_embedding"),
            ),
            unit="vector",
            reference="sentence-transformers SparseEncoder.encode(), float32, no prompt",
            layouts=(Layout.HUB, Layout.SINGLEFILE),
            pipeline_tag="feature-extraction",
            tags=("sentence-transformers", "sparse-encoder", "sparse", "splade", "onnx"),
        ),
        Kind.LATE_INTERACTION: KindRules(
            words="a late-interaction model (ColBERT)",
            tasks=("late-interaction", "multi-vector"),
            own_tasks=("late-interaction", "multi-vector"),
            library_class="MultiVectorEncoder",
            # ColBERT is what PyLate writes, which was there before.
            model_types=("MultiVectorEncoder", "ColBERT"),
            values=(Value(name="token_embeddings", per_token=True),),
            reading=Reading.QUERY_OR_DOCUMENT,
            unit="vectors",
            reference="sentence-transformers MultiVectorEncoder.encode_query() and "
            "encode_document(), float32",
            layouts=(Layout.HUB, Layout.VESPA, Layout.SINGLEFILE),
            pipeline_tag="feature-extraction",
            tags=(
                "sentence-transformers", "multi-vector", "colbert", "late-interaction", "onnx",
            ),
        ),
    }
)  # fmt: skip

#: Every word of --task, to the kind that it names.
TASKS: Mapping[str, Kind] = MappingProxyType(
    {task: kind for kind, rules in KINDS.items() for task in rules.tasks}
)
