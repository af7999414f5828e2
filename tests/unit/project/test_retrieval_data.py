"""The retrieval set in benchmarks/data is well-formed."""

from collections import Counter

import numpy as np
import pytest
from retrieval import FOLDER, mean_gain, read_retrieval

from embconvert.fidelity.texts import calibration_texts, verification_texts

FOUND = read_retrieval()
DOCUMENTS, QUERIES = list(FOUND.data.documents), list(FOUND.data.queries)


def test_it_has_some_hundred_documents_and_queries() -> None:
    assert len(DOCUMENTS) >= 600
    assert len(QUERIES) >= 300


@pytest.mark.parametrize(("name", "texts"), [("corpus", DOCUMENTS), ("queries", QUERIES)])
def test_no_line_is_left_out_and_no_text_comes_twice(name: str, texts: list[str]) -> None:
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(texts) == len(lines)
    folded = Counter(text.casefold() for text in texts)
    assert [text for text, count in folded.items() if count > 1] == []


def test_every_judgement_calls_a_document_relevant() -> None:
    assert len(FOUND.data.remarks) == 1, "more remarks tell of what was left out"
    assert min(grade for judged in FOUND.data.relevance for grade in judged.values()) >= 1


def test_no_query_is_a_document() -> None:
    documents = {text.casefold() for text in DOCUMENTS}
    assert documents.isdisjoint(text.casefold() for text in QUERIES)


def test_no_text_is_one_on_which_recipes_are_tuned() -> None:
    known = {*verification_texts().texts, *calibration_texts(None).texts}
    assert known.isdisjoint(FOUND.texts)


def test_most_documents_share_half_of_their_words_with_a_neighbour() -> None:
    words = [frozenset(text.casefold().split()) for text in DOCUMENTS]
    close = [
        max(len(one & other) / len(one | other) for other in words if other is not one)
        for one in words
    ]
    # Two sentences of ten words that share five have 5 of 15 in common.
    assert np.median(close) > 0.3


def test_embeddings_by_which_every_query_finds_its_documents_gain_all() -> None:
    embeddings = np.zeros((len(FOUND.texts), len(QUERIES) + 1), np.float32)
    embeddings[: len(DOCUMENTS), -1] = 1
    for query, judged in enumerate(FOUND.data.relevance):
        embeddings[len(DOCUMENTS) + query, query] = 1
        for number, grade in judged.items():
            embeddings[number, query] = grade
    assert mean_gain(FOUND, embeddings) == pytest.approx(1)
    embeddings[: len(DOCUMENTS)] *= -1
    assert mean_gain(FOUND, embeddings) < 0.1
