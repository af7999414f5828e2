"""What the source's model card says."""

from pathlib import Path

import pytest

from embconvert.models.source_records import SourceCard
from embconvert.source.card import read_card


@pytest.mark.parametrize(
    ("front_matter", "expected"),
    [
        ("license: mit\nlanguage: en", SourceCard(license="mit", languages=("en",))),
        ("license: [mit]\nlanguage: [de, no]", SourceCard(license="mit", languages=("de", "no"))),
        (
            "license: other\nlicense_name: x\nlicense_link: LICENSE",
            SourceCard(license="other", license_name="x", license_link="LICENSE"),
        ),
        ("license: {a: b}\nlanguage: {c: d}", SourceCard()),
        ("license: []\nlanguage: []", SourceCard()),
        ("license: null\nlanguage: [1, null, yes, [de], No]", SourceCard(languages=("no",))),
        ('license: "no"\nlanguage: no', SourceCard(license="no", languages=("no",))),
        ('a: !!int ""\nb: !!float ""\nlicense: mit', SourceCard(license="mit")),
        ("license: !!bool x\nlanguage: !!timestamp y", SourceCard()),
        ("license: !!bool {no: no}\nlanguage: !!bool {}", SourceCard()),
        ("license: !!str {mit: x}\nlanguage: &a [*a]", SourceCard()),
        ("license: &a mit\nlanguage: [*a]", SourceCard(license="mit", languages=("mit",))),
        ("license: |\n  two\n  lines", SourceCard()),
        ("license: " + "x" * 300, SourceCard()),
        ("just words", SourceCard()),
        ("!!python/object/apply:os.system [true]", SourceCard()),
        ("a: [", SourceCard()),
        ("[" * 5000, SourceCard()),
    ],
)
def test_of_the_sources_card_its_licence_and_languages_are_read(
    tmp_path: Path, front_matter: str, expected: SourceCard
) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front_matter}\n---\n# A model\n")
    assert read_card(tmp_path) == expected


@pytest.mark.parametrize("content", [None, b"", b"# a title", b"---\nlicense: mit", b"\xff"])
def test_a_card_that_says_nothing_is_no_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "README.md").write_bytes(content)
    assert read_card(tmp_path) == SourceCard()
