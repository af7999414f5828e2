"""The list of models below a folder."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embconvert.errors import UsageError
from embconvert.manifest import MANIFEST_FILE, Manifest
from embconvert.manifest.codec import as_text
from embconvert.plan.reuse import versions
from embconvert.reporting.listing import list_models
from embconvert.request.records import ListRequest
from support.examples import published


def current(folder: Path) -> Manifest:
    """A model that this version of embconvert made with these libraries."""
    manifest = published(folder)
    now = dict(versions())
    tool = replace(manifest.tool, version=now.pop("embconvert"))
    manifest = replace(manifest, tool=tool, stack=now)
    (folder / MANIFEST_FILE).write_text(as_text(manifest))
    return manifest


def listed(top: Path) -> Any:
    return json.loads(list_models(ListRequest(folder=top, json=True)).text)


def test_models_are_listed_in_order_with_their_files_and_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b", "org/a", "org/c/query"):
        current(tmp_path / name)
    (tmp_path / "no model").mkdir()
    done = list_models(ListRequest(folder=tmp_path))
    assert done.text.split("\n") == [str(tmp_path / n) for n in ("b", "org/a", "org/c/query")]
    table = capsys.readouterr().err
    assert f"models in {tmp_path}: 3" in table
    assert table.count("up to date") == 3
    first = listed(tmp_path)[0]
    assert (first["folder"], first["state"]) == ("b", "up to date")
    sizes = {file["path"]: file["size_bytes"] for file in first["files"]}
    assert 22_000 < sizes["onnx/model_opt1_QInt8.onnx"] < 24_000
    assert all(file["figures"]["similarity"]["mean"] > 0.9 for file in first["files"])


def test_a_state_says_what_is_wrong(tmp_path: Path) -> None:
    current(tmp_path / "damaged")
    (tmp_path / "damaged/onnx/model.onnx").unlink()
    published(tmp_path / "older")
    skipped = current(tmp_path / "skipped")
    verification = replace(skipped.verification, skipped=True)
    text = as_text(replace(skipped, verification=verification))
    (tmp_path / "skipped" / MANIFEST_FILE).write_text(text)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / MANIFEST_FILE).write_text("{")
    states = {model["folder"]: model["state"] for model in listed(tmp_path)}
    assert states["damaged"].startswith("damaged: ")
    assert states["older"].startswith("made with another version of ")
    assert states["skipped"] == "not verified"
    assert states["torn"].startswith("unreadable manifest: ")


def test_staging_folders_and_links_are_no_models(tmp_path: Path) -> None:
    current(tmp_path / "elsewhere/m")
    current(tmp_path / "top/.m.embconvert-staging-1")
    (tmp_path / "top/link").symlink_to(tmp_path / "elsewhere")
    assert listed(tmp_path / "top") == []


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        list_models(ListRequest(folder=tmp_path / "nowhere"))


def test_the_folder_itself_is_listed_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    current(tmp_path / "my model")
    done = list_models(ListRequest(folder=tmp_path / "my model"))
    assert done.text == str(tmp_path / "my model")
    assert " my model " in capsys.readouterr().err


def test_a_folder_without_models_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list_models(ListRequest(folder=tmp_path)).text == ""
    assert "contains no folder published by embconvert" in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    current(tmp_path / "a")
    (tmp_path / "b").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    assert list_models(ListRequest(folder=tmp_path)).text == str(tmp_path / "a")
    assert f"{tmp_path / 'b'} cannot be read: Permission denied" in capsys.readouterr().err
