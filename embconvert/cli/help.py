"""The texts of `--help`."""

import textwrap
from collections.abc import Sequence

from embconvert.cli.commands import COMMANDS, CommandSpec

_EXIT_CODES = (
    "0 done, 2 usage, 3 source model, 4 unsupported model, 5 export, 6 optimize, 7 quantize, "
    "8 fidelity below the floor, 9 output folder, 10 network, 130 Ctrl-C, 143 terminated, 1 a bug"
)
_WIDTH = 80


def help_for(words: Sequence[str]) -> str | None:
    """Returns the help that a command line asks for, or None when it asks for none."""
    if not {"--help", "-h"} & set(words) and list(words[:1]) != ["help"]:
        return None
    for word in words:
        if word in COMMANDS:
            return command_help(COMMANDS[word])
    return general_help()


def general_help() -> str:
    """Returns the text of `embconvert --help`."""
    commands = "\n".join(
        textwrap.fill(
            f"{spec.name:<10}{spec.summary}",
            _WIDTH,
            initial_indent="  ",
            subsequent_indent=" " * 12,
        )
        for spec in COMMANDS.values()
    )
    return (
        "embconvert turns Hugging Face embedding models into smaller, faster ONNX,\n"
        "and proves that they still give the same embeddings.\n\n"
        "usage: embconvert COMMAND [OPTIONS]\n\n"
        f"commands:\n{commands}\n\n"
        "examples:\n"
        + "".join(f"  {spec.examples[0]}\n" for spec in COMMANDS.values())
        + f"\n{_exit_codes()}\n\n`embconvert COMMAND --help` lists the options of a command."
    )


def command_help(spec: CommandSpec) -> str:
    """Returns the text of `embconvert COMMAND --help`."""
    operands = ""
    if spec.operands is not None:
        operands = f" {spec.operands.metavar}" + ("..." if spec.operands.several else "")
    required = " --model_id ID" if "model_id" in spec.options else ""
    lines = [
        *textwrap.wrap(spec.summary, _WIDTH),
        "",
        f"usage: embconvert {spec.name}{operands}{required} [OPTIONS]",
        "",
    ]
    if spec.operands is not None:
        lines += [f"  {spec.operands.metavar}", *_indented(spec.operands.help), ""]
    lines.append("options:")
    for option in spec.options.values():
        lines.append(f"  --{option.name}" + (f" {option.metavar}" if option.metavar else ""))
        text = option.help + (f" Default: {option.default}." if option.default else "")
        lines += _indented(text)
    lines += ["", "examples:", *(f"  {example}" for example in spec.examples)]
    lines += ["", _exit_codes()]
    return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _exit_codes() -> str:
    return textwrap.fill(f"exit codes: {_EXIT_CODES}", _WIDTH, subsequent_indent="  ")
