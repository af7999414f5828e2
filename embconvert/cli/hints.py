"""Hints that know the commands and their options."""

import re
from collections.abc import Sequence

from embconvert.cli.commands import COMMANDS, CommandSpec
from embconvert.errors import UsageError
from embconvert.request.fleet_options import ENTRY_OPTIONS
from embconvert.request.usual_names import instead_of, nearest_option

#: What people try first.
_USUAL_NAME_OF_ALL = "convert"

_OPTION = re.compile(r"--([a-z]\w+)")
# Options in a suggested command line belong to that command.
_OTHER_COMMAND = re.compile(r"embconvert [a-z].*|docker run.*")


def hint_with_commands(hint: str, spec: CommandSpec) -> str:
    """Returns a hint that says which commands have the options that `spec` lacks.

    Stages are shared by commands, so their hints may name options of any command.
    """
    known = set(spec.options) | (set(ENTRY_OPTIONS) if spec.name == "batch" else set())
    named = dict.fromkeys(_OPTION.findall(_OTHER_COMMAND.sub("", hint)))
    notes = []
    for option in (name for name in named if name not in known):
        commands = [other.name for other in COMMANDS.values() if option in other.options]
        if commands:
            notes.append(f"--{option} is an option of: {', '.join(commands)}")
    return f"{hint} ({'; '.join(notes)})" if notes else hint


def hint_for_unexpected(
    spec: CommandSpec, word: str, before: Sequence[str], after: Sequence[str]
) -> str:
    """Returns what to do about a word that is neither an option with two dashes nor a value."""
    if word == "--":
        return "remove it"
    if word.startswith("-"):
        return _suggest_option(spec, word.lstrip("-").replace("-", "_"))
    if word == "help":
        return f"write: embconvert {spec.name} --help"
    names = [name.partition("=")[0].replace("-", "_") for name in (*before, *after)]
    if "model_id" in spec.options and "__model_id" not in names:
        return f"write --model_id {word}"
    # The value before it: `--option value word` or `--option=value word`.
    *_, option, value = ["", "", *(part for part in before[-2:] for part in part.split("=", 1))]
    known = spec.options.get(option.removeprefix("--").replace("-", "_"))
    if known is not None and known.several:
        return f"write --{known.name} {value.rstrip(',')},{word.lstrip(',')}"
    return "remove it; a value with spaces needs quotes"


def unknown_option(spec: CommandSpec, name: str) -> UsageError:
    if spec.name == "batch" and name in ENTRY_OPTIONS:
        return UsageError(
            f"--{name} is an option of each model of the list",
            f"write `{name}:` in the list, below `defaults:` or below a model",
        )
    elsewhere = [other.name for other in COMMANDS.values() if name in other.options]
    if elsewhere:
        return UsageError(
            f"--{name} is not an option of {spec.name}",
            f"it is an option of: {', '.join(elsewhere)}",
        )
    return UsageError(
        f"--{name} is not an option of {spec.name}",
        _suggest_option(spec, name),
    )


def hint_for_unknown_command(name: str) -> str | None:
    """Returns what was meant by a word that is not like the name of a command; else None."""
    if name.lower() == _USUAL_NAME_OF_ALL:
        return "did you mean all?"
    if name.startswith("-"):
        return "write the command first, for example: embconvert all --model_id org/name"
    if "/" in name:  # a hub id, or the path of a folder
        return f"to convert a model, write: embconvert all --model_id {name}"
    return None


def _suggest_option(spec: CommandSpec, name: str) -> str:
    instead = instead_of(name)
    suggestion = nearest_option(name, spec.options)
    start = f"{instead}; " if instead else f"did you mean --{suggestion}? " if suggestion else ""
    return f"{start}`embconvert {spec.name} --help` lists the options"
