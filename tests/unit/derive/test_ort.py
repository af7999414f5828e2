"""Files in ONNX Runtime's own format."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from embconvert.derive import derive
from embconvert.errors import DeriveError
from embconvert.graph.onnx_file import write_model
from embconvert.models.choices import OptimizationLevel
from embconvert.models.forms import FileForm, FormKind
from embconvert.models.values import DerivedModel, OnnxArtifact
from support.derived import derive_settings
from support.graphs import embedding_model, weights

FORM = FileForm(kind=FormKind.ORT)


def converted(source: OnnxArtifact, folder: Path) -> DerivedModel:
    folder.mkdir()
    return derive(source, folder / "model.ort", derive_settings(FORM, folder))


@pytest.mark.parametrize("weights_apart", [False, True])
def test_the_values_are_those_of_the_source(tmp_path: Path, weights_apart: bool) -> None:
    source = embedding_model(tmp_path / "model.onnx", weights_apart=weights_apart)
    made = converted(source, tmp_path / "out")
    feed = {"input_ids": np.array([[1, 5, 9]]), "attention_mask": np.array([[1, 1, 0]])}
    ours, theirs = (
        onnxruntime.InferenceSession(str(graph.path)).run(None, feed)
        for graph in (made.artifact, source)
    )
    assert made.artifact.external_data is None
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_reduced_build_is_told_the_operators_and_their_types(tmp_path: Path) -> None:
    made = converted(embedding_model(tmp_path / "model.onnx"), tmp_path / "out")
    (beside,) = made.beside
    assert beside.path == "model.required_operators_and_types.config"
    text = (tmp_path / "out" / beside.path).read_text()
    assert text.startswith("# Generated from model.ort\n")
    assert 'MatMul{"inputs": {"0": ["float"]}}' in text
    assert str(tmp_path) not in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.ort", beside.path}
    assert made.artifact.operators["MatMul"] == 1


def test_the_build_script_of_onnxruntime_reads_these_operators_and_types(tmp_path: Path) -> None:
    """By the parser that `build.py --include_ops_by_config` imports."""
    from onnxruntime.tools.reduced_build_config_parser import parse_config

    made = converted(embedding_model(tmp_path / "model.onnx"), tmp_path / "out")
    config = tmp_path / "out" / made.beside[0].path
    by_domain, types = parse_config(str(config), enable_type_reduction=True)
    assert set(by_domain) == {"ai.onnx"}
    opsets = by_domain["ai.onnx"]
    assert set().union(*opsets.values()) == set(made.artifact.operators)
    assert max(opsets) <= made.artifact.opset
    assert types.is_typed_registration_needed("ai.onnx", "MatMul", "float")
    assert not types.is_typed_registration_needed("ai.onnx", "MatMul", "double")


def test_the_same_graph_gives_the_same_operators_and_size(tmp_path: Path) -> None:
    """ONNX Runtime writes one table in an order that differs from process to process."""
    source = embedding_model(tmp_path / "model.onnx")
    first, second = (converted(source, tmp_path / name) for name in ("a", "b"))
    assert first.beside == second.beside
    assert first.artifact.size_bytes == second.artifact.size_bytes


@pytest.mark.parametrize(
    ("level", "operator"),
    [
        (OptimizationLevel.NONE, "MatMul"),
        (OptimizationLevel.BASIC, "MatMul"),
        (OptimizationLevel.EXTENDED, "com.microsoft.FusedMatMul"),
        (OptimizationLevel.ALL, "com.microsoft.FusedMatMul"),
    ],
)
def test_operators_that_only_the_cpu_has_belong_to_level_2(
    tmp_path: Path, level: OptimizationLevel, operator: str
) -> None:
    made = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 8] x) => (float[n, 8] y) {
            half = Constant<value = float {0.5}>()
            scaled = Mul(x, half)
            y = MatMul(scaled, square)
        }
        """
    )
    made.graph.initializer.append(onnx.numpy_helper.from_array(weights(8, 8), "square"))
    source = write_model(ir.from_proto(made), tmp_path / "model.onnx")
    found = derive(
        source, tmp_path / "model.ort", derive_settings(FORM, tmp_path, level=level)
    ).artifact
    assert operator in found.operators


def test_an_older_runtime_does_not_read_the_format(tmp_path: Path) -> None:
    source = embedding_model(tmp_path / "model.onnx")
    assert source.min_onnxruntime == "1.15"
    assert converted(source, tmp_path / "out").artifact.min_onnxruntime == "1.16"


def test_more_than_the_format_can_hold_is_refused(tmp_path: Path) -> None:
    source = replace(embedding_model(tmp_path / "model.onnx"), size_bytes=3 * 10**9)
    with pytest.raises(DeriveError, match=r"3\.0 GB, but ONNX Runtime's own format"):
        converted(source, tmp_path / "out")


def test_a_failure_of_the_converter_is_one_line(tmp_path: Path) -> None:
    source = embedding_model(tmp_path / "model.onnx")
    source.path.write_bytes(b"nonsense")
    with pytest.raises(DeriveError) as caught:
        converted(source, tmp_path / "out")
    assert caught.value.message.startswith("model.ort could not be made: ")
    assert "\n" not in caught.value.message
