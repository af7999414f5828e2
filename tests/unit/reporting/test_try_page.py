"""The page that runs a model in a browser."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from embconvert.errors import UsageError
from embconvert.folder.published import published_manifest
from embconvert.models.forms import FileForm, FormKind
from embconvert.models.prompts import Prompt, Prompts
from embconvert.models.shapes import Shape
from embconvert.models.values import TensorInfo
from embconvert.reporting.home import Home
from embconvert.reporting.report import report
from embconvert.reporting.try_page import try_page
from embconvert.request.records import ReportRequest
from support.examples import graph, published


class Elements(HTMLParser):
    """The elements of a page, and the content of each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script" and self.cdata_elem == "script":
            self.scripts[-1] += data

    @property
    def data(self) -> dict[str, object]:
        """What the page's script reads."""
        read: dict[str, object] = json.loads(self.scripts[0])
        return read


def test_the_page_is_written_when_it_is_asked_for_and_from_then_on(tmp_path: Path) -> None:
    published(tmp_path)
    report(ReportRequest(folder=tmp_path, quiet=True))
    assert not (tmp_path / "try.html").exists()
    report(ReportRequest(folder=tmp_path, quiet=True, try_page=True))
    written = (tmp_path / "try.html").read_bytes()
    record = published_manifest(tmp_path).pages[-1]
    assert (record.path, record.sha256) == ("try.html", hashlib.sha256(written).hexdigest())
    (tmp_path / "try.html").unlink()
    report(ReportRequest(folder=tmp_path, quiet=True))
    assert (tmp_path / "try.html").read_bytes() == written


def test_a_page_that_the_user_changed_is_kept(tmp_path: Path) -> None:
    published(tmp_path)
    report(ReportRequest(folder=tmp_path, quiet=True, try_page=True))
    (tmp_path / "try.html").write_text("mine")
    report(ReportRequest(folder=tmp_path, quiet=True, try_page=True))
    assert (tmp_path / "try.html").read_text() == "mine"


def test_a_browser_runs_the_pages_own_script_and_connects_to_its_own_server_only(
    tmp_path: Path,
) -> None:
    page = try_page(published(tmp_path), tmp_path, home=Home(name="m"))
    found = Elements(page)
    policy = next(str(a["content"]) for tag, a in found.found if "http-equiv" in a)
    style = page[page.index("<style>") + 7 : page.index("</style>")]
    for text in (found.scripts[1], style):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert not re.findall(r"https?://(?!127\.0\.0\.1)", page)


def test_names_and_prompts_are_text_and_nothing_else(tmp_path: Path) -> None:
    evil = '</script><img src=x onerror="alert(1)">'
    manifest = published(tmp_path)
    prompts = Prompts(named=(Prompt(name="query", text=evil), Prompt(name="passage", text=evil)))
    manifest = replace(manifest, source=replace(manifest.source, prompts=prompts))
    found = Elements(try_page(manifest, tmp_path, home=Home(name=evil)))
    assert "img" not in [tag for tag, _ in found.found]
    assert len(found.scripts) == 2
    assert found.data["prompts"] == {"query": evil, "document": evil}


def test_each_file_that_a_browser_loads_can_be_chosen(tmp_path: Path) -> None:
    whole = graph(tmp_path, "model", 90_000)
    eight = graph(tmp_path, "model_opt1_QInt8", 23_000, made_from=whole.sha256)
    packed = graph(
        tmp_path, "model_opt1_Q8", 25_000, made_from=whole.sha256,
        operators={"com.microsoft.GatherBlockQuantized": 1},
    )  # fmt: skip
    positions = graph(
        tmp_path, "model_positions", 20_000, made_from=whole.sha256,
        inputs=(TensorInfo(name="position_ids", dtype="int64", shape=("batch", "seq")),),
    )  # fmt: skip
    fixed = graph(
        tmp_path, "model_1x8", 90_000, made_from=whole.sha256,
        forms=(FileForm(kind=FormKind.SHAPE, shape=Shape(texts=1, tokens=8)),),
    )  # fmt: skip
    ort = replace(
        graph(tmp_path, "model_ort", 90_000, made_from=whole.sha256),
        path="onnx/model.ort", forms=(FileForm(kind=FormKind.ORT),),
    )  # fmt: skip
    manifest = published(tmp_path, whole, eight, packed, positions, fixed, ort)
    data = Elements(try_page(manifest, tmp_path, home=Home(name="m"))).data
    options = [file["options"] for file in data["files"]]  # type: ignore[attr-defined]
    assert {"dtype": "fp32"} in options
    assert {"model_file_name": "model_opt1_QInt8", "dtype": "fp32"} in options
    assert len(options) == 2


def test_prefixes_that_only_the_card_asks_for_go_before_texts(tmp_path: Path) -> None:
    manifest = published(tmp_path, model_id="intfloat/e5-small-v2", revision="1" * 40)
    data = Elements(try_page(manifest, tmp_path, home=Home(name="m"))).data
    assert data["prompts"] == {"query": "query: ", "document": "passage: "}


def test_a_folder_that_no_browser_loads_is_refused(tmp_path: Path) -> None:
    outputs = (TensorInfo(name="last_hidden_state", dtype="float", shape=("batch", "seq", 384)),)
    published(tmp_path, graph(tmp_path, "model", 90_000, outputs=outputs))
    with pytest.raises(UsageError, match="no embedding model's graph that browsers can load"):
        report(ReportRequest(folder=tmp_path, quiet=True, try_page=True))
    assert not (tmp_path / "try.html").exists()
