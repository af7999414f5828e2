"""The options of the commands for published folders."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from embconvert.errors import UsageError
from embconvert.request import own_values, values
from embconvert.request.options import Group, Option, flag, shared
from embconvert.request.places import is_hub_id
from embconvert.request.records import (
    CompareRequest,
    DiffRequest,
    EvaluateRequest,
    PushRequest,
    VerifyRequest,
)

# fmt: off
REPORT_OPTIONS: tuple[Option, ...] = (
    flag(
        "try_page", Group.FOLDER,
        "Also write try.html, a page that runs the model in a browser and compares texts.",
    ),
    *shared("quiet", "debug"),
)

COMPARE_OPTIONS: tuple[Option, ...] = (
    Option(
        name="output", metavar="FILE", group=Group.FOLDER, parse=values.path("output"),
        default="compare.html",
        help="Page to write; an existing file is replaced.",
    ),
    *shared("debug"),
)

LIST_OPTIONS: tuple[Option, ...] = (
    flag("json", Group.OUTPUT, "Print the models, their files and figures as JSON."),
    *shared("debug"),
)

_SOURCE_OPTIONS = (
    Option(
        name="adapter", metavar="ID", group=Group.COMPARED, parse=own_values.adapters, several=True,
        default="those in the manifest",
        help="Adapters of the source, needed if they are in local folders.",
    ),
    flag("trust_remote_code", Group.COMPARED, "Run Python code that comes with the source."),
)

VERIFY_OPTIONS: tuple[Option, ...] = (
    Option(
        name="against", metavar="ID", group=Group.COMPARED, parse=values.text("against"),
        default="none: only check that every graph runs",
        help="Hub id or local folder of the source, to compare the embeddings with.",
    ),
    Option(
        name="min_cosine", metavar="X", group=Group.QUALITY,
        parse=values.share("min_cosine", "0.98"),
        default="the manifest's value minus 0.005 (float32: 0.0001)",
        help="Minimum mean cosine to the source.",
    ),
    *_SOURCE_OPTIONS,
    *shared("max_graph_seconds", "cache_dir", "offline"),
    flag("json", Group.OUTPUT, "Print all figures as JSON."),
    *shared("quiet", "debug"),
)

EVALUATE_OPTIONS: tuple[Option, ...] = (
    Option(
        name="data", metavar="PATH", group=Group.COMPARED, parse=values.path("data"),
        default="required",
        help="A folder in BEIR's form (corpus.jsonl, queries.jsonl, qrels/test.tsv); a .csv, .tsv "
        "or .jsonl file of pairs with scores or labels, or of triples; or a .txt file with one "
        "text per line. UTF-8, at most 1 MiB per line, 1,000,000 documents and 100,000 queries.",
    ),
    Option(
        name="files", metavar="NAMES", group=Group.COMPARED, parse=values.names("files"),
        several=True, default="all graphs",
        help="Graphs to evaluate, by path or name, several separated by commas.",
    ),
    Option(
        name="against", metavar="ID", group=Group.COMPARED, parse=values.text("against"),
        default="the float32 graph of the folder",
        help="Hub id or local folder of the source, to compare with it.",
    ),
    *_SOURCE_OPTIONS,
    Option(
        name="output", metavar="DIR", group=Group.FOLDER, parse=values.path("output"),
        default="the folder itself",
        help="Where evaluation.json and evaluation.html are written.",
    ),
    *shared("max_graph_seconds", "cache_dir", "offline"),
    flag("json", Group.OUTPUT, "Print all figures as JSON."),
    *shared("quiet", "debug"),
)

DIFF_OPTIONS: tuple[Option, ...] = (
    Option(
        name="texts", metavar="FILE", group=Group.COMPARED, parse=values.path("texts"),
        default="the built-in texts",
        help="UTF-8 file with one text per line (of rerankers, a pair with a tab between); at most "
        "5,000 texts.",
    ),
    Option(
        name="limit", metavar="N", group=Group.OUTPUT, parse=values.positive("limit"), default="20",
        help="Number of texts to print, those that differ most; --json prints all.",
    ),
    *shared("max_graph_seconds"),
    flag("json", Group.OUTPUT, "Print the differences of all texts as JSON."),
    *shared("quiet", "debug"),
)

PUSH_OPTIONS: tuple[Option, ...] = (
    Option(
        name="repo_id", metavar="REPO", group=Group.HUB, parse=values.text("repo_id"),
        default="required",
        help="Hub repository, as org/name; it is created if it does not exist.",
    ),
    flag("private", Group.HUB, "Make the repository private if it is created."),
    Option(
        name="revision", metavar="BRANCH", group=Group.HUB, parse=values.text("revision"),
        default="the hub's main branch",
        help="Branch to write to; it is created if it does not exist.",
    ),
    flag("create_pr", Group.HUB, "Open a pull request instead of writing to the branch."),
    Option(
        name="message", metavar="TEXT", group=Group.HUB, parse=values.text("message"),
        default="names the version of embconvert",
        help="Commit message.",
    ),
    flag(
        "dry_run", Group.OUTPUT,
        "Check the folder and print what would be uploaded; open no connection.",
    ),
    *shared("quiet", "debug"),
)
# fmt: on


def of_a_folder(record: Callable[..., Any], metavar: str = "FOLDER") -> Callable[..., Any]:
    """Returns what makes the request of a command whose only operand is `folder`."""
    return lambda *, operands, **fields: record(
        folder=values.user_path(metavar, operands[0]), **fields
    )


def make_compare_request(*, operands: tuple[str, ...], **fields: Any) -> CompareRequest:
    """Raises UsageError for fewer than two folders."""
    if len(set(operands)) < 2:
        given = "the same is given twice" if len(operands) > 1 else _given(len(operands))
        raise UsageError(
            f"compare needs two or more folders, and {given}",
            "write: embconvert compare models/my-model models/other-model",
        )
    folders = dict.fromkeys(values.user_path("FOLDER", word) for word in operands)
    return CompareRequest(folders=tuple(folders), **fields)


def make_diff_request(*, operands: tuple[str, ...], **fields: Any) -> DiffRequest:
    """Raises UsageError for other than two folders or graphs."""
    if len(operands) != 2 or operands[0] == operands[1]:
        given = "the same is given twice" if len(operands) == 2 else _given(len(operands))
        raise UsageError(
            f"diff needs two folders or graphs, and {given}",
            "write: embconvert diff models/my-model/onnx/model.onnx "
            "models/my-model/onnx/model_opt1_QInt8.onnx",
        )
    first, second = (values.user_path("PATH", word) for word in operands)
    return DiffRequest(first=first, second=second, **fields)


def _given(count: int) -> str:
    return "1 is given" if count == 1 else f"{count} are given"


def make_verify_request(*, operands: tuple[str, ...], **fields: Any) -> VerifyRequest:
    """Raises UsageError for an option that would have no effect."""
    _need_against(fields, ("min_cosine", "adapter", "trust_remote_code"), "nothing is compared")
    return VerifyRequest(folder=values.user_path("FOLDER", operands[0]), **fields)


def _need_against(fields: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    for name in names:
        if name in fields and "against" not in fields:
            raise UsageError(
                f"--{name} has no effect without --against: {why}",
                f"add --against and the model's id or folder, or omit --{name}",
            )


def make_evaluate_request(*, operands: tuple[str, ...], **fields: Any) -> EvaluateRequest:
    """Raises UsageError without data, or for options that do not go together."""
    if "data" not in fields:
        raise UsageError("--data is missing", "write: --data FILE, or a folder in BEIR's form")
    _need_against(fields, ("adapter", "trust_remote_code"), "the source is not loaded")
    folders = dict.fromkeys(values.user_path("FOLDER", word) for word in operands)
    for name in ("output", "against"):
        if name in fields and len(folders) > 1:
            raise UsageError(
                f"--{name} is for one folder, and {_given(len(folders))}",
                "run the command for one folder after the other",
            )
    return EvaluateRequest(folders=tuple(folders), **fields)


def make_push_request(*, operands: tuple[str, ...], **fields: Any) -> PushRequest:
    """Raises UsageError without a repository, or with two targets."""
    if "repo_id" not in fields:
        raise UsageError("--repo_id is missing", "write: --repo_id org/name")
    if not is_hub_id(fields["repo_id"]):
        raise UsageError(
            f"--repo_id {fields['repo_id']!r} is not the id of a repository",
            "write --repo_id org/name, of letters, digits, -, _ and .",
        )
    if fields.get("create_pr") and fields.get("revision"):
        raise UsageError(
            "--create_pr and --revision cannot be used together: a pull request goes to the main "
            "branch",
            "remove one of them",
        )
    return PushRequest(folder=values.user_path("FOLDER", operands[0]), **fields)
