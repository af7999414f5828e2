"""Results name files and figures, and a notebook shows them as tables."""

from pathlib import Path

import pytest

from embconvert.api.results import Conversion, Verification
from embconvert.pipeline.verify_folder import CheckedGraph
from support.examples import fidelity, graph, manifest_of, published


def test_files_and_figures_of_a_conversion(tmp_path: Path) -> None:
    made = Conversion(folder=tmp_path, manifests={"": published(tmp_path)})
    assert list(made.files) == [
        "onnx/model.onnx", "onnx/model_opt1.onnx", "onnx/model_opt1_QInt8.onnx",
        "onnx/model_opt1_Float16.onnx",
    ]  # fmt: skip
    assert all(path.is_file() for path in made.files.values())
    figures = made.figures["onnx/model_opt1_QInt8.onnx"]
    assert figures is not None
    assert figures.similarity.mean == 1 - 0.011
    assert made.recommended == made.files["onnx/model_opt1_QInt8.onnx"]


def test_a_conversion_without_graphs_recommends_none(tmp_path: Path) -> None:
    assert Conversion(folder=tmp_path, manifests={"": manifest_of()}).recommended is None


def test_files_of_routes_are_in_the_folders_of_their_names(tmp_path: Path) -> None:
    manifests = {name: published(tmp_path / name) for name in ("query", "document")}
    made = Conversion(folder=tmp_path, manifests=manifests)
    assert "query/onnx/model.onnx" in made.files
    assert made.files.keys() == made.figures.keys()
    assert len(made.files) == 8
    assert all(path.is_file() for path in made.files.values())
    with pytest.raises(ValueError, match="each of: query, document"):
        made.manifest  # noqa: B018
    assert made._repr_html_().count("<table>") == 2


def test_a_notebook_shows_every_figure_and_no_markup_of_names(tmp_path: Path) -> None:
    folder = tmp_path / "<script>"
    shown = Conversion(folder=folder, manifests={"": published(folder)})._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<td>onnx/model_opt1_QInt8.onnx</td>" in shown
    assert "<td>0.98900</td>" in shown
    assert "recommended: onnx/model_opt1_QInt8.onnx" in shown


def test_a_check_says_what_was_compared(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    record = graph(tmp_path, "model", 1000)
    compared = CheckedGraph(record=record, fidelity=fidelity(0.25, bin_number=20))
    checked = Verification(
        folder=tmp_path, against="org/name", graphs={"onnx/model.onnx": compared}
    )
    assert checked.figures == {"onnx/model.onnx": compared.fidelity}
    assert "<td>0.75000</td>" in checked._repr_html_()
    alone = CheckedGraph(record=record, fidelity=None)
    shown = Verification(
        folder=tmp_path, against=None, graphs={"onnx/model.onnx": alone}
    )._repr_html_()
    assert "<td>not compared</td>" in shown
