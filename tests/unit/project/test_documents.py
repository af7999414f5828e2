"""The README and the pages in docs agree with the program."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from embconvert.cli.commands import COMMANDS
from embconvert.cli.main import parse
from embconvert.cli.topics import TOPICS
from embconvert.evaluation.figures import FIGURES, MAIN_FIGURES
from embconvert.fidelity.texts import verification_texts
from embconvert.fidelity.workload import make_workload
from embconvert.models.kinds import Measure
from embconvert.plan.frontier import frontier_header
from embconvert.reporting.evaluation_table import evaluation_header
from embconvert.reporting.table import table_header
from embconvert.tables import Column
from support.command_line import ROOT
from support.documents import DOCS, PAGES, README, generator, shell_commands, table_commands

TEXT = README.read_text(encoding="utf-8")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#([^)\s]+))?\)")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_the_readme_is_read_in_minutes() -> None:
    assert len(TEXT.split()) <= 900


def test_reference_pages_are_those_of_the_programs_tables() -> None:
    made = generator("make_reference").pages()
    kept = {page.name: page.read_text(encoding="utf-8") for page in (DOCS / "reference").iterdir()}
    assert kept == made, "run `make docs`, or PYTHONPATH=. python docs/make_reference.py"


def test_the_page_of_models_is_that_of_the_twins() -> None:
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    assert text == generator("make_models").page(), (
        "run `make docs`, or PYTHONPATH=.:tests python docs/make_models.py"
    )


def test_the_reference_has_every_command_and_option() -> None:
    text = (DOCS / "reference" / "options.md").read_text(encoding="utf-8")
    conversions, _, others = text.partition("\n## `embconvert batch")
    for command, spec in COMMANDS.items():
        section = conversions
        if f"`{command}`" not in conversions:
            _, found, section = f"\n## `embconvert batch{others}".partition(
                f"\n## `embconvert {command}"
            )
            assert found, command
            section = section.split("\n## ")[0]
        for option in spec.options.values():
            value = f" {option.metavar}" if option.metavar else ""
            row = re.search(rf"^\| `--{option.name}{value}` \|.*$", section, re.MULTILINE)
            assert row, f"{command} --{option.name}"
            assert f"| {option.help} | {option.default} |" in row[0]
    assert {f"{topic}.md" for topic in TOPICS} < {p.name for p in (DOCS / "reference").iterdir()}


@pytest.mark.parametrize("guide", (DOCS / "guides").iterdir(), ids=name)
def test_samples_of_guides_are_those_of_model_cards(guide: Path) -> None:
    """`make test-consumers` runs those."""
    text = guide.read_text(encoding="utf-8")
    assert text == generator("make_guides").page(text), (
        "run `make docs`, or PYTHONPATH=.:tests python docs/make_guides.py"
    )
    marks = len(re.findall(r"^<!-- code: ", text, re.MULTILINE))
    assert (
        len(re.findall(r"^```(?:python|javascript|java|properties|xml)$", text, re.MULTILINE))
        <= marks
    )


def test_a_sample_that_was_changed_by_hand_is_found() -> None:
    page = generator("make_guides").page
    text = (DOCS / "guides" / "fastembed.md").read_text(encoding="utf-8")
    assert page(text.replace("PoolingType.DISABLED", "PoolingType.MEAN")) == text


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_the_documents_parses(page: Path) -> None:
    for words in [*shell_commands(page, "embconvert"), *table_commands(page)]:
        spec, _ = parse(words[1:])
        assert spec.name == words[1]


def test_the_documents_have_commands() -> None:
    assert len(table_commands(README)) >= 7
    guides = [page for page in (DOCS / "guides").iterdir() if shell_commands(page, "embconvert")]
    assert len(guides) >= 8


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md"], ids=name
)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    for file, anchor in LINK.findall(text):
        target = page.parent / file
        assert target.exists(), file
        if page.is_relative_to(DOCS):
            assert target.resolve().is_relative_to(DOCS), f"{file} is not part of the site"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{file}#{anchor}"


def test_every_page_is_in_the_menu_of_the_site_once() -> None:
    menu = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(menu) == sorted(p.relative_to(DOCS).as_posix() for p in PAGES if p != README)


def test_the_picture_needs_nothing_else_and_has_the_figures_of_the_readme() -> None:
    svg = ElementTree.parse(DOCS / "result.svg").getroot()
    assert {element.tag.rpartition("}")[2] for element in svg.iter()}.isdisjoint(
        {"script", "image"}
    )
    assert "url(" not in (DOCS / "result.svg").read_text(encoding="utf-8")
    drawn = dict(
        re.findall(
            r"(?:; |fidelity\. )([^;]+?) ([\d.]+ MB, mean cosine [\d.]+)",
            svg.get("aria-label") or "",
        )
    )
    rows = re.findall(r"\| `(\w+)` \| ([\d.]+ MB) \| ([\d.]+) \|", TEXT)
    assert len(rows) == 4
    for precision, size, cosine in rows:
        drawn_size, drawn_cosine = drawn[precision].split(", mean cosine ")
        assert (size, cosine) == (drawn_size, f"{float(drawn_cosine):.4f}")


def test_the_alias_for_docker_is_the_command_that_is_tested() -> None:
    """`make test-image` runs those of docs/installing.md."""
    (alias,) = re.findall(r"^alias embconvert='(.*)'$", TEXT, re.MULTILINE)
    (command,) = shell_commands(README, "embconvert")
    whole = f"\n{alias} {' '.join(command[1:])}\n"
    assert whole in (DOCS / "installing.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://example.org/x.js"></script>',
        "<img alt=x src=//example.org/x.svg>",
        '<link rel="stylesheet" href="https://example.org/x.css">',
        '<link href="https://example.org" rel="preconnect" crossorigin>',
        "<style>@import url(https://example.org/x.css)</style>",
    ],
)
def test_a_page_of_the_site_that_loads_from_another_host_fails_the_build(html: str) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_path="index.md"))
    check = generator("hooks").on_post_page
    with pytest.raises(ValueError, match=r"index\.md loads from another host"):
        check(f"<body>{html}</body>", page=page)
    links = '<a href="https://example.org">x</a><img src="x.svg"><link rel=canonical href="/x">'
    assert check(links, page=page) == links


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name)
def test_documents_count_the_texts_as_the_program_does(page: Path) -> None:
    texts = verification_texts().texts
    counts = {len(texts), sum(bool(text.strip()) for text in texts)}
    assert set(counts_of_texts(page.read_text(encoding="utf-8"))) <= counts


def counts_of_texts(text: str) -> list[int]:
    """Returns the counts of three digits, which are those of the built-in texts."""
    counts = re.findall(r"(?<![\d,])(\d{3}) (?:built-in |pairs of )?texts\b", text)
    return [int(count) for count in counts]


def test_a_wrong_count_of_texts_is_found() -> None:
    words = "over 270 built-in texts, 294 texts and 264 pairs of texts; 10,000 texts, 26 texts"
    assert counts_of_texts(words) == [270, 294, 264]
    for page in (README, DOCS / "verification.md"):
        assert counts_of_texts(page.read_text(encoding="utf-8"))


def test_the_page_of_verification_explains_what_progress_counts() -> None:
    texts = verification_texts().texts
    verification = (DOCS / "verification.md").read_text(encoding="utf-8")
    # About the lengths that tokenizers give; which are which makes no difference.
    workload = make_workload([2 + len(text) // 4 for text in texts])
    assert workload.texts == len(texts)
    assert f"so progress counts {workload.size}." in verification


def test_tables_of_runs_have_the_columns_of_the_program() -> None:
    found = [titles for page in PAGES for titles in titles_of_tables(page)]
    known = [
        titles_of(table_header(measure) if table == "file" else frontier_header(measure))
        for table in ("file", "candidate")
        for measure in Measure
    ]
    known += [
        titles_of(evaluation_header(MAIN_FIGURES[form], FIGURES[form])) for form in MAIN_FIGURES
    ]
    assert len(found) >= 3
    for titles in found:
        assert titles in known


def titles_of(columns: Sequence[Column]) -> list[str]:
    return [column.title for column in columns]


def titles_of_tables(page: Path) -> list[list[str]]:
    """Returns the headings of what runs print in a page."""
    lines = re.findall(r"^ (?:file|candidate)  .*$", page.read_text("utf-8"), re.MULTILINE)
    return [re.split(r"  +", line.strip()) for line in lines]


def test_what_a_fleet_costs_follows_from_what_a_model_costs() -> None:
    fleets = (DOCS / "fleets.md").read_text(encoding="utf-8")
    performance = (DOCS / "performance.md").read_text(encoding="utf-8")
    (seconds,) = re.findall(
        r"^all-MiniLM.*?^\| `--quantize QInt8` \| [^|]* \| ([\d.]+) s",
        performance,
        re.MULTILINE | re.DOTALL,
    )
    hours = 10_000 * float(seconds) / 3600
    assert f"takes {seconds} s of CPU time with verification" in fleets
    assert f"of that size take {hours:.0f} core-hours" in fleets
    assert f"{60 * hours / 40:.0f} minutes for 20 pods with 2 cores each" in fleets


def test_the_memory_of_containers_is_that_of_the_page_about_memory() -> None:
    number = re.compile(r"([\d.]+) Gi?B")
    measured = [
        [float(figure) for figure in number.findall(line)]
        for line in (DOCS / "memory.md").read_text().splitlines()
        if " GiB | embconvert | " in line and "(" not in line
    ]
    table = (DOCS / "container.md").read_text().partition("| limit |")[2].partition("\n\n")[0]
    rows = [[float(figure) for figure in number.findall(line)] for line in table.splitlines()[2:]]
    assert len(rows) == 5
    for (free, limit, bounded), figures in zip(rows, measured, strict=False):
        assert [limit, bounded, free] == pytest.approx([*figures[:2], figures[4]], rel=0.15)


def test_a_release_has_its_names_and_absolute_links_in_the_readme() -> None:
    named = generator("name_release").named
    text = named(TEXT, "My-Org/embconvert", "v1.2.3", "0" * 40)
    assert not LINK.findall(text)
    assert "![Size and mean cosine" in text
    assert "(https://github.com/My-Org/embconvert/raw/v1.2.3/docs/result.svg)" in text
    assert "(https://github.com/My-Org/embconvert/blob/v1.2.3/docs/fleets.md)" in text
    assert "docker pull ghcr.io/my-org/embconvert:1.2.3`" in text
    assert f"uses: My-Org/embconvert/.github/actions/convert@{'0' * 40}`" in text
    assert not [word for word in ("OWNER", "X.Y.Z", "COMMIT") if word in text]


def test_no_file_names_a_registry_host() -> None:
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org")
    patterns = (
        "requirements/**/*.*",
        "*.md",
        "docs/**/*.*",
        "Makefile",
        "*.toml",
        "*.yml",
        ".ci/*",
    )
    for pattern in patterns:
        for file in ROOT.glob(pattern):
            if file.suffix != ".pyc":
                text = file.read_text(encoding="utf-8")
                assert not [host for host in hosts if host in text], file
