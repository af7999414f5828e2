"""The model card, the source's model card, and whose a README.md is."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from examples import graph, published

from embconvert.manifest import Manifest
from embconvert.models.values import SourceCard
from embconvert.reporting.card import model_card
from embconvert.reporting.pages import users_pages, write_pages
from embconvert.reporting.snippets import snippets
from embconvert.source.card import read_card


def card(folder: Path, manifest: Manifest) -> str:
    return model_card(manifest, folder, name="example-model")


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
    for snippet in snippets(manifest, manifest.artifacts[2], tmp_path, name="example-model"):
        fence = f"### {snippet.title}\n"
        assert fence in text
        assert f"```{snippet.language}\n{snippet.code}\n```" in text
    assert "```sh\nembconvert all --model_id org/example-model" in text


def test_the_table_is_one_table(tmp_path: Path) -> None:
    lines = card(tmp_path, published(tmp_path)).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| file |"))
    table = lines[start : lines.index("", start)]
    assert len(table) == 2 + 4
    assert {line.count("|") for line in table} == {10}


def test_a_card_says_what_was_not_verified(tmp_path: Path) -> None:
    text = card(tmp_path, published(tmp_path, graph(tmp_path, "model", 1000, fidelity=None)))
    assert "**Not verified**" in text
    assert "| not verified |" in text


@pytest.mark.parametrize(
    ("front_matter", "expected"),
    [
        ("license: mit\nlanguage: en", SourceCard(license="mit", languages=("en",))),
        ("license: [mit]\nlanguage: [de, no]", SourceCard(license="mit", languages=("de", "no"))),
        (
            "license: other\nlicense_name: x\nlicense_link: LICENSE",
            SourceCard(license="other", license_name="x", license_link="LICENSE"),
        ),
        ("license: {a: b}\nlanguage: {c: d}", SourceCard()),
        ("license: |\n  two\n  lines", SourceCard()),
        ("license: " + "x" * 300, SourceCard()),
        ("just words", SourceCard()),
        ("!!python/object/apply:os.system [true]", SourceCard()),
        ("a: [", SourceCard()),
        ("[" * 5000, SourceCard()),
    ],
)
def test_of_the_sources_card_its_licence_and_languages_are_read(
    tmp_path: Path, front_matter: str, expected: SourceCard
) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front_matter}\n---\n# A model\n")
    assert read_card(tmp_path) == expected


@pytest.mark.parametrize("content", [None, b"", b"# a title", b"---\nlicense: mit", b"\xff"])
def test_a_card_that_says_nothing_is_no_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "README.md").write_bytes(content)
    assert read_card(tmp_path) == SourceCard()


def test_a_page_that_somebody_changed_is_his(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    assert users_pages(tmp_path, manifest) == set()
    manifest = write_pages(manifest, tmp_path, name="m")
    assert users_pages(tmp_path, manifest) == set()
    (tmp_path / "README.md").write_text("mine")
    assert users_pages(tmp_path, manifest) == {"README.md"}
    assert users_pages(tmp_path, None) == {"README.md", "report.html"}
    assert users_pages(tmp_path, replace(manifest, pages=())) == {"README.md", "report.html"}
    assert users_pages(tmp_path / "nowhere", None) == set()
