"""The folders of a model's routes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from embconvert.folder.routes import missing_routes, mixture, published_routes
from embconvert.manifest import Manifest
from embconvert.models.routes import Route
from embconvert.models.source_records import FileRecord
from embconvert.reporting.report import report
from embconvert.request.records import ReportRequest
from support.examples import published


def publish(folder: Path, name: str, *others: str) -> Manifest:
    route = Route(name=name, tasks=(name,), is_default=False, others=others)
    return published(folder / name, route=route)


def test_routes_are_the_subfolders_that_say_so(tmp_path: Path) -> None:
    publish(tmp_path, "document", "query", "other")
    publish(tmp_path, "query", "document", "other")
    published(tmp_path / "model")
    publish(tmp_path / "elsewhere", "query")
    (tmp_path / "elsewhere" / "query").rename(tmp_path / "renamed")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "embconvert.json").write_text("{")
    routes = published_routes(tmp_path)
    assert list(routes) == ["query", "document"]
    assert missing_routes(routes) == ("other",)
    published(tmp_path)
    assert published_routes(tmp_path) == {}
    assert published_routes(tmp_path / "nothing") == {}


def test_routes_of_different_states_of_the_source_are_no_pair(tmp_path: Path) -> None:
    query = publish(tmp_path, "query", "document")
    assert mixture({"query": query, "document": query}) is None
    file = FileRecord(path="modules.json", sha256="0" * 64, size_bytes=1)
    changes: dict[str, Any] = {
        "revision": "f" * 40,
        "files": tuple(replace(f, sha256="e" * 64) for f in query.source.files),
        "overrides": replace(query.source.overrides, dimensions=3),
    }
    for field, value in changes.items():
        other = replace(query, source=replace(query.source, **{field: value}))
        assert mixture({"query": query, "document": other}) is not None, field
    own = replace(query.source, files=(*query.source.files, file))
    assert mixture({"query": query, "document": replace(query, source=own)}) is None


def test_the_card_of_the_pair_is_written_again_unless_the_user_changed_it(tmp_path: Path) -> None:
    publish(tmp_path, "query", "document")
    publish(tmp_path, "document", "query")
    request = ReportRequest(folder=tmp_path, quiet=True)
    made = report(request).text.splitlines()
    assert made == [str(tmp_path / name / "report.html") for name in ("query", "document")]
    card = tmp_path / "README.md"
    text = card.read_text()
    assert "[document](document/README.md)" in text
    (tmp_path / "document").rename(tmp_path / "x")
    report(request)
    assert "[document]" not in card.read_text()
    card.write_text(card.read_text() + "mine\n")
    (tmp_path / "x").rename(tmp_path / "document")
    report(request)
    assert card.read_text().endswith("mine\n")
