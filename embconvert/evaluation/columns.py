"""Finds the columns of a table, or of objects, in which texts and scores are."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from embconvert.errors import UsageError
from embconvert.evaluation.lines import DataFile, is_number

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
GOLD = ("score", "label", "similarity", "similarity_score")
_TEXTS = ("text", "sentence", "document")
_NAMES = {*GOLD, *_TEXTS, *itertools.chain(*_PAIRS, *_TRIPLES)}
#: Labels as pandas writes them.
TRUTH = {"true": 1.0, "false": 0.0}
# What spreadsheets write between columns in some countries.
_OTHER_DELIMITERS = ";\t,|"
#: The hint of errors.
KNOWN = (
    "give a folder in BEIR's form, a .csv, .tsv or .jsonl file with the columns "
    "sentence1,sentence2,score (or label) or anchor,positive,negative, or a .txt file with one "
    "text per line"
)


def columns_of(file: DataFile, found: Sequence[str]) -> Sequence[str]:
    """Returns the names of the columns to read; raises UsageError if none are known."""
    for names in _TRIPLES:
        if set(names) <= set(found):
            return names
    gold = next((name for name in GOLD if name in found), None)
    for first, second in _PAIRS if gold is not None else ():
        if {first, second} <= set(found):
            assert gold is not None
            return first, second, gold
    text = next((name for name in _TEXTS if name in found), None)
    if text is not None:
        return (text,)
    raise file.error(f"its columns are {', '.join(map(str, found))[:200]}", KNOWN)


def cells_of(file: DataFile, value: Any, names: Sequence[str]) -> list[Any]:
    if not isinstance(value, dict):
        raise file.error("it is not an object, as the lines before", "write one object per line")
    return [value.get(name) for name in names]


def read_table(file: DataFile, delimiter: str) -> tuple[Sequence[str], Iterator[list[Any]]]:
    """Returns the names of a table's columns and their cells; a header may be missing."""
    rows = file.rows(delimiter)
    first = next(rows, None)
    if first is None:
        raise UsageError(f"{file.path} is empty", KNOWN)
    width = len(first)
    header = [cell.strip().lower() for cell in first]
    if width == 1:
        _refuse_other_delimiter(file, header[0])
    if _NAMES & set(header):
        names = columns_of(file, header)
        places = [header.index(name) for name in names]
        content: Iterator[list[str]] = rows
    elif width == 3 and (is_number(first[2]) or header[2] in TRUTH):
        names, places = ("sentence1", "sentence2", "score"), [0, 1, 2]
        content = itertools.chain([first], rows)
    elif width in (1, 3):
        names = ("text",) if width == 1 else _TRIPLES[0]
        places = list(range(width))
        content = itertools.chain([first], _below(file, first, rows))
    else:
        raise file.error(f"it has {width} columns without names that are known", KNOWN)

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
            raise file.error(f"its columns are {', '.join(first)[:200]}", KNOWN, 1)
        yield row
