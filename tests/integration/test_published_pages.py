"""The report and the model card of real conversions."""

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.command_line import ROOT, Outcome, embconvert
from support.hub_server import HubServer

pytestmark = pytest.mark.integration


def convert(model: object, parent: Path, *options: object, **env: str) -> Outcome:
    outcome = embconvert(
        "export", "--model_id", model, "--output_parent_dir", parent, *options, env=env
    )
    assert outcome.code == 0, outcome.stderr
    return outcome


def front_matter(card: Path) -> dict[str, Any]:
    _, front, _ = card.read_text(encoding="utf-8").split("---\n", 2)
    values: dict[str, Any] = yaml.safe_load(front)
    return values


def test_a_conversion_leaves_pages_and_what_people_wrote(tiny_bert: Path, tmp_path: Path) -> None:
    outcome = convert(tiny_bert, tmp_path, "--skip_validation")
    folder = tmp_path / tiny_bert.name
    pages = {page["path"]: page["sha256"] for page in outcome.manifest["pages"]}
    assert set(pages) == {"report.html", "README.md"}
    for file, digest in pages.items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest
    assert outcome.manifest["tool"]["commands"] == [
        f"embconvert export --model_id ./{tiny_bert.name} --skip_validation"
    ]

    # A card that somebody has changed is his; a report that is gone comes back.
    (folder / "README.md").write_text("# Mine\n")
    (folder / "report.html").unlink()
    again = convert(tiny_bert, tmp_path, "--skip_validation")
    assert "README.md was changed by you and is kept" in again.stderr
    assert (folder / "README.md").read_text() == "# Mine\n"
    assert (folder / "report.html").is_file()
    assert [page["path"] for page in again.manifest["pages"]] == ["report.html"]

    # It was not verified, so no hub may have it.
    refused = embconvert("push", folder, "--repo_id", "org/model", env={"HF_TOKEN": "hf_x"})
    assert refused.code == 8
    assert "onnx/model.onnx not verified" in refused.stderr


def test_a_readme_that_was_there_before_stays(tiny_bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / tiny_bert.name
    folder.mkdir()
    (folder / "README.md").write_text("# Mine\n")
    convert(tiny_bert, tmp_path, "--skip_validation")
    assert (folder / "README.md").read_text() == "# Mine\n"
    assert (folder / "report.html").is_file()


def test_the_hubs_licence_goes_with_the_model(tiny_bert: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    (model / "README.md").write_text(
        "---\nlicense: other\nlicense_name: gemma\nlanguage: [en, de]\n---\n# A model\n"
    )
    with HubServer() as hub:
        commit = hub.add_model("somebody/model", model)
        env = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")}
        outcome = convert("somebody/model", tmp_path, "--skip_validation", **env)
    values = front_matter(tmp_path / "somebody" / "model" / "README.md")
    assert values["license"] == "other"
    assert values["license_name"] == "gemma"
    assert values["language"] == ["en", "de"]
    assert values["base_model"] == "somebody/model"
    assert outcome.manifest["source"]["card"]["license"] == "other"
    assert outcome.manifest["tool"]["commands"] == [
        f"embconvert export --model_id somebody/model --revision {commit} --skip_validation"
    ]


def test_an_earlier_command_is_told_while_its_graphs_stand(tiny_bert: Path, tmp_path: Path) -> None:
    convert(tiny_bert, tmp_path, "--skip_validation")
    outcome = embconvert(
        "quantize", "--model_id", tiny_bert, "--output_parent_dir", tmp_path,
        "--quantize", "QInt8", "--skip_validation",
    )  # fmt: skip
    assert outcome.manifest["tool"]["commands"] == [
        f"embconvert export --model_id ./{tiny_bert.name} --skip_validation",
        f"embconvert quantize --model_id ./{tiny_bert.name} --quantize QInt8 --skip_validation",
    ]


def test_nothing_that_is_published_tells_where_files_lay_here(
    tiny_bert: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neither pages nor manifest, graphs nor settings: of the source, of the options, of ours."""
    secret = tmp_path / "secret-place"
    source = Path(shutil.copytree(tiny_bert, secret / "my-model"))
    texts = secret / "my-texts.txt"
    texts.write_text("one text\nand another\n" * 8)
    graph = secret / "graph.onnx"
    options = ("--model_id", source, "--output_parent_dir", secret / "out", "--skip_validation")
    made = embconvert("all", *options, "--quantize", "QInt8", "--calibration_dataset", texts)
    assert made.code == 0, made.stderr
    folder = Path(made.stdout.strip())
    shutil.copy(folder / "onnx" / "model.onnx", graph)
    more = embconvert("quantize", *options, "--quantize", "Float16", "--model_path", graph)
    assert more.code == 0, more.stderr
    told = [
        f"{file.relative_to(folder)} names {place}"
        for file in folder.rglob("*")
        if file.is_file()
        for place in (
            "secret-place",
            str(ROOT),
            sys.prefix,
            str(tmp_path_factory.getbasetemp()),
            str(Path.home()),
        )
        if place.encode() in file.read_bytes()
    ]
    assert told == []
    assert more.manifest["source"]["model_id"] == "./my-model"
    assert more.manifest["tool"]["commands"][-1] == (
        "embconvert quantize --model_id ./my-model --model_path graph.onnx --quantize Float16 "
        "--skip_validation"
    )
