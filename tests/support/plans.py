"""Plans of command lines, for a model that needs no files."""

from pathlib import Path

from embconvert.cli.main import parse
from embconvert.models.architectures import read_architecture
from embconvert.models.choices import Command
from embconvert.models.values import ResolvedModel
from embconvert.plan.plan import Plan, make_plan
from embconvert.request.records import Request

RESOLVED = ResolvedModel(
    model_id="m",
    revision=None,
    folder=Path("m"),
    files=(),
    config={},
    architecture=read_architecture({"model_type": "bert", "dim": 8, "n_heads": 2}),
    max_seq_length=8,
    modules=("Transformer", "Pooling"),
    parameters=22_713_216,
)


def parse_request(line: str) -> Request:
    request = parse(line.split())[1]
    assert isinstance(request, Request)
    return request


#: For plans that no option changes further.
REQUEST = Request(command=Command.ALL, model_id="m")


def plan(line: str, *available: str) -> Plan:
    return make_plan(
        parse_request(line),
        RESOLVED,
        output_dir="out",
        available=available,
        calibration_digest="c",
    )
