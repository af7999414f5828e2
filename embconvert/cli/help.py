"""The texts of `--help` and embconvert help TOPIC."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence

from embconvert.cli.commands import COMMANDS, CommandSpec
from embconvert.cli.topic import Topic
from embconvert.cli.topics import TOPICS
from embconvert.models.suggestions import unknown_value
from embconvert.request.options import Group, Option

#: Longer lines are hard to read, and shorter ones break every option name.
_WIDEST, _NARROWEST = 100, 40
_INTRODUCTION = (
    "embconvert turns Hugging Face embedding models into smaller, faster ONNX, and verifies that "
    "they still give the same embeddings."
)


def help_for(words: Sequence[str], width: int | None = None) -> str | None:
    """Returns the help that a command line asks for, in lines of `width` or the terminal's, if any.

    Raises UsageError for an unknown command or topic.
    """
    asks = list(words[:1]) == ["help"]
    if not asks and not {"--help", "-h"} & set(words):
        return None
    columns = width or shutil.get_terminal_size((80, 24)).columns
    page = _Page(max(_NARROWEST, min(_WIDEST, columns)))
    for word in words[1:] if asks else words:
        if word in COMMANDS:
            return page.command(COMMANDS[word])
        if asks and word in TOPICS:
            return page.topic(TOPICS[word]())
        if asks and not word.startswith("-"):
            raise unknown_value("topic", word, [*TOPICS, *COMMANDS])
    return page.overview()


class _Page:
    """Writes help in lines of a width."""

    def __init__(self, width: int) -> None:
        self._width = width

    def overview(self) -> str:
        """What the program is, and its commands and topics."""
        return "\n".join(
            [
                *self._wrapped(_INTRODUCTION),
                "",
                "examples:",
                *(f"  {spec.examples[0]}" for spec in COMMANDS.values()),
                "",
                "usage: embconvert COMMAND [OPTIONS]",
                "",
                "commands:",
                *self._entries((spec.name, spec.summary) for spec in COMMANDS.values()),
                "",
                *self._wrapped("embconvert COMMAND --help lists the options of a command."),
                *self._wrapped(f"embconvert help TOPIC explains: {', '.join(TOPICS)}."),
            ]
        )

    def command(self, spec: CommandSpec) -> str:
        """A command's examples and options, the options in groups."""
        operand = required = ""
        about: list[str] = []
        if spec.operands is not None:
            operand = f" {spec.operands.metavar}" + ("..." if spec.operands.several else "")
            about = [
                f"  {spec.operands.metavar}",
                *self._wrapped(_plain(spec.operands.help), 6),
                "",
            ]
        if "model_id" in spec.options:
            required = " --model_id ID"
        parts = [
            *self._wrapped(spec.summary),
            "",
            "examples:",
            *(f"  {example}" for example in spec.examples),
            "",
            f"usage: embconvert {spec.name}{operand}{required} [OPTIONS]",
            "",
            *about,
        ]
        for group in Group:
            options = [option for option in spec.options.values() if option.group is group]
            if options:
                parts += [f"{group}:", *self._options(options), ""]
        return "\n".join([*parts, *self._wrapped("exit codes: embconvert help exit-codes")])

    def topic(self, topic: Topic) -> str:
        """A table, a row after the other."""
        parts = [topic.title, "", *self._wrapped(_plain(topic.introduction))]
        _, *titles = topic.columns
        for name, *cells in topic.rows:
            parts += ["", *self._wrapped(_plain(name), 2)]
            for title, cell in zip(titles, cells, strict=True):
                label = "" if title == titles[0] else f"{_plain(title)}: "
                if cell:
                    parts += self._wrapped(label + _plain(cell), 6)
        return "\n".join(parts)

    def _options(self, options: Iterable[Option]) -> list[str]:
        found = []
        for option in options:
            found.append(f"  --{option.name}" + (f" {option.metavar}" if option.metavar else ""))
            found += self._wrapped(f"{option.help} {_default(option)}", 6)
        return found

    def _entries(self, entries: Iterable[tuple[str, str]]) -> list[str]:
        return [
            line
            for name, text in entries
            for line in self._wrapped(f"{name:<12}{text}", 2, following=14)
        ]

    def _wrapped(self, text: str, indent: int = 0, *, following: int | None = None) -> list[str]:
        rest = indent if following is None else following
        return textwrap.wrap(
            text,
            self._width,
            initial_indent=" " * indent,
            subsequent_indent=" " * rest,
            break_long_words=False,
            break_on_hyphens=False,
        )


def _default(option: Option) -> str:
    return "Required." if option.default == "required" else f"Default: {option.default}."


def _plain(text: str) -> str:
    """Returns a topic's text without marks: what a terminal shows."""
    text = re.sub(r"\[([^\]]*)\]\(([\w-]+)\.md\)", r"\1 (embconvert help \2)", text)
    text = re.sub(r"\[([^\]]*)\]\(([^)]*)\)", r"\1, \2", text)
    return text.replace("`", "")
