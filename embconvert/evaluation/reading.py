"""Finds out what a user's data is, and reads it."""

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embconvert.errors import UsageError
from embconvert.evaluation.beir import files_of, read_beir
from embconvert.evaluation.data import DataForm, Dataset, Pairs
from embconvert.evaluation.lines import MAX_DOCUMENTS, DataFile, is_number, of_object
from embconvert.evaluation.texts import StoredTexts

#: Names of columns; the first set whose names a file all has says what it is.
_TRIPLES = (
    ("anchor", "positive", "negative"), ("query", "positive", "negative"),
    ("sentence1", "sentence2", "sentence3"), ("query", "pos", "neg"),
)  # fmt: skip
_PAIRS = (
    ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("text1", "text2"),
    ("text_1", "text_2"), ("query", "document"), ("query", "passage"), ("question", "answer"),
    ("premise", "hypothesis"), ("anchor", "positive"),
)  # fmt: skip
_GOLD = ("score", "label", "similarity", "similarity_score")
_TEXTS = ("text", "sentence", "document")
_NAMES = {*_GOLD, *_TEXTS, *itertools.chain(*_PAIRS, *_TRIPLES)}
#: Labels as pandas writes them.
_TRUTH = {"true": 1.0, "false": 0.0}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
# What spreadsheets write between columns in some countries.
_OTHER_DELIMITERS = ";\t,|"
#: What data of each form looks like; code stands in backticks.
FORM_WORDS: Mapping[DataForm, str] = {
    DataForm.RETRIEVAL: (
        "a folder in BEIR's form: `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, "
        "`text`), `qrels/test.tsv` (query-id, corpus-id, score)"
    ),
    DataForm.SCORED_PAIRS: "`.csv`, `.tsv` or `.jsonl` with `sentence1`, `sentence2`, `score`",
    DataForm.LABELLED_PAIRS: "the same, with `label` 0 or 1",
    DataForm.TRIPLES: "`.csv`, `.tsv` or `.jsonl` with `anchor`, `positive`, `negative`; in "
    "`.jsonl`, the last two may be lists",
    DataForm.TEXTS: "`.txt` with one text per line, or `.jsonl` with `text`",
}
#: Neighbours are compared for so many of a list's texts.
MOST_QUERIES = 1000
#: With fewer, ten neighbours would be most of them.
_FEWEST_TEXTS = 40
_NOTHING = object()

_KNOWN = (
    "give a folder in BEIR's form, a .csv, .tsv or .jsonl file with the columns "
    "sentence1,sentence2,score (or label) or anchor,positive,negative, or a .txt file with one "
    "text per line"
)


def digest_of(path: Path) -> str:
    """Returns a digest of the files of some data, without reading them as data.

    Raises UsageError if a file is missing or cannot be read.
    """
    files = files_of(path) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        read = DataFile(path=file)
        for _ in read.lines():
            pass
        digest.update(os.fsencode(file.name) + f" {read.digest.hexdigest()}\n".encode())
    return digest.hexdigest()


def read_data(path: Path, scratch: Path) -> Dataset:
    """Reads some data, a folder in BEIR's form or a file; `scratch` is a folder for the texts.

    Raises UsageError if it is none of the known forms, or a line is bad.
    """
    if path.is_dir():
        missing = [n for n in ("corpus.jsonl", "queries.jsonl", "qrels") if not (path / n).exists()]
        if missing:
            raise UsageError(f"{path} has no {missing[0]}", _KNOWN)
        return read_beir(path, scratch)
    file = DataFile(path=path)
    suffix = path.suffix.lower()
    if suffix not in (*_DELIMITERS, ".jsonl", ".txt"):
        what = "is not in a supported format" if path.exists() else "does not exist"
        raise UsageError(f"{path} {what}", _KNOWN)
    if suffix == ".txt":
        return _read_texts(file, filter(str.strip, file.lines()), scratch)
    if suffix == ".jsonl":
        values = file.objects()
        rows: Iterator[list[Any]]
        first = next(values, _NOTHING)
        if first is _NOTHING:
            raise UsageError(f"{path} is empty", _KNOWN)
        every = itertools.chain([first], values)
        if isinstance(first, str):
            names: Sequence[Any] = ("text",)
            rows = ([value] for value in every)
        else:
            names = _columns(file, list(of_object(first, file)))
            rows = (_cells(file, value, names) for value in every)
    else:
        names, rows = _table(file, _DELIMITERS[suffix])
    if len(names) == 1:
        texts = (file.text(row[0], str(names[0])) for row in rows)
        return _read_texts(file, texts, scratch, remarks=(f"column: {names[0]}",))
    is_gold = len(names) == 3 and names[2] in _GOLD
    return (_read_pairs if is_gold else _triples)(file, names, rows, scratch)


def _columns(file: DataFile, found: Sequence[str]) -> Sequence[str]:
    """Returns the names of the columns to read; raises UsageError if none are known."""
    for names in _TRIPLES:
        if set(names) <= set(found):
            return names
    gold = next((name for name in _GOLD if name in found), None)
    for first, second in _PAIRS if gold is not None else ():
        if {first, second} <= set(found):
            assert gold is not None
            return first, second, gold
    text = next((name for name in _TEXTS if name in found), None)
    if text is not None:
        return (text,)
    raise file.error(f"its columns are {', '.join(map(str, found))[:200]}", _KNOWN)


def _cells(file: DataFile, value: Any, names: Sequence[str]) -> list[Any]:
    if not isinstance(value, dict):
        raise file.error("it is not an object, as the lines before", "write one object per line")
    return [value.get(name) for name in names]


def _table(file: DataFile, delimiter: str) -> tuple[Sequence[str], Iterator[list[Any]]]:
    """Returns the names of a table's columns and their cells; a header may be missing."""
    rows = file.rows(delimiter)
    first = next(rows, None)
    if first is None:
        raise UsageError(f"{file.path} is empty", _KNOWN)
    width = len(first)
    header = [cell.strip().lower() for cell in first]
    if width == 1:
        _refuse_other_delimiter(file, header[0])
    if _NAMES & set(header):
        names = _columns(file, header)
        places = [header.index(name) for name in names]
        content: Iterator[list[str]] = rows
    elif width == 3 and (is_number(first[2]) or header[2] in _TRUTH):
        names, places = ("sentence1", "sentence2", "score"), [0, 1, 2]
        content = itertools.chain([first], rows)
    elif width in (1, 3):
        names = ("text",) if width == 1 else _TRIPLES[0]
        places = list(range(width))
        content = itertools.chain([first], _below(file, first, rows))
    else:
        raise file.error(f"it has {width} columns without names that are known", _KNOWN)

    def cells() -> Iterator[list[Any]]:
        for row in content:
            if len(row) != width:
                raise file.error(
                    f"it has {len(row)} columns instead of {width}",
                    "put texts with a comma or line break in quotation marks",
                )
            yield [row[place] for place in places]

    return names, cells()


def _refuse_other_delimiter(file: DataFile, line: str) -> None:
    """Raises UsageError if a table's only column has the names of several."""
    for sign in _OTHER_DELIMITERS:
        found = {cell.strip(' "') for cell in line.split(sign)}
        if len(_NAMES & found) > 1:
            raise file.error(
                f"its columns are separated by {sign!r}",
                "separate them by commas in a .csv file, and by tabs in a .tsv file",
            )


def _below(file: DataFile, first: Sequence[str], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yields the rows below a first one that should be content, not unknown names.

    Raises UsageError if only the second row has a number in some column.
    """
    for place, row in enumerate(rows):
        if place == 0 and any(
            is_number(cell) and not is_number(above)
            for above, cell in zip(first, row, strict=False)
        ):
            raise file.error(f"its columns are {', '.join(first)[:200]}", _KNOWN, 1)
        yield row


def _read_pairs(
    file: DataFile, names: Sequence[str], rows: Iterator[list[Any]], scratch: Path
) -> Dataset:
    first, second = StoredTexts(scratch / "first"), StoredTexts(scratch / "second")
    gold: list[float] = []
    for row in rows:
        first.append(file.text(row[0], names[0]))
        second.append(file.text(row[1], names[1]))
        word = row[2].strip().lower() if isinstance(row[2], str) else ""
        gold.append(file.number_in(_TRUTH.get(word, row[2]), names[2]))
        file.at_most(len(gold), MAX_DOCUMENTS, "pairs")
    if not gold:
        raise UsageError(f"{file.path} has no pairs", _KNOWN)
    distinct = set(gold)
    if len(distinct) < 2:
        raise UsageError(
            f"{file.path} has the same {names[2]} everywhere", "give pairs with different ones"
        )
    numbers = np.arange(len(gold))
    return Dataset(
        name=file.path.name,
        form=DataForm.LABELLED_PAIRS if distinct == {0.0, 1.0} else DataForm.SCORED_PAIRS,
        digest=file.digest.hexdigest(),
        queries=first,
        documents=second,
        pairs=Pairs(first=numbers, second=numbers, gold=np.array(gold)),
        remarks=[f"columns: {', '.join(names)}"],
    )


def _triples(
    file: DataFile, names: Sequence[str], rows: Iterator[list[Any]], scratch: Path
) -> Dataset:
    anchors, others = StoredTexts(scratch / "anchors"), StoredTexts(scratch / "others")
    triples: list[tuple[int, int, int]] = []
    for row in rows:
        anchor = anchors.append(file.text(row[0], names[0]))
        positives, negatives = (
            [others.append(file.text(text, name)) for text in _one_or_several(cell)]
            for cell, name in zip(row[1:], names[1:], strict=True)
        )
        count = len(triples) + len(positives) * len(negatives)
        file.at_most(count, MAX_DOCUMENTS // 2, "triples")
        triples += itertools.product([anchor], positives, negatives)
    if not triples:
        raise UsageError(f"{file.path} has no triples", _KNOWN)
    remarks = [f"columns: {', '.join(names)}"]
    if len(triples) > len(anchors):
        remarks.append(f"{len(triples):,} triples, of which those with the same {names[0]} are one")
    first, positive, negative = np.array(triples, np.int64).T
    return Dataset(
        name=file.path.name,
        form=DataForm.TRIPLES,
        digest=file.digest.hexdigest(),
        queries=anchors,
        documents=others,
        pairs=Pairs(
            first=np.concatenate([first, first]),
            second=np.concatenate([positive, negative]),
            gold=np.repeat([1.0, 0.0], len(triples)),
        ),
        remarks=remarks,
    )


def _one_or_several(cell: Any) -> Sequence[Any]:
    """Returns the texts of a cell, which in a JSONL file may be a list."""
    return cell if isinstance(cell, list) and cell else [cell]


def _read_texts(
    file: DataFile, lines: Iterator[str], scratch: Path, remarks: Sequence[str] = ()
) -> Dataset:
    documents, queries = StoredTexts(scratch / "documents"), StoredTexts(scratch / "queries")
    # A text that occurs twice would be its own neighbour.
    seen: set[bytes] = set()
    repeated = 0
    for line in lines:
        text = line.strip()
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if digest in seen:
            repeated += 1
            continue
        seen.add(digest)
        documents.append(text)
        file.at_most(len(documents), MAX_DOCUMENTS, "texts")
    if len(documents) < _FEWEST_TEXTS:
        raise UsageError(
            f"{file.path} has {len(documents)} different texts",
            f"give {_FEWEST_TEXTS} or more, so that ten neighbours tell something",
        )
    count = min(len(documents), MOST_QUERIES)
    own = [number * len(documents) // count for number in range(count)]
    for number in own:
        queries.append(documents[number])
    said = [*remarks]
    said += [f"neighbours of {count} of {len(documents)} texts"] if count < len(documents) else []
    said += [f"{repeated} repeated texts are left out"] if repeated else []
    return Dataset(
        name=file.path.name,
        form=DataForm.TEXTS,
        digest=file.digest.hexdigest(),
        queries=queries,
        documents=documents,
        own=own,
        remarks=said,
    )
