"""Text of strangers, made safe for the place where it is written.

Names, labels, prompts, licences, messages of servers and of libraries come from whoever made a
model or answers as a hub. On a terminal such a text must not move the cursor, on a page it must not
be markup, in a code sample it must not be code. Every such text passes through one of these
functions; each is for one place, and none is safe in another.

The rule is what is allowed, never what is forbidden: characters that `str.isprintable` knows as
visible (letters, marks, numbers, punctuation and symbols of all scripts, and the space). Everything
else is shown as Python's escape, so that two names that differ still look different: controls,
bidirectional overrides, tags, surrogates, line separators, and also the zero-width joiner. It
joins emoji, but elsewhere it is invisible; emoji stay readable as their parts.
"""

import json
import re
import shlex
import unicodedata
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

#: Characters that a message may have: about a screen.
_LINE_LIMIT = 2000


class Markdown(str):
    """Text that is Markdown already: made here, or by a template of ours."""

    __slots__ = ()


def one_line(text: object, limit: int = _LINE_LIMIT) -> str:
    """Returns a text as one line for a terminal: no control reaches it, no line can be forged.

    Args:
        text: Anything; what is no text is converted.
        limit: Characters of the result; of a longer text the middle is left out.
    """
    joined = " ".join(_cut(str(text), 2 * limit).split())
    return _cut(_visible(_cut(joined, limit)), limit)


def lines(text: object, limit: int | None = None) -> str:
    """Returns a text for a terminal, its line breaks and indentation kept.

    Only for what may have several lines, such as a traceback: a stranger's text in it can look like
    a line of ours.

    Args:
        text: Anything; what is no text is converted.
        limit: Characters of the result; None for no limit.
    """
    kept = str(text) if limit is None else _cut(str(text), limit)
    shown = "\n".join(map(_visible, kept.replace("\r\n", "\n").replace("\t", "    ").split("\n")))
    return shown if limit is None else _cut(shown, limit)


def _visible(text: str) -> str:
    return text if text.isprintable() else "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character.isprintable():
        return character
    # Such as the no-break space and the ideographic space.
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def _cut(text: str, limit: int) -> str:
    """Returns a text of at most so many characters: its end says what is wrong, as a rule."""
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail - 1]}…{text[len(text) - tail :]}"


def file_name(text: str) -> str:
    """Returns a file's name with `_` for every character that cannot be seen."""
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else "_" for c in text)


def markdown(text: object) -> Markdown:
    """Returns a text as one line of Markdown that shows exactly it.

    For headings, paragraphs and cells of tables; at the beginning of a line, too. Markdown stays as
    it is.
    """
    if isinstance(text, Markdown):
        return text
    # Any ASCII punctuation may be escaped (CommonMark 0.31, 2.4). What is left alone is markup
    # nowhere but at the beginning of a line, which comes next, and in `www.`, which GitHub links.
    escaped = re.sub(r"[!#$&*+:<=>@\[\\\]^_`{|}~]", r"\\\g<0>", one_line(text))
    escaped = re.sub(r"^(\d*)([.)-])(?=[ -]|$)", r"\1\\\2", escaped)
    return Markdown(re.sub(r"(?i)(www)\.", r"\1\\.", escaped))


def markdown_code(text: object) -> Markdown:
    """Returns a text as code within a line of Markdown.

    A text with `|` is plain text instead: programs disagree how code in a table's cell has it.
    """
    content = one_line(text)
    if not content or "|" in content:
        return markdown(content)
    ticks = "`" * (_longest_run_of_ticks(content) + 1)
    room = " " if content.startswith("`") or content.endswith("`") else ""
    return Markdown(f"{ticks}{room}{content}{room}{ticks}")


def markdown_block(code: str, language: str) -> Markdown:
    """Returns code as a block that nothing in it ends.

    Args:
        code: Any number of lines.
        language: Ours.
    """
    ticks = "`" * max(3, _longest_run_of_ticks(code) + 1)
    return Markdown(f"{ticks}{language}\n{lines(code)}\n{ticks}")


def _longest_run_of_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def markdown_link(text: object, address: str) -> Markdown:
    """Returns a link; just the text where the address is not one that https_address() allows."""
    allowed = https_address(address)
    if allowed is None:
        return markdown(text)
    target = f"<{allowed}>" if "(" in allowed or ")" in allowed else allowed
    return Markdown(f"[{markdown(text)}]({target})")


def https_address(text: str) -> str | None:
    """Returns an address that a page may link to, or None for anything else."""
    host, path = r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})?", r"[\w.~!$&'()*+,;=:@%/?#-]*"
    return text if re.fullmatch(rf"https://{host}([/?#]{path})?", text, re.ASCII) else None


def url_path(text: str) -> str:
    """Returns a path as a part of an address."""
    return quote(text, safe="/", errors="surrogatepass")


def yaml_block(values: Mapping[str, Any]) -> str:
    """Returns a mapping as YAML in block style, one line for each value."""
    import yaml

    for allow_unicode in (True, False):
        text: str = yaml.safe_dump(
            dict(values), sort_keys=False, allow_unicode=allow_unicode, width=float("inf")
        )
        # PyYAML would write characters such as U+202E as they are.
        if all(line.isprintable() for line in text.split("\n")):
            break
    return text


def json_text(value: object, indent: int | None = 2) -> str:
    """Returns JSON in which letters of all scripts stay, and what cannot be seen is escaped.

    So it can be written as UTF-8 whatever is in it, surrogates included.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    # What is not printable is within a string, but for the line breaks between values.
    return "\n".join(
        line if line.isprintable() else "".join(map(_in_json, line)) for line in text.split("\n")
    )


def _in_json(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


def json_string(text: str) -> str:
    """Returns a literal of JSON, JavaScript and Java with this value."""
    return json_text(text, indent=None)


def python_string(text: str) -> str:
    """Returns a Python literal with this value, in double quotes.

    A literal of JSON is none: Python would take the two halves of an emoji for two characters.
    """
    return '"' + "".join(_in_python(c) for c in text) + '"'


def _in_python(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def shell_word(text: str) -> str:
    """Returns a word for a shell's command line, on one line.

    What cannot be seen is in dollar-single-quotes: bash and zsh have them, and POSIX since 2024.
    """
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_in_shell, text)) + "'"


def _in_shell(character: str) -> str:
    if character in "'\\":
        return "\\" + character
    if character.isprintable():
        return character
    # A file's name that is not UTF-8 has its bytes as surrogates, as os.fsdecode() makes them.
    escaped = "\udc80" <= character <= "\udcff"
    content = character.encode("utf-8", "surrogateescape" if escaped else "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in content)


def shell_line(*words: str) -> str:
    """Returns a command line."""
    return " ".join(map(shell_word, words))


def xml_attribute(text: str) -> str:
    """Returns an attribute's value with its quotes.

    Raises:
        ValueError: XML 1.0 cannot hold it, or nobody could see it.
    """
    if not text.isprintable():
        raise ValueError("characters that cannot be seen")
    return f'"{escape(text)}"'
