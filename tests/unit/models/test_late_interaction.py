"""How queries and documents are laid out."""

import pytest

from embconvert.models.late_interaction import Expansion, LateInteraction

RULES = LateInteraction(
    query_prompt="q", document_prompt="d", query_length=30, document_length=None,
    expansion=None, skipped_ids=(1,), skipped_in=("document",),
)  # fmt: skip


@pytest.mark.parametrize(("expansion", "limit"), [
    (None, 30),
    (Expansion(length=24, token_id=4, attend=False, fixed=True), 24),
    (Expansion(length=40, token_id=4, attend=False, fixed=False), 40),
])  # fmt: skip
def test_what_fills_queries_up_decides_where_they_are_cut(
    expansion: Expansion | None, limit: int
) -> None:
    from dataclasses import replace

    rules = replace(RULES, expansion=expansion)
    assert rules.limit(64, query=True) == limit
    assert rules.limit(64, query=False) == 64
