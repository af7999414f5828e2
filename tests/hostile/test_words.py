"""Untrusted text stays text: it controls no terminal, and is markup or code nowhere.

Names, licences, prompts, tokens and figures of a model, the answers of a hub and the contents of a
manifest go to terminals, logs of CI, model cards, pages and code samples.
"""

import ast
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
import yaml
from markdown_it import MarkdownIt

from embconvert.console import Console
from embconvert.errors import EmbconvertError, SourceError
from embconvert.manifest import MachineRecord, Manifest, ToolRecord
from embconvert.manifest.kinds.embedding import EmbeddingRecord
from embconvert.manifest.kinds.late_interaction import LateInteractionRecord
from embconvert.manifest.kinds.reranker import RerankerRecord
from embconvert.models.choices import Command
from embconvert.models.json_records import as_json
from embconvert.models.late_interaction import LateInteraction
from embconvert.models.prompts import Prompt, Prompts
from embconvert.models.values import Fusion, KeptNode
from embconvert.reporting.card import model_card
from embconvert.reporting.compare import comparison_page
from embconvert.reporting.home import Home
from embconvert.reporting.page import report_page
from embconvert.reporting.snippets import snippets
from embconvert.reporting.summary import ManifestSummary
from embconvert.reporting.words import beginning
from embconvert.request.places import output_folder
from embconvert.request.records import Request
from embconvert.tables import Column
from support.command_line import ROOT, embconvert
from support.examples import published

#: Controls, and what turns the order of letters round or cannot be seen.
STEERING = "\x1b[31m\x1b]0;title\x07\x9b2J\r\u202e\u2066\u200b\U000e0041\u2028"
#: Markup of Rich, Markdown, HTML and templates; code; ends of strings.
MARKUP = (
    "]y[bold]x[link=file:x] `` ``` | <script>alert(1)<img src=x onerror=x> ](javascript:x) **b** "
    "&amp; {{ 7 * 7 }} $(id) \\"
)
CODE = "\"); import os; os.abort()  # '''\\' :smile: 😀"
EVIL = f"{MARKUP}{CODE}{STEERING}\n# x\n```\n::set-output name=folder::x\n"
#: As a local folder may be called.
NAME = (
    "]y[bold]x[link=file:x] `` | <script>a<img src=x onerror=x> ](javascript:x) $(id)\\"
    "\"); import os; os.abort() #'\x1b[31m\x9b\x07\u202e\U000e0041\u2028\n::x::"
)

MD = MarkdownIt("commonmark").enable("table")


def steers(text: str) -> list[str]:
    """The characters of a text that no terminal should get."""
    unsafe = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    return [repr(c) for c in text if c != "\n" and unicodedata.category(c) in unsafe]


def block_structure(text: str) -> list[tuple[str, str, str]]:
    """A document's blocks: headings, tables with their cells, blocks of code."""
    return [(token.type, token.tag, token.info) for token in MD.parse(text)]


def inline_kinds(text: str) -> set[str]:
    children = [child for token in MD.parse(text) for child in token.children or ()]
    return {child.type for child in children}


def links(text: str) -> list[str]:
    children = [child for token in MD.parse(text) for child in token.children or ()]
    return [str(child.attrs["href"]) for child in children if child.type == "link_open"]


def body(card: str) -> str:
    return card.split("\n---\n", 1)[1]


def metadata(card: str) -> Any:
    return yaml.safe_load(card.split("\n---\n", 1)[0].removeprefix("---\n"))


def constants(code: str) -> list[object]:
    """What stands in Python code as a value; that it compiles is checked, too."""
    compile(code, "snippet", "exec")
    return [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]


def calls(code: str) -> list[str]:
    """What Python code calls."""
    return [ast.unparse(n.func) for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call)]


class _Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # A place where a long name may break; how many there are depends on the name.
        if (tag, attrs) != ("wbr", []):
            self.found.append((tag, tuple(name for name, _ in attrs)))


def elements(page: str) -> list[tuple[str, tuple[str, ...]]]:
    """A page's elements with the names of their attributes, in order."""
    return _Elements(page).found


def with_source(manifest: Manifest, **changes: Any) -> Manifest:
    """A manifest of another source, whatever its reader would allow."""
    names = {"license", "license_name", "license_link", "languages"}
    card = replace(manifest.source.card, **{k: v for k, v in changes.items() if k in names})
    rest = {k: v for k, v in changes.items() if k not in names}
    return replace(manifest, source=replace(manifest.source, card=card, **rest))


PLAIN_SOURCE: dict[str, Any] = {
    "license": "other", "license_name": "a", "license_link": "https://example.org/a",
    "languages": ["en"], "model_type": "bert", "modules": ["a"],
}  # fmt: skip
EVIL_SOURCE: dict[str, Any] = {
    "model_id": f"/models/{NAME}", "revision": None, "license": EVIL, "license_name": EVIL,
    "license_link": "javascript:alert(1)", "languages": [EVIL, "no", "--- x"], "model_type": EVIL,
    "modules": [EVIL],
}  # fmt: skip


def evil_manifest(folder: Path, **source: Any) -> Manifest:
    """A manifest that a stranger wrote, of a folder whose tokenizer is a stranger's too."""
    manifest = with_source(published(folder), **{**EVIL_SOURCE, **source})
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": EVIL + "\ud800"}))
    kept = KeptNode(node=EVIL, operator=EVIL, reason=EVIL)
    fusion = Fusion(kind=EVIL, fused=1, left={EVIL: 1})
    artifacts = tuple(
        replace(record, kept=(kept,), fusions=(fusion,), operators={EVIL: 3})
        for record in manifest.artifacts
    )
    return replace(
        manifest,
        tool=ToolRecord(version=EVIL, commands=(f"embconvert all --model_id '{EVIL}'",)),
        stack={"python": EVIL, EVIL: EVIL},
        machine=MachineRecord(platform=EVIL, processor=EVIL, cpus=2),
        verification=replace(manifest.verification, reference=EVIL),
        artifacts=artifacts,
    )


def plain_manifest(folder: Path, **source: Any) -> Manifest:
    """The same with words that mean nothing."""
    changes = {"model_id": "/models/a", **PLAIN_SOURCE, "revision": None, **source}
    manifest = with_source(published(folder), **changes)
    kept = KeptNode(node="a", operator="a", reason="a")
    fusion = Fusion(kind="a", fused=1, left={"a": 1})
    artifacts = tuple(
        replace(record, kept=(kept,), fusions=(fusion,), operators={"a": 3})
        for record in manifest.artifacts
    )
    return replace(
        manifest,
        tool=replace(manifest.tool, commands=("embconvert",)),
        stack={"python": "a", "a": "a"},
        artifacts=artifacts,
    )


def test_a_card_has_the_structure_that_it_has_for_plain_words(tmp_path: Path) -> None:
    plain = body(model_card(plain_manifest(tmp_path / "a"), tmp_path / "a", home=Home(name="a")))
    evil = body(model_card(evil_manifest(tmp_path / "b"), tmp_path / "b", home=Home(name=NAME)))
    # What cannot be in a program's configuration is left out, with its heading.
    programs = [line for line in plain.split("\n") if line.startswith("### ")]
    left_out = [line for line in programs if line not in evil.split("\n")]
    assert set(left_out) <= {"### Vespa", "### text-embeddings-inference"}
    for heading in left_out:
        start = plain.index(heading)
        plain = plain[:start] + plain[plain.index("\n#", start) + 1 :]
    assert block_structure(evil) == block_structure(plain)
    assert inline_kinds(evil) <= inline_kinds(plain) | {"text_special"}
    assert "link_open" in inline_kinds(plain)
    assert set(links(evil)) == {"report.html", "embconvert.json"}
    assert steers(evil) == []


def test_a_cards_front_matter_has_the_words_and_nothing_else(tmp_path: Path) -> None:
    card = model_card(evil_manifest(tmp_path, revision="1" * 40), tmp_path, home=Home(name=NAME))
    values = metadata(card)
    assert set(values) == {
        "license", "license_name", "language", "base_model", "base_model_relation",
        "library_name", "pipeline_tag", "tags",
    }  # fmt: skip
    assert values["license"] == values["license_name"] == EVIL
    assert values["language"] == [EVIL, "no", "--- x"]
    assert steers(card) == []
    # The hub's own pattern for where the front matter ends.
    assert card.split("\n---\n")[0].count("\n---") == 0


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("https://example.org/a", True),
        ("http://example.org/a", True),
        ("LICENSE.md", True),
        ("javascript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("https://a b", False),
        ("//evil.example", False),
    ],
)
def test_a_licence_is_linked_on_the_web_or_beside_the_card(
    link: str, kept: bool, tmp_path: Path
) -> None:
    card = model_card(
        with_source(published(tmp_path), license_link=link), tmp_path, home=Home(name="a")
    )
    assert metadata(card).get("license_link") == (link if kept else None)


def test_a_link_of_a_card_goes_to_the_hub_whatever_the_model_is_called(tmp_path: Path) -> None:
    manifest = evil_manifest(tmp_path, model_id=f"../..{EVIL}", revision="1" * 40)
    found = links(body(model_card(manifest, tmp_path, home=Home(name=NAME))))
    assert all(link.startswith("https://huggingface.co/") or "://" not in link for link in found)


def test_a_kinds_own_words_are_words(tmp_path: Path) -> None:
    plain, evil = (
        body(
            model_card(plain_manifest(tmp_path / name, model=model), tmp_path, home=Home(name="a"))
        )
        for name, model in (
            ("a", RerankerRecord(labels=1, activation="torch.nn.modules.activation.Sigmoid")),
            ("b", RerankerRecord(labels=1, activation=EVIL)),
        )
    )
    assert block_structure(evil) == block_structure(plain)
    assert inline_kinds(evil) <= inline_kinds(plain) | {"text_special"}


def test_code_has_strangers_words_as_values(tmp_path: Path) -> None:
    manifest = evil_manifest(tmp_path)
    found = {
        s.key: s for s in snippets(manifest, manifest.artifacts[2], tmp_path, home=Home(name=NAME))
    }
    plain = plain_manifest(tmp_path / "a")
    expected = {
        s.key: s for s in snippets(plain, plain.artifacts[2], tmp_path / "a", home=Home(name="a"))
    }
    for key, place in (
        ("sentence-transformers", f"./{NAME}"),
        ("fastembed", f"local/{NAME}"),
        ("onnxruntime", f"./{NAME}"),
        ("optimum", f"./{NAME}"),
    ):
        assert place in constants(found[key].code)
        assert calls(found[key].code) == calls(expected[key].code)
    script = found["transformers.js"].code
    literal = script.split("AutoTokenizer.from_pretrained(", 1)[1].split(");\n", 1)[0]
    assert json.loads(literal) == NAME
    assert all(steers(snippet.code + snippet.remark) == [] for snippet in found.values())


def test_configuration_has_strangers_words_as_values(tmp_path: Path) -> None:
    """Of programs that pool by themselves, so they have no code for unknown modules."""
    manifest = evil_manifest(tmp_path, modules=["Transformer", "Pooling"])
    graph, home = manifest.artifacts[2], Home(name=NAME)
    found = {s.key: s for s in snippets(manifest, graph, tmp_path, home=home)}
    (settings,) = yaml.safe_load(found["nixiesearch"].code)["inference"]["embedding"].values()
    assert set(settings) == {"provider", "model", "file", "pooling"}
    script = found["transformers.js"].code
    literal = script.split('pipeline("feature-extraction", ', 1)[1].split(", {\n", 1)[0]
    assert json.loads(literal) == NAME
    java = found["langchain4j"].code.splitlines()
    assert json.loads(java[3].strip().removesuffix(",")) == f"{NAME}/tokenizer.json"
    assert len(java) == 6
    properties = found["spring-ai"].code.splitlines()
    assert [line.partition("=")[0].rpartition(".")[2] for line in properties] == [
        "modelUri", "modelOutputName", "uri", "padding",
    ]  # fmt: skip
    assert all(steers(snippet.code + snippet.remark) == [] for snippet in found.values())


def test_code_for_shells_and_xml_has_strangers_words_as_values(tmp_path: Path) -> None:
    manifest = plain_manifest(tmp_path)
    name = MARKUP + CODE.replace(":", "")
    found = {
        s.key: s for s in snippets(manifest, manifest.artifacts[2], tmp_path, home=Home(name="a"))
    }
    found = {
        s.key: s
        for s in snippets(
            manifest, manifest.artifacts[2], tmp_path, home=Home(name=name.replace(":", ""))
        )
    }
    component = fromstring(found["vespa"].code)
    assert [child.tag for child in component] == [
        "transformer-model", "tokenizer-model", "max-tokens", "transformer-output",
        "pooling-strategy",
    ]  # fmt: skip
    assert component[1].get("path") == f"{name.replace(':', '')}/tokenizer.json"
    script = found["text-embeddings-inference"].code
    done = subprocess.run(
        ["bash", "-c", 'docker() { printf "%s\\0" "$@"; }; curl() { :; }\n' + script],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert f"{tmp_path}/{name.replace(':', '')}:/model:ro" in done.stdout.split("\0")


def test_figures_that_are_words_are_values_in_code(tmp_path: Path) -> None:
    """A manifest that somebody edited may have them."""
    manifest = published(tmp_path)
    evil: Any = EVIL
    model = EmbeddingRecord(dimension=evil)
    manifest = with_source(manifest, model=model, max_seq_length=EVIL)
    graph = replace(manifest.artifacts[2], external_data=manifest.files[0])
    for snippet in snippets(manifest, graph, tmp_path, home=Home(name="a")):
        if snippet.key in ("fastembed", "optimum"):
            assert EVIL in constants(snippet.code)


def test_prompts_are_values(tmp_path: Path) -> None:
    late = LateInteraction(
        query_prompt=EVIL, document_prompt=EVIL[::-1] + "\ud800", query_length=None,
        document_length=None, expansion=None, skipped_ids=(1,), skipped_in=("document",),
    )  # fmt: skip
    record = LateInteractionRecord(late_interaction=late)
    manifest = with_source(published(tmp_path), model=record)
    graph = manifest.artifacts[2]
    outputs = (replace(graph.outputs[0], name="token_embeddings"),)
    (snippet,) = snippets(manifest, replace(graph, outputs=outputs), tmp_path, home=Home(name="a"))
    assert {EVIL, EVIL[::-1] + "\ud800"} <= set(map(str, constants(snippet.code)))
    assert steers(snippet.code) == []


def test_prompts_of_an_embedding_model_are_values(tmp_path: Path) -> None:
    """In every language of the samples, and in one row each on the card."""
    named = (Prompt(name="query", text=EVIL), Prompt(name=EVIL, text=MARKUP + CODE))
    manifest = with_source(published(tmp_path), prompts=Prompts(named=named, default=EVIL))
    graph = manifest.artifacts[2]
    for snippet in snippets(manifest, graph, tmp_path, home=Home(name="a")):
        assert steers(snippet.code) == [], snippet.key
        if snippet.language == "python" and snippet.key != "sentence-transformers":
            assert any(EVIL in str(value) for value in constants(snippet.code)), snippet.key
    card = body(model_card(manifest, tmp_path, home=Home(name="a")))
    assert steers(card) == []
    assert not {"html_inline", "image"} & inline_kinds(card)
    page = report_page(manifest, tmp_path, home=Home(name="a"))
    assert steers(page) == []
    plain = report_page(published(tmp_path), tmp_path, home=Home(name="a"))
    scripts = [[e for e in elements(p) if e[0] in ("script", "img")] for p in (page, plain)]
    assert scripts[0] == scripts[1]


def test_pages_have_the_elements_that_they_have_for_plain_words(tmp_path: Path) -> None:
    plain, evil = plain_manifest(tmp_path / "a"), evil_manifest(tmp_path / "b")
    pages = [
        report_page(m, tmp_path / "b", home=Home(name=n)) for m, n in ((plain, "a"), (evil, NAME))
    ]
    # Of the code samples, some are left out.
    pages = [re.sub('<section id="use".*?</section>', "", page, flags=re.DOTALL) for page in pages]
    assert elements(pages[1]) == elements(pages[0])
    sides = [
        comparison_page({n: ManifestSummary(m), f"2{n}": ManifestSummary(m)})
        for m, n in ((plain, "a"), (evil, NAME))
    ]
    assert elements(sides[1]) == elements(sides[0])
    whole = report_page(evil, tmp_path / "b", home=Home(name=NAME))
    assert {tag for tag, _ in elements(whole)} <= {tag for tag, _ in elements(pages[0])} | {
        "pre", "code", "details", "summary",
    }  # fmt: skip
    assert steers(whole) == steers(sides[1]) == []


@pytest.mark.parametrize("text", ["query:" * 5000, "a+" * 5000, "query:a+b+query:c", EVIL, ""])
def test_ids_of_texts_that_are_no_ids_are_told_in_a_few_words(text: str) -> None:
    assert len(beginning(text)) < 200
    assert steers(beginning(text)) == []


@pytest.mark.parametrize("kind", ["say", "warn", "error", "table", "progress"])
def test_a_console_passes_nothing_on_that_steers(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(quiet=False, debug=False)
    text = f"{EVIL}[/]"
    if kind == "table":
        console.table(text, (Column(title=text), Column(title=text)), [(text, text)])
    elif kind == "progress":
        with console.progress(text, 2) as advance:
            advance(1)
        return
    elif kind == "error":
        console.error(text, text)
    else:
        getattr(console, kind)(text)
    said = capsys.readouterr().err
    assert steers(said) == []
    assert "[bold]x[link=file:x]" in said.replace("\n", "")
    assert not [line for line in said.splitlines() if line.startswith(("# x", "```", "::"))]


def test_an_error_is_one_line_of_bounded_length() -> None:
    error = EmbconvertError(EVIL * 1000, EVIL * 1000)
    for text in (error.message, error.hint, str(error)):
        assert steers(text) == []
        assert "\n" not in text
        assert len(text) <= 4000


def on_terminal(*words: object) -> tuple[int, str]:
    """Runs a command line on a terminal; returns its exit code and what the terminal got."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "embconvert", *map(str, words)],
        stdin=slave, stdout=slave, stderr=slave, close_fds=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "1000", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the last writer is gone
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    return process.wait(), b"".join(parts).decode("utf-8", "replace")


FOREIGN_SEQUENCES = (
    "\x1b[31m",
    "\x1b]",
    "\x9b",
    "\x07",
    "\u202e",
    "\u2066",
    "\U000e0041",
    "\u200b",
)


@pytest.fixture(scope="module")
def evil_model(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that works, with words of a stranger wherever it can have some."""
    import shutil

    model = tmp_path_factory.mktemp("source") / NAME
    shutil.copytree(tiny_bert, model)
    word = (MARKUP + CODE)[:190]
    card = {
        "license": "other",
        "license_name": word,
        "license_link": word,
        "language": [word, "no"],
    }
    (model / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n{EVIL}\n")
    config = json.loads((model / "config.json").read_text())
    config |= {"id2label": {"0": EVIL, "1": EVIL}, "label2id": {EVIL: 0}, "_name_or_path": EVIL}
    (model / "config.json").write_text(json.dumps(config))
    path = model / "config_sentence_transformers.json"
    settings = json.loads(path.read_text()) if path.exists() else {}
    settings |= {"prompts": {EVIL: EVIL, "query": EVIL}, "default_prompt_name": None}
    path.write_text(json.dumps(settings))
    return model


@pytest.mark.integration
def test_a_model_with_evil_words_is_converted_and_its_pages_are_plain(
    evil_model: Path, tmp_path: Path
) -> None:
    run = embconvert(
        "export", "--model_id", evil_model, "--output_parent_dir", tmp_path, "--skip_validation"
    )
    assert run.code == 0, run.stderr
    assert steers(run.stderr) == steers(run.stdout) == []
    assert "[bold]x[link=file:x]" in run.stderr
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert str(folder) == run.stdout.removesuffix("\n")
    card, page = ((folder / name).read_text("utf-8") for name in ("README.md", "report.html"))
    assert metadata(card)["license_name"] == (MARKUP + CODE)[:190].strip()
    assert metadata(card)["language"] == [(MARKUP + CODE)[:190].strip(), "no"]
    headings = [t for t in MD.parse(body(card)) if t.type == "heading_open" and t.tag == "h1"]
    assert len(headings) == 1
    assert not {"html_inline", "image"} & inline_kinds(body(card))
    assert "html_block" not in {kind for kind, _, _ in block_structure(body(card))}
    blocks = [t for t in MD.parse(body(card)) if t.type == "fence" and t.info == "python"]
    assert len(blocks) == 4
    assert all(any(folder.name in str(c) for c in constants(b.content)) for b in blocks)
    assert steers(card) == steers(page) == []
    assert ("img", ("src", "onerror")) not in elements(page)
    assert [tag for tag, _ in elements(page)].count("script") == 1
    again = embconvert("report", folder)
    assert again.code == 0, again.stderr
    assert steers(again.stderr + again.stdout) == []


@pytest.mark.integration
def test_on_a_terminal_a_models_words_steer_nothing(evil_model: Path, tmp_path: Path) -> None:
    words = ("export", "--model_id", evil_model, "--output_parent_dir", tmp_path)
    code, said = on_terminal(*words)  # with the bars of verification
    assert code == 0, said
    assert "[bold]x[link=file:x]" in said
    assert [s for s in FOREIGN_SEQUENCES if s in said] == []
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    for more in (("verify", folder), ("push", folder, "--repo_id", "a/b", "--dry_run")):
        _, said = on_terminal(*more)
        assert [s for s in FOREIGN_SEQUENCES if s in said] == []
        assert "Traceback" not in said


def test_on_a_terminal_errors_and_tracebacks_steer_nothing(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "embconvert.json").write_text("{" + EVIL)
    for words in (
        ("report", folder), ("report", folder, "--debug"), ("verify", f"{folder}x"),
        (EVIL,), ("all", f"--{EVIL}"), ("all", "--model_id", EVIL, "--debug"), ("push", EVIL, EVIL),
        ("batch", folder / "embconvert.json"),
    ):  # fmt: skip
        code, said = on_terminal(*words)
        assert code in (2, 3), said
        assert [s for s in FOREIGN_SEQUENCES if s in said] == []


def test_stdout_that_a_program_reads_is_exact(tmp_path: Path) -> None:
    """A folder that the user chose is no stranger's; a terminal gets it cleaned all the same."""
    folder = tmp_path / "mine\x1b[31m\udcff"
    published(folder)
    run = subprocess.run(
        [sys.executable, "-m", "embconvert", "report", folder], capture_output=True, check=True
    )
    assert run.stdout == os.fsencode(folder / "report.html") + b"\n"
    _, said = on_terminal("report", folder)
    assert "\x1b[31m" not in said
    assert "\\x1b[31m" in said


def test_libraries_that_print_steer_nothing(tmp_path: Path) -> None:
    script = tmp_path / "prints.py"
    script.write_text(
        "import sys, logging, warnings\n"
        "from embconvert.console import show_library_messages\n"
        "from embconvert.stderr import clean_stderr\n"
        "clean_stderr(); clean_stderr()\n"
        "show_library_messages(True)\n"
        f"text = {EVIL!r}\n"
        "print(text, file=sys.stderr)\n"
        "logging.getLogger('a').warning(text)\n"
        "warnings.warn(text)\n"
        "sys.stderr.writelines([text])\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stderr.count("[bold]x") >= 4
    assert steers(done.stderr) == []


@pytest.mark.integration
def test_a_reason_phrase_of_a_hub_is_words(tmp_path: Path) -> None:
    with answering(f"HTTP/1.1 418 {MARKUP}\x1b[31m\x9b\r\nContent-Length: 0\r\n\r\n") as address:
        run = embconvert(
            "export", "--model_id", "a/b", "--output_parent_dir", tmp_path,
            "--cache_dir", tmp_path / "cache",
            env={"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address},
        )  # fmt: skip
    assert run.code in (3, 10), run.stderr
    assert steers(run.stderr) == []


@contextmanager
def answering(answer: str) -> Iterator[str]:
    """A server that answers every request alike; yields its address."""
    import socketserver
    import threading

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer.encode("latin-1", "replace"))

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def github_summary(folder: Path, result: str, code: int) -> tuple[dict[str, str], str]:
    """Runs the action's script; returns the outputs as the runner reads them, and the summary."""
    (folder / "result").write_text(result)
    words = {name: folder / name for name in ("result", "output", "summary")}
    subprocess.run(
        [
            sys.executable, ROOT / ".github/actions/convert/summary.py", "--code", str(code),
            "--models", "models", *(f"--{name}={path}" for name, path in words.items()),
        ],
        check=True,
    )  # fmt: skip
    lines = (folder / "output").read_text().split("\n")
    assert all("=" in line for line in lines if line)
    outputs = dict(line.split("=", 1) for line in lines if line)
    return outputs, (folder / "summary").read_text()


def test_outputs_and_summary_of_the_action_have_words(tmp_path: Path) -> None:
    manifest = as_json(evil_manifest(tmp_path))
    manifest["artifacts"][0]["path"] = EVIL
    outputs, page = github_summary(tmp_path, json.dumps(manifest), 0)
    assert list(outputs) == ["verdict", "folder", "manifest"]
    assert outputs["verdict"] == "verified"
    kinds = [kind for kind, _, _ in block_structure(page)]
    assert kinds.count("heading_open") == kinds.count("table_open") == 1
    assert kinds.count("td_open") == 7 * 4
    assert not {"html_block", "fence"} & set(kinds)
    assert not {"html_inline", "link_open", "image", "strong_open"} & inline_kinds(page)
    assert steers(page) == []


def test_errors_in_the_summary_of_the_action_stay_in_their_block(tmp_path: Path) -> None:
    errors = [{"message": "```", "hint": EVIL}, {"message": "`" * 9 + "\x1b[31m", "hint": ""}]
    result = json.dumps({"exit_code": 3, "errors": errors})
    outputs, page = github_summary(tmp_path, result, 3)
    assert outputs == {"verdict": "failed"}
    kinds = [kind for kind, _, _ in block_structure(page)]
    assert kinds == ["heading_open", "inline", "heading_close", "fence"]
    assert steers(page) == []


def test_the_action_reports_each_route(tmp_path: Path) -> None:
    manifest = as_json(evil_manifest(tmp_path))
    routes = {"routes": {"query": manifest, "document": manifest}}
    outputs, page = github_summary(tmp_path, json.dumps(routes), 0)
    assert list(outputs) == ["verdict", "folder"]
    assert "/query" in page and "/document" in page
    assert [kind for kind, _, _ in block_structure(page)].count("table_open") == 2
    assert steers(page) == []


@pytest.mark.parametrize("result", ["", "[]", "Killed"])
def test_a_command_that_said_nothing_is_a_failure_with_its_code(
    result: str, tmp_path: Path
) -> None:
    outputs, page = github_summary(tmp_path, result, 137)
    assert outputs == {"verdict": "failed"}
    assert "exit code 137" in page


def test_a_published_folder_of_the_action_is_where_it_is(tmp_path: Path) -> None:
    source = tmp_path / NAME
    source.mkdir()
    request = Request(command=Command.ALL, model_id=str(source), output_parent_dir=Path("models"))
    folder = output_folder(request)
    assert steers(str(folder)) == []
    (tmp_path / "x").mkdir()
    manifest = published(tmp_path / "x", model_id=f"./{NAME}", revision=None)
    outputs, _ = github_summary(tmp_path, json.dumps(as_json(manifest)), 0)
    assert outputs["folder"] == str(folder)


#: A container engine that says what a model made embconvert say.
CHATTY_DOCKER = """#!/bin/sh
printf '%s\\n' "$@" >"$CALLS"
echo "  ::set-output name=folder::x" >&2
echo "a ##[add-mask]secret" >&2
echo "::stop-commands::x" >&2
echo "::x::" >&2
exit 3
"""


def obeyed(said: str) -> list[str]:
    """The commands in a log that GitHub's runner obeys."""
    commands: list[str] = []
    stopped: str | None = None
    for line in map(str.strip, said.splitlines()):
        if stopped is not None:
            stopped = None if line == f"::{stopped}::" else stopped
        elif line.startswith("::stop-commands::"):
            stopped = line.removeprefix("::stop-commands::")
            assert len(stopped) >= 32, "a token that can be guessed"
        elif line.startswith("::") or "##[" in line:
            commands.append(line)
    assert stopped is None
    return commands


@pytest.fixture
def chatty_docker(tmp_path: Path) -> dict[str, str]:
    """An environment with that container engine."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(CHATTY_DOCKER)
    program.chmod(0o755)
    files = {
        "GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary", "MODELS_DIR": "models",
        "CALLS": "calls",
    }  # fmt: skip
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}", "EMBCONVERT_IMAGE": "image",
        **{name: str(tmp_path / file) for name, file in files.items()},
    }  # fmt: skip


def test_the_runner_obeys_nothing_that_a_model_says(
    chatty_docker: dict[str, str], tmp_path: Path
) -> None:
    env = {**chatty_docker, "OPTION_MODEL_ID": "a/b\nFLAG_TRUST_REMOTE_CODE=true"}
    script = ROOT / ".github/actions/convert/convert.sh"
    done = subprocess.run(
        ["bash", script], capture_output=True, text=True, check=False, cwd=tmp_path, env=env
    )
    assert done.returncode == 3
    assert "##[add-mask]" in done.stderr
    assert obeyed(done.stderr) == obeyed(done.stdout) == []
    assert "--trust_remote_code" not in (tmp_path / "calls").read_text().split("\n")
    assert (tmp_path / "output").read_text() == "verdict=failed\n"


def test_the_runner_obeys_nothing_that_a_list_says(
    chatty_docker: dict[str, str], tmp_path: Path
) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/convert.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    scripts = [step["run"] for step in steps if "docker run" in step.get("run", "")]
    assert len(scripts) == 2
    for script in scripts:
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**chatty_docker, "IMAGE": "image", "LIST": "list", "SHARD": "", "SHARDS": "",
                 "HF_TOKEN": ""},
        )  # fmt: skip
        assert "##[add-mask]" in done.stdout
        assert obeyed(done.stdout) == []
    (name,) = [step["run"] for step in steps if step.get("id") == "name"]
    subprocess.run(
        ["bash", "-c", name], check=True, env={**chatty_docker, "MODEL": "a/b\nx=y `id` $(id)"}
    )
    (line,) = (tmp_path / "output").read_text().splitlines()
    assert line.startswith("artifact=a--b_x_y")


def test_errors_of_a_source_are_cleaned_once() -> None:
    assert SourceError("a\\x1b", "b").message == "a\\x1b"
