"""Which files of other forms are derived from which graphs."""

from dataclasses import replace

import pytest

from embconvert.cli.main import parse
from embconvert.errors import UsageError
from embconvert.models.kinds import KINDS, Kind
from embconvert.plan.jobs import Action, build_jobs
from embconvert.plan.plan import make_plan
from embconvert.plan.steps import Stage
from support.plans import REQUEST, RESOLVED, plan


def derived(options: str) -> list[tuple[str, str | None]]:
    """Returns the derived files, each with its source."""
    steps = plan(f"all --model_id m {options}").steps
    return [(step.file, step.source) for step in steps if step.stage is Stage.DERIVE]


def test_each_quantized_file_has_one() -> None:
    assert derived("--quantize QInt8,Q4 --shape 1x8") == [
        ("onnx/model_opt1_QInt8_1x8.onnx", "onnx/model_opt1_QInt8.onnx"),
        ("onnx/model_opt1_Q4_1x8.onnx", "onnx/model_opt1_Q4.onnx"),
    ]


@pytest.mark.parametrize(
    ("options", "source"), [("", "onnx/model_opt1.onnx"), ("--optimize 0", "onnx/model.onnx")]
)
def test_without_quantized_files_the_last_one_has_it(options: str, source: str) -> None:
    ort = source.replace(".onnx", ".ort")
    assert derived(f"{options} --format ort") == [(ort, source)]


def test_another_format_is_that_of_the_fixed_shapes() -> None:
    assert derived("--optimize 0 --shape 1x8,2x4 --format ort") == [
        ("onnx/model_1x8.onnx", "onnx/model.onnx"),
        ("onnx/model_2x4.onnx", "onnx/model.onnx"),
        ("onnx/model_1x8.ort", "onnx/model_1x8.onnx"),
        ("onnx/model_2x4.ort", "onnx/model_2x4.onnx"),
    ]


def test_a_derived_file_has_the_precision_level_and_floor_of_its_source() -> None:
    *_, source, fixed = plan("all --model_id m --optimize 2 --quantize Q4 --shape 1x8").steps
    assert fixed == replace(
        source, stage=fixed.stage, file=fixed.file, source=source.file, settings=fixed.settings,
        options=fixed.options, forms=fixed.forms,
    )  # fmt: skip
    assert fixed.floor is not None


@pytest.mark.parametrize(
    ("layout", "file"),
    [
        ("transformersjs", "onnx/model_quantized_1x8.onnx"),
        # These programs take the only graph at the folder's root.
        ("nixiesearch", "onnx/model_opt1_QInt8_1x8.onnx"),
        ("vespa", "onnx/model_opt1_QInt8_1x8.onnx"),
    ],
)
def test_it_is_beside_the_graphs_that_a_layout_does_not_look_at(layout: str, file: str) -> None:
    ((found, _),) = derived(f"--layout {layout} --quantize QInt8 --shape 1x8")
    assert found == file


def test_it_is_made_of_its_source_and_verified_by_itself() -> None:
    jobs = build_jobs(
        plan("all --model_id m --optimize 0 --shape 1x8"), {}, REQUEST, in_pieces=False
    )
    by_name = {job.name: job for job in jobs}
    made = by_name["derive onnx/model_1x8.onnx"]
    assert made.action is Action.DERIVE
    assert made.needs == ("write onnx/model.onnx",)
    verified = by_name["verify onnx/model_1x8.onnx"]
    assert {made.name, "reference", "verify onnx/model.onnx"} == set(verified.needs)


def test_a_converter_of_another_program_has_the_whole_graph_in_memory() -> None:
    jobs = build_jobs(
        plan("all --model_id m --shape 1x8 --format ort"), {}, REQUEST, in_pieces=False
    )
    fixed, ort = (job for job in jobs if job.action is Action.DERIVE)
    assert ort.memory_bytes == fixed.memory_bytes + 3 * 4 * RESOLVED.parameters


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--quantize auto --shape 1x8", "--quantize auto finds its file only at the end"),
        ("--quantize auto --format ort", "--quantize auto finds its file only at the end"),
        ("--shape 100000x8,100000x100", "must have at most 4,194,304 tokens in a batch"),
        ("--shape 1x9", "--shape has texts of 9 tokens, but the model reads at most 8"),
        ("--inputs input_ids,offsets --shape 1x8", "the tokens of all texts are in one row"),
        ("--shape 128", "--shape must be numbers of texts and their tokens"),
        ("--format xml", "--format 'xml' is unknown"),
        ("--tokenizer in_graph --format ort", "--tokenizer in_graph and --format cannot be"),
        ("--min_onnxruntime 1.15 --format ort", "--format ort needs ONNX Runtime 1.16"),
        ("--quantize Q4 --operators standard --format ort", "--format ort has no 4-bit integers"),
        ("--tokenizer outside", "--tokenizer 'outside' is unknown"),
    ],
)
def test_what_cannot_be_is_refused_before_work_starts(options: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        derived(options)
    assert problem in caught.value.message


@pytest.mark.parametrize("options", ["--quantize Q8 --operators standard", "--quantize Q4F16"])
def test_blocks_of_bytes_and_own_operators_have_onnxruntimes_format(options: str) -> None:
    assert len(derived(f"{options} --format ort")) == 1


def test_a_run_that_makes_no_graph_derives_none() -> None:
    with pytest.raises(UsageError, match="`optimize` makes no graph here"):
        plan("optimize --model_id m --optimize 0 --shape 1x8", "onnx/model.onnx")


def test_a_file_that_reads_texts_is_beside_those_of_fixed_shapes() -> None:
    assert derived("--quantize QInt8 --shape 1x8 --tokenizer in_graph") == [
        ("onnx/model_opt1_QInt8_1x8.onnx", "onnx/model_opt1_QInt8.onnx"),
        ("onnx/model_opt1_QInt8_text.onnx", "onnx/model_opt1_QInt8.onnx"),
    ]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.EMBEDDING])
def test_only_embedding_models_have_files_that_read_texts(kind: Kind) -> None:
    request = parse(["all", "--model_id", "m", "--tokenizer", "in_graph"])[1]
    other = replace(RESOLVED, kind=kind)
    with pytest.raises(UsageError) as caught:
        make_plan(request, other, output_dir="o", available=(), calibration_digest="c")
    assert f"needs an embedding model, not {KINDS[kind].words}" in caught.value.message


def test_a_graph_of_more_than_two_gigabytes_has_no_other_format() -> None:
    large = replace(RESOLVED, parameters=700_000_000)

    def check(options: str) -> None:
        request = parse(f"all --model_id m {options}".split())[1]
        make_plan(request, large, output_dir="o", available=(), calibration_digest="c")

    check("--format ort --quantize QInt8")
    with pytest.raises(UsageError, match=r"2\.8 GB, but ONNX Runtime's own format has at most 2"):
        check("--format ort")
    with pytest.raises(UsageError, match=r"2\.8 GB, but a single ONNX file has at most 2"):
        check("--tokenizer in_graph")
