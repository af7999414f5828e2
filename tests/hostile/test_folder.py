"""What a folder can make a command read, upload or write outside of it.

The commands run in this process; an alarm ends a test that waits for a pipe.
"""

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embconvert.cli.main import run
from embconvert.errors import OutputError
from embconvert.folder.parent import Parent
from embconvert.folder.published import is_whole, published_manifest, read_manifest
from embconvert.folder.staging import Staging
from embconvert.hub.push import FilesFor
from embconvert.manifest import MANIFEST_FILE, PAGES, Manifest
from embconvert.pipeline.push_folder import push
from embconvert.reporting.report import report
from embconvert.request.records import PushRequest, ReportRequest
from support.command_line import files_in
from support.examples import published


@pytest.fixture(autouse=True)
def nothing_waits() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    for number in (signal.SIGINT, signal.SIGTERM):  # cli.main has taken them
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "example-model"
    published(folder)
    report(ReportRequest(folder=folder, quiet=True))
    return folder


def by_link(path: Path) -> None:
    elsewhere = path.parents[2] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def by_socket(path: Path) -> None:
    path.unlink()
    here = Path.cwd()
    os.chdir(path.parent)  # such a name is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def by_device(path: Path) -> None:
    path.unlink()
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("no devices may be made here")


REPLACED: dict[str, Callable[[Path], None]] = {
    "a link": by_link,
    "a named pipe": by_pipe,
    "a folder": by_folder,
    "a socket": by_socket,
    "a device": by_device,
}


def command(name: str, folder: Path) -> list[str]:
    words = [name, str(folder)]
    if name == "push":
        words += ["--repo_id", "org/name", "--dry_run"]
    if name == "compare":
        other = folder.parent / "other"
        published(other)
        words += [str(other), "--output", str(folder.parent / "compare.html")]
    return words


@pytest.mark.parametrize("what", REPLACED)
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("push", "README.md"), ("push", "report.html"), ("push", "tokenizer_config.json"),
        ("push", "onnx/model.onnx"), ("push", MANIFEST_FILE),
        ("verify", "README.md"), ("verify", "report.html"), ("verify", "tokenizer_config.json"),
        ("verify", "onnx/model.onnx"), ("verify", MANIFEST_FILE),
        ("report", "README.md"), ("report", "report.html"), ("report", "tokenizer_config.json"),
        ("report", MANIFEST_FILE), ("compare", MANIFEST_FILE),
    ],
)  # fmt: skip
def test_what_is_no_regular_file_is_refused_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str], what: str, name: str, file: str
) -> None:
    REPLACED[what](folder / file)
    assert run(command(name, folder)) == 3
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert f"{file} is {what}, not a file" in error
    assert hint.startswith("hint: remove it")


@pytest.mark.parametrize("name", ["push", "verify"])
def test_a_file_of_another_size_is_not_read(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A sparse one takes no space, and hours."""
    os.truncate(folder / "tokenizer_config.json", 1 << 40)
    assert run(command(name, folder)) == 3
    assert "tokenizer_config.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["push", "verify"])
def test_a_folder_of_the_folder_may_be_no_link(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    by_link(folder / "onnx")
    assert run(command(name, folder)) == 3
    assert "onnx is a link, not a folder" in capsys.readouterr().err


def test_a_card_that_is_another_files_second_name_is_not_pushed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = folder.parent / "secret"
    secret.write_text("a secret")
    (folder / "README.md").unlink()
    (folder / "README.md").hardlink_to(secret)
    assert run(command("push", folder)) == 3
    assert "README.md is a hard link" in capsys.readouterr().err


def test_a_folder_of_hard_links_is_pushed_where_hashes_vouch_for_it(folder: Path) -> None:
    """As `cp -al` makes."""
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy, copy_function=os.link)
    assert run(command("push", copy)) == 0


def test_what_replaces_a_file_after_it_was_checked_is_not_uploaded(
    folder: Path, tmp_path: Path
) -> None:
    seen: dict[str, bytes] = {}
    (tmp_path / "secret").write_text("a secret")
    before = {file: (folder / file).read_bytes() for file in files_in(folder)}

    def upload(files_for: FilesFor, *_: object) -> str:
        files = files_for("org/name", "https://huggingface.co")
        for file in files:
            (folder / file).unlink()
            (folder / file).symlink_to(tmp_path / "secret")
        seen.update({file: stream.read() for file, stream in files.items()})
        return "done"

    assert push(PushRequest(folder=folder, repo_id="org/name"), upload).text == "done"
    assert seen.keys() == before.keys()
    assert b"a secret" not in seen.values()
    for file in seen.keys() - {*PAGES, MANIFEST_FILE}:  # these are made for the repository
        assert seen[file] == before[file]


def test_links_of_the_right_size_make_no_folder_whole(folder: Path) -> None:
    manifest = published_manifest(folder)
    assert is_whole(folder, manifest, contents=True)
    by_link(folder / "onnx" / "model.onnx")
    assert not is_whole(folder, manifest, contents=False)


@pytest.mark.parametrize("kind", ["a link", "a named pipe", "a device"])
def test_compare_replaces_no_more_than_a_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    words = command("compare", folder)
    output = Path(words[-1])
    output.write_text("old")
    REPLACED[kind](output)
    (tmp_path / "elsewhere").write_text("mine")
    assert run(words) == 9
    assert f"--output {output} is {kind}" in capsys.readouterr().err
    assert (tmp_path / "elsewhere").read_text() == "mine"


@pytest.mark.parametrize("depth", [0, 1])
def test_compare_writes_nothing_where_a_link_leads(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], depth: int
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "reports").mkdir(parents=True)
    (folder.parent / "link").symlink_to(elsewhere)
    output = folder.parent / "link" / ("reports" if depth else "") / "compare.html"
    assert run([*command("compare", folder)[:-1], str(output)]) == 9
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert "is a link" in error
    assert files_in(elsewhere) == {}
    assert run([*command("compare", folder)[:-1], hint.partition("--output ")[2]]) == 0


def test_a_link_in_the_place_of_a_temporary_file_is_not_written_through(
    folder: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (".report.html.new", ".README.md.new", f".{MANIFEST_FILE}.new"):
        (folder / name).symlink_to(victim)
    (folder.parent / ".compare.html.new").symlink_to(victim)
    assert run(command("report", folder)) == 0
    assert run(command("compare", folder)) == 0
    assert victim.read_text() == "mine"


# Swapped in mid-run.


def elsewhere_of(tmp_path: Path) -> Path:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    return elsewhere


def staged_manifest(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    assert manifest is not None
    return manifest


def swap(path: Path, elsewhere: Path) -> None:
    path.rename(path.with_name(path.name + ".gone"))
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("what", ["staging", "parent", "target"])
def test_a_folder_swapped_for_a_link_in_mid_run_gets_nothing(
    folder: Path, tmp_path: Path, what: str
) -> None:
    elsewhere = elsewhere_of(tmp_path)
    (elsewhere / "theirs").write_text("theirs")
    before = {"theirs": (elsewhere / "theirs").read_bytes()}
    manifest = staged_manifest(folder)
    with pytest.raises(OutputError, match="replaced"), Staging(folder, print) as staging:
        staging.path("onnx/model.onnx").write_text("new")
        swapped = {"staging": staging.folder, "parent": folder.parent, "target": folder}[what]
        swap(swapped, elsewhere)
        if what == "target":
            staging.complete(manifest, None)
            staging.swap()
        else:
            staging.path("config.json")
    assert {file: (elsewhere / file).read_bytes() for file in files_in(elsewhere)} == before


def test_a_parent_swapped_just_before_the_rename_gets_nothing(folder: Path, tmp_path: Path) -> None:
    elsewhere = elsewhere_of(tmp_path)
    manifest = staged_manifest(folder)

    class Swapped(Parent):
        def move(self, name: str, to: str) -> None:
            if to == folder.name and not folder.parent.is_symlink():
                swap(folder.parent, elsewhere)
            super().move(name, to)

    with Staging(folder, print, Swapped) as staging:
        for file in manifest.paths():
            staging.path(file).write_bytes((folder / file).read_bytes())
        staging.complete(manifest, manifest)
        staging.swap()
    assert files_in(elsewhere) == {}
    assert (folder.parent.with_name("models.gone") / folder.name / MANIFEST_FILE).is_file()


@pytest.mark.parametrize("kind", ["staging", "old", "trash"])
def test_a_planted_link_beside_the_output_folder_is_not_followed(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    elsewhere = elsewhere_of(tmp_path)
    published(elsewhere)
    before = {file: (elsewhere / file).read_bytes() for file in files_in(elsewhere)}
    (folder.parent / f".{folder.name}.embconvert-{kind}-00000000").symlink_to(elsewhere)
    with Staging(folder, print) as staging:
        assert staging.journals() == []
        assert not folder.is_symlink()
    assert {file: (elsewhere / file).read_bytes() for file in files_in(elsewhere)} == before


@pytest.mark.parametrize("dangling", [True, False])
def test_the_lock_is_no_link(folder: Path, tmp_path: Path, *, dangling: bool) -> None:
    victim = tmp_path / "victim"
    if not dangling:
        victim.write_text("mine")
    (folder.parent / f".{folder.name}.embconvert-lock").symlink_to(victim)
    with pytest.raises(OutputError, match="is not a file"), Staging(folder, print):
        pass
    assert victim.exists() is not dangling


def test_a_graph_behind_a_link_is_not_taken_over(folder: Path) -> None:
    manifest = staged_manifest(folder)
    record = manifest.artifacts[0]
    with Staging(folder, print) as staging:
        assert staging.adopt(record, folder, record.path)
        staging.discard(record.path)
        by_link(folder / "onnx")
        assert not staging.adopt(record, folder, record.path)
