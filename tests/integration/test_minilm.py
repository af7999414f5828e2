"""The main job on the real all-MiniLM-L6-v2."""

import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from support.command_line import Outcome, embconvert, files_in
from support.documents import schema

pytestmark = pytest.mark.integration

PRECISIONS = "Q8,Q4,QInt8,QUInt8,Float16,QInt8Static,QFLOAT8E4M3FN"


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def converted(minilm: Path, parent: Path) -> Outcome:
    outcome = embconvert(
        "all", "--model_id", minilm, "--output_parent_dir", parent,
        "--quantize", PRECISIONS,
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    return outcome


def test_stdout_is_the_folder_and_nothing_else(converted: Outcome, parent: Path) -> None:
    assert converted.stdout == f"{parent / 'all-MiniLM-L6-v2'}\n"


@pytest.mark.usefixtures("converted")
def test_the_folder_holds_graphs_tokenizer_config_and_modules(parent: Path) -> None:
    assert set(files_in(parent)) == {
        f"all-MiniLM-L6-v2/{file}"
        for file in (
            "onnx/model.onnx",
            "onnx/model_opt1.onnx",
            "onnx/model_opt1_Q8.onnx",
            "onnx/model_opt1_Q4.onnx",
            "onnx/model_opt1_QInt8.onnx",
            "onnx/model_opt1_QUInt8.onnx",
            "onnx/model_opt1_Float16.onnx",
            "onnx/model_opt1_QInt8Static.onnx",
            "onnx/model_opt1_QFLOAT8E4M3FN.onnx",
            "1_Pooling/config.json",
            "config.json",
            "config_sentence_transformers.json",
            "embconvert.json",
            "README.md",
            "report.html",
            "modules.json",
            "sentence_bert_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        )
    }


def test_the_manifest_obeys_its_schema(converted: Outcome) -> None:
    jsonschema.Draft202012Validator(schema("manifest")).validate(converted.manifest)


def test_float32_graphs_give_the_embeddings_of_sentence_transformers(converted: Outcome) -> None:
    for file in ("model.onnx", "model_opt1.onnx"):
        figures = converted.graph(file)["fidelity"]
        assert figures["max_abs_diff"] < 1e-5
        assert figures["similarity"]["min"] > 0.999999
        assert figures["similarity"]["batch"] > 0.999999


def test_the_manifest_tells_where_a_precision_loses(converted: Outcome) -> None:
    figures = converted.graph("model_opt1_QInt8.onnx")["fidelity"]
    assert [entry["layer"] for entry in figures["layers"]] == list(range(6))
    assert all(0.98 < entry["cosine"] < 0.9999 for entry in figures["layers"])
    assert figures["worst_texts"][0]["similarity"] == pytest.approx(figures["similarity"]["min"])
    # Blank texts have a figure of their own.
    assert sum(figures["histogram"]) == figures["neighbours"]["texts"] < figures["texts"]
    assert figures["blank_similarity"] > 0.9
    # They lose nothing.
    for file in ("model.onnx", "model_opt1.onnx"):
        assert converted.graph(file)["fidelity"]["layers"] == []


def test_quantized_graphs_are_near_and_small(converted: Outcome) -> None:
    whole = converted.graph("model.onnx")["size_bytes"]
    for precision, share, cosine in (
        ("Q8", 0.29, 0.9995),
        ("Q4", 0.20, 0.985),
        ("QInt8", 0.26, 0.996),
        ("QUInt8", 0.26, 0.996),
        ("QInt8Static", 0.26, 0.996),
        ("QFLOAT8E4M3FN", 0.26, 0.997),
        ("Float16", 0.51, 0.99999),
    ):
        graph = converted.graph(f"model_opt1_{precision}.onnx")
        assert graph["size_bytes"] < share * whole
        assert graph["fidelity"]["similarity"]["mean"] > cosine


def test_q8_moves_no_embedding_far(converted: Outcome) -> None:
    graph = converted.graph("model_opt1_Q8.onnx")
    assert graph["fidelity"]["similarity"]["min"] > 0.998
    assert graph["fidelity"]["similarity"]["batch"] > 0.9999999
    assert graph["min_onnxruntime"] == "1.23"


def test_a_quantized_graph_does_not_depend_on_the_batch(converted: Outcome) -> None:
    assert (
        converted.graph("model_opt1_QInt8Static.onnx")["fidelity"]["similarity"]["batch"] > 0.99999
    )
    assert converted.graph("model_opt1_QInt8.onnx")["fidelity"]["similarity"]["batch"] > 0.99999
    float8 = converted.graph("model_opt1_QFLOAT8E4M3FN.onnx")
    assert float8["fidelity"]["similarity"]["batch"] > 0.999999
    assert (float8["opset"], converted.graph("model_opt1.onnx")["opset"]) == (19, 17)


def test_every_attention_is_fused_and_said(converted: Outcome) -> None:
    optimized = converted.graph("model_opt1.onnx")
    assert optimized["operators"]["com.microsoft.MultiHeadAttention"] == 6
    assert {"kind": "attention", "fused": 6, "left": {}} in optimized["fusions"]
    assert "fused: 6 of 6 attention" in converted.stderr


def test_the_graph_has_the_interface_that_consumers_want(converted: Outcome) -> None:
    graph = converted.graph("model.onnx")
    assert [i["name"] for i in graph["inputs"]] == [
        "input_ids", "attention_mask", "token_type_ids",
    ]  # fmt: skip
    assert graph["outputs"][0]["name"] == "last_hidden_state"
    assert graph["outputs"][0]["shape"] == ["batch", "seq", 384]
    assert graph["outputs"][1]["name"] == "sentence_embedding"
    assert graph["opset"] == 17


@pytest.mark.usefixtures("converted")
def test_a_second_run_does_nothing_again(minilm: Path, parent: Path) -> None:
    before = files_in(parent)
    again = embconvert(
        "all", "--model_id", minilm, "--output_parent_dir", parent,
        "--quantize", PRECISIONS,
    )  # fmt: skip
    assert again.code == 0
    assert "up to date" in again.stderr
    assert "load the source" not in again.stderr
    assert files_in(parent) == before


def test_stages_one_by_one_give_the_bytes_of_all(
    converted: Outcome, minilm: Path, tmp_path: Path
) -> None:
    common = ("--model_id", minilm, "--output_parent_dir", tmp_path, "--skip_validation")
    for command in (("export",), ("optimize",), ("quantize", "--quantize", "QInt8")):
        outcome = embconvert(*command, *common)
        assert outcome.code == 0, outcome.stderr
    for file in ("model.onnx", "model_opt1.onnx", "model_opt1_QInt8.onnx"):
        assert outcome.graph(file)["sha256"] == converted.graph(file)["sha256"]
        assert outcome.graph(file)["fidelity"] is None


@pytest.mark.usefixtures("converted")
def test_model_path_works_on_a_foreign_graph_without_changing_it(
    minilm: Path, parent: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "given" / "graph.onnx"
    foreign.parent.mkdir()
    shutil.copy(parent / "all-MiniLM-L6-v2" / "onnx" / "model.onnx", foreign)
    before = foreign.read_bytes()
    outcome = embconvert(
        "quantize", "--model_id", minilm, "--model_path", foreign, "--quantize", "QInt8",
        "--output_parent_dir", tmp_path / "out",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    assert outcome.graph("model_opt0_QInt8.onnx")["fidelity"]["similarity"]["mean"] > 0.98
    assert foreign.read_bytes() == before
    assert set(files_in(foreign.parent)) == {"graph.onnx"}


def test_a_floor_that_is_not_reached_publishes_the_others_and_exits_8(
    minilm: Path, tmp_path: Path
) -> None:
    outcome = embconvert(
        "all", "--model_id", minilm, "--output_parent_dir", tmp_path,
        "--quantize", "QInt8,Float16", "--min_cosine", 0.999,
    )  # fmt: skip
    assert outcome.code == 8
    assert outcome.stdout == ""
    assert "model_opt1_QInt8.onnx is not published: mean cosine" in outcome.stderr
    onnx = tmp_path / "all-MiniLM-L6-v2" / "onnx"
    assert {p.name for p in onnx.iterdir()} == {
        "model.onnx", "model_opt1.onnx", "model_opt1_Float16.onnx",
    }  # fmt: skip


@pytest.mark.usefixtures("converted")
def test_the_published_folder_is_enough_for_a_consumer(parent: Path) -> None:
    """Tokenizer and graph of the folder, and nothing else, tell what is alike."""
    import onnxruntime
    from tokenizers import Tokenizer

    folder = parent / "all-MiniLM-L6-v2"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(folder / "onnx" / "model_opt1_QInt8.onnx"))

    def embed(text: str) -> np.ndarray:
        encoding = tokenizer.encode(text)
        feed = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        outputs = session.run(["sentence_embedding"], {n: np.array([v]) for n, v in feed.items()})
        return np.asarray(outputs[0][0])

    cat, kitten, tax = map(embed, ("a cat sleeps", "a kitten is asleep", "how to file taxes"))
    assert cat @ kitten > 0.6
    assert cat @ tax < 0.3
