"""Whatever a stranger's text is, each place shows exactly it; read back by the real parsers."""

import ast
import html
import json
import shlex
import subprocess
import unicodedata
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from embconvert.foreign_text import (
    Markdown,
    file_name,
    https_address,
    json_string,
    json_text,
    lines,
    markdown,
    markdown_block,
    markdown_code,
    markdown_link,
    one_line,
    python_string,
    shell_line,
    shell_word,
    url_path,
    xml_attribute,
    yaml_block,
)

#: Characters that mean something somewhere, more often than chance would have them.
TRICKY = (
    "`|\\*_#<>&[]()!~$\"'{}:-+=.0@%\t\n\r\x00\x1b\x07\x7f\x85\x9b\u00a0\u2028\u202e\u2066\u200d"
)
TRICKY += "\ud800\udcff\ufeff\U000e0041\ue000é語ก็😀"
TEXT = st.text(st.sampled_from(TRICKY) | st.characters(codec=None), max_size=30)
EVIL = (
    "# x", "- x", "1. x", "1) x", "---", "===", "> x", "    x", "```", "` ``", "a|b", "\\|", "\\",
    "`|`",
    "](javascript:alert(1))", "[x](https://evil)", "<script>alert(1)</script>", "<https://evil>",
    "![x](y)", "&amp;", "*x*", "__x__", "~~x~~", "www.evil.example", "https://evil", "x\n# y",
    '"); import os; os.system("x")  #', "'; rm -rf ~; '", "$(x)", "{{ 7 * 7 }}", "{% raw %}",
    "\x1b]0;x\x07", "\x9b31m", "a\u202eb", "--- !!python/object/apply:os.system [x]", "no", "~", "",
)  # fmt: skip
MD = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def evil(function: Any) -> Any:
    for text in EVIL:
        function = example(text)(function)
    return settings(max_examples=200, deadline=None)(function)


def is_safe(text: str) -> bool:
    return not any(
        unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for c in text
    )


@evil
@given(TEXT)
def test_one_line_is_one_line_that_moves_no_cursor(text: str) -> None:
    assert is_safe(one_line(text))
    assert all(is_safe(line) for line in lines(text).split("\n"))
    assert lines(text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "text",
    [
        "Grüße",
        "日本語",
        "हिन्दी",
        "العربية",
        "ภาษาไทยก็",
        "한국어",
        "e\u0301",
        "😀 👍🏽",
        "−0.5 × 2²",
    ],
)
def test_scripts_and_emoji_stay(text: str) -> None:
    assert one_line(text) == lines(text) == file_name(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\u202eb", "a\\u202eb"),
        ("a\U000e0041", "a\\U000e0041"),
        ("a\nerror: b", "a error: b"),
        ("a\u3000b", "a b"),
        ("\udcff", "\\udcff"),
        ("👩\u200d💻", "👩\\u200d💻"),
    ],
)
def test_what_cannot_be_seen_is_seen(text: str, shown: str) -> None:
    assert one_line(text) == shown


@given(st.text(st.characters(codec=None), max_size=300), st.integers(8, 100))
def test_a_text_is_bounded_and_keeps_its_end(text: str, limit: int) -> None:
    assert len(one_line(text, limit)) <= limit
    assert len(lines(text, limit)) <= limit
    assert one_line("x" * 9999 + " is not there").endswith(" is not there")


def inline(document: str) -> list[Any]:
    """The inline tokens of a document that has one of these."""
    (found,) = [token for token in MD.parse(document) if token.type == "inline"]
    return list(found.children or ())


def assert_shows(tokens: list[Any], text: str) -> None:
    assert {token.type for token in tokens} <= {"text", "text_special"}
    assert "".join(token.content for token in tokens) == text


@evil
@given(TEXT)
def test_markdown_shows_the_text_and_nothing_else(text: str) -> None:
    shown = one_line(text)
    if not shown:
        return
    assert_shows(inline(f"# {markdown(text)}"), shown)
    assert_shows(inline(f"{markdown(text)}"), shown)
    kinds = [token.type for token in MD.parse(str(markdown(text)))]
    assert kinds == ["paragraph_open", "inline", "paragraph_close"]
    assert markdown(markdown(text)) == markdown(text)


@evil
@given(TEXT)
def test_markdown_stays_in_its_cell(text: str) -> None:
    document = f"| a | b |\n|---|---|\n| {markdown(text)} | {markdown_code(text)} |\n"
    tokens = MD.parse(document)
    assert [token.type for token in tokens].count("td_open") == 2
    cells = [token for token in tokens if token.type == "inline"][2:]
    assert_shows(cells[0].children or [], one_line(text))
    code = cells[1].children or []
    assert {token.type for token in code} <= {"text", "text_special", "code_inline"}
    assert "".join(token.content for token in code) == one_line(text)


@evil
@given(TEXT)
def test_nothing_in_a_block_ends_it(text: str) -> None:
    (token,) = MD.parse(markdown_block(text, "python"))
    assert (token.type, token.info) == ("fence", "python")
    assert token.content == lines(text) + "\n"


@settings(deadline=None)
@given(TEXT | st.sampled_from(EVIL), TEXT | st.sampled_from(EVIL))
def test_a_link_goes_where_it_says_or_is_none(text: str, address: str) -> None:
    def links(tokens: list[Any]) -> list[str]:
        return [str(token.attrs["href"]) for token in tokens if token.type == "link_open"]

    (found,) = links(
        inline(f"# x{markdown_link(text, 'https://hub.example/' + url_path(address))}")
    )
    assert found.startswith("https://hub.example/")
    for found in links(inline(f"# x{markdown_link(text, address)}")):
        assert found == https_address(address)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("https://example.org", True),
        ("https://example.org:8443/a_b/~c?d=e&f=%20#g", True),
        ("http://example.org", False),
        ("javascript:alert(1)", False),
        ("https://a@evil.example", False),
        ("https://example.org/>x", False),
        ("https://example.org/a|b", False),
        ("https://example.org/a\n", False),
        ("https://exámple.org/", False),
        ("data:text/html,x", False),
    ],
)
def test_addresses_are_plain_https(address: str, allowed: bool) -> None:
    assert https_address(address) == (address if allowed else None)


@evil
@given(TEXT)
def test_literals_have_the_value(text: str) -> None:
    for literal in (python_string(text), json_string(text)):
        assert is_safe(literal)
        assert "\n" not in literal
    assert ast.literal_eval(python_string(text)) == text
    # Two surrogates side by side are one character in JSON.
    assert json.loads(json_string(text)) == json.loads(json.dumps(text))


@given(
    st.recursive(
        TEXT | st.integers() | st.booleans(), lambda v: st.lists(v) | st.dictionaries(TEXT, v)
    )
)
def test_json_is_utf_8_and_has_the_value(value: object) -> None:
    text = json_text(value)
    assert text.encode()
    assert json.loads(text) == json.loads(json.dumps(value))


@evil
@given(TEXT.filter(lambda text: "\0" not in text))
def test_a_word_is_one_word_for_the_shell(text: str) -> None:
    word = shell_word(text)
    assert is_safe(word)
    if text.isprintable():
        assert shlex.split(word) == [text]
        assert shlex.split(shell_line("a", text, "b")) == ["a", text, "b"]


def test_bash_reads_what_cannot_be_seen() -> None:
    texts = ["\x1b[31m", "a\nb", "\u202e'\\7", "\udcff", "é\x01", "$(x)`y`", "\x857"]
    line = shell_line("printf", "%s\\0", *texts)
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    expected = [text.encode("utf-8", "surrogateescape") for text in texts]
    assert done.stdout.split(b"\0")[:-1] == expected


@evil
@given(TEXT)
def test_yaml_has_the_value_on_its_line(text: str) -> None:
    values = {"name": text, text or "x": [text, "y"]}
    block = yaml_block(values)
    assert all(is_safe(line) for line in block.split("\n"))
    assert yaml.safe_load(block) == values
    assert "\n---" not in f"\n{block}"


@evil
@given(TEXT)
def test_xml_has_the_value_or_is_refused(text: str) -> None:
    try:
        attribute = xml_attribute(text)
    except ValueError:
        assert not text.isprintable()
    else:
        assert fromstring(f"<a b={attribute}/>").attrib == {"b": text}
        assert html.unescape(attribute[1:-1]) == text


def test_what_is_markdown_already_stays() -> None:
    assert markdown(Markdown("**x**")) == "**x**"


@pytest.mark.parametrize("text", ["a\x1b]0;x\x07", "a\nb", "a\u202eb", "\udcff"])
def test_a_file_can_be_seen(text: str) -> None:
    assert file_name(text).isprintable()
    assert "/" not in file_name(text)
