"""`embconvert evaluate`: the graphs of a folder on data of the user's own."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from embconvert.evaluation.figures import retrieval_figures
from embconvert.evaluation.ranking import DEPTH, Ranking
from embconvert.graph.streams import hash_file
from support.command_line import Outcome, embconvert, files_in
from support.documents import schema
from support.evaluation import beir

pytestmark = pytest.mark.integration

TOPICS = ("cats", "trains", "bread", "rivers", "music")


@pytest.fixture(scope="module")
def published(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("published")
    outcome = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", parent, "--quantize", "Q4"
    )
    assert outcome.code == 0, outcome.stderr
    return parent / "tiny-bert"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    documents = {f"d{n}": f"document {n} about {TOPICS[n % 5]}, part {n // 5}" for n in range(60)}
    queries = {f"q{n}": f"{TOPICS[n % 5]} part {n // 5}" for n in range(30)}
    judgements = [(f"q{n}", f"d{n}", 1) for n in range(30)]
    return beir(tmp_path_factory.mktemp("data") / "topics", documents, queries, judgements)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.getbasetemp() / "huggingface"))


def evaluate(*words: str | Path) -> Outcome:
    return embconvert("evaluate", *words)


def test_graphs_are_compared_and_the_folder_stays_what_its_manifest_says(
    published: Path, data: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    before = {name: hash_file(published / name) for name in files_in(published)}
    first = evaluate(published, "--data", data)
    assert first.code == 0, first.stderr
    assert "topics: retrieval; 30 queries, 60 documents; judgements: qrels/test.tsv" in first.stderr
    assert first.stdout == f"{published / 'evaluation.html'}\n"
    page = (published / "evaluation.html").read_text()
    assert "nDCG@10" in page
    assert '<a href="report.html">' in page
    assert {name: hash_file(published / name) for name in before} == before
    assert embconvert("verify", published, "--quiet").code == 0

    against = evaluate(
        published, "--data", data, "--against", tiny_bert, "--files", "model.onnx,Q4", "--json",
        "--output", tmp_path,
    )  # fmt: skip
    assert against.code == 0, against.stderr
    assert "report.html" not in (tmp_path / "evaluation.html").read_text()
    found = json.loads(against.stdout)
    jsonschema.validate(found, schema("evaluation"))
    assert found["evaluations"][0]["folder"] == str(published)
    source, exported, quantized = found["evaluations"][0]["graphs"]
    assert [source["path"], exported["path"]] == ["source", "onnx/model.onnx"]
    assert [f["name"] for f in source["figures"]] == [
        "nDCG@10", "recall@10", "recall@100", "MRR@10", "top 10 kept",
    ]  # fmt: skip
    for ours, theirs in zip(exported["figures"], source["figures"], strict=True):
        assert ours["value"] == pytest.approx(theirs["value"], abs=0.03), ours["name"]
    assert quantized["figures"][4]["value"] < 1
    assert quantized["figures"][4]["loss"] > 0
    # The second run took the graphs' outputs from the cache: the same figures.
    kept = json.loads((published / "evaluation.json").read_text())["evaluations"][0]
    assert kept["graphs"][-1]["figures"] == quantized["figures"]
    assert kept["folder"] is None


def test_figures_are_those_of_sentence_transformers_own_evaluator() -> None:
    from sentence_transformers.sentence_transformer.evaluation import (
        InformationRetrievalEvaluator,
    )

    rng = np.random.default_rng(4)
    documents = np.argsort(rng.random((50, 400)), axis=1)[:, :DEPTH]
    scores = -np.sort(-rng.random((50, DEPTH)).astype(np.float32), axis=1)
    relevance = [dict.fromkeys(row.tolist(), 1) for row in rng.integers(0, 400, (50, 9))]
    found = retrieval_figures(Ranking(documents=documents, scores=scores), relevance)
    theirs = InformationRetrievalEvaluator(
        queries={str(query): "" for query in range(50)},
        corpus={str(number): "" for number in range(400)},
        relevant_docs={str(q): set(map(str, judged)) for q, judged in enumerate(relevance)},
        precision_recall_at_k=[10, 100],
    ).compute_metrics(
        [
            [{"corpus_id": str(n), "score": s} for n, s in zip(*row, strict=True)]
            for row in zip(documents.tolist(), scores.tolist(), strict=True)
        ]
    )
    assert {figure.name: figure.value for figure in found} == {
        "nDCG@10": pytest.approx(theirs["ndcg@k"][10]),
        "recall@10": pytest.approx(theirs["recall@k"][10]),
        "recall@100": pytest.approx(theirs["recall@k"][100]),
        "MRR@10": pytest.approx(theirs["mrr@k"][10]),
    }


def test_what_is_wrong_ends_before_anything_is_run(
    published: Path, data: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "pairs.csv"
    bad.write_text("sentence1,sentence2,score\na,b,1\nc,d,high\n")
    for words, problem in (
        (("--data", bad), f"{bad}, line 3: score is 'high', not a number"),
        ((), "--data is missing"),
        (("--data", tmp_path), f"{tmp_path} has no corpus.jsonl"),
    ):
        outcome = evaluate(published, *words)
        assert outcome.code == 2
        assert problem in outcome.stderr
    (tmp_path / "evaluation.json").write_text("{")
    broken = evaluate(published, "--data", data, "--output", tmp_path)
    assert (broken.code, "evaluation.json is broken" in broken.stderr) == (3, True)
    assert "evaluating" not in broken.stderr
    file = evaluate(published, "--data", data, "--output", bad)
    assert (file.code, f"{bad} cannot be written" in file.stderr) == (9, True)
    assert "evaluating" not in file.stderr
    second = evaluate(published, tmp_path / "none", "--data", data)
    assert (second.code, "none" in second.stderr) == (2, True)
    assert "evaluating" not in second.stderr


def test_an_unknown_file_is_told_with_those_that_there_are(published: Path, data: Path) -> None:
    outcome = evaluate(published, "--data", data, "--files", "QInt8")
    assert outcome.code == 2
    assert "has no graph QInt8" in outcome.stderr
    assert (
        "it has: onnx/model.onnx, onnx/model_opt1.onnx, onnx/model_opt1_Q4.onnx" in outcome.stderr
    )
