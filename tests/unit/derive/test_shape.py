"""Graphs of a fixed shape."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from embconvert.derive import derive
from embconvert.errors import DeriveError
from embconvert.models.forms import FileForm, FormKind
from embconvert.models.shapes import Shape
from embconvert.models.values import OnnxArtifact
from support.derived import derive_settings
from support.graphs import embedding_model


def fixed(source: OnnxArtifact, texts: int, tokens: int) -> OnnxArtifact:
    form = FileForm(kind=FormKind.SHAPE, shape=Shape(texts=texts, tokens=tokens))
    path = source.path.with_name(form.file(source.path.name))
    return derive(source, path, derive_settings(form, path.parent)).artifact


def outputs(graph: OnnxArtifact, texts: int, tokens: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    ids = random.integers(0, 40, (texts, tokens))
    mask = np.ones_like(ids)
    mask[:, tokens // 2 + 1 :] = 0
    session = onnxruntime.InferenceSession(str(graph.path))
    found: list[np.ndarray] = session.run(None, {"input_ids": ids, "attention_mask": mask})
    return found


@pytest.mark.parametrize("weights_apart", [False, True])
@pytest.mark.parametrize(("texts", "tokens"), [(1, 32), (3, 7)])
def test_the_values_are_those_of_the_source(
    tmp_path: Path, texts: int, tokens: int, weights_apart: bool
) -> None:
    source = embedding_model(tmp_path / "model.onnx", weights_apart=weights_apart)
    graph = fixed(source, texts, tokens)
    for ours, theirs in zip(
        outputs(graph, texts, tokens), outputs(source, texts, tokens), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_all_sizes_are_constants_and_nothing_computes_them(tmp_path: Path) -> None:
    graph = fixed(embedding_model(tmp_path / "model.onnx"), 2, 7)
    assert [value.shape for value in (*graph.inputs, *graph.outputs)] == [
        (2, 7), (2, 7), (2, 7, 8), (2, 8),
    ]  # fmt: skip
    assert not {"Shape", "Range", "Concat"} & set(graph.operators)
    # Of the two lookups of a position and of a size, none is left.
    assert graph.operators["Gather"] == 1
    model = onnx.load(graph.path)
    declared = [value.type.tensor_type.shape for value in model.graph.value_info]
    assert declared
    assert not any(dim.dim_param for shape in declared for dim in shape.dim)


def test_the_source_is_not_changed_and_the_form_is_known(tmp_path: Path) -> None:
    source = embedding_model(tmp_path / "model.onnx")
    before = source.path.read_bytes()
    graph = fixed(source, 1, 8)
    assert source.path.read_bytes() == before
    assert list(map(str, graph.forms)) == ["1x8"]


def test_a_graph_that_has_no_batch_of_texts_is_refused(tmp_path: Path) -> None:
    once = fixed(embedding_model(tmp_path / "model.onnx"), 1, 8)
    with pytest.raises(DeriveError) as caught:
        fixed(once, 1, 4)
    assert "input_ids of (1, 8) does not have the two dynamic axes" in caught.value.message
