"""--tokenizer in_graph: files that read texts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
import pytest

from embconvert.fidelity.tokenization import TextTokenizer
from embconvert.folder.published import read_manifest
from embconvert.pipeline.tasks import load_graph
from embconvert.processes.worker import Reporter
from support import zoo
from support.command_line import Outcome, convert, embconvert

pytestmark = pytest.mark.integration

NAME = "model_text.onnx"
OPTIONS = ("--optimize", 0, "--tokenizer", "in_graph")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Of a model whose tokenizer is BERT's."""
    folder = tmp_path_factory.mktemp("text")
    model = zoo.build_model2vec(folder / "source" / "model", normalize=True)
    return convert(model, folder, *OPTIONS)


def test_the_file_is_verified_and_recorded(run: Outcome) -> None:
    (record,) = [a for a in run.manifest["artifacts"] if a["forms"]]
    assert record["path"] == f"onnx/{NAME}"
    assert record["forms"] == [{"kind": "text", "shape": None}]
    assert record["fidelity"]["similarity"]["min"] > 0.9999
    assert [(x["name"], x["dtype"]) for x in record["inputs"]] == [("input", "string")]
    assert [x["name"] for x in record["outputs"]] == ["embedding"]
    assert any(name.startswith("ai.onnx.contrib.") for name in record["operators"])
    assert run.manifest["recommended"]["path"] != f"onnx/{NAME}"


def test_without_validation_it_loads_with_the_operators_of_its_tokenizer(run: Outcome) -> None:
    manifest = read_manifest(run.folder)
    assert manifest is not None
    (record,) = [r for r in manifest.artifacts if r.forms]
    assert load_graph(cast(Reporter, None), record.artifact(run.folder)) is None


def test_the_code_on_the_card_gives_the_vectors_of_the_other_graph(run: Outcome) -> None:
    card = (run.folder / "README.md").read_text(encoding="utf-8")
    assert f"`onnx/{NAME}`: reads texts and gives embeddings" in card
    code = card.partition("### ONNX Runtime, from texts\n\n```python\n")[2].partition("\n```")[0]
    code += "\nimport json\nprint(json.dumps([texts, embeddings.tolist()]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, cwd=run.folder.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts, embeddings = json.loads(done.stdout.splitlines()[-1])
    session = onnxruntime.InferenceSession(run.folder / "onnx" / "model.onnx")
    inputs = [value.name for value in session.get_inputs()]
    feed = TextTokenizer(run.folder).tokenize(texts).batch(range(len(texts)), inputs)
    (expected,) = session.run(["sentence_embedding"], feed)
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)


def test_a_published_folder_is_verified_with_it(run: Outcome) -> None:
    outcome = embconvert("verify", run.folder)
    assert outcome.code == 0, outcome.stderr
    assert f"onnx/{NAME}: loads and runs" in outcome.stdout


def test_a_tokenizer_that_cannot_be_in_a_graph_is_refused_before_work_starts(
    tiny_bert: Path, tmp_path: Path
) -> None:
    outcome = embconvert("all", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, *OPTIONS)
    assert outcome.code == 2
    assert "--tokenizer in_graph: the tokenizer is BPE with the normalizer NFC" in outcome.stderr
    assert not list(tmp_path.rglob("*.onnx"))
