"""Each different input is computed once."""

from pathlib import Path

from embconvert.evaluation.cache import Cache
from embconvert.evaluation.outputs import CachedOutputs
from embconvert.fidelity.texts import Item, Prompted, Query
from support.evaluation import BagOfWords


def run(outputs: CachedOutputs, items: list[Item]) -> list[bytes]:
    work = outputs.rows(items)
    try:
        next(work)
    except StopIteration as end:
        rows: list[bytes] = end.value
        return rows
    raise AssertionError("it waits for something")


def test_an_input_is_computed_once_in_a_run_and_once_with_a_cache(tmp_path: Path) -> None:
    items: list[Item] = ["a", "b", Prompted("b", ""), Prompted("b", "query: "), "a"]
    first, second = BagOfWords(), BagOfWords()
    with Cache(tmp_path, "graph", print) as cache:
        rows = run(CachedOutputs(first, cache), items)  # type: ignore[arg-type]
        assert len(first.computed) == 3
        assert rows[0] == rows[4] != rows[1] == rows[2] != rows[3]
        assert run(CachedOutputs(second, cache), items) == rows  # type: ignore[arg-type]
        assert second.computed == []


def test_queries_documents_and_pairs_are_other_inputs(tmp_path: Path) -> None:
    computes = BagOfWords()
    with Cache(tmp_path, "graph", print) as cache:
        items: list[Item] = ["a", Query("a"), ("a", "b"), ("b", "a"), Prompted(("a", "b"), "c")]
        run(CachedOutputs(computes, cache), items)  # type: ignore[arg-type]
    assert len(computes.computed) == 5
