"""`embconvert completion`: scripts for shells, made of the table of commands."""

from collections.abc import Iterable

from embconvert.cli.commands import COMMANDS, CommandSpec
from embconvert.cli.topics import TOPICS
from embconvert.models.suggestions import unknown_value
from embconvert.request.options import Option
from embconvert.request.records import CompletionRequest, Finished

#: bash splits `--layout=hub` at the equals sign, and zsh does not.
_BASH = """\
_embconvert() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local words="" list=""
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $previous == "=" ]]; then
        previous=${{COMP_WORDS[COMP_CWORD-2]}}
    elif [[ $current == --*=* ]]; then
        previous=${{current%%=*}} list="${{current%%=*}}=" current=${{current#*=}}
    fi
    case "$COMP_CWORD:${{COMP_WORDS[1]}}:$previous" in
{cases}
    esac
    if [[ $current == *,* ]]; then
        list="$list${{current%,*}},"
    fi
    COMPREPLY=($(compgen -P "$list" -W "$words" -- "${{current##*,}}"))
}}
complete -o default -F _embconvert embconvert
"""
#: Where ~/.zshrc has not loaded zsh's own completion, bash's `complete` would fail.
_ZSH = """\
(( $+functions[compdef] )) || { autoload -U compinit && compinit -i }
autoload -U +X bashcompinit && bashcompinit
"""


def completion(request: CompletionRequest) -> Finished:
    """Prints the script of a shell; raises UsageError if there is none."""
    scripts = {"bash": _bash, "zsh": lambda: _ZSH + _bash(), "fish": _fish}
    if request.shell not in scripts:
        raise unknown_value("SHELL", request.shell, scripts)
    return Finished(text=scripts[request.shell]().rstrip("\n"))


def _bash() -> str:
    """Returns a function of which the first case that fits gives the words.

    Without a word that fits, the shell completes names of files.
    """
    cases = [("1:*", [*COMMANDS, "help", "--help"]), ("2:help:*", [*TOPICS, *COMMANDS])]
    for spec in COMMANDS.values():
        for option in spec.options.values():
            if not option.is_flag:
                cases.append((f"*:{spec.name}:--{option.name}", list(option.choices)))
        operands = spec.operands.choices if spec.operands else ()
        options = [f"--{name}" for name in [*spec.options, "help"]]
        cases.append((f"*:{spec.name}:*", [*operands, *options]))
    lines = (f'        {pattern}) words="{" ".join(words)}" ;;' for pattern, words in cases)
    return _BASH.format(cases="\n".join(lines))


def _fish() -> str:
    with_files = [s.name for s in COMMANDS.values() if s.operands and not s.operands.choices]
    lines = [
        _fish_line(f"not __fish_seen_subcommand_from {' '.join(with_files)}", "-f"),
        *(
            _fish_line("__fish_use_subcommand", "-a", name, about=about)
            for name, about in (
                *((spec.name, spec.summary) for spec in COMMANDS.values()),
                ("help", "Explain a command or a topic."),
            )
        ),
        _fish_line("__fish_seen_subcommand_from help", "-f", "-a", " ".join([*TOPICS, *COMMANDS])),
    ]
    for spec in COMMANDS.values():
        if spec.operands is not None and spec.operands.choices:
            seen = f"__fish_seen_subcommand_from {spec.name}"
            lines.append(_fish_line(seen, "-a", " ".join(spec.operands.choices)))
        lines += [_fish_option(spec, option) for option in spec.options.values()]
    return "\n".join(lines)


def _fish_option(spec: CommandSpec, option: Option) -> str:
    words = ["-l", option.name]
    if option.choices:
        choices = " ".join(option.choices)
        words += ["-x", "-a", f"(__fish_append , {choices})" if option.several else choices]
    elif not option.is_flag:
        words.append("-r")
    return _fish_line(f"__fish_seen_subcommand_from {spec.name}", *words, about=option.help)


def _fish_line(condition: str, *words: str, about: str = "") -> str:
    described = ["-d", about] if about else []
    return _quoted(["complete", "-c", "embconvert", "-n", condition, *words, *described])


def _quoted(words: Iterable[str]) -> str:
    """Returns words for fish, which escapes with backslashes inside of single quotes."""
    escaped = (word.replace("\\", "\\\\").replace("'", "\\'") for word in words)
    return " ".join(
        word if word.isidentifier() or word[0] == "-" else f"'{word}'" for word in escaped
    )
