"""Reads a retrieval set in BEIR's form: corpus.jsonl, queries.jsonl, qrels/*.tsv.

Source: https://github.com/beir-cellar/beir, beir.datasets.data_loader.GenericDataLoader.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from embconvert.errors import UsageError
from embconvert.evaluation.data import DataForm, Dataset
from embconvert.evaluation.lines import MAX_DOCUMENTS, MAX_QUERIES, DataFile, is_number, of_object
from embconvert.evaluation.texts import StoredTexts
from embconvert.foreign_text import one_line

#: In order of preference, as the sets themselves call them.
_SPLITS = ("test", "dev", "validation", "train")
_CANDIDATES = "candidates.tsv"
_MAX_JUDGEMENTS = 10_000_000
_MAX_GRADE = 1_000_000
_FORM = "a folder in BEIR's form has corpus.jsonl, queries.jsonl and qrels/test.tsv"


def files_of(folder: Path) -> list[Path]:
    """Returns the files that read_beir() reads: documents, queries, judgements, candidates if any.

    Raises UsageError if there are no judgements.
    """
    candidates = folder / _CANDIDATES
    named = [folder / "corpus.jsonl", folder / "queries.jsonl", _judgements(folder)]
    return [*named, candidates] if candidates.exists() else named


def read_beir(folder: Path, scratch: Path) -> Dataset:
    """Reads a folder, with another one for the texts.

    A document is its title and its text, with a space between them. Queries without a relevant
    document are left out, and of a query's results the document with its id, as BEIR does: in sets
    such as ArguAna, queries are documents of the corpus. Raises UsageError if a file is missing or
    a line is bad.
    """
    files = [DataFile(path=path) for path in files_of(folder)]
    corpus, queries, judgements, *others = files
    remarks = [f"judgements: {one_line(judgements.path.relative_to(folder), 200)}"]
    asked = _queries(queries)
    relevance_by_id, changed = _relevance(judgements, asked)
    documents = StoredTexts(scratch / "documents")
    places, blank = _documents(corpus, documents)
    unknown = 0
    relevance: list[Mapping[int, int]] = []
    texts = StoredTexts(scratch / "queries")
    kept: list[str] = []
    own: list[int] = []
    for query, judged in relevance_by_id.items():
        known = {places[name]: grade for name, grade in judged.items() if name in places}
        unknown += len(judged) - len(known)
        if any(grade > 0 for grade in known.values()):
            texts.append(asked[query])
            relevance.append(known)
            kept.append(query)
            same = places.get(query, -1)
            # Ids may also be two lists of numbers: what is relevant is not the query itself.
            own.append(-1 if known.get(same, 0) > 0 else same)
    if not relevance:
        raise UsageError(
            f"{judgements.path} calls no document of corpus.jsonl relevant for a query",
            "check the ids and the scores: above 0 is relevant",
        )
    if len(asked) > len(kept):
        remarks.append(f"{len(asked) - len(kept)} queries without a relevant document are left out")
    if unknown:
        remarks.append(f"{unknown} judgements about documents that corpus.jsonl lacks are left out")
    if changed:
        remarks.append(f"{changed} judgements differ from an earlier one; the last counts")
    same_ids = sum(number >= 0 for number in own)
    if same_ids:
        remarks.append(f"{same_ids} documents with a query's own id are left out of its results")
    if blank:
        remarks.append(f"{blank} documents without text are left out")
    candidates = _candidates(others[0], kept, places) if others else ()
    digest = hashlib.sha256(b"".join(file.digest.digest() for file in files)).hexdigest()
    return Dataset(
        name=folder.resolve().name,
        form=DataForm.RETRIEVAL,
        digest=digest,
        queries=texts,
        documents=documents,
        relevance=relevance,
        candidates=candidates,
        own=own if same_ids else (),
        remarks=remarks,
    )


def _judgements(folder: Path) -> Path:
    found = sorted((folder / "qrels").glob("*.tsv"))
    for split in _SPLITS:
        if folder / "qrels" / f"{split}.tsv" in found:
            return folder / "qrels" / f"{split}.tsv"
    if len(found) != 1:
        what = f"{len(found)} files in qrels, none of them test.tsv" if found else "no qrels/*.tsv"
        raise UsageError(f"{folder} has {what}", _FORM)
    return found[0]


def _queries(file: DataFile) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in file.objects():
        line = of_object(value, file)
        name = file.identifier(line.get("_id"))
        if name in found:
            raise file.error(f"the _id {name} was used before", "give each query its own")
        found[name] = file.text(line.get("text"), "text")
        file.at_most(len(found), MAX_QUERIES, "queries")
    return found


def _documents(file: DataFile, texts: StoredTexts) -> tuple[dict[str, int], int]:
    """Stores the documents; returns their numbers by id, and how many have no text."""
    places: dict[str, int] = {}
    blank: set[str] = set()
    for value in file.objects():
        line = of_object(value, file)
        name = file.identifier(line.get("_id"))
        if name in places or name in blank:
            raise file.error(f"the _id {name} was used before", "give each document its own")
        title, body = line.get("title") or "", line.get("text")
        if not (isinstance(title, str) and isinstance(body, str)):
            raise file.error("title or text is not text", "write them as text")
        text = f"{title} {body}".strip()
        if not text:
            blank.add(name)
            continue
        places[name] = texts.append(file.text(text, "text"))
        file.at_most(len(places), MAX_DOCUMENTS, "documents")
    return places, len(blank)


def _relevance(file: DataFile, asked: Mapping[str, str]) -> tuple[dict[str, dict[str, int]], int]:
    """Returns the relevance of documents by query and document, in the order of the queries.

    Also returns how many judgements replace another one of the same document.
    """
    found: dict[str, dict[str, int]] = {name: {} for name in asked}
    changed = 0
    for number, row in enumerate(file.rows("\t")):
        if len(row) not in (3, 4):
            raise file.error(
                f"it has {len(row)} columns", "write: query-id TAB corpus-id TAB score"
            )
        # trec_eval's own form has an unused column.
        query, document, score = row[0], row[-2], row[-1]
        if number == 0 and query not in found and not is_number(score):
            continue  # the names of the columns
        grade = file.number_in(score.strip(), "score")
        if query not in found:
            raise file.error(f"queries.jsonl has no query {query}", "check the ids")
        if grade != int(grade):
            raise file.error(f"the score {score} is no whole number", "write 0, 1, 2 and so on")
        if abs(grade) > _MAX_GRADE:
            raise file.error(
                f"the score {score[:60]} is above {_MAX_GRADE:,}", "write 0, 1, 2 and so on"
            )
        changed += found[query].get(document, grade) != grade
        found[query][document] = int(grade)
        file.at_most(number, _MAX_JUDGEMENTS, "judgements")
    return found, changed


def _candidates(
    file: DataFile, queries: Sequence[str], places: Mapping[str, int]
) -> Sequence[Sequence[int]]:
    """Returns the documents to rerank for each query, in the file's order."""
    found: dict[str, dict[int, None]] = {name: {} for name in queries}
    for number, row in enumerate(file.rows("\t")):
        if len(row) < 2:
            raise file.error("it has one column", "write: query-id TAB corpus-id")
        query, document = row[:2]
        if (number == 0 and query == "query-id") or query not in found:
            continue  # a query without judgements is not evaluated
        if document not in places:
            raise file.error(f"corpus.jsonl has no document {document}", "check the ids")
        found[query][places[document]] = None
        file.at_most(number, _MAX_JUDGEMENTS, "candidates")
    lacking = next((name for name, documents in found.items() if not documents), None)
    if lacking is not None:
        raise UsageError(
            f"{file.path} has no candidate for the query {lacking}",
            "name the documents to rerank for each query",
        )
    return [list(documents) for documents in found.values()]
