"""Pages that a conversion writes, and pages that the user changed."""

from dataclasses import replace
from pathlib import Path

from embconvert.evaluation.records import EVALUATION_PAGE
from embconvert.reporting.pages import users_pages, write_pages
from support.examples import published


def test_a_page_that_somebody_changed_is_his(tmp_path: Path) -> None:
    manifest = published(tmp_path)
    assert users_pages(tmp_path, manifest) == set()
    manifest = write_pages(manifest, tmp_path, target=tmp_path)
    assert users_pages(tmp_path, manifest) == set()
    (tmp_path / "README.md").write_text("mine")
    assert users_pages(tmp_path, manifest) == {"README.md"}
    assert users_pages(tmp_path, None) == {"README.md", "report.html"}
    assert users_pages(tmp_path, replace(manifest, pages=())) == {"README.md", "report.html"}
    assert users_pages(tmp_path / "nowhere", None) == set()


def test_the_report_links_to_an_evaluation_that_the_folder_will_have(tmp_path: Path) -> None:
    staging, target = tmp_path / "staging", tmp_path / "target"
    target.mkdir()
    manifest = published(staging)
    for link in (0, 1):
        write_pages(manifest, staging, target=target)
        report = (staging / "report.html").read_text()
        assert "compares the files on your own data; its page is" in report
        assert report.count(f'<a href="{EVALUATION_PAGE}">') == link
        (target / EVALUATION_PAGE).touch()
