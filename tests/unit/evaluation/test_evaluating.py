"""A graph is evaluated on data of every form, by its kind's own scores."""

import random
from pathlib import Path

import numpy as np
import pytest

from embconvert.errors import UsageError
from embconvert.evaluation.data import Dataset
from embconvert.evaluation.evaluating import Evaluator, Sides
from embconvert.evaluation.figures import Scored, figures_of
from embconvert.evaluation.reading import read_data
from embconvert.evaluation.scoring import scoring_for
from embconvert.models.kinds import KINDS, Kind
from support.evaluation import beir, outputs

WORDS = [f"word{n}" for n in range(60)]


def sentences(count: int) -> list[str]:
    chance = random.Random(5)
    return [" ".join(chance.sample(WORDS, 6)) for _ in range(count)]


def retrieval(folder: Path) -> Dataset:
    documents = {f"d{n}": text for n, text in enumerate(sentences(200))}
    queries = {f"q{n}": " ".join(documents[f"d{n}"].split()[:4]) for n in range(40)}
    found = beir(folder / "set", documents, queries, [(f"q{n}", f"d{n}", 1) for n in range(40)])
    return read(found, folder)


def read(path: Path, folder: Path) -> Dataset:
    (folder / "scratch").mkdir()
    return read_data(path, folder / "scratch")


def run(data: Dataset, kind: Kind, noise: float = 0.0) -> Scored:
    rules = KINDS[kind]
    evaluator = Evaluator(data, scoring_for(kind), Sides(reading=rules.reading), "cosine")
    done: list[int] = []
    work = evaluator.run(outputs(noise), outputs(noise), done.append)
    try:
        next(work)
    except StopIteration as end:
        assert sum(done) == evaluator.size
        scored: Scored = end.value
        return scored
    raise AssertionError("it waits for something")


def main(data: Dataset, kind: Kind, noise: float = 0.0) -> dict[str, float]:
    found = figures_of(data, run(data, kind, noise), run(data, kind))
    return {figure.name: figure.value for figure in found}


def test_retrieval_finds_the_document_and_noise_loses_it(tmp_path: Path) -> None:
    data = retrieval(tmp_path)
    good, bad = main(data, Kind.EMBEDDING), main(data, Kind.EMBEDDING, noise=5)
    assert good["nDCG@10"] > 0.95
    assert good["top 10 kept"] == 1
    assert bad["nDCG@10"] < good["nDCG@10"]
    assert bad["top 10 kept"] < 1


def test_rerankers_rank_candidates(tmp_path: Path) -> None:
    data = retrieval(tmp_path)
    assert main(data, Kind.RERANKER)["nDCG@10"] > 0.95
    scored = run(data, Kind.RERANKER)
    assert scored.ranking is not None
    assert ((scored.ranking.documents >= 0).sum(axis=1) <= 21).all()


@pytest.mark.parametrize("kind", [Kind.EMBEDDING, Kind.RERANKER])
def test_a_query_that_is_in_the_corpus_does_not_find_itself(tmp_path: Path, kind: Kind) -> None:
    documents = {f"d{n}": text for n, text in enumerate(sentences(200))}
    documents |= {f"q{n}": " ".join(documents[f"d{n}"].split()[:4]) for n in range(40)}
    queries = {f"q{n}": documents[f"q{n}"] for n in range(40)}
    judgements = [(f"q{n}", f"d{n}", 1) for n in range(40)]
    data = read(beir(tmp_path / "set", documents, queries, judgements), tmp_path)
    assert main(data, kind)["MRR@10"] > 0.95


def test_a_list_of_texts_has_neighbours_and_ranks(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(sentences(80)))
    data = read(tmp_path / "texts.txt", tmp_path)
    assert main(data, Kind.EMBEDDING) == {"top 10 kept": 1, "rank correlation": pytest.approx(1)}
    bad = main(data, Kind.EMBEDDING, noise=2)
    assert bad["top 10 kept"] < 0.9
    assert bad["rank correlation"] < 0.9


def test_pairs_and_triples(tmp_path: Path) -> None:
    base = sentences(60)
    near = [" ".join([*text.split()[:5], "other"]) for text in base]
    rows = [f"{a},{b},{c}" for a, b, c in zip(base, near, base[1:] + base[:1], strict=True)]
    (tmp_path / "triples.csv").write_text("\n".join(rows))
    data = read(tmp_path / "triples.csv", tmp_path)
    assert main(data, Kind.EMBEDDING) == {"accuracy": 1}
    assert main(data, Kind.RERANKER) == {"accuracy": 1}


def test_a_reranker_has_no_neighbours(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(sentences(80)))
    data = read(tmp_path / "texts.txt", tmp_path)
    with pytest.raises(UsageError, match="a reranker scores pairs"):
        run(data, Kind.RERANKER)


def test_prompts_are_put_before_the_right_texts(tmp_path: Path) -> None:
    data = retrieval(tmp_path)
    sides = Sides(
        reading=KINDS[Kind.EMBEDDING].reading, query_prompt="query: ", document_prompt="doc: "
    )
    scoring = scoring_for(Kind.EMBEDDING)
    queries, documents = outputs(), outputs()
    work = Evaluator(data, scoring, sides, "cosine").run(queries, documents, lambda _: None)
    with pytest.raises(StopIteration):
        next(work)
    asked, stored = queries._computes.computed, documents._computes.computed  # type: ignore[attr-defined]
    assert {item.prompt for item in asked} == {"query: "}
    assert {item.prompt for item in stored} == {"doc: "}
    assert len(stored) == len(np.unique([item.item for item in stored])) == 200
