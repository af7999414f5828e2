"""What a user's data is, is found out; a bad line is told with its number."""

import json
import os
from pathlib import Path

import pytest

from embconvert.errors import UsageError
from embconvert.evaluation.data import DataForm, Dataset
from embconvert.evaluation.reading import digest_of, read_data
from support.evaluation import beir

TEXTS = "\n".join(f"text {n}" for n in range(50))


def read(folder: Path, name: str, content: str | bytes) -> Dataset:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return read_data(path, scratch)


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("a.csv", "sentence1,sentence2,score\na,b,0.5\nc,d,4\n", DataForm.SCORED_PAIRS),
        ("a.csv", "a,b,5.0\nc,d,4\n", DataForm.SCORED_PAIRS),
        ("a.csv", 'id,score,text2,text1\n1,0.5,"b, or\nc",a\n2,4,d,c\n', DataForm.SCORED_PAIRS),
        ("a.tsv", "query\tdocument\tlabel\na\tb\t0\nc\td\t1\n", DataForm.LABELLED_PAIRS),
        ("a.csv", "sentence1,sentence2,label\na,b,0\nc,d,2\n", DataForm.SCORED_PAIRS),
        ("a.csv", "anchor,positive,negative\na,b,c\n", DataForm.TRIPLES),
        ("a.tsv", 'an "anchor\ta positive\ta negative\n', DataForm.TRIPLES),
        ("a.csv", "text\n" + TEXTS, DataForm.TEXTS),
        ("a.txt", TEXTS, DataForm.TEXTS),
        ("a.txt", b"\xef\xbb\xbf" + TEXTS.replace("\n", "\r\n").encode(), DataForm.TEXTS),
    ],
)
def test_tables_and_lists(tmp_path: Path, name: str, content: str, form: DataForm) -> None:
    assert read(tmp_path, name, content).form is form


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ({"sentence1": "a", "sentence2": "b", "score": 0.5}, DataForm.SCORED_PAIRS),
        ({"query": "a", "document": "b", "label": 1, "id": 7}, DataForm.LABELLED_PAIRS),
        ({"query": "a", "positive": "b", "negative": "c"}, DataForm.TRIPLES),
        ({"text": "a {}"}, DataForm.TEXTS),
        ("a {}", DataForm.TEXTS),
    ],
)
def test_lines_of_json(tmp_path: Path, line: object, form: DataForm) -> None:
    text = json.dumps(line)
    lines = [
        text.replace("{}", str(n)).replace('"label": 1', f'"label": {n % 2}') for n in range(50)
    ]
    lines = [line.replace("0.5", str(n / 50)) for n, line in enumerate(lines)]
    assert read(tmp_path, "a.jsonl", "\n\n".join(lines)).form is form


def test_pairs_have_their_texts_and_scores(tmp_path: Path) -> None:
    data = read(tmp_path, "a.csv", 'id,score,text2,text1\n1,0.5,"b, or\nc",a\n2,4,d,e\n')
    assert data.pairs is not None
    assert (list(data.queries), list(data.documents)) == (["a", "e"], ["b, or\nc", "d"])
    assert data.pairs.gold.tolist() == [0.5, 4.0]


def test_triples_are_pairs_with_positives_then_with_negatives(tmp_path: Path) -> None:
    data = read(tmp_path, "a.csv", "anchor,positive,negative\na,b,c\nd,e,f\n")
    assert data.pairs is not None
    pairs = zip(data.pairs.first.tolist(), data.pairs.second.tolist(), strict=True)
    assert [(data.queries[a], data.documents[b]) for a, b in pairs] == [
        ("a", "b"), ("d", "e"), ("a", "c"), ("d", "f"),
    ]  # fmt: skip
    assert data.pairs.gold.tolist() == [1, 1, 0, 0]


def test_the_lists_of_a_triple_are_all_its_pairs(tmp_path: Path) -> None:
    lines = (
        '{"query": "a", "pos": ["b", "c"], "neg": ["d", "e"]}\n'
        '{"query": "f", "pos": "g", "neg": "h"}\n'
    )
    data = read(tmp_path, "a.jsonl", lines)
    assert data.pairs is not None
    assert data.pairs.first.tolist() == [0, 0, 0, 0, 1] * 2
    assert [data.documents[n] for n in data.pairs.second] == [*"bbccg", *"dedeh"]
    assert data.remarks[1] == "5 triples, of which those with the same query are one"


@pytest.mark.parametrize("words", [("True", "False"), (" true", "false ")])
def test_labels_may_be_words(tmp_path: Path, words: tuple[str, str]) -> None:
    yes, no = words
    for header in ("", "sentence1,sentence2,label\n"):
        data = read(tmp_path, "a.csv", f"{header}a,b,{yes}\nc,d,{no}\n")
        assert data.form is DataForm.LABELLED_PAIRS
        assert data.pairs is not None
        assert data.pairs.gold.tolist() == [1, 0]


def test_a_text_that_occurs_twice_is_no_neighbour_of_itself(tmp_path: Path) -> None:
    data = read(tmp_path, "a.txt", f"{TEXTS}\ntext 7\n\n text 8 ")
    assert len(data.documents) == 50
    assert data.remarks == ["2 repeated texts are left out"]


def test_of_a_long_list_some_texts_are_queries(tmp_path: Path) -> None:
    data = read(tmp_path, "a.txt", "\n".join(f"text {n}" for n in range(2500)))
    assert (len(data.queries), len(data.documents)) == (1000, 2500)
    assert [data.documents[n] for n in data.own] == list(data.queries)
    assert data.remarks == ["neighbours of 1000 of 2500 texts"]


@pytest.mark.parametrize("count", [1001, 1500, 1999])
def test_queries_come_from_the_whole_list_and_it_is_said(tmp_path: Path, count: int) -> None:
    data = read(tmp_path, "a.txt", "\n".join(f"text {n}" for n in range(count)))
    assert len(set(data.own)) == 1000
    assert max(data.own) >= count - 2
    assert data.remarks == [f"neighbours of 1000 of {count} texts"]


def test_the_column_of_texts_is_said(tmp_path: Path) -> None:
    rows = "\n".join(f"{n},text {n}" for n in range(50))
    assert read(tmp_path, "a.csv", f"label,text\n{rows}").remarks == ["column: text"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "sentence1,sentence2,score\na,b,1\nc,,2\n", "line 3: sentence2 is empty"),
        ("a.csv", "sentence1,sentence2,score\na,b,high\n", "line 2: score is 'high', not a number"),
        ("a.csv", "sentence1,sentence2,score\na,b,nan\n", "line 2: score is 'nan', not a number"),
        ("a.csv", "sentence1,sentence2,score\na,b,inf\n", "line 2: score is 'inf', not a number"),
        ("a.csv", "sentence1,sentence2,score\na,b,c,1\n", "line 2: it has 4 columns instead of 3"),
        ("a.csv", 'sentence1,sentence2,score\na,b,1\n"a,b,2\nc,d,3\n', "line 3: it is not a row"),
        ("a.csv", "name,age\nx,3\n", "line 1: it has 2 columns without names"),
        ("a.csv", "sentence1,age,score\nx,3,1\n", "line 1: its columns are sentence1, age, score"),
        ("a.csv", "s1,s2,rating\na,b,3\n", "line 1: its columns are s1, s2, rating"),
        ("a.csv", "id,ask,told\n1,a,b\n2,c,d\n", "line 1: its columns are id, ask, told"),
        ("a.tsv", "count\n3\n", "line 1: its columns are count"),
        ("a.csv", "sentence1;sentence2;score\na;b;1\n", "line 1: its columns are separated by ';'"),
        ("a.csv", "text1\ttext2\tlabel\na\tb\t1\n", "line 1: its columns are separated by '\\t'"),
        ("a.tsv", '"query", "document", "score"\n', "line 1: its columns are separated by ','"),
        ("a.csv", "", "a.csv is empty"),
        ("a.jsonl", "\n \n", "a.jsonl is empty"),
        ("a.csv", "sentence1,sentence2,score\n", "a.csv has no pairs"),
        ("a.csv", "a,b,1\nc,d,1\n", "has the same score everywhere"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b"\n', "line 2: it is not JSON"),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', "line 2: it is not an object"),
        ("a.jsonl", '{"text": "a"}\n{"txt": "b"}\n', "line 2: text is missing, not text"),
        ("a.jsonl", '{"text": "a"}\n{"text": 3}\n', "line 2: text is 3, not text"),
        ("a.jsonl", '{"text": "a"}\n{"text": "\\ud800"}\n', "line 2: text has half of a surrogate"),
        ("a.jsonl", '{"prompt": "a"}\n', "line 1: its columns are prompt"),
        ("a.jsonl", '[{"text": "a"}]\n', "line 1: it is [{'text': 'a'}], not an object"),
        ("a.jsonl", '{"query": "a", "pos": [], "neg": ["b"]}\n', "line 1: pos is [], not text"),
        ("a.jsonl", "[" * 100_000, "line 1: it is not JSON"),
        ("a.txt", "a\nb\n", "has 2 different texts"),
        ("a.txt", b"a\n\xff\xfeb\n", "is not UTF-8: invalid start byte at byte 1, in line 2"),
        ("a.txt", "a\n" + "b" * ((1 << 20) + 5), "has more than 1 MiB in line 2"),
        ("a.parquet", "PAR1", "is not in a supported format"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, name: str, content: str, problem: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, name, content)
    assert problem in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["nothing", "a.parquet"])
def test_what_does_not_exist_is_not_called_unknown(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} does not exist"):
        read_data(tmp_path / name, tmp_path)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(UsageError, match="a named pipe, not a regular file"):
        read_data(tmp_path / "a.csv", tmp_path)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_data(tmp_path / "b.csv", tmp_path)
    with pytest.raises(UsageError, match=r"has no corpus\.jsonl"):
        read_data(tmp_path, tmp_path)


def test_the_name_of_a_file_may_be_no_utf_8(tmp_path: Path) -> None:
    """As of a zip file of Windows."""
    path = tmp_path / os.fsdecode(b"donn\xe9es.txt")
    path.write_text("".join(f"text {n}\n" for n in range(50)))
    assert len(read_data(path, tmp_path).documents) == 50
    assert len(digest_of(path)) == 64


def test_the_digest_of_a_folder_is_that_of_the_files_that_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    beir(folder, {"d1": "a text"}, {"q1": "a query"}, [("q1", "d1", 1)])
    before = digest_of(folder)
    (folder / "notes.txt").write_bytes(b"\xff not read")
    os.mkfifo(folder / "pipe")
    assert digest_of(folder) == before
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "text": "another text"}\n')
    assert digest_of(folder) != before


def test_a_folder_that_is_no_data_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"no qrels/\*\.tsv"):
        digest_of(tmp_path)
