"""The table of commands: what each one takes, and the function that runs it.

Functions are given by name and imported late, so that `--help` loads nothing heavy.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from embconvert.cli.config import CONFIG, LOG_FORMAT
from embconvert.models.choices import Command
from embconvert.request.bench_options import BENCH_OPTIONS
from embconvert.request.fleet_options import BATCH_OPTIONS, make_batch_request
from embconvert.request.folder_options import (
    COMPARE_OPTIONS,
    DIFF_OPTIONS,
    EVALUATE_OPTIONS,
    LIST_OPTIONS,
    PUSH_OPTIONS,
    REPORT_OPTIONS,
    VERIFY_OPTIONS,
    make_compare_request,
    make_diff_request,
    make_evaluate_request,
    make_push_request,
    make_verify_request,
    of_a_folder,
)
from embconvert.request.options import Group, Option, flag, options_of, shared
from embconvert.request.parsing import make_request
from embconvert.request.records import (
    BenchRequest,
    CompletionRequest,
    Finished,
    ListRequest,
    ReportRequest,
    VersionRequest,
)


@dataclass(frozen=True, kw_only=True)
class Operands:
    """A command's positional arguments: files, or one of some words."""

    metavar: str
    help: str
    several: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CommandSpec:
    name: str
    summary: str
    examples: tuple[str, ...]
    options: Mapping[str, Option]
    make_request: Callable[..., Any]
    function: str
    operands: Operands | None = None

    def run(self, request: object) -> Finished:
        """Imports and calls the command's function."""
        module, _, name = self.function.partition(":")
        finished: Finished = getattr(importlib.import_module(module), name)(request)
        return finished


def _by_name(*options: Option) -> dict[str, Option]:
    return {option.name: option for option in (*options, LOG_FORMAT)}


def _conversion(command: Command, summary: str, *examples: str) -> CommandSpec:
    return CommandSpec(
        name=str(command),
        summary=summary,
        examples=examples,
        options=_by_name(*options_of(command).values(), CONFIG),
        make_request=lambda **fields: make_request(command, fields),
        function="embconvert.pipeline.start:convert",
    )


_FOLDER = Operands(metavar="FOLDER", help="A folder published by embconvert.")

_ALL = (
    _conversion(
        Command.EXPORT,
        "Export a model to plain ONNX (onnx/model.onnx) that any runtime can load.",
        "embconvert export --model_id intfloat/e5-small-v2",
        "embconvert export --model_id ./my-model --opset 18 --output_parent_dir out",
    ),
    _conversion(
        Command.OPTIMIZE,
        "Fuse operators of the exported graph (onnx/model_opt1.onnx).",
        "embconvert optimize --model_id intfloat/e5-small-v2 --optimize 2",
        "embconvert optimize --model_id ./my-model --model_path graph.onnx",
    ),
    _conversion(
        Command.QUANTIZE,
        "Quantize the weights of a graph (onnx/model_opt1_QInt8.onnx).",
        "embconvert quantize --model_id intfloat/e5-small-v2 --quantize QInt8",
        "embconvert quantize --model_id ./my-model --quantize QInt8,Float16 --min_cosine 0.99",
    ),
    _conversion(
        Command.ALL,
        "Export, optimize and quantize in one run.",
        "embconvert all --model_id intfloat/e5-small-v2 --quantize QInt8",
        "embconvert all --model_id ./my-model --optimize 2 --quantize QInt8,Float16",
        "embconvert all --model_id BAAI/bge-small-en-v1.5 --revision main --dry_run",
    ),
    CommandSpec(
        name="batch",
        summary="Convert the models of a list that are missing or have changed.",
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
        name="list",
        summary="List the finished models below a folder: files, sizes, figures, state.",
        examples=("embconvert list models", "embconvert list models --json"),
        options=_by_name(*LIST_OPTIONS),
        make_request=of_a_folder(ListRequest, "DIR"),
        function="embconvert.reporting.listing:list_models",
        operands=Operands(metavar="DIR", help="A folder of models: --output_parent_dir."),
    ),
    CommandSpec(
        name="verify",
        summary=(
            "Check a published folder: its manifest, every file's hash, and that every graph runs."
        ),
        examples=(
            "embconvert verify models/intfloat/e5-small-v2",
            "embconvert verify models/intfloat/e5-small-v2 --against intfloat/e5-small-v2",
        ),
        options=_by_name(*VERIFY_OPTIONS),
        make_request=make_verify_request,
        function="embconvert.pipeline.verify_folder:verify",
        operands=_FOLDER,
    ),
    CommandSpec(
        name="evaluate",
        summary="Compare the files of published folders on your own data.",
        examples=(
            "embconvert evaluate models/intfloat/e5-small-v2 --data scifact",
            "embconvert evaluate models/my-model --data pairs.csv --json",
        ),
        options=_by_name(*EVALUATE_OPTIONS),
        make_request=make_evaluate_request,
        function="embconvert.pipeline.evaluate_folder:evaluate",
        operands=Operands(metavar="FOLDER", help="Folders published by embconvert.", several=True),
    ),
    CommandSpec(
        name="report",
        summary="Write a folder's report.html and README.md again.",
        examples=("embconvert report models/intfloat/e5-small-v2",),
        options=_by_name(*REPORT_OPTIONS),
        make_request=of_a_folder(ReportRequest),
        function="embconvert.reporting.report:report",
        operands=_FOLDER,
    ),
    CommandSpec(
        name="compare",
        summary="Compare two or more conversions on one page.",
        examples=(
            "embconvert compare models/intfloat/e5-small-v2 models/BAAI/bge-small-en-v1.5",
            "embconvert compare before/my-model after/my-model --output changes.html",
        ),
        options=_by_name(*COMPARE_OPTIONS),
        make_request=make_compare_request,
        function="embconvert.reporting.compare:compare",
        operands=Operands(
            metavar="FOLDER", help="Two or more folders published by embconvert.", several=True
        ),
    ),
    CommandSpec(
        name="bench",
        summary="Measure the speed of a folder's graphs on this machine, in turns.",
        examples=(
            "embconvert bench models/intfloat/e5-small-v2",
            "embconvert bench models/my-model --shapes 1x32,64x256 --threads 1,2,all --json",
        ),
        options=_by_name(*BENCH_OPTIONS),
        make_request=of_a_folder(BenchRequest),
        function="embconvert.pipeline.bench_folder:bench",
        operands=_FOLDER,
    ),
    CommandSpec(
        name="diff",
        summary="Compare two folders or graphs text by text, the largest difference first.",
        examples=(
            "embconvert diff my-model/onnx/model.onnx my-model/onnx/model_opt1_QInt8.onnx",
            "embconvert diff before/my-model after/my-model --texts questions.txt",
        ),
        options=_by_name(*DIFF_OPTIONS),
        make_request=make_diff_request,
        function="embconvert.pipeline.diff_folders:diff",
        operands=Operands(
            metavar="PATH",
            help=(
                "Two folders published by embconvert, of which the recommended graphs are "
                "compared, or graphs in such folders."
            ),
            several=True,
        ),
    ),
    CommandSpec(
        name="push",
        summary="Upload a folder to a hub if all of its files are verified.",
        examples=(
            "embconvert push models/intfloat/e5-small-v2 --repo_id my-org/e5-small-v2-onnx",
            "embconvert push models/my-model --repo_id my-org/my-model --private --create_pr",
        ),
        options=_by_name(*PUSH_OPTIONS),
        make_request=make_push_request,
        function="embconvert.pipeline.push_folder:push",
        operands=_FOLDER,
    ),
    CommandSpec(
        name="completion",
        summary="Print a script with which a shell completes commands, options and values.",
        examples=(
            "embconvert completion bash",
            "embconvert completion zsh",
            "embconvert completion fish",
        ),
        options=_by_name(*shared("debug")),
        make_request=lambda operands, **fields: CompletionRequest(shell=operands[0], **fields),
        function="embconvert.cli.completion:completion",
        operands=Operands(
            metavar="SHELL",
            choices=("bash", "zsh", "fish"),
            help=(
                "bash, zsh or fish. To load the script, put `source <(embconvert completion bash)` "
                "into ~/.bashrc (zsh: `source <(embconvert completion zsh)` into ~/.zshrc, after "
                "compinit if the file has it), or `embconvert completion fish | source` into "
                "~/.config/fish/config.fish."
            ),
        ),
    ),
    CommandSpec(
        name="version",
        summary="Print the version of embconvert.",
        examples=("embconvert version --json",),
        options=_by_name(
            flag(
                "json",
                Group.OUTPUT,
                "Print JSON, with the commit and the version of every package.",
            ),
            *shared("debug"),
        ),
        make_request=VersionRequest,
        function="embconvert.cli.version:version",
    ),
)

#: Every command, in the order of the help.
COMMANDS: Mapping[str, CommandSpec] = {spec.name: spec for spec in _ALL}
