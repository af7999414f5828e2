"""The options of `embconvert batch` and of the entries of its list."""

from collections.abc import Mapping
from typing import Any

from embconvert.errors import UsageError
from embconvert.models.choices import Command
from embconvert.request import own_values, values
from embconvert.request.options import Group, Option, flag, options_of, shared
from embconvert.request.records import AUTO_SHARD, BatchRequest

#: Options of the whole run: a process has one network, one stdout and one stderr.
_OF_THE_RUN = ("offline", "dry_run", "json", "quiet", "debug")

#: The options of an entry, by name.
ENTRY_OPTIONS: Mapping[str, Option] = {
    name: option for name, option in options_of(Command.ALL).items() if name not in _OF_THE_RUN
}

# fmt: off
BATCH_OPTIONS: tuple[Option, ...] = (
    Option(
        name="shard", metavar="PART", group=Group.SOURCE, parse=own_values.shard,
        default="the whole list",
        help="Convert only this part of the list, such as 1/4; auto reads the part from "
        "JOB_COMPLETION_INDEX and the number of parts from --shards or JOB_COMPLETIONS.",
    ),
    Option(
        name="shards", metavar="N", group=Group.SOURCE,
        parse=values.positive("shards", values.MAX_COUNT, example=4),
        default="JOB_COMPLETIONS for --shard auto, one per model for --list_json",
        help="Number of parts for --shard auto and --list_json.",
    ),
    flag("list_json", Group.OUTPUT, "Print the parts as a GitHub Actions matrix; convert nothing."),
    flag("fail_fast", Group.OUTPUT, "Stop at the first model that fails."),
    flag(
        "remove_downloads", Group.FOLDER,
        "Remove each hub model from the cache after its conversion; the next run downloads "
        "only what has changed.",
    ),
    Option(
        name="output_parent_dir", metavar="DIR", group=Group.FOLDER,
        parse=values.path("output_parent_dir"), default="./models/",
        help="As for all; overrides the list's defaults; a model's own value overrides it.",
    ),
    *shared("cache_dir", "offline", "dry_run"),
    flag("json", Group.OUTPUT, "Print each model's result as JSON."),
    *shared("quiet", "debug"),
)
# fmt: on


def make_batch_request(operands: tuple[str, ...], **fields: Any) -> BatchRequest:
    """Raises UsageError for options that exclude each other."""
    if fields.get("list_json") and fields.get("shard") is not None:
        raise UsageError(
            "--list_json and --shard cannot be used together: --list_json prints all parts",
            "remove one of them",
        )
    if "shards" in fields and not fields.get("list_json") and fields.get("shard") != AUTO_SHARD:
        raise UsageError(
            "--shards has no effect without --shard auto or --list_json",
            "add one of them; or name the part, as in --shard 1/4",
        )
    return BatchRequest(file=values.user_path("LIST", operands[0]), **fields)
