"""What keeps a graph from being published, and what is advised then."""

from dataclasses import replace
from pathlib import Path

import pytest

from embconvert.errors import DeriveError, FidelityError, QuantizeError, UsageError
from embconvert.fidelity.ranking import Neighbours
from embconvert.models.forms import FileForm, FormKind
from embconvert.models.kinds import Kind
from embconvert.models.values import UNKNOWN_TYPE, OnnxArtifact, TensorInfo
from embconvert.pipeline.checks import (
    refuse_not_standard,
    refuse_other_outputs,
    refuse_shortfall,
    refuse_too_long,
    refuse_too_new,
)
from embconvert.source.contract import fitted
from support.examples import fidelity, graph, similarity
from support.plans import parse_request, plan

ARTIFACT = OnnxArtifact(
    path=Path("model.onnx"), sha256="0", size_bytes=1, external_data=None, opset=17, inputs=(),
    outputs=(), operators={}, min_onnxruntime="1.15",
)  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "advice"),
    [
        ("QInt8", "try another precision, such as Float16, or accept it: --min_cosine 0.50"),
        ("Float16", "use the float32 file and please report the model, or accept it: "
         "--min_cosine 0.50"),
    ],
)  # fmt: skip
def test_a_file_below_its_floor_comes_with_advice_that_may_help(
    precision: str, advice: str
) -> None:
    (step,) = (
        step
        for step in plan(f"all --model_id m --quantize {precision}").steps
        if str(step.precision) == precision
    )
    with pytest.raises(FidelityError, match=r"is not published: mean cosine 0\.50") as refused:
        refuse_shortfall(step, fidelity(0.495, bin_number=3, neighbours=None))
    assert refused.value.hint == advice


def test_a_lost_ranking_comes_with_the_option_that_accepts_it() -> None:
    step = plan("all --model_id m --quantize QInt8 --optimize 0").steps[-1]
    lost = fidelity(
        0.0001,
        bin_number=9,
        rank_correlation=0.548,
        neighbours=Neighbours(kept=0.31, of=10, texts=297),
    )
    with pytest.raises(FidelityError, match=r"rank correlation 0\.548.* is below 0\.95") as refused:
        refuse_shortfall(step, lost)
    assert refused.value.hint.endswith("accept it: --min_neighbours 0.30")
    low = replace(lost, similarity=similarity(0.4))
    with pytest.raises(FidelityError) as refused:
        refuse_shortfall(step, low)
    assert refused.value.hint.endswith("--min_cosine 0.59 --min_neighbours 0.30")


def test_a_shape_longer_than_the_loaded_model_reads_is_refused_by_name() -> None:
    """Where no file of the model says how many tokens it reads."""
    step = plan("all --model_id m --shape 1x8 --format ort").steps[-1]
    for limit in (None, 8):
        refuse_too_long(step, limit)
    with pytest.raises(DeriveError, match="texts of 8 tokens, but the model reads at most 7"):
        refuse_too_long(step, 7)


@pytest.mark.parametrize("others", [
    (), ("a",), ("a", "b", "c"), ("a", "B"),
])  # fmt: skip
def test_a_file_has_the_outputs_of_the_graph_that_it_is_made_of(others: tuple[str, ...]) -> None:
    step = plan("all --model_id m --quantize QInt8").steps[-1]

    def giving(*names: str, dtype: str = "float") -> OnnxArtifact:
        outputs = (TensorInfo(name=name, dtype=dtype, shape=("batch", 3)) for name in names)
        return replace(ARTIFACT, outputs=tuple(outputs))

    source = giving("a", "b")
    refuse_other_outputs(step, source, source)
    refuse_other_outputs(step, giving("a", "b", dtype=UNKNOWN_TYPE), source)
    for made in (giving(*others), giving("a", "b", dtype="double")):
        with pytest.raises(QuantizeError, match="would have other outputs than"):
            refuse_other_outputs(step, source, made)
    of_texts = replace(step, forms=(FileForm(kind=FormKind.TEXT),))
    refuse_other_outputs(of_texts, source, giving("embedding"))


@pytest.mark.parametrize("operator", [
    "com.microsoft.MatMulNBits", "SimplifiedLayerNormalization", "org.pytorch.aten.ATen",
])  # fmt: skip
def test_an_operator_that_is_not_standard_is_named_before_it_is_published(operator: str) -> None:
    words = "all --model_id m --quantize QInt8"
    export, *_, step = plan(words).steps
    made = replace(ARTIFACT, operators={"MatMul": 3, operator: 1})
    refuse_not_standard(step, made, parse_request(words))
    standard = parse_request(f"{words} --operators standard")
    refuse_not_standard(export, made, standard)  # it is the exporter's
    with pytest.raises(QuantizeError, match=rf"not standard: {operator}$"):
        refuse_not_standard(step, made, standard)
    refuse_not_standard(step, replace(made, operators={"MatMul": 3}), standard)


@pytest.mark.parametrize(("options", "why"), [
    ("--min_onnxruntime 1.20", "but --min_onnxruntime is 1.20"),
    ("--layout langchain4j", "but --layout langchain4j is for 1.20"),
    ("--layout langchain4j --min_onnxruntime 1.18", "but --min_onnxruntime is 1.18"),
])  # fmt: skip
def test_a_file_that_is_too_new_is_told_with_the_option_that_says_so(
    options: str, why: str, tmp_path: Path
) -> None:
    request = fitted(parse_request(f"all --model_id m {options}"), Kind.EMBEDDING)
    refuse_too_new(graph(tmp_path, "model", 10, min_onnxruntime="1.18"), request)
    ort = (FileForm(kind=FormKind.ORT),)
    record = graph(tmp_path, "model", 10, min_onnxruntime="1.21", forms=ort)
    with pytest.raises(UsageError, match=why) as refused:
        refuse_too_new(record, request)
    assert refused.value.hint.endswith("or omit ort files")
