"""The commands as one table: what each takes, and the function that does it.

The functions are named, not imported: `--help` must answer before anything heavy is loaded.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from embconvert.models.choices import Command
from embconvert.request import values
from embconvert.request.fleet_options import BATCH_OPTIONS, make_batch_request
from embconvert.request.folder_options import (
    COMPARE_OPTIONS,
    PUSH_OPTIONS,
    REPORT_OPTIONS,
    VERIFY_OPTIONS,
    make_compare_request,
    make_push_request,
    make_report_request,
    make_verify_request,
)
from embconvert.request.options import Option, options_of, shared
from embconvert.request.parsing import make_request
from embconvert.request.records import Finished, VersionRequest


@dataclass(frozen=True, kw_only=True)
class Operands:
    """The words of a command that belong to no option.

    Attributes:
        metavar: The placeholder in help.
        help: One sentence.
        several: Whether more than one may be given; at least one must.
    """

    metavar: str
    help: str
    several: bool = False


@dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """One command.

    Attributes:
        name: The verb.
        summary: One sentence.
        examples: Command lines, the most usual first.
        options: What it takes, by name.
        make_request: From the options' fields, and `operands` (a tuple of words) where it takes
            some, to the request; raises UsageError.
        function: `module:name` of a function from the request to Finished.
        operands: The words that it takes beside options; None when it takes none.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    options: Mapping[str, Option]
    make_request: Callable[..., Any]
    function: str
    operands: Operands | None = None

    def run(self, request: object) -> Finished:
        """Does what is asked."""
        module, _, name = self.function.partition(":")
        finished: Finished = getattr(importlib.import_module(module), name)(request)
        return finished


def _by_name(*options: Option) -> dict[str, Option]:
    return {option.name: option for option in options}


def _conversion(command: Command, summary: str, *examples: str) -> CommandSpec:
    return CommandSpec(
        name=str(command),
        summary=summary,
        examples=examples,
        options=options_of(command),
        make_request=lambda **fields: make_request(command, fields),
        function="embconvert.pipeline.convert:convert",
    )


_ALL = (
    _conversion(
        Command.EXPORT,
        "Turn a model into plain ONNX (onnx/model.onnx) that any runtime loads.",
        "embconvert export --model_id intfloat/e5-small-v2",
        "embconvert export --model_id ./my-model --opset 18 --output_parent_dir out",
    ),
    _conversion(
        Command.OPTIMIZE,
        "Fuse the graph that export left (onnx/model_opt1.onnx).",
        "embconvert optimize --model_id intfloat/e5-small-v2 --optimize 2",
        "embconvert optimize --model_id ./my-model --model_path graph.onnx",
    ),
    _conversion(
        Command.QUANTIZE,
        "Make a graph's weights smaller (onnx/model_opt1_QInt8.onnx).",
        "embconvert quantize --model_id intfloat/e5-small-v2 --quantize QInt8",
        "embconvert quantize --model_id ./my-model --quantize QInt8,Float16 --min_cosine 0.99",
    ),
    _conversion(
        Command.ALL,
        "Export, optimize and quantize, loading each thing once.",
        "embconvert all --model_id intfloat/e5-small-v2 --quantize QInt8",
        "embconvert all --model_id ./my-model --optimize 2 --quantize QInt8,Float16",
        "embconvert all --model_id BAAI/bge-small-en-v1.5 --revision main --dry_run",
    ),
    CommandSpec(
        name="batch",
        summary="Convert a list of models: those that are missing or have changed.",
        examples=(
            "embconvert batch models.yaml",
            "embconvert batch models.yaml --shard 1/4 --json",
            "embconvert batch models.yaml --list_json --shards 20",
        ),
        options=_by_name(*BATCH_OPTIONS),
        make_request=make_batch_request,
        function="embconvert.fleet.batch:batch",
        operands=Operands(
            metavar="LIST", help="YAML or JSON file of at most 16 MiB and 100,000 models."
        ),
    ),
    CommandSpec(
        name="verify",
        summary="Check a folder: its manifest, every file, and that every graph still gives the "
        "embeddings of its source.",
        examples=(
            "embconvert verify models/all-MiniLM-L6-v2",
            "embconvert verify models/intfloat/e5-small-v2 --against intfloat/e5-small-v2",
        ),
        options=_by_name(*VERIFY_OPTIONS),
        make_request=make_verify_request,
        function="embconvert.pipeline.verify_folder:verify",
        operands=Operands(metavar="FOLDER", help="A folder that a conversion published."),
    ),
    CommandSpec(
        name="report",
        summary="Make a folder's report.html and README.md again.",
        examples=("embconvert report models/all-MiniLM-L6-v2",),
        options=_by_name(*REPORT_OPTIONS),
        make_request=make_report_request,
        function="embconvert.reporting.report:report",
        operands=Operands(metavar="FOLDER", help="A folder that a conversion published."),
    ),
    CommandSpec(
        name="compare",
        summary="Put conversions side by side on one page.",
        examples=(
            "embconvert compare models/e5-small-v2 models/bge-small-en-v1.5",
            "embconvert compare before/my-model after/my-model --output changes.html",
        ),
        options=_by_name(*COMPARE_OPTIONS),
        make_request=make_compare_request,
        function="embconvert.reporting.compare:compare",
        operands=Operands(
            metavar="FOLDER", help="Two or more folders that conversions published.", several=True
        ),
    ),
    CommandSpec(
        name="push",
        summary="Upload a folder to a hub, when every file of it is verified.",
        examples=(
            "embconvert push models/all-MiniLM-L6-v2 --repo_id my-org/all-MiniLM-L6-v2-onnx",
            "embconvert push models/my-model --repo_id my-org/my-model --private --create_pr",
        ),
        options=_by_name(*PUSH_OPTIONS),
        make_request=make_push_request,
        function="embconvert.pipeline.push_folder:push",
        operands=Operands(metavar="FOLDER", help="A folder that a conversion published."),
    ),
    CommandSpec(
        name="version",
        summary="Tell what this is, to the commit.",
        examples=("embconvert version --json",),
        options=_by_name(
            Option(
                name="json",
                parse=values.boolean("json"),
                default="off",
                help="As JSON, with the commit and every package.",
            ),
            *shared("debug"),
        ),
        make_request=VersionRequest,
        function="embconvert.cli.version:version",
    ),
)

#: Every command, in the order of the help.
COMMANDS: Mapping[str, CommandSpec] = {spec.name: spec for spec in _ALL}
