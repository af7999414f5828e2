"""Every architecture goes the same way, and gives what torch gives on shapes it never saw."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from support import zoo
from support.command_line import embconvert
from support.exports import assert_same_as_torch, export, load

pytestmark = pytest.mark.integration

#: Architectures with unlike parts, which CI converts in every precision, and others in two. With
#: EMBCONVERT_ALL_ARCHITECTURES=1 all are in every one, once a week with the newest packages.
#: test_rewrite.py exports and optimizes each of them.
IN_EVERY_PRECISION = {"bert", "deberta-v2", "gemma3_text", "lfm2", "mixtral", "modernbert", "mt5"}
IN_SOME = {"convbert", "gte", "llama", "longformer", "nomic_bert", "qwen3", "xlm-roberta"}
EVERY = "Q8,QInt8,QUInt8,QInt8Static,QFLOAT8E4M3FN,Float16"
SOME = "QInt8,Float16"
ALL = "EMBCONVERT_ALL_ARCHITECTURES" in os.environ


@pytest.mark.parametrize(
    "architecture",
    [a for a in zoo.ARCHITECTURES if ALL or a in IN_EVERY_PRECISION or a in IN_SOME],
)
def test_every_stage_gives_the_embeddings_of_torch(architecture: str, tmp_path: Path) -> None:
    model = zoo.build_model(architecture, tmp_path / architecture)
    has_every = ALL or architecture in IN_EVERY_PRECISION
    outcome = embconvert(
        "all", "--model_id", model, "--output_parent_dir", tmp_path / "out",
        "--quantize", EVERY if has_every else SOME,
        # Neighbours among embeddings of random weights lie closer together than a trained model's.
        "--min_cosine", 0.99, "--min_neighbours", 0.3,
    )  # fmt: skip

    assert outcome.code == 0, outcome.stderr
    folder = tmp_path / "out" / architecture
    for graph in ("model.onnx", "model_opt1.onnx"):
        assert_same_as_torch(model, folder / "onnx" / graph)


def test_the_architectures_that_ci_converts_are_there() -> None:
    assert set(zoo.ARCHITECTURES) >= IN_EVERY_PRECISION | IN_SOME


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken", "max", "weightedmean",
                                     "mean_sqrt_len_tokens"])  # fmt: skip
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_every_pooling_gives_the_embeddings_of_torch(
    pooling: str, dense: bool, normalize: bool, tmp_path: Path
) -> None:
    model = zoo.build_model(
        "roberta", tmp_path / "model", pooling=pooling, dense=dense, normalize=normalize
    )
    source = load(model)
    graph = export(source, tmp_path / "model.onnx")
    assert_same_as_torch(model, graph)
    assert source.record.dimension == (zoo.DENSE_SIZE if dense else zoo.HIDDEN_SIZE)


@pytest.mark.parametrize("opset", [17, 18, 19, 20])
def test_every_opset_gives_the_embeddings_of_torch(opset: int, tmp_path: Path) -> None:
    model = zoo.build_model("modernbert", tmp_path / "model")
    assert_same_as_torch(model, export(load(model), tmp_path / "model.onnx", opset=opset))


@pytest.mark.parametrize("architecture", ["bert", "gemma3_text"])
def test_the_second_exporter_gives_the_embeddings_of_torch(
    architecture: str, tmp_path: Path
) -> None:
    model = zoo.build_model(architecture, tmp_path / "model")
    graph = export(load(model), tmp_path / "model.onnx", exporter="torch.export", opset=18)
    assert_same_as_torch(model, graph)


def test_a_left_padding_tokenizer_pools_the_last_token(tmp_path: Path) -> None:
    model = zoo.build_model("qwen3", tmp_path / "m", pooling="lasttoken", padding_side="left")
    outcome = embconvert("export", "--model_id", model, "--output_parent_dir", tmp_path / "out")
    assert outcome.code == 0, outcome.stderr
    assert outcome.graph("model.onnx")["fidelity"]["similarity"]["min"] > 0.99999


@pytest.mark.parametrize("architecture", ["qwen2", "gemma2", "mistral"])
def test_a_decoder_that_is_not_causal_reads_both_ways(architecture: str, tmp_path: Path) -> None:
    """Full attention, windows with capped scores, and windows."""
    model = zoo.build_model(architecture, tmp_path / "model", overrides={"is_causal": False})
    graph = export(load(model), tmp_path / "model.onnx")
    assert_same_as_torch(model, graph)
    session = onnxruntime.InferenceSession(graph)
    ids = np.arange(5, 11)[None]
    first = [
        session.run(["last_hidden_state"], {"input_ids": i, "attention_mask": np.ones_like(i)})[0]
        for i in (ids, np.where(ids == 10, 20, ids))
    ]
    assert not np.allclose(first[0][0, 0], first[1][0, 0], atol=1e-3)
