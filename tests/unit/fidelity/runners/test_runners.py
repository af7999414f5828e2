"""How published files of other forms are run."""

from pathlib import Path

import numpy as np
import pytest

from embconvert.derive import derive
from embconvert.fidelity.embedding import run_graph
from embconvert.fidelity.runners import FileRunner, how_of, untrusted_problem
from embconvert.fidelity.tokenization import Padding, TokenizedTexts
from embconvert.fidelity.workload import make_workload
from embconvert.models.forms import FileForm, FormKind
from embconvert.models.shapes import Shape
from embconvert.models.values import OnnxArtifact
from support.derived import derive_settings
from support.graphs import embedding_model

#: Eight texts of 2 to 9 tokens.
TEXTS = TokenizedTexts(
    ids=tuple(np.arange(n, 3 * n + 2, 2)[: n + 2] % 40 for n in range(8)),
    type_ids=tuple(np.zeros(len(np.arange(n, 3 * n + 2, 2)[: n + 2]), np.int64) for n in range(8)),
)
ORT = FileForm(kind=FormKind.ORT)


def shape(texts: int, tokens: int) -> FileForm:
    return FileForm(kind=FormKind.SHAPE, shape=Shape(texts=texts, tokens=tokens))


def made(source: OnnxArtifact, *forms: FileForm) -> OnnxArtifact:
    for form in forms:
        path = source.path.with_name(form.file(source.path.name))
        source = derive(source, path, derive_settings(form, path.parent)).artifact
    return source


@pytest.mark.parametrize("padding", [Padding(), Padding(left=True), Padding(multiple_of=8)])
@pytest.mark.parametrize(
    "forms", [[shape(1, 12)], [shape(3, 12)], [ORT], [shape(3, 12), ORT]], ids=str
)
def test_a_file_gives_the_outputs_of_its_source(
    tmp_path: Path, forms: list[FileForm], padding: Padding
) -> None:
    """The graph numbers positions from the left, so texts are compared with the same padding."""
    texts = TokenizedTexts(
        ids=TEXTS.ids,
        type_ids=TEXTS.type_ids,
        padding=Padding(left=padding.left, multiple_of=padding.multiple_of, fixed_length=12),
    )
    source = embedding_model(tmp_path / "model.onnx")
    ours, theirs = (
        run_graph(
            graph, texts, make_workload(texts.lengths), lambda _: None, layer_by_layer=layered
        )
        for graph, layered in ((made(source, *forms), True), (source, False))
    )
    assert ours.embeddings.sentence is not None
    assert theirs.embeddings.sentence is not None
    if padding.multiple_of == 1:
        np.testing.assert_allclose(
            ours.embeddings.sentence, theirs.embeddings.sentence, rtol=1e-5, atol=1e-6
        )
    assert ours.embeddings.sentence.shape == theirs.embeddings.sentence.shape


def test_a_text_that_does_not_fit_is_an_error_and_never_cut(tmp_path: Path) -> None:
    graph = made(embedding_model(tmp_path / "model.onnx"), shape(2, 5))
    runner = FileRunner(graph, TEXTS)
    longest = TEXTS.lengths.index(max(TEXTS.lengths))
    runner.outputs([0, 1, 2])
    with pytest.raises(ValueError, match="a text has more than 5 tokens"):
        runner.outputs([0, longest])


def test_what_is_no_file_of_the_format_is_not_opened(tmp_path: Path) -> None:
    graph = made(embedding_model(tmp_path / "model.onnx"), ORT)
    assert untrusted_problem(graph.path, [ORT]) is None
    assert untrusted_problem(tmp_path / "model.onnx", [ORT]) == (
        "model.onnx is not a file in ONNX Runtime's own format"
    )


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    graph = made(embedding_model(tmp_path / "model.onnx"), ORT)
    content = graph.path.read_bytes()
    graph.path.write_bytes(content[:8] + b"\xff" * (len(content) - 8))
    with pytest.raises(ValueError, match=r"ONNX Runtime cannot load model\.ort: "):
        FileRunner(graph, TEXTS)


@pytest.mark.parametrize("kind", FormKind)
def test_every_kind_says_how_it_is_run(kind: FormKind) -> None:
    how_of(FileForm(kind=kind))
