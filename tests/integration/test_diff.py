"""`embconvert diff`: what differs most is told first, in the terms of the kind of model."""

import json
from pathlib import Path
from typing import Any

import pytest

from embconvert import convert
from support import zoo
from support.command_line import embconvert

pytestmark = pytest.mark.integration


def diff(*words: object) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(embconvert("diff", *words, "--json").stdout)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("diff")
    model = zoo.build_model("bert", scratch / "m")
    return convert(
        model, output_parent_dir=scratch / "out", quantize=["Q4"], skip_validation=True
    ).folder  # fmt: skip


def test_the_largest_difference_is_first(folder: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a b c\n\nhello world\nthe quick brown fox\nmore words\nlast\n")
    graphs = [folder / "onnx" / name for name in ("model.onnx", "model_opt1_Q4.onnx")]
    found = diff(*graphs, "--texts", texts)
    similarities = [text["similarity"] for text in found["texts"]]
    assert len(similarities) == 5
    assert similarities == sorted(similarities)
    assert similarities[-1] < 1
    assert found["measure"] == "cosine"
    assert {text["text"] for text in found["texts"]} == set(
        filter(None, texts.read_text().split("\n"))
    )
    short = embconvert("diff", *graphs, "--texts", texts, "--limit", "2")
    assert "5 texts, mean cosine 0." in short.stdout
    assert found["texts"][0]["text"] in short.stderr
    assert found["texts"][-1]["text"] not in short.stderr


def test_outputs_of_different_sizes_are_compared_by_their_neighbours(
    folder: Path, tmp_path: Path
) -> None:
    other = convert(
        folder.parents[1] / "m", output_parent_dir=tmp_path, dimensions=8, force_dimensions=True,
        skip_validation=True,
    ).folder  # fmt: skip
    found = diff(folder, other)
    assert {text["similarity"] for text in found["texts"]} == {None}
    kept = [text["kept_neighbours"] for text in found["texts"]]
    assert kept == sorted(kept)
    assert 0 < kept[-1] <= 1


def test_rerankers_differ_in_the_scores_of_pairs(folder: Path, tmp_path: Path) -> None:
    model = zoo.build_reranker("bert", tmp_path / "reranker")
    made = convert(
        model, output_parent_dir=tmp_path / "out", quantize=["Q4"], skip_validation=True
    ).folder  # fmt: skip
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("a\tb\nwho is it\tit is me\n")
    graphs = [made / "onnx" / name for name in ("model.onnx", "model_opt1_Q4.onnx")]
    found = diff(*graphs, "--texts", pairs)
    assert [len(text["scores"]) for text in found["texts"]] == [2, 2]
    assert found["measure"] == "agreement"
    pairs.write_text("a\tb\nno pair\n")
    failed = embconvert("diff", *graphs, "--texts", pairs)
    assert failed.code == 2
    assert "pairs.tsv, line 2: it is not a pair" in failed.stderr
    failed = embconvert("diff", made, folder)
    assert "cannot be compared" in failed.stderr


@pytest.mark.parametrize(
    ("paths", "problem", "hint"),
    [
        (["{folder}"], "two folders or graphs, and 1 is given", "embconvert diff models/"),
        (["{folder}", "{folder}"], "and the same is given twice", "embconvert diff models/"),
        (["{folder}", "{folder}/README.md"], "neither a folder nor a graph", "or a graph in one"),
        (["{folder}", "{folder}/onnx/no.onnx"], "is not a graph of", "it has: onnx/model.onnx"),
        (["{folder}", "/nowhere"], "/nowhere", "give a folder published by embconvert"),
        (["{folder}", "/nowhere/a.onnx"], "/nowhere", "give a folder published by embconvert"),
    ],
)
def test_what_is_no_graph_of_a_published_folder_is_refused(
    folder: Path, paths: list[str], problem: str, hint: str
) -> None:
    words = [path.replace("{folder}", str(folder)) for path in paths]
    failed = embconvert("diff", *words)
    assert failed.code == 2
    assert problem in failed.stderr
    assert hint in failed.stderr
