"""`embconvert verify`: a published folder is what its manifest says, and still of its source."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from embconvert.graph.streams import hash_file
from support import zoo
from support.command_line import Outcome, embconvert, files_in

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def published(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("published")
    outcome = embconvert(
        "all", "--model_id", tiny_bert, "--output_parent_dir", parent, "--quantize", "QInt8"
    )
    assert outcome.code == 0, outcome.stderr
    return parent / "tiny-bert"


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "tiny-bert"))


def test_a_whole_folder_passes_and_is_not_changed(folder: Path, tiny_bert: Path) -> None:
    before = {name: hash_file(folder / name) for name in files_in(folder)}
    alone = embconvert("verify", folder)
    assert alone.code == 0, alone.stderr
    for line, name in zip(
        alone.stdout.splitlines(), ("model", "model_opt1", "model_opt1_QInt8"), strict=True
    ):
        assert line.startswith(f"onnx/{name}.onnx: loads and runs; not compared with its source")
        assert line.endswith("% of top 10 kept)")
    against = embconvert("verify", folder, "--against", tiny_bert, "--json")
    assert against.code == 0, against.stderr
    graphs = json.loads(against.stdout)["graphs"]
    assert [graph["path"] for graph in graphs] == [
        "onnx/model.onnx", "onnx/model_opt1.onnx", "onnx/model_opt1_QInt8.onnx",
    ]  # fmt: skip
    assert graphs[0]["fidelity"]["similarity"]["mean"] > 0.99999
    assert graphs[0]["fidelity"]["neighbours"]["kept"] == 1.0
    assert {name: hash_file(folder / name) for name in files_in(folder)} == before


@pytest.mark.parametrize(
    "options",
    [
        ("--dimensions", "8", "--force_dimensions"),
        ("--normalize",),
        ("--output", "sentence"),
        ("--pooling", "cls"),
    ],
)
def test_a_source_is_compared_as_it_was_converted(
    tiny_bert: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    made = embconvert("export", "--model_id", tiny_bert, "--output_parent_dir", tmp_path, *options)
    assert made.code == 0, made.stderr
    folder = Path(made.stdout.strip())
    outcome = embconvert("verify", folder, "--against", tiny_bert)
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout == (
        "onnx/model.onnx: mean cosine 1.00000, 100.0% of top 10 kept "
        "(when converted: mean cosine 1.00000, 100.0% of top 10 kept)\n"
    )


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (1, "was written by an older embconvert; the model is converted again"),
        (2.5, "is treated as empty"),
    ],
)
def test_a_manifest_of_another_version_is_told_and_the_folder_made_again(
    folder: Path, tiny_bert: Path, version: float, said: str
) -> None:
    change_manifest(folder, lambda manifest: manifest.update(schema_version=version))
    words = ("--model_id", tiny_bert, "--output_parent_dir", folder.parent, "--skip_validation")
    again = embconvert("export", *words)
    assert again.code == 0, again.stderr
    assert said in again.stderr
    assert again.manifest["schema_version"] == 3


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "embconvert.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def without_a_graph(folder: Path) -> None:
    (folder / "onnx" / "model.onnx").unlink()


def with_a_changed_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def with_a_link(folder: Path) -> None:
    graph = folder / "onnx" / "model.onnx"
    graph.rename(folder / "elsewhere")
    graph.symlink_to("../elsewhere")


def with_half_a_manifest(folder: Path) -> None:
    (folder / "embconvert.json").write_text('{"schema_version": 1')


def against_the_schema(folder: Path) -> None:
    change_manifest(folder, lambda manifest: manifest.update(comment="mine"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_a_graph, "is damaged: onnx/model.onnx is missing"),
        (with_a_link, "onnx/model.onnx is a link, not a file"),
        (with_a_changed_tokenizer, "tokenizer.json is not the file that the manifest lists"),
        (with_half_a_manifest, "embconvert.json"),
        (against_the_schema, "embconvert.json: comment is not a field of a manifest"),
    ],
)
def test_a_damaged_folder_is_named(
    spoil: Callable[[Path], None], message: str, folder: Path
) -> None:
    spoil(folder)
    assert_refused(embconvert("verify", folder), 3, message)


def test_a_folder_that_is_none_of_ours_is_a_usage_error(tmp_path: Path) -> None:
    assert_refused(embconvert("verify", tmp_path), 2, "has no embconvert.json")
    assert_refused(embconvert("verify", tmp_path / "absent"), 2, "there is no folder")


def test_a_graph_that_drifted_from_its_source_is_found(
    folder: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    """As if the manifest had been made for another model's graph."""
    other = zoo.build_model("bert", tmp_path / "other", seed=1)
    made = embconvert(
        "export", "--model_id", other, "--output_parent_dir", tmp_path / "out", "--skip_validation"
    )
    graph = folder / "onnx" / "model.onnx"
    shutil.copy(Path(made.stdout.strip()) / "onnx" / "model.onnx", graph)

    def vouch(manifest: dict[str, Any]) -> None:
        entry = next(a for a in manifest["artifacts"] if a["path"] == "onnx/model.onnx")
        entry.update(sha256=hash_file(graph), size_bytes=graph.stat().st_size)

    change_manifest(folder, vouch)
    outcome = embconvert("verify", folder, "--against", tiny_bert)
    assert_refused(outcome, 8, "onnx/model.onnx has changed: mean cosine")


def test_another_model_than_the_source_is_told_before_anything_is_compared(
    folder: Path, tmp_path: Path
) -> None:
    other = zoo.build_model("bert", tmp_path / "other", seed=1)
    outcome = embconvert("verify", folder, "--against", other)
    assert_refused(
        outcome, 3, "is not the source that this folder was made of: model.safetensors is another"
    )
    assert "give ./tiny-bert, as it was then" in outcome.stderr
    reranker = zoo.build_model("roberta", tmp_path / "roberta")
    assert_refused(embconvert("verify", folder, "--against", reranker), 3, "is not the source")
    nowhere = embconvert("verify", folder, "--against", "./nowhere")
    assert_refused(nowhere, 2, "--against ./nowhere: there is no folder of that name")
    assert_refused(
        embconvert("verify", folder, "--min_cosine", "0.9"), 2, "no effect without --against"
    )


def test_a_graph_that_does_not_run_is_found_though_its_hash_is_right(folder: Path) -> None:
    """As if the manifest had been made for it."""
    graph = folder / "onnx" / "model_opt1.onnx"
    graph.write_bytes(b"no graph at all")

    def vouch(manifest: dict[str, Any]) -> None:
        entry = next(a for a in manifest["artifacts"] if a["path"] == "onnx/model_opt1.onnx")
        entry.update(sha256=hash_file(graph), size_bytes=graph.stat().st_size)

    change_manifest(folder, vouch)
    assert_refused(embconvert("verify", folder), 3, "model_opt1.onnx is not an ONNX file")


def assert_refused(outcome: Outcome, code: int, message: str) -> None:
    assert outcome.code == code, outcome.stderr
    *_, error, hint = outcome.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert hint.startswith("hint: ")
    assert outcome.stdout == ""


def weights_outside(folder: Path) -> Path:
    """Gives a graph its weights in a file that the manifest does not list; returns the graph."""
    path = folder / "onnx" / "model.onnx"
    model = onnx.load(str(path))
    path.unlink()
    onnx.save(model, str(path), save_as_external_data=True, location="secret", size_threshold=0)
    return path


def test_weights_in_a_file_that_is_not_listed_are_not_read(folder: Path) -> None:
    path = weights_outside(folder)

    def vouch(manifest: dict[str, Any]) -> None:
        entry = next(a for a in manifest["artifacts"] if a["path"] == "onnx/model.onnx")
        entry.update(sha256=hash_file(path), size_bytes=path.stat().st_size)

    change_manifest(folder, vouch)
    assert_refused(embconvert("verify", folder), 3, "reads secret, but the manifest lists none")
    other = next(file for file in path.parent.glob("*.onnx") if file != path)
    compared = embconvert("diff", path, other)
    assert_refused(compared, 3, "reads secret, but the manifest lists none")


def test_a_tokenizer_that_is_not_listed_is_not_read(folder: Path) -> None:
    def forget(manifest: dict[str, Any]) -> None:
        manifest["files"] = [f for f in manifest["files"] if f["path"] != "tokenizer.json"]

    change_manifest(folder, forget)
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    assert_refused(embconvert("verify", folder), 3, "does not list tokenizer.json")
