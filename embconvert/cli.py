"""The command line: Fire parses, one error boundary decides the exit code."""

import inspect
import os
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from embconvert.config import Command, Request, nearest, unknown_value
from embconvert.errors import EmbconvertError, Interrupted, UsageError
from embconvert.options import Option, options_of, parse_request
from embconvert.version import version

ISSUES_PAGE = "the project's issue tracker"

_SUMMARIES = {
    Command.EXPORT: "Turn a model into plain ONNX (onnx/model.onnx) that any runtime loads.",
    Command.OPTIMIZE: "Fuse the graph that export left (onnx/model_opt1.onnx).",
    Command.QUANTIZE: "Make a graph's weights smaller (onnx/model_opt1_QInt8.onnx).",
    Command.ALL: "Export, optimize and quantize, loading each thing once.",
}

_EXAMPLES = {
    Command.EXPORT: (
        "embconvert export --model_id intfloat/e5-small-v2",
        "embconvert export --model_id ./my-model --opset 18 --output_parent_dir out",
    ),
    Command.OPTIMIZE: (
        "embconvert optimize --model_id intfloat/e5-small-v2 --optimize 2",
        "embconvert optimize --model_id ./my-model --model_path graph.onnx",
    ),
    Command.QUANTIZE: (
        "embconvert quantize --model_id intfloat/e5-small-v2 --quantize QInt8",
        "embconvert quantize --model_id ./my-model --quantize QInt8,Float16 --min_cosine 0.99",
    ),
    Command.ALL: (
        "embconvert all --model_id intfloat/e5-small-v2 --quantize QInt8",
        "embconvert all --model_id ./my-model --optimize 2 --quantize QInt8,Float16",
        "embconvert all --model_id BAAI/bge-small-en-v1.5 --revision main --dry_run",
    ),
}

_EXIT_CODES = (
    "0 done, 2 usage, 3 source model, 4 unsupported model, 5 export, 6 optimize, 7 quantize, "
    "8 fidelity below the floor, 9 output folder, 10 network, 130 Ctrl-C, 143 terminated, 1 a bug"
)


def general_help() -> str:
    """Returns the text of `embconvert --help`."""
    commands = "\n".join(f"  {command:<10}{_SUMMARIES[command]}" for command in Command)
    return (
        "embconvert turns Hugging Face embedding models into smaller, faster ONNX,\n"
        "and proves that they still give the same embeddings.\n\n"
        "usage: embconvert COMMAND --model_id ID [OPTIONS]\n\n"
        f"commands:\n{commands}\n\n"
        "examples:\n"
        + "".join(f"  {_EXAMPLES[command][0]}\n" for command in Command)
        + "\n"
        + textwrap.fill(f"exit codes: {_EXIT_CODES}", 80, subsequent_indent="  ")
        + "\n\n`embconvert COMMAND --help` lists the options of a command; "
        "`embconvert version --json` tells\nthis version and that of every package."
    )


def command_help(command: Command) -> str:
    """Returns the text of `embconvert COMMAND --help`."""
    lines = [_SUMMARIES[command], "", f"usage: embconvert {command} --model_id ID [OPTIONS]", ""]
    lines.append("options:")
    for option in options_of(command).values():
        lines.append(f"  --{option.name}" + (f" {option.metavar}" if option.metavar else ""))
        text = option.help + (f" Default: {option.default}." if option.default else "")
        lines.extend(textwrap.wrap(text, 80, initial_indent="      ", subsequent_indent="      "))
    lines += ["", "examples:", *(f"  {example}" for example in _EXAMPLES[command])]
    lines += ["", textwrap.fill(f"exit codes: {_EXIT_CODES}", 80, subsequent_indent="  ")]
    return "\n".join(lines)


def _check_arguments(command: Command, arguments: Sequence[str]) -> None:
    """Refuses what Fire would only refuse after running the command.

    Fire 0.7.1 calls the function first and complains of arguments it did not use afterwards; it
    also gives a flag without a value the text "True", and lets the last of two equal flags win.

    Raises:
        UsageError: An unknown, repeated or value-less option, or a stray word.
    """
    options = options_of(command)
    seen: set[str] = set()
    position = 0
    while position < len(arguments):
        word = arguments[position]
        position += 1
        if not word.startswith("--") or word == "--":
            hint = f"write --model_id {word}" if "model_id" not in seen else "remove it"
            raise UsageError(f"{word!r} is not an option of {command}", hint)
        name, has_value, value = word[2:].partition("=")
        name = name.replace("-", "_")
        option: Option | None = options.get(name)
        if option is None:
            raise _unknown_option(command, name)
        if name in seen:
            raise UsageError(
                f"--{name} is given twice",
                "give it once" if name != "quantize" else "write --quantize QInt8,Float16",
            )
        seen.add(name)
        following = arguments[position] if position < len(arguments) else "--"
        if not has_value and not following.startswith("--"):
            if option.is_flag and following.lower() not in ("true", "false", "0", "1"):
                continue
            value, position = following, position + 1
        elif not has_value and not option.is_flag:
            raise UsageError(f"--{name} needs a value", f"write --{name} {option.metavar}")
        if not option.is_flag and not value:
            raise UsageError(f"--{name} is empty", f"write --{name} {option.metavar}")


def _unknown_option(command: Command, name: str) -> UsageError:
    elsewhere = [other for other in Command if name in options_of(other)]
    if elsewhere:
        return UsageError(
            f"--{name} is not an option of {command}",
            f"it is one of: {', '.join(elsewhere)}",
        )
    suggestion = nearest(name, options_of(command))
    return UsageError(
        f"--{name} is not an option of {command}",
        (f"did you mean --{suggestion}? " if suggestion else "")
        + f"`embconvert {command} --help` lists the options",
    )


def _fire_function(command: Command) -> Callable[..., Request]:
    """Returns the function whose signature tells Fire the command's options."""
    from fire.decorators import SetParseFns

    options = options_of(command)

    def function(**texts: str | None) -> Request:
        return parse_request(command, {k: v for k, v in texts.items() if v is not None})

    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None) for n in options]
    )
    # Fire would evaluate values as Python literals: `--revision=12e4567` becomes infinity.
    parse_as_text: Callable[..., Request] = SetParseFns(**dict.fromkeys(options, str))(function)
    return parse_as_text


def parse(arguments: Sequence[str]) -> Request:
    """Turns a command line into a Request, without doing any work.

    Args:
        arguments: The words after the program's name.

    Raises:
        UsageError: The command, an option or a value is not known.
    """
    if not arguments:
        raise UsageError("no command", f"write one of: {', '.join(Command)}; or --help")
    if arguments[0] not in set(Command):
        raise unknown_value("command", arguments[0], [*Command, "version"])
    command = Command(arguments[0])
    _check_arguments(command, arguments[1:])

    import fire

    request = fire.Fire(
        {str(command): _fire_function(command)},
        command=list(arguments),
        name="embconvert",
        serialize=lambda _: None,
    )
    assert isinstance(request, Request)
    return request


def _help_for(arguments: Sequence[str]) -> str | None:
    """Returns the help that the words ask for, or None when they ask for none."""
    wanted = {"--help", "-h"} & set(arguments)
    if not wanted and arguments[:1] != ["help"]:
        return None
    for word in arguments:
        if word in set(Command):
            return command_help(Command(word))
    return general_help()


def _version_for(arguments: Sequence[str]) -> str | None:
    """Returns the version that the words ask for, or None when they ask for none.

    Raises:
        UsageError: `version` is followed by anything but `--json`.
    """
    if list(arguments[:1]) not in (["version"], ["--version"]):
        return None
    others = [word for word in arguments[1:] if word != "--json"]
    if others:
        raise UsageError(f"{others[0]!r} is not an option of version", "write version --json")
    return version(as_json="--json" in arguments)


def _raise_interrupted(signal_number: int, _frame: object) -> NoReturn:
    # A second signal must not interrupt the clean-up that the first one started.
    signal.signal(signal_number, signal.SIG_IGN)
    raise Interrupted(signal_number)


def _report(message: str, hint: str) -> None:
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)  # noqa: T201


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and returns its exit code; the only place that catches errors."""
    debug = "--debug" in arguments
    try:
        signal.signal(signal.SIGINT, _raise_interrupted)
        signal.signal(signal.SIGTERM, _raise_interrupted)
        text = _help_for(arguments) or _version_for(arguments)
        if text is not None:
            print(text)  # noqa: T201
            return 0
        request = parse(arguments)

        from embconvert.pipeline import convert

        print(convert(request))  # noqa: T201
    except EmbconvertError as error:
        if debug:
            traceback.print_exc()
        _report(error.message, error.hint)
        return error.exit_code
    except Interrupted as interruption:
        _report("interrupted", "nothing unfinished was published; run it again")
        return interruption.exit_code
    except BrokenPipeError:
        # Whoever read stdout has what he wanted; the interpreter must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception:  # noqa: BLE001 - the boundary: whatever is left is a bug
        traceback.print_exc()
        _report("this is a bug in embconvert", f"please report it at {ISSUES_PAGE}")
        return 1
    return 0


def main() -> NoReturn:
    """The console script."""
    code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Interpreter shutdown of torch and ONNX Runtime takes most of a second and has nothing to do.
    os._exit(code)
