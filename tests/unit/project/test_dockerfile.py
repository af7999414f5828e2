"""The Dockerfile agrees with the project that it packs."""

import re

from embconvert import __version__
from support.command_line import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def argument(name: str) -> str:
    match = re.search(rf"^ARG {name}=(.*)$", DOCKERFILE, re.M)
    assert match is not None
    return match[1]


def test_a_plain_build_is_labelled_with_the_version() -> None:
    assert argument("VERSION") == __version__


def test_no_frontend_is_pulled_for_the_build() -> None:
    assert not DOCKERFILE.startswith("# syntax=")


def test_each_build_argument_is_documented() -> None:
    text = (ROOT / "docs/container.md").read_text(encoding="utf-8")
    names = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.M))
    assert names == {name for name in names if f"`{name}`" in text}
