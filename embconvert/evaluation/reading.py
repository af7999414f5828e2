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
from embconvert.evaluation.columns import (
    GOLD,
    KNOWN,
    TRUTH,
    cells_of,
    columns_of,
    read_table,
)
from embconvert.evaluation.data import DataForm, Dataset, Pairs
from embconvert.evaluation.lines import MAX_DOCUMENTS, DataFile, of_object
from embconvert.evaluation.texts import StoredTexts

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
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
#: Neighbours are compared for so many of a list's texts.
_MOST_QUERIES = 1000
#: With fewer, ten neighbours would be most of them.
_FEWEST_TEXTS = 40
_NOTHING = object()


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
            raise UsageError(f"{path} has no {missing[0]}", KNOWN)
        return read_beir(path, scratch)
    file = DataFile(path=path)
    suffix = path.suffix.lower()
    if suffix not in (*_DELIMITERS, ".jsonl", ".txt"):
        what = "is not in a supported format" if path.exists() else "does not exist"
        raise UsageError(f"{path} {what}", KNOWN)
    if suffix == ".txt":
        return _read_texts(file, filter(str.strip, file.lines()), scratch)
    if suffix == ".jsonl":
        values = file.objects()
        rows: Iterator[list[Any]]
        first = next(values, _NOTHING)
        if first is _NOTHING:
            raise UsageError(f"{path} is empty", KNOWN)
        every = itertools.chain([first], values)
        if isinstance(first, str):
            names: Sequence[Any] = ("text",)
            rows = ([value] for value in every)
        else:
            names = columns_of(file, list(of_object(first, file)))
            rows = (cells_of(file, value, names) for value in every)
    else:
        names, rows = read_table(file, _DELIMITERS[suffix])
    if len(names) == 1:
        texts = (file.text(row[0], str(names[0])) for row in rows)
        return _read_texts(file, texts, scratch, remarks=(f"column: {names[0]}",))
    is_gold = len(names) == 3 and names[2] in GOLD
    return (_read_pairs if is_gold else _triples)(file, names, rows, scratch)


def _read_pairs(
    file: DataFile, names: Sequence[str], rows: Iterator[list[Any]], scratch: Path
) -> Dataset:
    first, second = StoredTexts(scratch / "first"), StoredTexts(scratch / "second")
    gold: list[float] = []
    for row in rows:
        first.append(file.text(row[0], names[0]))
        second.append(file.text(row[1], names[1]))
        word = row[2].strip().lower() if isinstance(row[2], str) else ""
        gold.append(file.number_in(TRUTH.get(word, row[2]), names[2]))
        file.at_most(len(gold), MAX_DOCUMENTS, "pairs")
    if not gold:
        raise UsageError(f"{file.path} has no pairs", KNOWN)
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
        raise UsageError(f"{file.path} has no triples", KNOWN)
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
    count = min(len(documents), _MOST_QUERIES)
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
