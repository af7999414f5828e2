"""The table at the end of a run."""

from dataclasses import replace
from pathlib import Path

from embconvert.models.values import Fusion
from embconvert.reporting.table import fused_words, table_rows
from support.examples import published
from support.staged import record


def test_the_closing_table_compares_with_the_export(tmp_path: Path) -> None:
    big, small = tmp_path / "big", tmp_path / "small"
    big.write_bytes(bytes(1000))
    small.write_bytes(bytes(250))
    graphs = record(big, "onnx/model.onnx"), record(small, "onnx/q.onnx", made_from="0" * 64)
    rows = table_rows(replace(published(tmp_path), artifacts=graphs))
    assert [row[2] for row in rows] == ["100%", "25%"]
    assert rows[1][3] == "not verified"


def test_fusions_are_told_in_words() -> None:
    fusions = (
        Fusion(kind="attention", fused=2, left={"it is of a form that no rule knows": 1}),
        Fusion(kind="GELU", fused=4, left={}),
    )
    assert fused_words(fusions) == "2 of 3 attention, 4 of 4 GELU"
