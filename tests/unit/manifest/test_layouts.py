"""Folder layouts for each program, and what they refuse before work starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from embconvert.cli.main import parse
from embconvert.errors import UsageError
from embconvert.manifest.consumers import consumer_of
from embconvert.manifest.layouts import LAYOUTS, misfit
from embconvert.models.choices import Layout
from embconvert.models.source_records import FileRecord
from embconvert.models.values import OnnxArtifact, TensorInfo
from embconvert.plan.plan import make_plan
from support.plans import RESOLVED, plan

LAST = {
    "hub": "onnx/model_opt1_QInt8.onnx",
    "nixiesearch": "model.onnx",
    "transformersjs": "onnx/model_quantized.onnx",
    "fastembed": "onnx/model_opt1_QInt8.onnx",
    "tei": "model.onnx",
    "vespa": "model.onnx",
    "langchain4j": "model.onnx",
    "springai": "model.onnx",
    "opensearch": "model.onnx",
    "semantickernel": "model.onnx",
    "chroma": "model.onnx",
    "milvus": "model.onnx",
    "singlefile": "model.onnx",
}


@pytest.mark.parametrize("layout", [one for one in Layout if one in LAST])
def test_the_last_graph_is_where_the_program_looks(layout: Layout) -> None:
    output = consumer_of(layout).outputs[0]
    line = f"all --model_id m --layout {layout} --quantize QInt8 --output {output}"
    steps = plan(line).steps
    assert [s.file for s in steps] == ["onnx/model.onnx", "onnx/model_opt1.onnx", LAST[layout]]
    assert [s.source for s in steps] == [None, "onnx/model.onnx", "onnx/model_opt1.onnx"]


@pytest.mark.parametrize(("options", "files"), [
    ("", ["onnx/model.onnx", "model.onnx"]),
    ("--optimize 0", ["model.onnx"]),
    ("--optimize 0 --quantize Float16", ["onnx/model.onnx", "model.onnx"]),
])  # fmt: skip
def test_a_program_that_loads_one_graph_gets_the_last(options: str, files: list[str]) -> None:
    assert [s.file for s in plan(f"all --model_id m --layout tei {options}").steps] == files


def test_transformersjs_has_a_name_for_each_of_its_dtypes() -> None:
    precisions = "Float16,QInt8,QUInt8,QInt8Static"
    steps = plan(f"all --model_id m --layout transformersjs --quantize {precisions}").steps
    names = [s.file.removeprefix("onnx/model").removesuffix(".onnx") for s in steps]
    assert names == ["", "_opt1", "_fp16", "_quantized", "_uint8", "_int8"]


def test_no_two_graphs_share_a_name() -> None:
    for rules in LAYOUTS.values():
        assert len(set(rules.names.values())) == len(rules.names)


@pytest.mark.parametrize(("line", "message", "hint"), [
    ("--layout tei --quantize QInt8,Float16", "one graph", "--quantize QInt8"),
    ("--layout tei --quantize Q8", "cannot load Q8", "QInt8, QUInt8, Float16, QInt8Static"),
    ("--layout nixiesearch --output sentence", "reads output 0", "--output can be both"),
    ("--layout transformersjs --output sentence", "last_hidden_state", "--output can be both"),
    ("--layout springai --quantize Q8", "Spring AI, which cannot load Q8", "can be QInt8"),
    ("--layout springai --quantize Q8", "Spring AI", "or add --operators standard"),
])  # fmt: skip
def test_what_the_program_cannot_load_is_refused_with_what_it_can(
    line: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plan(f"all --model_id m {line}")
    assert hint in caught.value.hint


def test_a_graph_too_large_for_one_file_is_refused_and_a_smaller_precision_is_not() -> None:
    large = replace(RESOLVED, parameters=600_000_000)

    def lay_out(options: str) -> None:
        request = parse(f"all --model_id m --layout singlefile {options}".split())[1]
        make_plan(request, large, output_dir="out", available=(), calibration_digest="c")

    with pytest.raises(UsageError, match="not support external data") as caught:
        lay_out("")
    assert "--quantize QInt8" in caught.value.hint
    lay_out("--quantize QInt8")


def test_what_one_run_makes_cannot_be_continued() -> None:
    words = ["quantize", "--model_id", "m", "--quantize", "QInt8"]
    request = replace(parse(words)[1], layout=Layout.TEI)
    with pytest.raises(UsageError, match="cannot update") as caught:
        make_plan(
            request, RESOLVED, output_dir="o", available=["onnx/model.onnx"], calibration_digest="c"
        )
    assert caught.value.hint == "run: embconvert all --model_id m --quantize QInt8 --layout tei"


def test_a_graph_that_turns_out_unfit_is_told_from_one_that_is_not_served() -> None:
    artifact = OnnxArtifact(
        path=Path("model.onnx"), sha256="0", size_bytes=1, opset=17, inputs=inputs(), outputs=(),
        external_data=FileRecord(path="model.onnx_data", sha256="0", size_bytes=1),
        operators={}, min_onnxruntime="1.24",
    )  # fmt: skip
    assert "external data" in (misfit(Layout.VESPA, "model.onnx", artifact) or "")
    assert "1.24" in (misfit(Layout.NIXIESEARCH, "model.onnx", artifact) or "")
    assert misfit(Layout.NIXIESEARCH, "onnx/model.onnx", artifact) is None
    assert misfit(Layout.HUB, "onnx/model.onnx", artifact) is None


@pytest.mark.parametrize(("layout", "names", "problem"), [
    (Layout.VESPA, ("position_ids",), "reads position_ids, which Vespa: hugging-face-embedder"),
    (Layout.CHROMA, (), "has no token_type_ids, which Chroma: ONNXMiniLM_L6_V2 sends"),
    (Layout.CHROMA, ("token_type_ids",), None),
    (Layout.LANGCHAIN4J, ("token_type_ids",), None),
    (Layout.LANGCHAIN4J, (), None),
    (Layout.SINGLEFILE, ("anything",), None),
])  # fmt: skip
def test_a_graph_whose_inputs_the_program_does_not_send_is_unfit(
    layout: Layout, names: tuple[str, ...], problem: str | None
) -> None:
    artifact = OnnxArtifact(
        path=Path("model.onnx"), sha256="0", size_bytes=1, opset=17, inputs=inputs(*names),
        outputs=(), external_data=None, operators={}, min_onnxruntime="1.15",
    )  # fmt: skip
    found = misfit(layout, "model.onnx", artifact)
    assert found is None if problem is None else problem in (found or "")


def inputs(*more: str) -> tuple[TensorInfo, ...]:
    names = ("input_ids", "attention_mask", *more)
    return tuple(TensorInfo(name=n, dtype="int64", shape=("batch", "seq")) for n in names)
