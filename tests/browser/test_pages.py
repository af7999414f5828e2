"""The pages in a browser: run by `make test-browser`, which needs Chromium and npm."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embconvert.evaluation.data import DataForm
from embconvert.evaluation.figures import FIGURES
from embconvert.evaluation.records import Evaluations
from embconvert.folder.evaluations import write_evaluation
from embconvert.folder.published import published_manifest
from embconvert.manifest.kinds.embedding import EmbeddingRecord
from embconvert.models.choices import OptimizationLevel, PoolingMode, Precision
from embconvert.models.shapes import Shape
from embconvert.models.values import Fusion
from embconvert.reporting.bench import bench_page
from embconvert.reporting.compare import compare
from embconvert.reporting.evaluation_page import evaluation_page
from embconvert.reporting.report import report
from embconvert.request.records import CompareRequest, ReportRequest
from embconvert.speed.bench_records import Benchmark
from support.benchmark import BENCHMARK
from support.evaluation import evaluation
from support.examples import fidelity, graph, published, speeds

LOOK = Path(sys.prefix) / "browser" / "look.mjs"
#: A desktop, half of its screen, and a phone.
DESKTOP, HALF, PHONE = 1280, 960, 390
#: The files of a large folder, some of them close together: precision, size, loss and speed.
MANY = (
    ("Q8", 26_000, 4e-5, 98), ("Q4", 16_300, 8e-3, 106), ("QInt8", 23_000, 2.8e-3, 201),
    ("QUInt8", 23_000, 2.8e-3, 199), ("Float16", 45_300, 1e-6, 103),
    ("QInt8Static", 23_100, 3.1e-3, 230), ("QFLOAT8E4M3FN", 23_050, 1.1e-3, 99),
)  # fmt: skip
#: What has a column for each file.
WIDE = {"Operators of each file"}


def large(folder: Path) -> None:
    """Publishes a folder with every precision."""
    folder.mkdir()
    whole = graph(folder, "model", 90_400)
    level = OptimizationLevel.BASIC
    others = [
        graph(
            folder, f"model_opt1_{name}", size, precision=Precision(name), made_from=whole.sha256,
            optimization_level=level, fidelity=fidelity(loss, bin_number=17),
        )
        for name, size, loss, _ in MANY
    ]  # fmt: skip
    optimized = graph(
        folder, "model_opt1", 90_300, optimization_level=level, made_from=whole.sha256
    )
    measured = {f"model_opt1_{name}": speed / 100 for name, *_, speed in MANY}
    published(
        folder, whole, optimized, *others, speeds=speeds(model=None, model_opt1=1.0, **measured)
    )


def evaluations() -> Evaluations:
    """Returns evaluations with all figures of retrieval, and with losses of all sizes."""
    names = ("nDCG@10", *FIGURES[DataForm.RETRIEVAL])
    found = []
    for number, loss in enumerate((0.3, -0.004, 2.0)):
        one = evaluation(*(f"{n}" * 64 for n in range(6)), digest=f"{number}" * 64, loss=loss)
        paths = [f"onnx/model_opt1_{name}.onnx" for name, *_ in MANY]
        graphs = [
            replace(
                graph,
                path=path,
                figures=tuple(replace(graph.main, name=name) for name in names),
            )
            for graph, path in zip(one.graphs, paths, strict=False)
        ]
        found.append(replace(one, baseline=paths[0], graphs=tuple(graphs)))
    return Evaluations(evaluations=tuple(found))


def of_many_batches(benchmark: Benchmark) -> Benchmark:
    """Returns a benchmark as of `--shapes 1x16,1x64,...`."""
    shapes = [Shape(texts=n, tokens=tokens) for n in (1, 8, 32, 128) for tokens in (16, 64, 128)]
    graphs = [
        replace(graph, latencies=tuple(replace(graph.latencies[0], shape=s) for s in shapes))
        for graph in benchmark.graphs
    ]
    return replace(benchmark, graphs=tuple(graphs))


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
    large(home / "large")
    large(home / "another-folder-whose-name-is-longer-than-a-phone-is-wide")
    made = {
        name: Path(report(ReportRequest(folder=home / name, quiet=True)).text)
        for name in ("model", "plain", "large")
    }
    first = published_manifest(home / "model").artifacts[0]
    write_evaluation(home / "model", evaluation(first.sha256), evaluation_page)
    compared = {
        "compare": ("model", "other-model", "plain"),
        "compare-large": ("large", "another-folder-whose-name-is-longer-than-a-phone-is-wide"),
    }
    for page, names in compared.items():
        folders = tuple(home / name for name in names)
        done = compare(CompareRequest(folders=folders, output=home / f"{page}.html"))
        made[page] = Path(done.text)
    made["evaluation"] = home / "evaluation.html"
    made["evaluation"].write_text(evaluation_page(evaluations()), encoding="utf-8")
    made["bench"] = home / "bench.html"
    made["bench"].write_text(bench_page([BENCHMARK]), encoding="utf-8")
    made["bench-many"] = home / "bench-many.html"
    made["bench-many"].write_text(bench_page([of_many_batches(BENCHMARK)]), encoding="utf-8")
    return made


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
        ("large", DESKTOP, "dark"), ("large", HALF, "light"), ("large", PHONE, "light"),
        ("compare", DESKTOP, "light"), ("compare", PHONE, "dark"),
        ("compare-large", DESKTOP, "dark"), ("compare-large", PHONE, "light"),
        ("bench", DESKTOP, "dark"), ("bench", PHONE, "light"),
        ("bench-many", DESKTOP, "light"), ("bench-many", PHONE, "dark"),
        ("evaluation", DESKTOP, "light"), ("evaluation", HALF, "dark"),
        ("evaluation", PHONE, "dark"),
    ],
)  # fmt: skip
def test_a_page_is_whole_for_everybody(
    pages: Mapping[str, Path], name: str, width: int, scheme: str
) -> None:
    seen = look(pages[name], width, scheme, f"{name}-{width}-{scheme}")
    assert seen["console"] == []
    assert seen["requests"] == []
    assert seen["overflow"] <= 0, "it scrolls sideways"
    assert seen["overlaps"] == seen["outside"] == [], "words of a plot that nobody can read"
    assert set(seen["scrolled"]) <= WIDE, "figures or names that are cut off"
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
