"""--inputs: a graph takes what its client sends, and computes the same."""

from pathlib import Path

import onnxruntime
import pytest

from embconvert import convert
from embconvert.errors import UsageError
from support import zoo

pytestmark = pytest.mark.integration

SHORT = "input_ids,attention_mask"
LONG = f"{SHORT},token_type_ids"


def inputs_of(file: Path) -> list[str]:
    return [value.name for value in onnxruntime.InferenceSession(file).get_inputs()]


@pytest.mark.parametrize(
    ("architecture", "inputs"), [("bert", SHORT), ("xlm-roberta", LONG), ("qwen3", LONG)]
)
def test_every_graph_takes_the_inputs_of_the_client(
    architecture: str, inputs: str, tmp_path: Path
) -> None:
    model = zoo.build_model(architecture, tmp_path / "m")
    made = convert(
        model, output_parent_dir=tmp_path / "out", inputs=inputs, optimize=2, quantize=["QInt8"]
    )
    files = sorted((made.folder / "onnx").glob("*.onnx"))
    assert len(files) == 3
    for file in files:
        assert inputs_of(file) == inputs.split(",")
    manifest = made.manifest
    assert all(record.fidelity is not None for record in manifest.artifacts)


def test_a_layouts_graph_has_the_inputs_that_its_program_sends(tmp_path: Path) -> None:
    """Vespa's colbert-embedder sends no token types, which BERT has."""
    model = zoo.build_late_interaction("bert", tmp_path / "m")
    made = convert(
        model, output_parent_dir=tmp_path / "out", layout="vespa", optimize=0, skip_validation=True
    )
    assert inputs_of(made.folder / "model.onnx") == SHORT.split(",")
    with pytest.raises(UsageError, match="colbert-embedder always sends"):
        convert(model, output_parent_dir=tmp_path / "out", layout="vespa", inputs=LONG)


def test_the_cards_code_gives_a_graph_all_of_its_inputs(tmp_path: Path) -> None:
    model = zoo.build_model("xlm-roberta", tmp_path / "m")
    made = convert(model, output_parent_dir=tmp_path / "out", inputs=LONG, skip_validation=True)
    assert "token_type_ids" in (made.folder / "README.md").read_text()


def test_types_that_tell_the_texts_of_a_pair_apart_are_not_removed(tmp_path: Path) -> None:
    model = zoo.build_reranker("bert", tmp_path / "m")
    with pytest.raises(UsageError, match="tells texts apart by token_type_ids") as caught:
        convert(model, output_parent_dir=tmp_path / "out", inputs=SHORT, skip_validation=True)
    assert f"--inputs {LONG}" in caught.value.hint
    assert not (tmp_path / "out" / "m").exists()
