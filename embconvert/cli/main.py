"""The command line: Fire parses, one error boundary decides the exit code."""

import contextlib
import inspect
import io
import locale
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from embconvert.cli.commands import COMMANDS, CommandSpec
from embconvert.cli.config import LOG_FORMAT, PROGRAM_OPTIONS, with_config
from embconvert.cli.failures import (
    failure_of,
    failure_of_bug,
    failure_of_interruption,
    wants_json,
    wants_json_log,
)
from embconvert.cli.help import help_for
from embconvert.cli.hints import hint_for_unexpected, hint_for_unknown_command, unknown_option
from embconvert.console import Console, show_library_messages
from embconvert.errors import EmbconvertError, Interrupted, OutputError, UsageError
from embconvert.foreign_text import lines
from embconvert.models.suggestions import unknown_value
from embconvert.processes.limits import adjust_limits, refuse_missing_working_directory
from embconvert.processes.signals import end_in_order
from embconvert.processes.streams import open_closed_streams, stdout_for_the_result
from embconvert.request.options import Option
from embconvert.request.parsing import parse_options, understood
from embconvert.stderr import (
    FORMAT_VARIABLE,
    LogFormat,
    clean_stderr,
    unknown_format,
    use_log_format,
)


def _checked(spec: CommandSpec, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Refuses what Fire would refuse only after running the command.

    Fire 0.7.1 calls the function first and complains about unused arguments afterwards. It also
    gives a flag without a value the text "True", takes the word after a flag as its value, and lets
    the last of two equal flags win.

    Returns:
        The operands, and the value of each option by its name.

    Raises:
        UsageError: An option is unknown, repeated or has no value; an operand is missing or
            unexpected.
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
            before = words[: position - 1]
            hint = hint_for_unexpected(spec, word, before, words[position:])
            raise UsageError(f"{word!r} is not an option of {spec.name}", hint)
        name, has_value, value = word[2:].partition("=")
        name = name.replace("-", "_")
        option: Option | None = spec.options.get(name)
        if option is None:
            raise unknown_option(spec, name)
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
    return operands, given


def _check_operands(spec: CommandSpec, operands: Sequence[str]) -> None:
    if spec.operands is None:
        return
    metavar = spec.operands.metavar
    if not operands:
        raise UsageError(f"{metavar} is missing", f"write: {spec.examples[0]}")
    if len(operands) > 1 and not spec.operands.several:
        raise UsageError(
            f"{spec.name} takes one {metavar}, and {len(operands)} are given",
            f"remove {' '.join(operands[1:])}",
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
    # Fire would evaluate values as Python literals: `--revision=12e4567` would become infinity.
    parse_as_text: Callable[..., Any] = SetParseFn(str)(function)
    return parse_as_text


class _Parsed:
    """Hides the request from Fire, which would offer its attributes as further commands."""

    def __init__(self, request: Any) -> None:
        self.request = request


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A command line whose words are checked, with the options of its file."""

    spec: CommandSpec
    operands: list[str]
    given: dict[str, str]
    remarks: tuple[str, ...]

    def flag(self, name: str) -> bool:
        return name in self.given and bool(self.spec.options[name].parse(self.given[name]))

    def request(self) -> Any:
        import fire

        options = [
            f"--{option}={value}"
            for option, value in self.given.items()
            if option not in PROGRAM_OPTIONS
        ]
        parsed = fire.Fire(
            {self.spec.name: _fire_function(self.spec)},
            command=[self.spec.name, *self.operands, *options],
            name="embconvert",
            serialize=lambda _: None,
        )
        assert isinstance(parsed, _Parsed)
        return parsed.request


def _read(words: Sequence[str]) -> _Line:
    if not words:
        raise UsageError(
            "no command is given",
            f"give one of: {', '.join(COMMANDS)}; `embconvert --help` describes them",
        )
    name = "version" if words[0] == "--version" else words[0]
    if name not in COMMANDS:
        hint = hint_for_unknown_command(name)
        if hint is not None:
            raise UsageError(f"command {name!r} is unknown", hint)
        raise unknown_value("command", name, COMMANDS)
    spec = COMMANDS[name]
    operands, given = _checked(spec, words[1:])
    remarks = [understood(spec.options[name], value) for name, value in given.items()]
    merged = with_config(spec.name, spec.options, given)
    return _Line(
        spec=spec,
        operands=operands,
        given=merged.given,
        remarks=(*filter(None, remarks), *merged.remarks),
    )


def parse(words: Sequence[str]) -> tuple[CommandSpec, Any]:
    """Turns a command line into a command and its request; raises UsageError for unknown words."""
    line = _read(words)
    return line.spec, line.request()


def _print(text: str) -> None:
    """Prints a result, sanitized for a terminal; raises OutputError if stdout cannot be written."""
    if not text:  # not even an empty line
        return
    try:
        print(lines(text) if sys.stdout.isatty() else text, flush=True)  # noqa: T201
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"the result cannot be written to stdout: {error.strerror}",
            "redirect stdout to a place that can be written",
        ) from error


def run(words: Sequence[str]) -> int:
    """Runs a command line and returns its exit code. Errors are caught only here."""
    debug = "--debug" in words
    as_json = wants_json(words)
    spec: CommandSpec | None = None
    try:
        end_in_order()
        if wants_json_log(words):
            use_log_format(LogFormat.JSON)
        unknown = unknown_format()
        if unknown is not None:
            raise UsageError(f"${FORMAT_VARIABLE} is {unknown!r}", "set it to text or json")
        text = help_for(words)
        if text is not None:
            _print(text)
            return 0
        line = _read(words)
        spec, debug = line.spec, line.flag("debug")
        as_json = line.flag("json")
        if LOG_FORMAT.name in line.given:
            use_log_format(LOG_FORMAT.parse(line.given[LOG_FORMAT.name]))
        show_library_messages(debug)
        console = Console(quiet=line.flag("quiet"), debug=debug)
        for remark in line.remarks:
            console.say(remark)
        request = line.request()
        refuse_missing_working_directory()
        adjust_limits()
        with stdout_for_the_result(debug=debug):
            finished = spec.run(request)
        _print(finished.text)
    except EmbconvertError as error:
        failure = failure_of(error, spec, debug=debug)
    except Interrupted as interruption:
        failure = failure_of_interruption(interruption)
    except BrokenPipeError:
        # The reader of stdout has closed it; the interpreter must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001 - the boundary: whatever is left is a bug
        failure = failure_of_bug(error)
    else:
        return finished.exit_code
    failure.tell(as_json=as_json)
    return failure.exit_code


def _speak_utf_8() -> None:
    """Restarts this process in Python's UTF-8 mode where the locale has another encoding.

    The libraries read files in the locale's encoding, and some accept only UTF-8 paths.
    """
    if locale.getpreferredencoding(False).lower().replace("-", "") != "utf8":
        os.environ["PYTHONUTF8"] = "1"  # for the workers
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def main() -> NoReturn:
    open_closed_streams()
    _speak_utf_8()
    clean_stderr()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path that is not UTF-8 is printed byte for byte.
        sys.stdout.reconfigure(errors="surrogateescape")
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # Skip the interpreter's shutdown: torch and ONNX Runtime need most of a second for it.
    os._exit(code)
