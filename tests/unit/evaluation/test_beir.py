"""Retrieval sets in BEIR's form."""

import os
from pathlib import Path

import pytest

from embconvert.errors import UsageError
from embconvert.evaluation.beir import read_beir
from embconvert.evaluation.data import DataForm, Dataset
from support.evaluation import beir

DOCUMENTS = {"d1": "one", "d2": "two", "d3": "three"}
QUERIES = {"q1": "first", "q2": "second", "q3": "third"}


def read(folder: Path) -> Dataset:
    (folder / "scratch").mkdir(exist_ok=True)
    return read_beir(folder, folder / "scratch")


def test_texts_and_judgements_are_read(tmp_path: Path) -> None:
    beir(tmp_path / "set", DOCUMENTS, QUERIES, [("q1", "d1", 2), ("q1", "d2", 0), ("q3", "d3", 1)])
    (tmp_path / "set" / "corpus.jsonl").write_text(
        '{"_id": "d1", "title": "One", "text": "is a number"}\n'
        '{"_id": "d2", "title": "", "text": "two"}\n{"_id": 3, "text": "three", "metadata": {}}\n'
    )
    (tmp_path / "set" / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq3\t3\t1\nq3\tgone\t1\nq2\td1\t0\n"
    )
    data = read(tmp_path / "set")
    assert (data.form, data.name) == (DataForm.RETRIEVAL, "set")
    assert list(data.documents) == ["One is a number", "two", "three"]
    assert list(data.queries) == ["first", "third"]
    assert data.relevance == [{0: 2, 1: 0}, {2: 1}]
    assert data.remarks == [
        "judgements: qrels/test.tsv",
        "1 queries without a relevant document are left out",
        "1 judgements about documents that corpus.jsonl lacks are left out",
    ]


def test_documents_without_text_are_left_out_and_told(tmp_path: Path) -> None:
    beir(tmp_path / "set", {**DOCUMENTS, "d4": "  "}, QUERIES, [("q1", "d1", 1)])
    data = read(tmp_path / "set")
    assert len(data.documents) == 3
    assert "1 documents without text are left out" in data.remarks


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    one, same, other = (
        read(beir(tmp_path / name, DOCUMENTS, QUERIES, [("q1", document, 1)])).digest
        for name, document in (("a", "d1"), ("b", "d1"), ("c", "d2"))
    )
    assert one == same != other


def test_the_split_is_chosen(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set", DOCUMENTS, QUERIES, [("q1", "d1", 1)])
    test = folder / "qrels" / "test.tsv"
    (folder / "qrels" / "dev.tsv").write_text(test.read_text())
    assert read(folder).remarks[0] == "judgements: qrels/test.tsv"
    test.unlink()
    assert read(folder).remarks[0] == "judgements: qrels/dev.tsv"
    (folder / "qrels" / "dev.tsv").rename(folder / "qrels" / "mine.tsv")
    assert read(folder).remarks[0] == "judgements: qrels/mine.tsv"
    (folder / "qrels" / "other.tsv").write_text("")
    with pytest.raises(UsageError, match=r"has 2 files in qrels, none of them test\.tsv"):
        read(folder)


@pytest.mark.parametrize(
    "header", ["query-id\tcorpus-id\tscore", "qid\tdocid\trelevance", "query\titer\tdoc\trel"]
)
def test_judgements_may_have_other_names_of_columns(tmp_path: Path, header: str) -> None:
    folder = beir(tmp_path / "set", DOCUMENTS, QUERIES, [])
    middle = "0\t" * (header.count("\t") - 2)
    (folder / "qrels" / "test.tsv").write_text(f"{header}\nq1\t{middle}d2\t1\n")
    assert read(folder).relevance == [{1: 1}]


def test_a_query_is_no_result_of_itself(tmp_path: Path) -> None:
    """BEIR's evaluation leaves out the document with a query's id (`ignore_identical_ids`)."""
    documents = {"1": "one", "2": "two", "3": "three"}
    folder = beir(tmp_path / "set", documents, {**documents, "4": "four"}, [
        ("1", "2", 1), ("2", "1", 1), ("2", "2", 0), ("3", "3", 1), ("4", "3", 1),
    ])  # fmt: skip
    data = read(folder)
    assert data.own == [0, 1, -1, -1], "a relevant document with the same id is another text"
    assert "2 documents with a query's own id are left out of its results" in data.remarks


def test_candidates_are_read_for_each_query(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set", DOCUMENTS, QUERIES, [("q1", "d1", 1), ("q2", "d2", 1)])
    candidates = folder / "candidates.tsv"
    candidates.write_text("query-id\tcorpus-id\nq1\td3\nq1\td1\nq2\td2\t0.5\nq3\td1\n")
    assert read(folder).candidates == [[2, 0], [1]]
    candidates.write_text("q1\td1\n")
    with pytest.raises(UsageError, match="has no candidate for the query q2"):
        read(folder)
    candidates.write_text("q1\td9\n")
    with pytest.raises(UsageError, match=r"line 1: corpus\.jsonl has no document d9"):
        read(folder)


@pytest.mark.parametrize(
    ("file", "line", "problem"),
    [
        ("corpus.jsonl", '{"_id": "d1", "text": "again"}', "line 4: the _id d1 was used before"),
        ("corpus.jsonl", '{"_id": "d9", "title": "t"}', "line 4: title or text is not text"),
        ("corpus.jsonl", '{"text": "x"}', "line 4: _id is missing, not an id"),
        ("corpus.jsonl", '"x"', "line 4: it is 'x', not an object"),
        ("queries.jsonl", '{"_id": "q1", "text": "x"}', "line 4: the _id q1 was used before"),
        ("queries.jsonl", '{"_id": "q9", "text": ""}', "line 4: text is empty"),
        ("qrels/test.tsv", "q9\td1\t1", "line 3: queries.jsonl has no query q9"),
        ("qrels/test.tsv", "q1\td1\t0.5", "line 3: the score 0.5 is no whole number"),
        ("qrels/test.tsv", "q1\td1\thigh", "line 3: score is 'high', not a number"),
        ("qrels/test.tsv", "q1 d1 1", "line 3: it has 1 columns"),
        ("qrels/test.tsv", "q1\td1\t1e200", "line 3: the score 1e200 is above 1,000,000"),
    ],
)
def test_a_bad_line_is_told_with_its_number(
    tmp_path: Path, file: str, line: str, problem: str
) -> None:
    folder = beir(tmp_path / "set", DOCUMENTS, QUERIES, [("q1", "d1", 1)])
    with (folder / file).open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(UsageError) as caught:
        read(folder)
    assert problem in caught.value.message


def test_of_judgements_that_differ_the_last_counts_and_it_is_said(tmp_path: Path) -> None:
    judgements = [("q1", "d1", 0), ("q1", "d2", 1), ("q1", "d2", 1), ("q1", "d1", 2)]
    data = read(beir(tmp_path / "set", DOCUMENTS, QUERIES, judgements))
    assert data.relevance == [{0: 2, 1: 1}]
    assert "1 judgements differ from an earlier one; the last counts" in data.remarks


def test_a_remark_is_one_line_that_json_can_hold(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set", DOCUMENTS, QUERIES, [("q1", "d1", 1)])
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / os.fsdecode(b"a\xff\nb.tsv"))
    remark = read(folder).remarks[0]
    assert remark.isprintable()
    assert remark.encode().startswith(b"judgements: qrels/a")


def test_a_set_without_a_relevant_document_is_refused(tmp_path: Path) -> None:
    folder = beir(tmp_path / "set", DOCUMENTS, QUERIES, [("q1", "d1", 0)])
    with pytest.raises(UsageError, match=r"calls no document of corpus\.jsonl relevant"):
        read(folder)
