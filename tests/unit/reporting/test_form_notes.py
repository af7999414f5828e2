"""What cards and reports say of files of other forms."""

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embconvert.manifest import ArtifactRecord, Manifest
from embconvert.models.forms import FileForm, FormKind, PaddingRecord
from embconvert.models.shapes import Shape
from embconvert.models.source_records import FileRecord
from embconvert.reporting.card import model_card
from embconvert.reporting.form_notes import form_snippets
from embconvert.reporting.home import Home
from embconvert.reporting.page import report_page
from support.examples import fidelity, graph, published

FIXED = FileForm(kind=FormKind.SHAPE, shape=Shape(texts=4, tokens=32))
ORT = FileForm(kind=FormKind.ORT)
HOME = Home(name="m")


def derived(folder: Path, token: str = "[PAD]") -> Manifest:
    """A folder with a graph, one of a fixed shape, and both in another format."""
    folder.mkdir()
    source = graph(folder, "model", 1000)

    def one(name: str, *forms: FileForm, **more: Any) -> ArtifactRecord:
        path = f"onnx/{name}"
        return replace(
            graph(folder, name, 900), path=path, forms=forms, made_from=source.sha256, **more
        )

    padding = PaddingRecord(side="left", token_id=7, token=token, type_id=2)
    figures = fidelity(1e-9, bin_number=0, left_out=12)
    fixed = one("model_4x32.onnx", FIXED, padding=padding, fidelity=figures)
    config = FileRecord(path="onnx/model.config", sha256="0" * 64, size_bytes=1)
    return published(folder, source, fixed, one("model.ort", ORT, beside=(config,)))


def test_the_card_says_how_to_use_each_file(tmp_path: Path) -> None:
    card = model_card(derived(tmp_path / "m"), tmp_path / "m", home=HOME)
    assert (
        "* `onnx/model_4x32.onnx`: exactly 4 texts of 32 tokens. Pad on the left with token 7, "
        "`[PAD]`, where the attention mask is 0 and the token type 2; cut what is longer; fill up "
        "a batch by repeating its last text. 12 of the built-in texts are longer and were not "
        "compared.\n"
    ) in card
    assert (
        "* `onnx/model.ort`: ONNX Runtime's own format, for its mobile and reduced builds; "
        "`onnx/model.config` has the operators that such a build needs "
        "(`--include_ops_by_config`).\n"
    ) in card


def test_the_report_says_it_too(tmp_path: Path) -> None:
    page = report_page(derived(tmp_path / "m"), tmp_path / "m", home=HOME)
    assert "exactly 4 texts of 32 tokens; padding on the left, token 7" in page
    assert "<code>onnx/model.config</code> has the operators" in page


def test_without_such_files_nothing_is_said(tmp_path: Path) -> None:
    manifest = published(tmp_path / "m")
    assert "Other forms" not in model_card(manifest, tmp_path / "m", home=HOME)
    assert "Other forms" not in report_page(manifest, tmp_path / "m", home=HOME)


@pytest.mark.parametrize("token", ['"); import os; ("', "\\", "</code><script>", "`x`\n# Title"])
def test_a_padding_token_is_a_value_in_code_and_text_in_pages(tmp_path: Path, token: str) -> None:
    shown = token.replace("\n", " ")
    manifest = derived(tmp_path / "m", shown)
    (code,) = (
        s.code
        for s in form_snippets(manifest, tmp_path / "m", home=HOME)
        if "enable_padding" in s.code
    )
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    (call,) = (c for c in calls if ast.unparse(c.func) == "tokenizer.enable_padding")
    given = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    assert given == {
        "length": 32, "direction": "left", "pad_id": 7, "pad_type_id": 2, "pad_token": shown,
    }  # fmt: skip
    page = report_page(manifest, tmp_path / "m", home=HOME)
    usual = report_page(derived(tmp_path / "n"), tmp_path / "n", home=HOME)
    assert page.count("<script>") == usual.count("<script>")
    assert "\n# Title" not in model_card(manifest, tmp_path / "m", home=HOME)


@pytest.mark.parametrize(("side", "arguments"), [("left", '32, direction="left"'), ("right", "32")])
def test_the_code_for_a_shape_cuts_texts_where_the_model_does(
    tmp_path: Path, side: str, arguments: str
) -> None:
    manifest = derived(tmp_path / "m")
    (tmp_path / "m" / "tokenizer_config.json").write_text(json.dumps({"truncation_side": side}))
    codes = [s.code for s in form_snippets(manifest, tmp_path / "m", home=HOME)]
    assert any(f"tokenizer.enable_truncation({arguments})\n" in code for code in codes)
