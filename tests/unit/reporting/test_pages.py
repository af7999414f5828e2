"""Pages that a conversion writes, and pages that the user changed."""

from dataclasses import replace
from pathlib import Path

from embconvert.reporting.pages import users_pages, write_pages
from support.examples import published


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
