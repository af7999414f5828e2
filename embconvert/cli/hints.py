"""Hints adapted to the command that failed."""

import re

from embconvert.cli.commands import COMMANDS, CommandSpec
from embconvert.request.fleet_options import ENTRY_OPTIONS

_OPTION = re.compile(r"--([a-z]\w+)")
# Options in a suggested command line belong to that command.
_OTHER_COMMAND = re.compile(r"embconvert [a-z].*|docker run.*")


def for_command(hint: str, spec: CommandSpec) -> str:
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
