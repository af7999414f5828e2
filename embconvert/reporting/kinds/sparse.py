"""Terms and code samples for sparse models."""

from embconvert.foreign_text import python_string
from embconvert.manifest.kinds.sparse import SparseRecord
from embconvert.models.kinds import TOKEN_LOGITS, Measure
from embconvert.models.splade import Activation, Splade
from embconvert.models.values import TOKEN_WEIGHTS
from embconvert.reporting.fastembed_parts import (
    fastembed_arguments,
    fastembed_folder,
    fastembed_name,
)
from embconvert.reporting.kind_words import KindWords
from embconvert.reporting.server_snippets import vespa_component
from embconvert.reporting.snippet_parts import (
    ServedModel,
    Snippet,
    SnippetMaker,
    download_lines,
    only,
    output_line,
    runtime_snippet,
    sentence_transformers_snippet,
    texts_lines,
)

#: With these modules, dimensions are the words of the vocabulary.
_OF_WORDS = frozenset({"SpladePooling", TOKEN_WEIGHTS})


def _splade(model: ServedModel) -> Splade | None:
    """Returns the pooling of the graph's token logits; None if it gives vectors."""
    rules = model.source.output_rules
    return rules if isinstance(rules, Splade) else None


def _sparse_encoder(model: ServedModel) -> Snippet:
    return sentence_transformers_snippet(
        model, "SparseEncoder", model.texts.for_sentence_transformers
    )


def _fastembed(model: ServedModel) -> Snippet | None:
    splade = _splade(model)
    if splade is None or not splade.is_usual:
        return None
    name = fastembed_name(model)
    fetched, where = fastembed_folder(model)
    arguments = fastembed_arguments(
        model,
        vocab_size=repr(model.dimension),
        description='""',
        license='""',
        size_in_GB="0",
    )
    return Snippet(
        key="fastembed",
        title="fastembed",
        code=f"""\
# pip install "fastembed>=0.9.1"
from fastembed import SparseTextEmbedding
from fastembed.common.model_description import ModelSource, SparseModelDescription
from fastembed.sparse import splade_pp
{fetched}
splade_pp.supported_splade_models.append(SparseModelDescription(
{arguments}))
model = SparseTextEmbedding({name}{where})
embeddings = list(model.embed({model.texts.in_python}))
print(embeddings)""",
        remark="fastembed has no method to add sparse models; the list is the one of its own.",
    )


def _vespa(model: ServedModel) -> Snippet | None:
    splade = _splade(model)
    if splade is None or not splade.is_usual or "token_type_ids" not in model.inputs:
        return None  # its splade-embedder always gives token types
    return vespa_component(
        model,
        "splade-embedder",
        f"  <transformer-output>{TOKEN_LOGITS}</transformer-output>\n",
        max_tokens="transformer-max-tokens",
    )


def _pool(model: ServedModel) -> Snippet | None:
    """Returns the code for ONNX Runtime that pools token logits."""
    splade = _splade(model)
    if splade is None:
        return None
    weights = "np.log1p(np.maximum(logits, 0))"
    if splade.activation is Activation.LOG1P_RELU:
        weights = f"np.log1p({weights})"
    most = ""
    if splade.max_active_dims is not None:
        most = f"""\
for vector in vectors:
    vector[np.argsort(-vector)[{splade.max_active_dims!r}:]] = 0
"""
    return runtime_snippet(
        model,
        f"""\
{texts_lines(model)}{output_line(model, "logits", TOKEN_LOGITS)}
weights = {weights} * feed["attention_mask"][:, :, None]
vectors = weights.{splade.strategy}(axis=1)
{most}{_heaviest(model)}""",
        remark=(
            "The graph gives the logits of each token, (batch, seq, vocabulary); the code pools "
            "them as the model's own module does."
        ),
    )


def _heaviest(model: ServedModel) -> str:
    """Returns Python code that shows the heaviest words of `vectors`, and how similar these are."""
    word = "tokenizer.id_to_token(int(n))" if _OF_WORDS & set(model.source.modules) else "n"
    return f"""\
for vector in vectors:
    active = np.flatnonzero(vector)  # with vector[active], what a search engine indexes
    heaviest = active[np.argsort(-vector[active])][:5]
    print(len(active), {{{word}: round(float(vector[n]), 2) for n in heaviest}})
print(vectors @ vectors.T)"""


def _onnxruntime(model: ServedModel) -> Snippet | None:
    if _splade(model) is not None:
        return None
    return runtime_snippet(
        model,
        f"""\
{texts_lines(model)}{output_line(model, "vectors", "sentence_embedding")}
{_heaviest(model)}""",
        remark="The graph pools over the tokens: one vector per text, mostly zeros.",
    )


def _idf(model: ServedModel) -> Snippet | None:
    """Returns the code that does without a graph; None if the model is more than a table."""
    record = model.source.model
    assert isinstance(record, SparseRecord)
    if model.source.modules != (TOKEN_WEIGHTS,) or record.max_active_dims is not None:
        return None
    lines = f"folder = {python_string(model.home.reference)}\n"
    package = library = ""
    if model.home.on_hub:
        lines = download_lines(model, "tokenizer.json", "idf.json")
        package, library = " huggingface_hub", "from huggingface_hub import snapshot_download\n"
    return Snippet(
        key="idf",
        title="Without a graph",
        code=f"""\
# pip install tokenizers{package}
import json

{library}from tokenizers import Tokenizer

{lines}tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
with open(folder + "/idf.json", encoding="utf-8") as file:
    weights = json.load(file)
for text in {model.texts.in_python}:
    print({{token: weights[token] for token in sorted(set(tokenizer.encode(text).tokens))}})""",
        remark=(
            "`idf.json` has the weight of each token, in the form in which OpenSearch takes it "
            "for queries. The score of a document is the dot product with its vector."
        ),
    )


WORDS = KindWords(
    measure=Measure.COSINE,
    gives="vector",
    one="a vector",
    all="vectors",
    between="between a text's sparse vector and the source's",
    neighbours=(
        "how many of each text's ten nearest neighbours among all texts stay, by dot product"
    ),
    rank="between the products of all pairs of texts before and after",
    output_title="Sparse vector",
    as_head=(
        "one weight per token, `(batch, seq)`, 0 for special tokens and padding: a text's sparse "
        "vector has for each token id the largest of its weights, and the score of two texts is "
        "the product of their vectors"
    ),
)
SNIPPET_MAKERS: tuple[SnippetMaker, ...] = (
    only(lambda model: _splade(model) is not None, _sparse_encoder),
    _fastembed, _pool, _onnxruntime, _vespa, _idf,
)  # fmt: skip
