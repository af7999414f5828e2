"""A manifest that somebody edited: every command names the field, and says what works."""

import copy
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embconvert.cli.main import run
from embconvert.manifest import MANIFEST_FILE, Manifest
from embconvert.manifest.codec import MAX_BYTES, OlderManifest, as_text, parse_manifest
from embconvert.models.json_records import as_json
from embconvert.pipeline.freshness import current_manifest
from embconvert.request.records import Request
from support.documents import DATA, generator, schema
from support.examples import published


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """cli.main takes them."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    published(tmp_path / "models" / "example-model")
    return tmp_path / "models" / "example-model"


def run_command(name: str, folder: Path) -> int:
    words = [name, str(folder)]
    if name == "push":
        words += ["--repo_id", "org/name", "--dry_run"]
    if name == "compare":
        published(folder.parent / "other")
        words += [str(folder.parent / "other"), "--output", str(folder.parent / "compare.html")]
    return run(words)


Edit = Callable[[Any], None]


def put(*path: int | str, value: Any) -> Edit:
    """An edit of a field; `...` in place of a value removes it."""

    def edit(manifest: Any) -> None:
        *parents, name = path
        for part in parents:
            manifest = manifest[part]
        if value is ...:
            del manifest[name]
        else:
            manifest[name] = value

    return edit


def twins(manifest: Any) -> None:
    """Two names that some file systems do not tell apart."""
    manifest["artifacts"][1]["path"] = manifest["artifacts"][0]["path"].replace("model", "MODEL")


def twice(manifest: Any) -> None:
    manifest["artifacts"][1]["path"] = manifest["artifacts"][0]["path"]


def below_a_file(manifest: Any) -> None:
    manifest["files"][0]["path"] = "onnx/model.onnx/config.json"


def itself(manifest: Any) -> None:
    manifest["files"][0]["path"] = MANIFEST_FILE


def a_scratch_folder(manifest: Any) -> None:
    """Where commands keep their own files."""
    manifest["files"][0]["path"] = ".work"


def weights_elsewhere(manifest: Any) -> None:
    """The graph would read a file of this name in its own folder, which is not listed."""
    weights = {"path": "model.onnx_data", "sha256": "0" * 64, "size_bytes": 1}
    manifest["artifacts"][0]["external_data"] = weights


def another_measure(manifest: Any) -> None:
    manifest["artifacts"][0]["fidelity"]["similarity"]["measure"] = "agreement"


#: What no schema can say.
NOT_IN_THE_SCHEMA = (
    twice, twins, below_a_file, itself, a_scratch_folder, weights_elsewhere, another_measure,
)  # fmt: skip
GRAPH = ("artifacts", 2)
SPEED = ("speeds", "graphs", 2)
NEAR = (*GRAPH, "fidelity", "similarity")
HUGE = {"kind": "shape", "shape": {"texts": 1 << 30, "tokens": 1 << 30}}
BESIDE = {"path": "onnx/model.onnx", "sha256": "0" * 64, "size_bytes": 1}
EDITS: list[tuple[Edit, str]] = [
    (put(*GRAPH, "size_bytes", value=0), "artifacts[2].size_bytes must be at least 1"),
    (put(*GRAPH, "size_bytes", value=-5), "artifacts[2].size_bytes must be at least 1"),
    (put(*GRAPH, "size_bytes", value="many"), "artifacts[2].size_bytes must be a whole number"),
    (put(*GRAPH, "size_bytes", value="17"), "artifacts[2].size_bytes must be a whole number"),
    (put(*GRAPH, "size_bytes", value=1.5), "artifacts[2].size_bytes must be a whole number"),
    (put(*GRAPH, "size_bytes", value=True), "artifacts[2].size_bytes must be a whole number"),
    (put(*GRAPH, "size_bytes", value=None), "artifacts[2].size_bytes must be a whole number"),
    (put(*GRAPH, "size_bytes", value=10**400), "artifacts[2].size_bytes must be at most"),
    (put(*GRAPH, "size_bytes", value=...), "artifacts[2].size_bytes is missing"),
    (put(*GRAPH, "sha256", value="0" * 63), "artifacts[2].sha256 must be 64 hexadecimal digits"),
    (put(*GRAPH, "sha256", value="G" * 64), "artifacts[2].sha256 must be 64 hexadecimal digits"),
    (put(*GRAPH, "sha256", value="0" * 64 + "\n"), "artifacts[2].sha256 must be 64"),
    (put(*GRAPH, "precision", value="Q3"), "artifacts[2].precision must be one of"),
    (put(*GRAPH, "optimization_level", value=3), "artifacts[2].optimization_level must be one of"),
    (put(*GRAPH, "duration_s", value=-1), "artifacts[2].duration_s must be at least 0"),
    (put(*GRAPH, "duration_s", value=10**400), "artifacts[2].duration_s must be a finite number"),
    (put(*GRAPH, "operators", "MatMul", value=-3), "artifacts[2].operators.MatMul must be at"),
    (put(*GRAPH, "operators", value=[]), "artifacts[2].operators must be an object"),
    (put(*GRAPH, "inputs", value=[]), "artifacts[2].inputs must have at least 1"),
    (put(*GRAPH, "inputs", 0, "shape", value=[-1]), "artifacts[2].inputs[0].shape[0] must be"),
    (put(*GRAPH, "min_onnxruntime", value="x"), "artifacts[2].min_onnxruntime must be a release"),
    (put(*GRAPH, "settings", value={"a": {}}), "artifacts[2].settings.a must be text"),
    (put(*GRAPH, "forms", value=[{"kind": "exe"}]), "artifacts[2].forms[0].kind must be one of"),
    (put(*GRAPH, "forms", value=[{"kind": "shape"}]), "artifacts[2].forms[0] must have a shape"),
    (put(*GRAPH, "forms", value=[HUGE]), "artifacts[2].forms[0] must have at most 4,194,304"),
    (put(*GRAPH, "beside", value=[{**BESIDE, "path": "/x"}]), "beside[0].path must be a path"),
    (put(*GRAPH, "beside", value=[BESIDE]), "beside[0].path is the same as artifacts[0].path"),
    (put(*GRAPH, "kept", value=[{}]), "artifacts[2].kept[0].node is missing"),
    (put(*GRAPH, "fidelity", "worst_texts", value=[]), "fidelity.worst_texts must have at least 1"),
    (put(*GRAPH, "fidelity", "histogram", value=[1]), "fidelity.histogram must have at least 30"),
    (put(*SPEED, "shapes", 0, "texts_per_second", value=0), "second must be more than 0"),
    (put(*SPEED, "shapes", value=[]), "speeds.graphs[2].shapes must have at least 1"),
    (put(*SPEED, "path", value="../x"), "speeds.graphs[2].path must be a path inside"),
    (put("speeds", "waited", value=2), "speeds.waited must be at most 1"),
    (put(*NEAR, "mean", value=1.1), "artifacts[2].fidelity.similarity.mean must be at most 1.0001"),
    (put(*NEAR, "min", value=-2), "artifacts[2].fidelity.similarity.min must be at least -1.0001"),
    (put(*NEAR, "measure", value="taste"), "fidelity.similarity.measure must be one of"),
    (another_measure, "artifacts[0].fidelity.similarity.measure must be cosine"),
    (put("artifacts", 0, "path", value="../x"), "artifacts[0].path must be a path inside"),
    (put("artifacts", 0, "path", value="/etc/x"), "artifacts[0].path must be a path inside"),
    (put("artifacts", 0, "path", value="a/./b"), "artifacts[0].path must be a path inside"),
    (put("artifacts", 0, "path", value="a//b"), "artifacts[0].path must be a path inside"),
    (put("artifacts", 0, "path", value="a\\b"), "artifacts[0].path must be a path inside"),
    (put("artifacts", 0, "path", value="a\nb"), "artifacts[0].path must be a path inside"),
    (put("artifacts", 0, "path", value="a" * 2000), "artifacts[0].path must have at most 1000"),
    (put("recommended", "path", value="other.onnx"), "recommended.path must be that of a graph"),
    (twice, "artifacts[1].path is the same as artifacts[0].path"),
    (twins, "artifacts[1].path is the same as artifacts[0].path"),
    (below_a_file, "artifacts[0].path is a folder of another file"),
    (itself, "files[0].path must not be embconvert.json"),
    (a_scratch_folder, "files[0].path must not be .work"),
    (weights_elsewhere, "artifacts[0].external_data.path must be in the folder of its graph"),
    (put("files", value=[{"path": "x"}]), "files[0].sha256 is missing"),
    (put("pages", value=[{"path": "x", "sha256": "0" * 64, "size_bytes": 1}]), "must be a page"),
    (put("source", "revision", value="main"), "source.revision must be 40 hexadecimal digits"),
    (put("source", "model", "kind", value="oracle"), "source.model has an unknown kind"),
    (put("source", "model", "kind", value=...), "source.model has no kind"),
    (put("source", "model", value=3), "source.model must be an object"),
    (put("source", "model", "labels", value=2), "source.model.labels is not a field of a manifest"),
    (put("source", "model", "dimension", value=-1), "source.model.dimension must be at least 1"),
    (put("source", "model", "pooling", value=["sum"]), "source.model.pooling[0] must be one of"),
    (put("source", "max_seq_length", value=0), "source.max_seq_length must be at least 1"),
    (put("source", "card", "license", value="mit\nx"), "source.card.license must be one line"),
    (put("source", value=...), "source is missing"),
    (put("source", value=[]), "source must be an object"),
    (put("machine", "cpus", value=0), "machine.cpus must be at least 1"),
    (put("machine", "cpus", value="<script>"), "machine.cpus must be a whole number"),
    (put("verification", "texts", value="300"), "verification.texts must be a whole number"),
    (put("stack", "torch", value="<script>"), "stack.torch must be letters, digits"),
    (put("tool", "version", value="<script>"), "tool.version must be letters, digits"),
    (put("tool", "name", value="other"), "tool.name must be 'embconvert'"),
    (put("tool", "commands", value="all"), "tool.commands must be a list"),
    (put("tool", "commands", value=["x" * 70_000]), "tool.commands[0] must have at most 65536"),
    (put("layout", value="pyramid"), "layout must be one of"),
    (put("comment", value="mine"), "comment is not a field of a manifest"),
    (put("schema_version", value="3"), "schema_version must be 3"),
    (put("schema_version", value=3.0), "schema_version must be 3"),
    (put("schema_version", value=True), "schema_version must be 3"),
    (put("schema_version", value=...), "schema_version must be 3"),
    (put("schema_version", value=4), "written by a newer embconvert"),
    (put("schema_version", value=2), "was written by an older embconvert"),
]

BYTES: list[tuple[Callable[[str], bytes], str]] = [
    (lambda text: b"\xef\xbb\xbf" + text.encode(), "starts with a byte order mark"),
    (lambda text: text.encode("utf-16"), "is not UTF-8"),
    (lambda text: text.encode() + b"\xff", "is not UTF-8"),
    (lambda text: text.encode()[:-9], "is not JSON"),
    (lambda text: text.replace('"org/example-model"', '"\\ud800"', 1).encode(), "is not JSON"),
    (lambda text: text.replace('"cpus": 2', '"cpus": 2, "cpus": 3').encode(), "cpus twice"),
    (lambda text: text.replace('"mean": ', '"mean": NaN, "x": ', 1).encode(), "has NaN"),
    (lambda text: text.replace('"mean": ', '"mean": -Infinity, "x": ', 1).encode(), "has -Inf"),
    (lambda text: text.replace('"mean": ', '"mean": 1e999, "x": ', 1).encode(), "finite number"),
    (lambda text: b"[" * 100_000 + text.encode(), "is nested too deeply"),
    (lambda text: text.encode() + b" " * MAX_BYTES, "is larger than 16 MiB"),
    (lambda _: b"", "is not JSON"),
    (lambda _: b"[]", "must be an object"),
    (lambda _: b"null", "must be an object"),
    (lambda _: b"9" * 10_000, "is not JSON"),
]  # fmt: skip


def refused(name: str, folder: Path, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(name, folder) == 3
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert f"{MANIFEST_FILE}: " in error
    assert message in error
    assert len(error) < 600
    assert hint.startswith("hint: convert the model again")


@pytest.mark.parametrize(("edit", "message"), EDITS)
def test_an_edited_manifest_is_refused_by_its_field(
    folder: Path, capsys: pytest.CaptureFixture[str], edit: Edit, message: str
) -> None:
    value = json.loads((folder / MANIFEST_FILE).read_text())
    edit(value)
    (folder / MANIFEST_FILE).write_text(json.dumps(value))
    refused("report", folder, message, capsys)


@pytest.mark.parametrize(("spoil", "message"), BYTES)
def test_what_is_no_json_is_refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[str], bytes],
    message: str,
) -> None:
    path = folder / MANIFEST_FILE
    path.write_bytes(spoil(path.read_text()))
    refused("report", folder, message, capsys)


@pytest.mark.parametrize("name", ["push", "verify", "report", "compare"])
@pytest.mark.parametrize("number", [0, len(EDITS) - 1])
def test_every_command_refuses_it(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, number: int
) -> None:
    edit, message = EDITS[number]
    value = json.loads((folder / MANIFEST_FILE).read_text())
    edit(value)
    (folder / MANIFEST_FILE).write_text(json.dumps(value))
    before = (folder / MANIFEST_FILE).read_bytes()
    refused(name, folder, message, capsys)
    assert (folder / MANIFEST_FILE).read_bytes() == before
    assert current_manifest(Request(command="all", model_id="m"), folder, "0" * 40) is None  # type: ignore[arg-type]


def test_every_number_may_be_anything_and_no_command_fails_of_it(folder: Path) -> None:
    """Each number, text and list in turn becomes something else: exit code 0 or 3, never 1."""
    whole = json.loads((folder / MANIFEST_FILE).read_text())
    values: tuple[Any, ...] = (0, -1, 10**400, 0.5, "", "<script>", None, [], {}, [[]], True)
    for path in _places(whole):
        for value in values:
            edited = copy.deepcopy(whole)
            put(*path, value=value)(edited)
            try:
                parse_manifest(json.dumps(edited).encode())
            except ValueError as error:
                assert not isinstance(error, UnicodeError | json.JSONDecodeError)


def _places(value: Any, path: tuple[int | str, ...] = ()) -> Iterator[tuple[int | str, ...]]:
    if path:
        yield path
    inner: Any = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value[:1]) if isinstance(value, list) else inner
    for name, part in inner:
        yield from _places(part, (*path, name))


def manifest_of(folder: Path) -> Manifest:
    return parse_manifest((folder / MANIFEST_FILE).read_bytes())


def test_what_is_written_is_what_is_read(folder: Path) -> None:
    manifest = manifest_of(folder)
    assert parse_manifest(as_text(manifest).encode()) == manifest
    assert json.loads(as_text(manifest)) == as_json(manifest)


def test_an_older_version_is_told_apart() -> None:
    with pytest.raises(OlderManifest, match="older embconvert"):
        parse_manifest(b'{"schema_version": 1}')


def test_the_schema_is_in_step_with_the_records() -> None:
    for name, text in generator("make_schemas").schemas().items():
        assert (DATA / name).read_text(encoding="utf-8") == text, "run: make schema"


def test_the_schema_refuses_what_the_reader_refuses(folder: Path) -> None:
    import jsonschema

    validator = jsonschema.Draft202012Validator(schema("manifest"))
    whole = json.loads((folder / MANIFEST_FILE).read_text())
    validator.validate(whole)
    for edit, message in EDITS:
        if edit in NOT_IN_THE_SCHEMA or "page" in message:
            continue
        value = copy.deepcopy(whole)
        edit(value)
        if value.get("schema_version") not in (3.0, True, None):
            assert not validator.is_valid(value), message
