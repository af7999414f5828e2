"""Hybrid models: one graph gives what BGE-M3's three heads give, from the repository as it is."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embconvert.errors import SourceError
from embconvert.models.choices import Overrides
from embconvert.models.kinds import Kind
from embconvert.request.records import Request
from embconvert.source.folder import resolve_folder
from embconvert.source.kind import settle_kind
from embconvert.source.kinds.hybrid import HybridModel
from embconvert.source.private_copy import make_private_copy
from support import zoo
from support.command_line import LITTLE_MEMORY, convert, embconvert

pytestmark = pytest.mark.integration

TEXTS = [
    *zoo.SENTENCES, zoo.LONG_SENTENCE, "", "the cat, the other cat and the third cat",
]  # fmt: skip
#: What has no weight: <s>, <pad>, </s>, <unk>.
WEIGHTLESS = {0, 1, 2, 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "m3"
    return zoo.add_heads(zoo.build_model("xlm-roberta", folder, pooling="cls"))


@pytest.fixture(scope="module")
def folder(model: Path) -> Path:
    parent = model.parent.parent / "out"
    convert(model, parent, "--quantize", "Q4,QInt8,Float16", "--min_cosine", 0.9)
    return parent / "m3"


def manifest_of(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "embconvert.json").read_text(encoding="utf-8"))
    return value


def by_its_card(model: Path, text: str) -> tuple[Any, dict[int, float], Any]:
    """What the card of BGE-M3 says, in torch: dense, the weights of tokens, their vectors."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    features = tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
    with torch.no_grad():
        states = AutoModel.from_pretrained(model).eval()(**features).last_hidden_state[0]
    heads = {name: torch.load(model / name, weights_only=True) for name in zoo.HEADS}

    def linear(name: str) -> Any:
        return states @ heads[name]["weight"].float().T + heads[name]["bias"].float()

    weights: dict[int, float] = {}
    found = torch.relu(linear("sparse_linear.pt"))[:, 0].tolist()
    for number, weight in zip(features["input_ids"][0].tolist(), found, strict=True):
        if number not in WEIGHTLESS and weight > weights.get(number, 0.0):
            weights[number] = weight
    normalize = torch.nn.functional.normalize
    return normalize(states[0], dim=0), weights, normalize(linear("colbert_linear.pt")[1:], dim=1)


@pytest.mark.parametrize("file", ["model.onnx", "model_opt1.onnx"])
def test_each_output_is_what_the_card_says(model: Path, folder: Path, file: str) -> None:
    import onnxruntime
    from tokenizers import Tokenizer

    encodings = Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(TEXTS)
    feed = {
        "input_ids": np.array([e.ids for e in encodings]),
        "attention_mask": np.array([e.attention_mask for e in encodings]),
    }
    session = onnxruntime.InferenceSession(str(folder / "onnx" / file))
    names = ["sentence_embedding", "token_weights", "colbert_embeddings"]
    dense, weights, vectors = session.run(names, feed)
    assert [o.shape for o in session.get_outputs()] == [
        ["batch", "seq", zoo.HIDDEN_SIZE], ["batch", zoo.HIDDEN_SIZE],
        ["batch", "seq"], ["batch", "seq", zoo.DENSE_SIZE],
    ]  # fmt: skip
    assert not np.isin(feed["input_ids"][weights > 0], list(WEIGHTLESS)).any()
    for row, text in enumerate(TEXTS):
        wanted, words, tokens = by_its_card(model, text)
        np.testing.assert_allclose(dense[row], wanted, atol=2e-5)
        ids, kept = feed["input_ids"][row], feed["attention_mask"][row] == 1
        assert set(ids[weights[row] > 0].tolist()) == set(words)
        for number, weight in words.items():
            assert weights[row][ids == number].max() == pytest.approx(weight, abs=2e-5)
        np.testing.assert_allclose(vectors[row][kept][1:], tokens, atol=2e-5)
        assert not vectors[row][~kept].any()
        assert not vectors[row][0].any()


def test_every_precision_has_the_figures_of_every_head(folder: Path) -> None:
    manifest = manifest_of(folder)
    assert manifest["source"]["model"] == {
        "kind": "hybrid",
        "pooling": ["cls"],
        "dimension": zoo.HIDDEN_SIZE,
        "heads": [
            {"kind": "sparse", "output": "token_weights", "file": "sparse_linear.pt",
             "dimension": 1},
            {"kind": "late-interaction", "output": "colbert_embeddings",
             "file": "colbert_linear.pt", "dimension": zoo.DENSE_SIZE},
        ],
        "weightless_ids": sorted(WEIGHTLESS),
    }  # fmt: skip
    assert len(manifest["artifacts"]) == 5
    for graph in manifest["artifacts"]:
        heads = graph["fidelity"]["heads"]
        assert set(heads) == {"sparse", "late-interaction"}
        is_float32 = graph["precision"] == "Float32"
        for figures in heads.values():
            assert figures["similarity"]["mean"] > (0.99999 if is_float32 else 0.9)
            assert figures["neighbours"]["kept"] > (0.99 if is_float32 else 0.5)
        assert 0 < heads["sparse"]["active_overlap"] <= 1
        assert heads["late-interaction"]["lowest_token_cosine"] > (0.9999 if is_float32 else 0)


def test_the_code_of_the_card_gives_the_three_scores(model: Path, folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    code = card.partition("### ONNX Runtime")[2].partition("```python\n")[2].partition("```")[0]
    # The recommended file may be a quantized one.
    code = code.replace(manifest_of(folder)["recommended"]["path"], "onnx/model.onnx")
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json; print(json.dumps(texts))"],
        cwd=folder.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *_, texts = done.stdout.splitlines()
    one, other = (by_its_card(model, text) for text in json.loads(texts))
    wanted = {
        "dense": float(one[0] @ other[0]),
        "sparse": sum(weight * other[1].get(n, 0.0) for n, weight in one[1].items()),
        "late interaction": float((one[2] @ other[2].T).max(dim=1).values.mean()),
    }
    for name, score in wanted.items():
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{name} ")]
        assert float(line.removeprefix(f"{name} ")) == pytest.approx(score, abs=1e-3)


def test_an_evaluation_says_that_it_is_of_the_dense_vectors(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(f"text {n} of many" for n in range(40)))
    outcome = embconvert(
        "evaluate", folder, "--data", tmp_path / "texts.txt", "--files", "model.onnx",
        "--output", tmp_path, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    assert "only the dense vectors are evaluated, not: token_weights, colbert_emb" in outcome.stderr
    (evaluation,) = json.loads(outcome.stdout)["evaluations"]
    assert evaluation["similarity"] == "cosine of dense vectors"


def test_a_published_folder_is_verified_head_by_head(model: Path, folder: Path) -> None:
    again = embconvert("verify", folder, "--against", model)
    assert again.code == 0, again.stderr
    assert "late-interaction head: mean cosine 1.00000" in again.stdout


def test_little_memory_no_float32_and_one_head(tmp_path: Path) -> None:
    """The heads' weights are read from their files; a model without modules is FlagEmbedding's."""
    other = zoo.build_model("xlm-roberta", tmp_path / "m", pooling=None, dtype="bfloat16")
    zoo.add_heads(other, {"colbert_linear.pt": zoo.HIDDEN_SIZE})
    little = convert(
        other, tmp_path / "out", "--quantize", "QInt8", "--no_float32", "--output", "sentence",
        env=LITTLE_MEMORY,
    )  # fmt: skip
    assert "cls pooling and normalization are assumed, as FlagEmbedding does" in little.stderr
    manifest = little.manifest
    assert manifest["verification"]["execution"] == "layer by layer"
    (graph,) = manifest["artifacts"]
    assert [o["name"] for o in graph["outputs"]] == ["sentence_embedding", "colbert_embeddings"]
    assert list(graph["fidelity"]["heads"]) == ["late-interaction"]
    modules = json.loads((tmp_path / "out" / "m" / "modules.json").read_text(encoding="utf-8"))
    assert [module["type"].rpartition(".")[2] for module in modules] == [
        "Transformer", "Pooling", "Normalize",
    ]  # fmt: skip


def loaded(folder: Path, scratch: Path) -> HybridModel:
    request = Request(command="all", model_id="m")  # type: ignore[arg-type]
    resolved = settle_kind(request, resolve_folder(folder, model_id="m"))
    assert resolved.kind is Kind.HYBRID
    return HybridModel.load(
        resolved, make_private_copy(resolved, scratch), device="cpu", overrides=Overrides(),
        trust_remote_code=False, warn=lambda _: None,
    )  # fmt: skip


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("a head ran code",)


def wrong_heads() -> Iterator[tuple[Any, str]]:
    hidden, size = zoo.HIDDEN_SIZE, zoo.DENSE_SIZE
    yield Payload(), "is a program"
    yield {"weight": torch.zeros(size, hidden), "other": torch.zeros(1)}, "it has other, weight"
    yield {}, "it has no tensors"
    yield {"weight": torch.zeros(hidden)}, "it has weight"
    yield {"weight": torch.zeros(size, hidden + 1)}, "for vectors of 33 numbers"
    yield {"weight": torch.zeros(size, hidden), "bias": torch.zeros(3)}, "another size"
    yield {"weight": torch.zeros(size, hidden, dtype=torch.int8)}, "integers"
    yield {"weight": torch.zeros(size, hidden), "bias": torch.ones(size)}, "all zero"
    yield {"weight": torch.zeros(0, hidden)}, "all zero"


@pytest.mark.parametrize("number", range(9))
def test_a_file_that_is_no_such_head_is_refused(
    number: int, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value, message = list(wrong_heads())[number]
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    torch.save(value, copy / "colbert_linear.pt")
    with pytest.raises(SourceError) as caught:
        loaded(copy, tmp_path / "scratch")
    assert "colbert_linear.pt" in caught.value.message
    if number:
        assert message in caught.value.message
    assert "ran code" not in capsys.readouterr().out


def test_a_weight_per_token_is_a_single_number(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "m"))
    zoo.add_heads(copy, {"sparse_linear.pt": 2})
    with pytest.raises(SourceError, match="2 numbers per token, not one weight"):
        loaded(copy, tmp_path / "scratch")


def test_heads_that_a_layout_leaves_out_are_told_before_work_starts(
    model: Path, tmp_path: Path
) -> None:
    planned = embconvert(
        "all", "--model_id", model, "--output_parent_dir", tmp_path, "--layout", "tei", "--dry_run"
    )
    assert planned.code == 0, planned.stderr
    assert "not colbert_linear.pt, sparse_linear.pt: the program of --layout tei" in planned.stderr
