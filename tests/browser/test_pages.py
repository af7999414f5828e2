"""The pages in a browser: run by `make test-browser`, which needs Chromium and npm."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from examples import graph, published

from embconvert.manifest import EmbeddingRecord
from embconvert.models.choices import OptimizationLevel, PoolingMode
from embconvert.models.values import Fusion
from embconvert.reporting.compare import compare
from embconvert.reporting.report import report
from embconvert.request.records import CompareRequest, ReportRequest

LOOK = Path(sys.prefix) / "browser" / "look.mjs"
#: A desktop and a phone.
DESKTOP, PHONE = 1280, 390


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """One page of each kind."""
    home = tmp_path_factory.mktemp("pages")
    published(home / "model")
    published(
        home / "other-model",
        model=EmbeddingRecord(pooling=(PoolingMode.CLS,), dimension=384),
        model_id="org/" + "a-very-long-name-" * 5,
    )
    (home / "plain").mkdir()
    whole = graph(home / "plain", "model", 90_000, fidelity=None)
    fusion = Fusion(kind="attention", fused=0, left={"its mask depends on the head": 6})
    level = OptimizationLevel.BASIC
    optimized = graph(
        home / "plain", "model_opt1", 80_000, fusions=(fusion,), optimization_level=level,
        made_from=whole.sha256,
    )  # fmt: skip
    published(home / "plain", whole, optimized)
    made = {
        name: Path(report(ReportRequest(folder=home / name, quiet=True)).text)
        for name in ("model", "plain")
    }
    folders = (home / "model", home / "other-model", home / "plain")
    output = home / "compare.html"
    return made | {"compare": Path(compare(CompareRequest(folders=folders, output=output)).text)}


def look(page: Path, width: int, scheme: str, shot: str) -> dict[str, Any]:
    shots = os.environ.get("SCREENSHOTS")  # a folder; for whoever wants to see them too
    extra = [str(Path(shots) / f"{shot}.png")] if shots else []
    done = subprocess.run(
        ["node", LOOK, page, str(width), scheme, *extra],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("model", DESKTOP, "light"), ("model", DESKTOP, "dark"),
        ("model", PHONE, "light"), ("model", PHONE, "dark"),
        ("plain", DESKTOP, "dark"), ("plain", PHONE, "light"),
        ("compare", DESKTOP, "light"), ("compare", PHONE, "dark"),
    ],
)  # fmt: skip
def test_a_page_is_whole_for_everybody(
    pages: Mapping[str, Path], name: str, width: int, scheme: str
) -> None:
    seen = look(pages[name], width, scheme, f"{name}-{width}-{scheme}")
    assert seen["console"] == []
    assert seen["requests"] == []
    assert seen["overflow"] <= 0, "it scrolls sideways"
    dark = sum(map(int, seen["background"].strip("rgb()").split(","))) < 3 * 128
    assert dark == (scheme == "dark")
    assert seen["reached"] == seen["usable"] > 2, "not all of it is reached by Tab"
    assert seen["unmarked"] == [], "a focus that nobody sees"
    assert seen.get("opens", True)
    assert seen.get("copied", "Copied") in ("Copied", "Selected")
    assert "color-contrast" in seen["checked"]
    assert seen["violations"] == []
    assert seen["paper"]["hidden"] == 0
    assert seen["paper"]["ink"] == "rgb(22, 32, 46)", "dark ink on paper"
