"""What a conversion advises to do next is a command that works on its folder."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from embconvert.cli.main import parse
from embconvert.models.choices import Precision
from embconvert.pipeline.publishing import next_step
from support.examples import graph, published


@pytest.mark.parametrize(
    ("words", "precision", "is_verified", "then"),
    [
        ("export", Precision.FLOAT32, True, "optimize --model_id org/m --output_parent_dir out"),
        ("optimize", Precision.FLOAT32, True, "quantize --model_id org/m --quantize QInt8"),
        ("all", Precision.FLOAT32, True, "quantize --model_id org/m --quantize QInt8"),
        ("all --layout tei", Precision.FLOAT32, True, "push 'out/my m' --repo_id YOU/my-m"),
        ("all --quantize QInt8", Precision.QINT8, True, "push 'out/my m' --repo_id YOU/my-m"),
        ("all --quantize QInt8", Precision.QINT8, False, "verify 'out/my m' --against org/m"),
    ],
)
def test_a_conversion_ends_with_a_command_that_goes_on(
    words: str, precision: Precision, is_verified: bool, then: str, tmp_path: Path
) -> None:
    command, *options = words.split()
    _, request = parse([command, "--model_id", "org/m", "--output_parent_dir", "out", *options])
    record = graph(tmp_path, "model", 10, precision=precision)
    if not is_verified:
        record = replace(record, fidelity=None)
    line = next_step(request, Path("out/my m"), [published(tmp_path, record)])
    assert line.startswith(f"embconvert {then}")
    assert parse(shlex.split(line)[1:])
