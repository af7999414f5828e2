"""The model card, the source's model card, and whose a README.md is."""

from pathlib import Path

import yaml

from embconvert.manifest import Manifest
from embconvert.models.source_records import SourceCard
from embconvert.reporting.card import model_card
from embconvert.reporting.home import Home
from embconvert.reporting.page import report_page
from embconvert.reporting.snippets import snippets
from support.examples import graph, published
from support.html_page import Page


def card(folder: Path, manifest: Manifest) -> str:
    return model_card(manifest, folder, home=Home(name="example-model"))


def metadata(text: str) -> dict[str, object]:
    _, front, _ = text.split("---\n", 2)
    values: dict[str, object] = yaml.safe_load(front)
    return values


def test_hubs_learn_what_it_is_made_of(tmp_path: Path) -> None:
    values = metadata(card(tmp_path, published(tmp_path)))
    assert values["license"] == "apache-2.0"
    assert values["base_model"] == "org/example-model"
    assert values["base_model_relation"] == "quantized"
    assert values["library_name"] == "sentence-transformers"
    assert values["pipeline_tag"] == "sentence-similarity"
    assert values["language"] == ["en"]
    assert "onnx" in values["tags"]  # type: ignore[operator]


def test_a_licence_that_nobody_named_is_not_invented(tmp_path: Path) -> None:
    text = card(tmp_path, published(tmp_path, card=SourceCard(), revision=None))
    assert not {"license", "language", "base_model"} & set(metadata(text))
    assert "the source's card names none" in text


def test_another_licence_keeps_its_name_and_its_place(tmp_path: Path) -> None:
    link = "https://example.org/licence"
    manifest = published(
        tmp_path, card=SourceCard(license="other", license_name="gemma", license_link=link)
    )
    text = card(tmp_path, manifest)
    assert metadata(text)["license_name"] == "gemma"
    assert f"other: gemma, <{link}>" in text


def test_figures_code_and_command_are_there(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    text = card(tmp_path, manifest)
    assert "| `onnx/model_opt1_QInt8.onnx` | QInt8 | 23.0 kB | 26% | 0.98900 | 0.96700 |" in text
    for snippet in snippets(
        manifest, manifest.artifacts[2], tmp_path, home=Home(name="example-model")
    ):
        fence = f"### {snippet.title}\n"
        assert fence in text
        assert f"```{snippet.language}\n{snippet.code}\n```" in text
    assert "```sh\nembconvert all --model_id org/example-model" in text


def test_the_file_to_take_is_named_with_its_reason(tmp_path: Path) -> None:
    text = card(tmp_path, published(tmp_path))
    reason = "the smallest file that is not slower than float32"
    assert f"| Recommended | `onnx/model_opt1_QInt8.onnx`, {reason}" in text
    assert "2.10x ± 0.10" in text
    assert "The code loads `onnx/model_opt1_QInt8.onnx`; it works for the other files" in text


def test_a_card_on_a_hub_says_nothing_of_a_folder(tmp_path: Path) -> None:
    home = Home(name="org/example", on_hub=True)
    text = model_card(published(tmp_path), tmp_path, home=home)
    assert "in the folder that contains" not in text
    assert '"org/example"' in text


def test_the_table_is_one_table(tmp_path: Path) -> None:
    lines = card(tmp_path, published(tmp_path)).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| file |"))
    table = lines[start : lines.index("", start)]
    assert len(table) == 2 + 4
    assert {line.count("|") for line in table} == {11}


def test_a_card_says_what_was_not_verified(tmp_path: Path) -> None:
    text = card(tmp_path, published(tmp_path, graph(tmp_path, "model", 1000, fidelity=None)))
    assert "**Not verified**" in text
    assert "| not verified |" in text


def test_files_that_are_written_in_standard_operators_are_named(tmp_path: Path) -> None:
    assert "| Operators |" not in card(tmp_path / "usual", published(tmp_path / "usual"))
    graphs = (
        graph(tmp_path, "model", 900),
        graph(tmp_path, "model_opt1", 900, settings={"level": 1, "operators": "standard"}),
    )
    manifest = published(tmp_path, *graphs)
    text = card(tmp_path, manifest)
    assert "| Operators | only those of ONNX itself in `onnx/model_opt1.onnx` |" in text
    page = Page(report_page(manifest, tmp_path, home=Home(name="m"))).text
    assert "Only operators of ONNX itself ( --operators standard ): " in page
