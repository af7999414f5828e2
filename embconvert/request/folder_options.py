"""The options of the commands on published folders: `verify`, `report`, `compare`, `push`."""

from typing import Any

from embconvert.errors import UsageError
from embconvert.request import values
from embconvert.request.options import Option, shared
from embconvert.request.records import CompareRequest, PushRequest, ReportRequest, VerifyRequest

REPORT_OPTIONS: tuple[Option, ...] = shared("quiet", "debug")

COMPARE_OPTIONS: tuple[Option, ...] = (
    Option(
        name="output",
        metavar="FILE",
        parse=values.path("output"),
        default="compare.html",
        help="The page to write; what is there is replaced.",
    ),
    *shared("debug"),
)


VERIFY_OPTIONS: tuple[Option, ...] = (
    Option(
        name="against",
        metavar="ID",
        parse=values.text("against"),
        default="no source: that every graph runs is all that is checked",
        help="The source, a hub id or a local folder: compare the embeddings with it again.",
    ),
    Option(
        name="min_cosine",
        metavar="X",
        parse=values.cosine,
        default="what the manifest says, less 0.005 (float32: 0.0001)",
        help="Floor of the mean cosine to the source.",
    ),
    Option(
        name="trust_remote_code",
        parse=values.boolean("trust_remote_code"),
        default="off",
        help="Run Python code that comes with the source.",
    ),
    *shared("max_graph_seconds", "cache_dir", "offline"),
    Option(
        name="json",
        parse=values.boolean("json"),
        default="off",
        help="Print all figures as JSON.",
    ),
    *shared("quiet", "debug"),
)


PUSH_OPTIONS: tuple[Option, ...] = (
    Option(
        name="repo_id",
        metavar="REPO",
        parse=values.text("repo_id"),
        default="required",
        help="The hub's repository, as org/name; it is made when it is missing.",
    ),
    Option(
        name="private",
        parse=values.boolean("private"),
        default="off",
        help="Make the repository private, where it is made.",
    ),
    Option(
        name="revision",
        metavar="BRANCH",
        parse=values.text("revision"),
        default="the hub's main branch",
        help="The branch to write to; it is made when it is missing.",
    ),
    Option(
        name="create_pr",
        parse=values.boolean("create_pr"),
        default="off",
        help="Open a pull request instead of writing to the branch.",
    ),
    Option(
        name="message",
        metavar="TEXT",
        parse=values.text("message"),
        default="which embconvert made it",
        help="The commit's message.",
    ),
    Option(
        name="dry_run",
        parse=values.boolean("dry_run"),
        default="off",
        help="Check the folder, print what would be uploaded, and open no connection.",
    ),
    *shared("quiet", "debug"),
)


def make_report_request(*, operands: tuple[str, ...], **fields: Any) -> ReportRequest:
    """Returns the request of a report."""
    return ReportRequest(folder=values.user_path("FOLDER", operands[0]), **fields)


def make_compare_request(*, operands: tuple[str, ...], **fields: Any) -> CompareRequest:
    """Returns the request of a comparison.

    Raises:
        UsageError: There is nothing to compare.
    """
    if len(set(operands)) < 2:
        raise UsageError("there is one folder to compare", "give two or more")
    folders = dict.fromkeys(values.user_path("FOLDER", word) for word in operands)
    return CompareRequest(folders=tuple(folders), **fields)


def make_verify_request(*, operands: tuple[str, ...], **fields: Any) -> VerifyRequest:
    """Returns the request of a check."""
    return VerifyRequest(folder=values.user_path("FOLDER", operands[0]), **fields)


def make_push_request(*, operands: tuple[str, ...], **fields: Any) -> PushRequest:
    """Returns the request of an upload.

    Raises:
        UsageError: There is no repository, or two places to write to.
    """
    if "repo_id" not in fields:
        raise UsageError("--repo_id is missing", "write: --repo_id org/name")
    if fields.get("create_pr") and fields.get("revision"):
        raise UsageError(
            "--create_pr and --revision contradict: a pull request goes to the main branch",
            "give one of them",
        )
    return PushRequest(folder=values.user_path("FOLDER", operands[0]), **fields)
