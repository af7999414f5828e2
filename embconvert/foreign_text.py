"""Makes untrusted text safe for the place where it is written.

Names, labels, prompts, licences and messages of servers and libraries are written by model authors
and hubs. Such a text must not move a terminal's cursor, be markup on a page, or be code in a
sample. Every such text passes through one of these functions; each is safe for one place only.

Allowed are the characters that `str.isprintable` accepts: letters, marks, numbers, punctuation and
symbols of all scripts, and the space. Everything else is shown as Python's escape, so that
different names look different: controls, bidirectional overrides, tags, surrogates, line
separators, and also the zero-width joiner, so a joined emoji is shown as its parts.
"""

import json
import re
import shlex
import unicodedata
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

#: Maximum number of characters of a message: about a screen.
_LINE_LIMIT = 2000


class Markdown(str):
    """Text that is already Markdown, written by embconvert."""

    __slots__ = ()


def one_line(text: object, limit: int = _LINE_LIMIT) -> str:
    """Returns a text as one line for a terminal, without control characters or line breaks.

    Args:
        text: Anything; converted to a string.
        limit: Maximum number of characters; the middle of a longer text is omitted.
    """
    joined = " ".join(_cut(str(text), 2 * limit).split())
    return _cut(_visible(_cut(joined, limit)), limit)


def lines(text: object, limit: int | None = None) -> str:
    """Returns a text for a terminal with its line breaks and indentation.

    Only for output such as a traceback: untrusted text in it can imitate embconvert's lines.

    Args:
        text: Anything; converted to a string.
        limit: Maximum number of characters; None for no limit.
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
    """Returns a text shortened to a length; keeps the end, which usually names the problem."""
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail - 1]}…{text[len(text) - tail :]}"


def file_name(text: str) -> str:
    """Returns a file name with `_` for every invisible character."""
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else "_" for c in text)


def markdown(text: object) -> Markdown:
    """Returns a text as one line of Markdown that shows exactly this text.

    For headings, paragraphs and table cells, also at the beginning of a line. Markdown is returned
    as it is.
    """
    if isinstance(text, Markdown):
        return text
    # Any ASCII punctuation may be escaped (CommonMark 0.31, 2.4). Characters not escaped here are
    # markup only at the beginning of a line (next statement) and in `www.`, which GitHub links.
    escaped = re.sub(r"[!#$&*+:<=>@\[\\\]^_`{|}~]", r"\\\g<0>", one_line(text))
    escaped = re.sub(r"^(\d*)([.)-])(?=[ -]|$)", r"\1\\\2", escaped)
    return Markdown(re.sub(r"(?i)(www)\.", r"\1\\.", escaped))


def markdown_code(text: object) -> Markdown:
    """Returns a text as inline code of Markdown.

    A text with `|` becomes plain text: programs disagree on how to escape it in a table cell.
    """
    content = one_line(text)
    if not content or "|" in content:
        return markdown(content)
    ticks = "`" * (_longest_run_of_ticks(content) + 1)
    room = " " if content.startswith("`") or content.endswith("`") else ""
    return Markdown(f"{ticks}{room}{content}{room}{ticks}")


def markdown_block(code: str, language: str) -> Markdown:
    """Returns code as a Markdown code block that its content cannot end.

    Args:
        language: A trusted name.
    """
    ticks = "`" * max(3, _longest_run_of_ticks(code) + 1)
    return Markdown(f"{ticks}{language}\n{lines(code)}\n{ticks}")


def _longest_run_of_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def markdown_link(text: object, address: str) -> Markdown:
    """Returns a link, or only the text if https_address() does not allow the address."""
    allowed = https_address(address)
    if allowed is None:
        return markdown(text)
    target = f"<{allowed}>" if "(" in allowed or ")" in allowed else allowed
    return Markdown(f"[{markdown(text)}]({target})")


def https_address(text: str) -> str | None:
    """Returns the address if a page may link to it, else None."""
    host, path = r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})?", r"[\w.~!$&'()*+,;=:@%/?#-]*"
    return text if re.fullmatch(rf"https://{host}([/?#]{path})?", text, re.ASCII) else None


def url_path(text: str) -> str:
    """Returns a path encoded for an address."""
    return quote(text, safe="/", errors="surrogatepass")


def yaml_block(values: Mapping[str, Any]) -> str:
    """Returns a mapping as YAML in block style, one line per value."""
    import yaml

    for allow_unicode in (True, False):
        text: str = yaml.safe_dump(
            dict(values), sort_keys=False, allow_unicode=allow_unicode, width=float("inf")
        )
        # PyYAML does not escape characters such as U+202E.
        if all(line.isprintable() for line in text.split("\n")):
            break
    return text


def json_text(value: object, indent: int | None = 2) -> str:
    """Returns JSON that keeps the letters of all scripts and escapes invisible characters.

    It can always be written as UTF-8, even if it contains surrogates.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    # Except line breaks between values, unprintable characters occur only inside of strings.
    return "\n".join(
        line if line.isprintable() else "".join(map(_in_json, line)) for line in text.split("\n")
    )


def _in_json(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


def json_string(text: str) -> str:
    """Returns a string literal for JSON, JavaScript and Java."""
    return json_text(text, indent=None)


def python_string(text: str) -> str:
    """Returns a Python string literal in double quotes.

    A JSON literal would be wrong: Python reads the two escapes of an emoji as two characters.
    """
    return '"' + "".join(_in_python(c) for c in text) + '"'


def _in_python(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def shell_word(text: str) -> str:
    """Returns a text as one word of a shell command, on one line.

    Invisible characters are escaped in dollar-single-quotes, which bash, zsh and POSIX 2024 have.
    """
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_in_shell, text)) + "'"


def _in_shell(character: str) -> str:
    if character in "'\\":
        return "\\" + character
    if character.isprintable():
        return character
    # os.fsdecode() represents the bytes of file names that are not UTF-8 as surrogates.
    escaped = "\udc80" <= character <= "\udcff"
    content = character.encode("utf-8", "surrogateescape" if escaped else "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in content)


def shell_line(*words: str) -> str:
    return " ".join(map(shell_word, words))


def xml_text(text: str) -> str:
    """Returns the text of an XML element.

    Raises:
        ValueError: It has invisible characters, many of which XML 1.0 forbids.
    """
    return xml_attribute(text)[1:-1]


def xml_attribute(text: str) -> str:
    """Returns the value of an XML attribute, with quotes.

    Raises:
        ValueError: It has invisible characters, many of which XML 1.0 forbids.
    """
    if not text.isprintable():
        raise ValueError("characters that cannot be seen")
    return f'"{escape(text)}"'
