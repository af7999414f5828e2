"""Shells complete commands, options and values; bash runs its script here, fish's is read."""

import shlex
import subprocess

import pytest

from embconvert.cli.commands import COMMANDS
from embconvert.cli.completion import completion
from embconvert.cli.topics import TOPICS
from embconvert.errors import UsageError
from embconvert.request.records import CompletionRequest


def script(shell: str) -> str:
    return completion(CompletionRequest(shell=shell)).text


def completed(line: str, *, splits: bool = True) -> list[str]:
    """What bash offers at the end of a line, which it splits at spaces and equals signs."""
    words = (line.replace("=", " = ") if splits else line).split(" ")
    call = (
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; _embconvert; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script('bash')}\n{call}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("embconvert comp", ["compare", "completion"]),
        ("embconvert all --no_", ["--no_float32", "--no_per_channel", "--no_reduce_range"]),
        ("embconvert all --layout t", ["transformersjs", "tei"]),
        ("embconvert all --layout=t", ["transformersjs", "tei"]),
        ("embconvert quantize --quant_format ", ["QDQ", "QOperator"]),
        ("embconvert all --quantize Q8,QIn", ["Q8,QInt8", "Q8,QInt8Static"]),
        ("embconvert all --quantize=Q8,Q4,f", []),
        ("embconvert all --json --opset 1", ["17", "18", "19"]),
        ("embconvert compare --output ", []),  # a file, unlike export's
        ("embconvert export --output s", ["sentence"]),
        ("embconvert verify mod", []),  # a folder
        ("embconvert completion z", ["zsh"]),
        ("embconvert help exit", ["exit-codes"]),
        ("embconvert all --no_such_option v", []),
    ],
)
def test_bash_offers_what_fits(line: str, words: list[str]) -> None:
    assert completed(line) == words


def test_bash_offers_every_command_and_each_of_its_options() -> None:
    assert completed("embconvert ") == [*COMMANDS, "help", "--help"]
    for name, spec in COMMANDS.items():
        assert completed(f"embconvert {name} --") == [f"--{n}" for n in [*spec.options, "help"]]


def test_zsh_takes_the_script_of_bash() -> None:
    """zsh splits at spaces only, and expects the whole word back."""
    assert completed("embconvert all --layout=t", splits=False) == [
        "--layout=transformersjs", "--layout=tei",
    ]  # fmt: skip
    assert completed("embconvert all --quantize=Q8,Fl", splits=False) == ["--quantize=Q8,Float16"]
    assert script("zsh").endswith(script("bash"))
    first, second, _ = script("zsh").split("\n", 2)
    assert first == "(( $+functions[compdef] )) || { autoload -U compinit && compinit -i }"
    assert second == "autoload -U +X bashcompinit && bashcompinit"


def test_fish_has_every_command_topic_option_and_choice() -> None:
    text = script("fish")
    # Its quotes are those of sh, apart from what is escaped.
    lines = [shlex.split(line.replace("\\'", "")) for line in text.splitlines()]
    assert all(line[:4] == ["complete", "-c", "embconvert", "-n"] for line in lines)
    begun = {line[line.index("-a") + 1] for line in lines if line[4] == "__fish_use_subcommand"}
    assert begun == {*COMMANDS, "help"}
    (explained,) = [line for line in lines if line[4] == "__fish_seen_subcommand_from help"]
    assert set(explained[-1].split()) == {*COMMANDS, *TOPICS}
    for name, spec in COMMANDS.items():
        mine = [line for line in lines if line[4] == f"__fish_seen_subcommand_from {name}"]
        options = {line[line.index("-l") + 1]: line for line in mine if "-l" in line}
        assert options.keys() == spec.options.keys()
        for option in spec.options.values():
            line = options[option.name]
            assert ("-r" in line or "-x" in line) != option.is_flag
            assert not option.choices or set(option.choices) <= set(
                line[line.index("-a") + 1].rstrip(")").split()
            )


def test_another_shell_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="'tcsh' is unknown") as caught:
        script("tcsh")
    assert "bash, zsh, fish" in caught.value.hint
