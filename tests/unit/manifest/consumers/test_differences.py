"""What is said of a program whose vectors differ from the source's."""

from dataclasses import replace
from typing import Any

import pytest

from embconvert.manifest.consumers import consumer_of
from embconvert.manifest.consumers.differences import differences
from embconvert.manifest.kinds.embedding import EmbeddingRecord
from embconvert.manifest.kinds.late_interaction import LateInteractionRecord
from embconvert.models.choices import Layout, PoolingMode
from embconvert.models.kinds import Kind
from embconvert.models.late_interaction import Expansion, LateInteraction
from embconvert.models.prompts import Prompts
from support.examples import manifest_of

POOLED = ("Transformer", "Pooling", "Normalize")
EXPANSION = Expansion(length=32, token_id=103, attend=False, fixed=True)
LATE = LateInteraction(
    query_prompt="[Q] ", document_prompt="[D] ", query_length=32, document_length=180,
    expansion=EXPANSION, skipped_ids=(), skipped_in=(),
)  # fmt: skip


def said(layout: Layout, **source: Any) -> str:
    manifest = manifest_of(**({"modules": POOLED} | source))
    return "; ".join(differences(consumer_of(layout, manifest.kind), manifest.source))


@pytest.mark.parametrize(("layout", "source", "words"), [
    (Layout.CHROMA, {}, ""),
    (Layout.CHROMA, {"modules": (*POOLED, "Dense")}, "this model does not (Dense)"),
    (Layout.CHROMA, {"prompts": Prompts(pooled=False)}, "without prompts"),
    (Layout.SPRINGAI, {}, "compare its embeddings by cosine"),
    (Layout.SPRINGAI, {"modules": POOLED[:2]}, ""),
    (Layout.HUB, {"modules": (*POOLED, "Dense")}, ""),
])  # fmt: skip
def test_pooling_and_length(layout: Layout, source: dict[str, Any], words: str) -> None:
    found = said(layout, **source)
    assert words in found if words else not found


def test_a_pooling_that_only_the_loaded_model_tells() -> None:
    model = EmbeddingRecord(pooling=(PoolingMode.LASTTOKEN,), dimension=384)
    assert "this model does not (lasttoken)" in said(Layout.LANGCHAIN4J, model=model)
    assert not said(Layout.VESPA, model=model)


@pytest.mark.parametrize(("expansion", "words"), [
    (None, "set <attend-to-expansion-tokens>false"),
    (replace(EXPANSION, attend=True), "never attends to the tokens that fill a query"),
    (EXPANSION, ""),
])  # fmt: skip
def test_vespa_fills_queries_in_its_own_way(expansion: Expansion | None, words: str) -> None:
    model = LateInteractionRecord(
        dimension=128, similarity="maxsim", late_interaction=replace(LATE, expansion=expansion)
    )
    assert model.kind is Kind.LATE_INTERACTION
    found = said(Layout.VESPA, model=model, modules=("Transformer", "Dense"))
    assert words in found if words else not found
    assert not said(Layout.HUB, model=model, modules=("Transformer", "Dense"))
