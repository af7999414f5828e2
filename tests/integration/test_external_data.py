"""Models over 2 GB have their weights in a file beside the graph; small ones stand in for them."""

import shutil
from pathlib import Path

import pytest

from support.command_line import LARGE_MODEL, Outcome, embconvert, files_in

PRECISIONS = ("QInt8", "QUInt8", "Float16", "QInt8Static")


def convert(command: str, model: Path, parent: Path, *options: object) -> Outcome:
    return embconvert(
        command, "--model_id", model, "--output_parent_dir", parent, *options, env=LARGE_MODEL
    )


@pytest.mark.parametrize("level", [0, 1, 2, 99])
def test_every_stage_reads_and_writes_external_data(
    level: int, tiny_bert: Path, tmp_path: Path
) -> None:
    outcome = convert(
        "all", tiny_bert, tmp_path, "--optimize", level, "--quantize", ",".join(PRECISIONS),
        "--min_cosine", 0.5,
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    onnx = tmp_path / "tiny-bert" / "onnx"
    names = {"model", f"model_opt{level}"} if level else {"model"}
    names |= {f"model_opt{level}_{precision}" for precision in PRECISIONS}
    assert set(files_in(onnx)) == {f"{n}.onnx{suffix}" for n in names for suffix in ("", "_data")}
    for artifact in outcome.manifest["artifacts"]:
        assert (onnx.parent / artifact["path"]).stat().st_size == artifact["size_bytes"]
        if "Int8" not in artifact["path"]:
            assert artifact["fidelity"]["similarity"]["mean"] > 0.99


def test_stages_of_a_later_run_take_over_external_data(tiny_bert: Path, tmp_path: Path) -> None:
    """While it is taken over, it is a hard link, which onnx and onnx_ir refuse to read."""
    runs: list[tuple[str, ...]] = [("export",), ("optimize",), ("optimize", "--optimize", "2")]
    runs += [("quantize", "--quantize", precision) for precision in PRECISIONS]
    for command, *options in runs:
        outcome = convert(command, tiny_bert, tmp_path, *options, "--skip_validation")
        assert outcome.code == 0, outcome.stderr
    assert len(outcome.manifest["artifacts"]) == 3 + len(PRECISIONS)
    assert all(a["external_data"] for a in outcome.manifest["artifacts"])


def in_a_hub_cache(graph: Path, repository: Path) -> Path:
    """Copies a graph with its external data to where huggingface_hub would have put them."""
    snapshot = repository / "snapshots" / "0a" / "onnx"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, file in enumerate((graph, graph.with_name("model.onnx_data"))):
        shutil.copy(file, repository / "blobs" / f"{number}")
        (snapshot / file.name).symlink_to(f"../../../blobs/{number}")
    return snapshot / graph.name


def test_a_given_graph_is_read_with_the_data_beside_it(tiny_bert: Path, tmp_path: Path) -> None:
    assert convert("export", tiny_bert, tmp_path / "given").code == 0
    graph = tmp_path / "given" / "tiny-bert" / "onnx" / "model.onnx"
    outcome = convert(
        "quantize", tiny_bert, tmp_path, "--model_path", graph, "--quantize", "Float16"
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.graph("model_opt0_Float16.onnx")["fidelity"]["similarity"]["mean"] > 0.999
    cached = in_a_hub_cache(graph, tmp_path / "cache" / "models--a--b")
    outcome = convert(
        "quantize", tiny_bert, tmp_path, "--model_path", cached, "--quantize", "QInt8Static"
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.graph("model_opt0_QInt8Static.onnx")["fidelity"]["similarity"]["mean"] > 0.99
    graph.with_name("model.onnx_data").unlink()
    outcome = convert("quantize", tiny_bert, tmp_path, "--model_path", graph, "--quantize", "QInt8")
    assert outcome.code == 3
    assert (
        "model.onnx needs model.onnx_data, which is not a file in the same folder" in outcome.stderr
    )
