"""The command line that a manifest notes makes the same request again."""

import shlex
from pathlib import Path

import pytest

from embconvert.cli.main import parse
from embconvert.errors import UsageError
from embconvert.models.choices import Command
from embconvert.request.options import OPTIONS
from embconvert.request.parsing import command_line, next_command, understood


@pytest.mark.parametrize(
    "words",
    [
        "export --model_id org/m --opset 18 --pooling cls --trust_remote_code",
        "optimize --model_id org/m --optimize 99 --skip_shape_inference",
        "quantize --model_id org/m --quantize QInt8,Float16 --no_per_channel --min_cosine 0.9",
        "all --model_id org/m --optimize 2 --quantize QInt8 --no_reduce_range --skip_validation",
        "all --model_id org/m --quantize auto --max_size 30% --min_cosine 0.99",
        "quantize --model_id org/m --quantize auto --max_size 1.5GB --min_speedup 1.2",
        "all --model_id org/m --quantize Q4 --recipes none --table_bits 8 --full_validation",
        "all --model_id org/m --quantize Q4,Q8 --recipes gptq --min_onnxruntime 1.23",
        "all --model_id org/m --quantize QInt8Static,QInt8 --calibration_method percentile "
        "--quant_format QOperator --recipes smooth,bias_correction",
        "all --model_id './a folder' --quantize QInt8 --calibration_dataset texts.txt",
    ],
)
def test_a_command_line_comes_back(words: str) -> None:
    _, request = parse(shlex.split(words))
    line = shlex.split(command_line(request, model_id=request.model_id, revision=None))
    assert line[0] == "embconvert"
    assert parse(line[1:])[1] == request


def test_it_is_pinned_and_without_what_holds_only_here() -> None:
    _, request = parse(
        ["all", "--model_id", "org/m", "--output_parent_dir", "here", "--quiet", "--offline"]
    )
    assert request.output_parent_dir == Path("here")
    assert command_line(request, model_id="org/m", revision="0" * 40) == (
        f"embconvert all --model_id org/m --revision {'0' * 40}"
    )


def test_of_paths_only_names_are_told() -> None:
    _, request = parse(
        shlex.split(
            "quantize --model_id /home/me/m --quantize Q8 --model_path ../secret/graph.onnx "
            "--calibration_dataset ~/texts.txt --cache_dir /home/me/cache"
        )
    )
    assert command_line(request, model_id="./m", revision=None) == (
        "embconvert quantize --model_id ./m --model_path graph.onnx --quantize Q8 "
        "--calibration_dataset texts.txt"
    )


@pytest.mark.parametrize("words", ["optimize", "quantize --quantize QInt8 --model_path /a/b.onnx"])
def test_the_command_that_a_hint_names_works_on_the_same_model_and_folders(words: str) -> None:
    places = "--model_id './a model' --output_parent_dir '/out put' --cache_dir /cache --offline"
    _, request = parse(shlex.split(f"{words} {places} --json --quiet"))
    line = next_command(request, Command.EXPORT)
    _, named = parse(shlex.split(line)[1:])
    _, expected = parse(shlex.split(f"export {places}"))
    assert named == expected


@pytest.mark.parametrize(
    ("name", "word", "remark"),
    [
        ("quantize", "int8", "--quantize int8 is read as QInt8"),
        ("quantize", "int8,FP16", "--quantize int8,FP16 is read as QInt8,Float16"),
        ("quantize", "AUTO", "--quantize AUTO is read as auto"),
        ("quantize", "QInt8, Float16", None),
        ("quantize", "auto", None),
        ("pooling", "CLS", "--pooling CLS is read as cls"),
        ("recipes", "none", None),
        ("optimize", "99", None),
        ("device", "CUDA:0", "--device CUDA:0 is read as cuda:0"),
        ("min_onnxruntime", "1.22.1", "--min_onnxruntime 1.22.1 is read as 1.22"),
        ("model_id", "My Model", None),
        ("output_parent_dir", "./out/", None),
        ("max_size", "25 mb", None),
        ("offline", "1", None),
        ("min_cosine", "0.980", None),
    ],
)
def test_it_is_said_if_a_word_was_read_as_another(name: str, word: str, remark: str | None) -> None:
    option = next(option for option in OPTIONS if option.name == name)
    assert understood(option, word) == remark


def test_calibration_texts_are_for_quantization_or_for_embeddings_of_integers() -> None:
    line = "export --model_id m --calibration_dataset texts.txt"
    _, request = parse(shlex.split(f"{line} --output_precision int8"))
    assert "--calibration_dataset texts.txt" in next_command(request, Command.EXPORT)
    for more in ("", "--output_precision ubinary"):
        with pytest.raises(UsageError, match="no effect without --quantize or --output_precision"):
            parse(shlex.split(f"{line} {more}"))
    _, request = parse(
        shlex.split("quantize --model_id m --quantize QInt8 --calibration_dataset t")
    )
    assert "calibration" not in next_command(request, Command.EXPORT)
