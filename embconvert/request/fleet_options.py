"""The options of `embconvert batch`, and those that an entry of its list may have."""

from collections.abc import Mapping
from typing import Any

from embconvert.errors import UsageError
from embconvert.models.choices import Command
from embconvert.request import values
from embconvert.request.options import Option, options_of, shared
from embconvert.request.records import BatchRequest

#: What is the whole run's: one process has one network, one stdout and one stderr.
_OF_THE_RUN = ("offline", "dry_run", "json", "quiet", "debug")

#: What an entry may say, by name.
ENTRY_OPTIONS: Mapping[str, Option] = {
    name: option for name, option in options_of(Command.ALL).items() if name not in _OF_THE_RUN
}

BATCH_OPTIONS: tuple[Option, ...] = (
    Option(
        name="shard",
        metavar="PART",
        parse=values.shard,
        default="the whole list",
        help="Only this part of the list, as 1/4; auto takes the part from JOB_COMPLETION_INDEX "
        "and their number from --shards or JOB_COMPLETIONS.",
    ),
    Option(
        name="shards",
        metavar="N",
        parse=values.count("shards"),
        default="JOB_COMPLETIONS for --shard auto, one for each model for --list_json",
        help="How many parts --shard auto and --list_json go by.",
    ),
    Option(
        name="list_json",
        parse=values.boolean("list_json"),
        default="off",
        help="Print the parts as a GitHub Actions matrix, and do nothing.",
    ),
    Option(
        name="fail_fast",
        parse=values.boolean("fail_fast"),
        default="off",
        help="Stop at the first model that fails.",
    ),
    Option(
        name="remove_downloads",
        parse=values.boolean("remove_downloads"),
        default="off",
        help="Remove each hub model from the cache when it is converted; the next run needs only "
        "what has changed.",
    ),
    Option(
        name="output_parent_dir",
        metavar="DIR",
        parse=values.path("output_parent_dir"),
        default="./models/",
        help="As for all; stands above the list's defaults and below a model's own.",
    ),
    *shared("cache_dir", "offline", "dry_run"),
    Option(
        name="json",
        parse=values.boolean("json"),
        default="off",
        help="Print what came of each model as JSON.",
    ),
    *shared("quiet", "debug"),
)


def make_batch_request(operands: tuple[str, ...], **fields: Any) -> BatchRequest:
    """Returns the request of a batch.

    Raises:
        UsageError: Options contradict.
    """
    if fields.get("list_json") and fields.get("shard") is not None:
        raise UsageError(
            "--list_json prints all parts, and --shard chooses one", "leave one of them out"
        )
    return BatchRequest(file=values.user_path("LIST", operands[0]), **fields)
