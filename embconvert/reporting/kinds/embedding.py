"""Terms and code samples for embedding models."""

from dataclasses import replace
from functools import partial

from embconvert.manifest import SourceRecord
from embconvert.models.choices import OFFSETS
from embconvert.models.kinds import Measure
from embconvert.reporting.embedding_snippets import (
    fastembed,
    onnxruntime,
    optimum,
    sentence_transformers,
)
from embconvert.reporting.kind_words import KindWords, dimensions_of
from embconvert.reporting.server_snippets import (
    embed_with_tei,
    langchain4j,
    nixiesearch,
    spring_ai,
    vespa,
)
from embconvert.reporting.snippet_parts import SnippetMaker, only
from embconvert.reporting.transformers_js_snippets import embed_in_javascript

# Programs that read embeddings of floats, some of which also go by a transformer's config.json, or
# pad the texts of a batch.
_of_floats = partial(only, lambda model: model.source.model.code is None)
_for_transformers = partial(only, lambda model: _fits_config(model.source))
_for_padded = partial(only, lambda model: OFFSETS not in model.inputs)


def _fits_config(source: SourceRecord) -> bool:
    return source.model.code is None and source.fits_config


def _size(source: SourceRecord) -> str:
    dimensions = dimensions_of(source)
    code = source.model.code
    if code is None:
        return dimensions
    if code.precision.is_bits:
        return f"{dimensions}, a bit for each in {code.size} bytes ({code.precision})"
    return f"{dimensions} of {code.precision}"


def _changed(source: SourceRecord, words: KindWords) -> KindWords:
    """Returns the terms for embeddings of integers."""
    code = source.model.code
    if code is None:
        return words
    if code.precision.is_bits:
        return replace(
            words,
            between=(
                "between a text's embedding and the source's, estimated by the share of bits that "
                "differ: cos(π · share)"
            ),
            neighbours=(
                "how many of each text's ten nearest neighbours among all texts stay, by Hamming "
                "distance"
            ),
            rank="between the Hamming distances of all pairs of texts before and after",
        )
    return replace(
        words,
        between=f"between a text's embedding and the source's, of what {code.precision} keeps",
        neighbours=(
            "how many of each text's ten nearest neighbours among all texts stay, by cosines of "
            "the integers"
        ),
        rank="between the cosines of the integers of all pairs of texts before and after",
    )


def _needless_tags(source: SourceRecord) -> tuple[str, ...]:
    usual = ("sentence-transformers", "transformers.js", "text-embeddings-inference")
    return () if _fits_config(source) else usual


WORDS = KindWords(
    measure=Measure.COSINE, size=_size, needless_tags=_needless_tags, changed=_changed
)
SNIPPET_MAKERS: tuple[SnippetMaker, ...] = (
    _for_transformers(sentence_transformers),
    _for_transformers(fastembed),
    onnxruntime,
    _for_transformers(embed_in_javascript),
    _for_transformers(embed_with_tei),
    _of_floats(nixiesearch),
    _of_floats(vespa),
    _for_transformers(optimum),
    _of_floats(_for_padded(langchain4j)),
    _of_floats(_for_padded(spring_ai)),
)
