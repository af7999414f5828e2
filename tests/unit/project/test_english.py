"""Words that readers had to decode stay out: each phrase here was once in a text for users."""

import re
from collections.abc import Iterator

import pytest

from support.command_line import ROOT

FOLDERS = ("embconvert", "tests", "benchmarks", "docs", "docker", "requirements", ".github")
ENDINGS = {".py", ".md", ".html", ".css", ".js", ".mjs", ".yml", ".yaml", ".toml", ".in", ".sh"}
#: Patterns, so that a search for the phrases themselves does not find this file.
PHRASES = (
    r"\bdrift(s|ed)? past\b",
    r"\bcomputes? nothing goes\b",
    r"\bwhat betters\b",
    r"\bworth (their|its) price\b",
    r"\bmends?\b",
    r"\bembeddings of length 1\b",
    r"\bcut embeddings after\b",
    r"\bhow the folder looks\b",
    r"\bwhat (be)?came of\b",
    r"\bstands above\b",
    r"\bwhat holds is\b",
    r"\bmade of the same source, is not\b",
    r"\bget their numbers, and\b",
    r"\bno kind is said\b",
    r"\bwhat is mixed comes\b",
    r"\bthat is there is whole\b",
    r"\bfirst first\b",
    r"\bis no cosine\b",
    r"\bmeanwhile\b",
)


def texts() -> Iterator[tuple[str, str]]:
    """Yields the files that people write, in which line breaks and comment signs are spaces."""
    paths = [*ROOT.glob("*.md"), *ROOT.glob("*.py"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    for folder in FOLDERS:
        paths += [path for path in (ROOT / folder).rglob("*") if path.suffix in ENDINGS]
    for path in paths:
        if path.is_file():
            yield (
                path.relative_to(ROOT).as_posix(),
                re.sub(r"\s*\n[\s#*/]*", " ", path.read_text(encoding="utf-8")),
            )


TEXTS = tuple(texts())


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_text_has_a_phrase_that_must_be_decoded(phrase: str) -> None:
    found = [name for name, text in TEXTS if re.search(phrase, text, re.IGNORECASE)]
    assert found == []
