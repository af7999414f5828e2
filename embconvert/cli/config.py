"""Options that a user keeps in a file: `--config FILE`, or embconvert.yaml where they work."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embconvert.foreign_text import shell_line
from embconvert.request import values
from embconvert.request.option_file import OptionFile, TooManyErrors, above, option_name
from embconvert.request.options import OPTIONS, Group, Option, choice
from embconvert.request.yaml_tree import Mapping as Tree
from embconvert.request.yaml_tree import Scalar
from embconvert.stderr import FORMAT_VARIABLE, LogFormat

#: Read without being named, from the working directory.
USUAL_FILE = Path("embconvert.yaml")
#: The word for no file.
_NO_FILE = "none"
_MAX_BYTES = 1 << 20
#: Who names a file has seen it; one that happens to lie there must not run code.
_ONLY_IF_NAMED = "trust_remote_code"

# fmt: off
CONFIG = Option(
    name="config", metavar="FILE", group=Group.OUTPUT, parse=values.path("config"),
    default=f"{USUAL_FILE} in the working directory, if there is one",
    help="YAML file of options, `option: value` one per line, for those that the command "
    f"line does not give; {_NO_FILE} reads no file.",
)

LOG_FORMAT = choice(
    name="log_format", metavar="FORMAT", group=Group.OUTPUT,
    words=values.by_word(LogFormat), default=f"${FORMAT_VARIABLE}, or text",
    help="Format of the messages on stderr: text, or json, an object a line with "
    "time, level, message, and the hint of an error or the rows of a table.",
)
# fmt: on
_KNOWN = {option.name: option for option in (*OPTIONS, LOG_FORMAT)}
#: Options of the program itself: no request has them.
PROGRAM_OPTIONS = (CONFIG.name, LOG_FORMAT.name)


@dataclass(frozen=True, kw_only=True)
class ConfiguredOptions:
    """A command line's options with those of its file, and what the user is told of it."""

    given: dict[str, str]
    remarks: tuple[str, ...] = ()


def with_config(
    command: str, options: Mapping[str, Option], given: Mapping[str, str]
) -> ConfiguredOptions:
    """Adds the options of a file to those of a command line, which has precedence.

    Raises:
        UsageError: The file cannot be read.
        SeveralErrors: The file has errors, each with its line and column.
    """
    words = dict(given)
    named = words.pop(CONFIG.name, None)
    if CONFIG.name not in options or named == _NO_FILE:
        return ConfiguredOptions(given=words)
    if named is None and not os.path.lexists(USUAL_FILE):
        return ConfiguredOptions(given=words)
    path = USUAL_FILE if named is None else CONFIG.parse(named)
    remarks: list[str] = []
    allowed = named is not None or _ONLY_IF_NAMED in words
    found = _read(path, remarks, may_run_code=allowed)
    unused = [name for name in found if name not in options]
    own = {name: word for name, word in found.items() if name in options}
    merged = above(own, words, options)
    used = shell_line(*(f"--{name}={word}" for name, word in merged.items() if name not in words))
    remarks.append(f"options of {path}: {used or 'none'}")
    if unused:
        remarks.append(f"{path}: not used by {command}: {', '.join(unused)}")
    return ConfiguredOptions(given=merged, remarks=tuple(remarks))


def _read(path: Path, remarks: list[str], *, may_run_code: bool) -> dict[str, str]:
    file = OptionFile(path, remarks.append)
    tree = file.read(_MAX_BYTES)
    words: dict[str, str] = {}
    if isinstance(tree, Scalar) and tree.text is None:  # nothing but comments
        return words
    try:
        words = file.words(
            tree, _KNOWN, "is not an option", "use the options of `embconvert all --help`"
        )
        if not may_run_code and _ONLY_IF_NAMED in words and isinstance(tree, Tree):
            place = next(k.place for k, _ in tree.pairs if option_name(k) == _ONLY_IF_NAMED)
            file.note(
                place,
                f"{_ONLY_IF_NAMED} is not taken from a file that the command line does not name",
                f"write --config {path}, or --{_ONLY_IF_NAMED} on the command line",
            )
    except TooManyErrors:
        pass
    file.check()
    return words
