"""The command line that a manifest notes makes the same request again."""

import shlex
from pathlib import Path

import pytest

from embconvert.cli.main import parse
from embconvert.request.parsing import command_line


@pytest.mark.parametrize(
    "words",
    [
        "export --model_id org/m --opset 18 --pooling cls --trust_remote_code",
        "optimize --model_id org/m --optimize 99 --skip_shape_inference",
        "quantize --model_id org/m --quantize QInt8,Float16 --no_per_channel --min_cosine 0.9",
        "all --model_id org/m --revision main --optimize 2 --no_reduce_range --skip_validation",
        "all --model_id org/m --quantize auto --max_size 30% --min_cosine 0.99",
        "quantize --model_id org/m --quantize auto --max_size 1.5GB --min_speedup 1.2",
        "all --model_id org/m --quantize Q4 --recipes none --table_bits 8 --full_validation",
        "all --model_id org/m --quantize Q4,Q8 --recipes gptq --min_onnxruntime 1.23",
        "all --model_id org/m --quantize QInt8Static,QInt8 --calibration_method percentile "
        "--quant_format QOperator --recipes smooth,bias_correction",
        "all --model_id 'a folder/m' --calibration_dataset texts.txt",
    ],
)
def test_a_command_line_comes_back(words: str) -> None:
    _, request = parse(shlex.split(words))
    line = shlex.split(command_line(request, revision=request.revision))
    assert line[0] == "embconvert"
    assert parse(line[1:])[1] == request


def test_it_is_pinned_and_without_what_holds_only_here() -> None:
    _, request = parse(
        ["all", "--model_id", "org/m", "--output_parent_dir", "here", "--quiet", "--offline"]
    )
    assert request.output_parent_dir == Path("here")
    assert command_line(request, revision="0" * 40) == (
        f"embconvert all --model_id org/m --revision {'0' * 40}"
    )
