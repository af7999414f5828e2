"""The command line: Fire parses, one error boundary decides the exit code."""

import contextlib
import inspect
import io
import locale
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from embconvert.cli.commands import COMMANDS, CommandSpec
from embconvert.cli.help import help_for
from embconvert.cli.hints import for_command
from embconvert.console import clean_stderr
from embconvert.errors import EmbconvertError, Interrupted, OutputError, UsageError
from embconvert.foreign_text import lines, one_line
from embconvert.models.choices import nearest, unknown_value
from embconvert.processes.limits import adjust_limits, limit_error
from embconvert.processes.signals import end_in_order
from embconvert.request.options import Option
from embconvert.request.parsing import parse_options

ISSUES_PAGE = "the project's issue tracker"


def _checked(spec: CommandSpec, words: Sequence[str]) -> list[str]:
    """Refuses what Fire would only refuse after running the command.

    Fire 0.7.1 calls the function first and complains of arguments it did not use afterwards; it
    also gives a flag without a value the text "True", takes the word after a flag for its value,
    and lets the last of two equal flags win.

    Returns:
        The words with nothing left to guess: operands, then `--name=value`.

    Raises:
        UsageError: An unknown, repeated or value-less option, a stray or a missing word.
    """
    operands: list[str] = []
    given: dict[str, str] = {}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("-") and spec.operands is not None:
            operands.append(word)
            continue
        if not word.startswith("--") or word == "--":
            asks = "model_id" in spec.options and "model_id" not in given
            raise UsageError(
                f"{word!r} is not an option of {spec.name}",
                f"write --model_id {word}" if asks else "remove it",
            )
        name, has_value, value = word[2:].partition("=")
        name = name.replace("-", "_")
        option: Option | None = spec.options.get(name)
        if option is None:
            raise _unknown_option(spec, name)
        if name in given:
            raise UsageError(
                f"--{name} is given twice",
                "give it once" if name != "quantize" else "write --quantize QInt8,Float16",
            )
        following = words[position] if position < len(words) else "--"
        if option.is_flag:
            if not has_value and following.lower() in ("true", "false", "0", "1"):
                value, position = following, position + 1
            elif not has_value:
                value = "true"
        elif not has_value:
            if following.startswith("--"):
                raise UsageError(f"--{name} needs a value", f"write --{name} {option.metavar}")
            value, position = following, position + 1
        if not value:
            raise UsageError(f"--{name} is empty", f"write --{name} {option.metavar or ''}".strip())
        given[name] = value
    _check_operands(spec, operands)
    return [*operands, *(f"--{name}={value}" for name, value in given.items())]


def _check_operands(spec: CommandSpec, operands: Sequence[str]) -> None:
    if spec.operands is None:
        return
    metavar = spec.operands.metavar
    if not operands:
        raise UsageError(f"{metavar} is missing", f"write: {spec.examples[0]}")
    if len(operands) > 1 and not spec.operands.several:
        raise UsageError(
            f"{spec.name} takes one {metavar}, and {len(operands)} words are given",
            f"remove {' '.join(operands[1:])}",
        )


def _unknown_option(spec: CommandSpec, name: str) -> UsageError:
    elsewhere = [other.name for other in COMMANDS.values() if name in other.options]
    if elsewhere:
        return UsageError(
            f"--{name} is not an option of {spec.name}",
            f"it is one of: {', '.join(elsewhere)}",
        )
    suggestion = nearest(name, spec.options)
    return UsageError(
        f"--{name} is not an option of {spec.name}",
        (f"did you mean --{suggestion}? " if suggestion else "")
        + f"`embconvert {spec.name} --help` lists the options",
    )


def _fire_function(spec: CommandSpec) -> Callable[..., Any]:
    """Returns the function whose signature tells Fire the command's options."""
    from fire.decorators import SetParseFn

    def function(*operands: str, **words: str | None) -> Any:
        given = {name: word for name, word in words.items() if word is not None}
        fields = parse_options(spec.options.values(), given)
        if spec.operands is not None:
            fields["operands"] = operands
        return _Parsed(spec.make_request(**fields))

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in spec.options
    ]
    if spec.operands is not None:
        parameters.insert(0, inspect.Parameter("operands", inspect.Parameter.VAR_POSITIONAL))
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    # Fire would evaluate values as Python literals: `--revision=12e4567` becomes infinity.
    parse_as_text: Callable[..., Any] = SetParseFn(str)(function)
    return parse_as_text


class _Parsed:
    """Hides the request from Fire, which would look for more to call in it."""

    def __init__(self, request: Any) -> None:
        self.request = request


def parse(words: Sequence[str]) -> tuple[CommandSpec, Any]:
    """Turns a command line into a command and its request, without doing any work.

    Args:
        words: What follows the program's name.

    Raises:
        UsageError: The command, an option or a value is not known.
    """
    if not words:
        raise UsageError("no command", f"write one of: {', '.join(COMMANDS)}; or --help")
    name = "version" if words[0] == "--version" else words[0]
    if name not in COMMANDS:
        raise unknown_value("command", name, COMMANDS)
    spec = COMMANDS[name]
    checked = _checked(spec, words[1:])

    import fire

    parsed = fire.Fire(
        {name: _fire_function(spec)},
        command=[name, *checked],
        name="embconvert",
        serialize=lambda _: None,
    )
    assert isinstance(parsed, _Parsed)
    return spec, parsed.request


#: Characters of a traceback, which has the message of its exception.
_TRACEBACK_LIMIT = 20_000


def _report(message: str, hint: str) -> None:
    # The terminal may be gone; the exit code tells nevertheless.
    with contextlib.suppress(OSError):
        print(  # noqa: T201
            f"error: {one_line(message)}\nhint: {one_line(hint)}", file=sys.stderr, flush=True
        )


def _report_traceback() -> None:
    with contextlib.suppress(OSError):
        print(lines(traceback.format_exc(), _TRACEBACK_LIMIT), file=sys.stderr)  # noqa: T201


def _print(text: str) -> None:
    """Prints a result: on a terminal cleaned; for a program exactly, as a path must be.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        print(lines(text) if sys.stdout.isatty() else text, flush=True)  # noqa: T201
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"the result cannot be written to stdout: {error.strerror}", "redirect it elsewhere"
        ) from error


def _report_error(error: EmbconvertError, spec: CommandSpec | None = None) -> int:
    for part in error.parts:
        hint = part.hint if spec is None else for_command(part.hint, spec)
        _report(part.message, hint)
    return error.exit_code


def _report_interruption(interruption: Interrupted) -> int:
    if interruption.signal_number == signal.SIGXCPU:
        message, hint = "the CPU time is used up (`ulimit -t`)", "raise the limit, and run it again"
    else:
        message, hint = "interrupted", "nothing unfinished was published; run it again"
    _report(message, hint)
    return interruption.exit_code


def _report_bug(error: Exception) -> int:
    """Tells of an error that nothing expected, unless it is a limit of the system."""
    limit = limit_error(error)
    if isinstance(error, MemoryError):
        limit = OutputError("there is not enough memory", "end other programs, or add memory")
    if limit is not None:
        return _report_error(limit)
    _report_traceback()
    _report("this is a bug in embconvert", f"please report it at {ISSUES_PAGE}")
    return 1


def _refuse_missing_working_directory() -> None:
    """Raises UsageError where the libraries would fail one by one."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the working directory cannot be used: {error.strerror}",
            "change to a folder that exists, as with `cd ~`, and run it again",
        ) from error


def run(words: Sequence[str]) -> int:
    """Runs a command line and returns its exit code; the only place that catches errors."""
    debug = "--debug" in words
    spec: CommandSpec | None = None
    try:
        end_in_order()
        text = help_for(words)
        if text is not None:
            _print(text)
            return 0
        spec, request = parse(words)
        _refuse_missing_working_directory()
        adjust_limits()
        finished = spec.run(request)
        _print(finished.text)
    except EmbconvertError as error:
        if debug:
            _report_traceback()
        return _report_error(error, spec)
    except Interrupted as interruption:
        return _report_interruption(interruption)
    except BrokenPipeError:
        # Whoever read stdout has what he wanted; the interpreter must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001 - the boundary: whatever is left is a bug
        return _report_bug(error)
    return finished.exit_code


def _speak_utf_8() -> None:
    """Starts this process again in Python's UTF-8 mode where the locale has another encoding.

    The libraries read files in the locale's encoding, and some take paths in UTF-8 only.
    """
    if locale.getpreferredencoding(False).lower().replace("-", "") != "utf8":
        os.environ["PYTHONUTF8"] = "1"  # of the workers
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _open_closed_streams() -> None:
    """Opens standard streams that are closed: else files get their numbers, and what is said."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)  # the workers need it no less
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def main() -> NoReturn:
    """The console script."""
    _open_closed_streams()
    _speak_utf_8()
    clean_stderr()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path that is not UTF-8 is printed as it is.
        sys.stdout.reconfigure(errors="surrogateescape")
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # Interpreter shutdown of torch and ONNX Runtime takes most of a second and has nothing to do.
    os._exit(code)
