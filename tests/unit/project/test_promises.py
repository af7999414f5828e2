"""Every promise in the documents has a test that exists."""

import re

from support.command_line import ROOT

PROMISES = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in PROMISES.splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| promise ")]
    assert len(promises) > 20
    for row in promises:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row)
        assert named, f"no test holds: {row}"
        for file, test in named:
            code = (ROOT / file).read_text(encoding="utf-8")
            assert not test or f"def {test}(" in code, f"{file} has no {test}"
