"""The page of a conversion, and the page that compares several."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from embconvert.errors import OutputError, SourceError, UsageError
from embconvert.folder.published import published_manifest
from embconvert.reporting.report import report
from embconvert.request.records import ReportRequest
from support.examples import published


def test_report_makes_the_pages_again_and_notes_them(tmp_path: Path) -> None:
    published(tmp_path)
    done = report(ReportRequest(folder=tmp_path, quiet=True))
    assert done.text == str(tmp_path / "report.html")
    manifest = published_manifest(tmp_path)
    assert [page.path for page in manifest.pages] == ["report.html", "README.md"]
    (tmp_path / "report.html").write_text("broken")
    (tmp_path / "README.md").write_text("mine")
    report(ReportRequest(folder=tmp_path, quiet=True))
    assert "Verified" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_folder_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder published by embconvert"):
        report(ReportRequest(folder=tmp_path))
    with pytest.raises(UsageError, match="there is no folder"):
        report(ReportRequest(folder=tmp_path / "nowhere"))
    (tmp_path / "org" / "model").mkdir(parents=True)
    (tmp_path / "org" / "model" / "embconvert.json").touch()
    with pytest.raises(UsageError) as refused:
        report(ReportRequest(folder=tmp_path))
    assert refused.value.hint.endswith(f"for example {tmp_path / 'org' / 'model'}")
    graph = tmp_path / "org" / "model" / "onnx" / "model.onnx"
    graph.parent.mkdir()
    graph.touch()
    for path, problem in ((graph, "is a file"), (graph.parent, "has no embconvert.json")):
        with pytest.raises(UsageError, match=problem) as refused:
            report(ReportRequest(folder=path))
        assert refused.value.hint.endswith(f"for example {tmp_path / 'org' / 'model'}")
    (tmp_path / "embconvert.json").write_text("{")
    with pytest.raises(SourceError):
        report(ReportRequest(folder=tmp_path))


def test_a_try_page_is_named_when_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published(tmp_path)
    report(ReportRequest(folder=tmp_path, try_page=True))
    assert f"to try the model in a browser: {tmp_path / 'try.html'}" in capsys.readouterr().err
    report(ReportRequest(folder=tmp_path))
    assert "browser" not in capsys.readouterr().err


def test_a_folder_without_permissions_is_named_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path)
    open_file = os.open
    refused = {"new"}

    def refuse(path: str, *arguments: Any, **named: Any) -> int:
        if str(path).rpartition(".")[2] in refused:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open_file(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)  # root may read and write everything
    with pytest.raises(OutputError, match=f"^{tmp_path}/report.html cannot be written"):
        report(ReportRequest(folder=tmp_path, quiet=True))
    refused.add("json")
    with pytest.raises(UsageError, match="cannot be read: Permission denied") as caught:
        report(ReportRequest(folder=tmp_path, quiet=True))
    assert caught.value.hint == "check its permissions"
