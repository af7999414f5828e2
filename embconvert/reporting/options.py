"""The options of `embconvert report` and `embconvert compare`."""

from pathlib import Path
from typing import Any

from embconvert import values
from embconvert.config import CompareRequest, ReportRequest
from embconvert.errors import UsageError
from embconvert.options import Option, shared

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


def make_report_request(*, operands: tuple[str, ...], **fields: Any) -> ReportRequest:
    """Returns the request of a report."""
    return ReportRequest(folder=Path(operands[0]).expanduser(), **fields)


def make_compare_request(*, operands: tuple[str, ...], **fields: Any) -> CompareRequest:
    """Returns the request of a comparison.

    Raises:
        UsageError: There is nothing to compare.
    """
    if len(set(operands)) < 2:
        raise UsageError("there is one folder to compare", "give two or more")
    folders = dict.fromkeys(Path(word).expanduser() for word in operands)
    return CompareRequest(folders=tuple(folders), **fields)
