"""Uploading folders, through huggingface_hub itself to a small hub on this machine.

Without torch and without a conversion: what push reads is a folder and its manifest.
"""

import hashlib
import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from embconvert.folder.published import published_manifest
from embconvert.manifest import CARD_FILE, MANIFEST_FILE, PAGES, REPORT_FILE
from embconvert.manifest.codec import parse_manifest
from embconvert.reporting.report import report
from embconvert.request.records import ReportRequest
from support.command_line import Outcome, embconvert, files_in
from support.examples import graph, published
from support.hub_server import refuse
from support.hub_upload_server import UploadServer

pytestmark = pytest.mark.integration

REPO = "my-org/example-model"


@pytest.fixture
def hub() -> Iterator[UploadServer]:
    with UploadServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published folder, its pages too."""
    folder = tmp_path / "example-model"
    published(folder)
    report(ReportRequest(folder=folder, quiet=True))
    return folder


def push(hub: UploadServer, folder: Path, *options: object, token: str = "hf_writer") -> Outcome:
    env = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder.parent / "hf")}
    env |= {"HF_TOKEN": token}
    return embconvert("push", folder, "--repo_id", REPO, *options, env=env)


def contents(folder: Path) -> dict[str, bytes]:
    return {file: (folder / file).read_bytes() for file in files_in(folder)}


def assert_pushed(files: Mapping[str, bytes], folder: Path) -> None:
    """A repository has a folder's files; pages say where they are now, as the manifest knows."""
    here = contents(folder)
    assert files.keys() == here.keys()
    made = {*PAGES, MANIFEST_FILE}
    assert {f: c for f, c in files.items() if f not in made} == {
        f: c for f, c in here.items() if f not in made
    }
    manifest = parse_manifest(files[MANIFEST_FILE])
    assert replace(manifest, pages=()) == replace(published_manifest(folder), pages=())
    for page in manifest.pages:
        assert page.sha256 == hashlib.sha256(files[page.path]).hexdigest()


def test_the_repository_is_what_the_folder_is(hub: UploadServer, folder: Path) -> None:
    done = push(hub, folder)
    assert done.code == 0, done.stderr
    assert done.stdout == f"{hub.url}/{REPO}\n"
    assert_pushed(hub.files_of(REPO), folder)
    assert hub.messages == ["Converted by embconvert 0.1.0"]
    assert not hub.private


def test_the_pages_of_a_repository_load_it_from_there(hub: UploadServer, folder: Path) -> None:
    before = contents(folder)
    assert push(hub, folder).code == 0
    assert contents(folder) == before, "the folder itself stays as it is"
    for page in (CARD_FILE, REPORT_FILE):
        text = html.unescape(hub.files_of(REPO)[page].decode())
        assert f'SentenceTransformer(\n    "{REPO}",\n' in text
        assert f'snapshot_download(\n    "{REPO}",\n' in text
        assert f"--model-id {REPO}" in text
        assert '"./' not in text
        assert "in the folder that contains" not in text
    here = html.unescape((folder / CARD_FILE).read_text())
    assert 'SentenceTransformer(\n    "./example-model",\n' in here


def test_nothing_but_the_folders_own_files_is_sent(hub: UploadServer, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "onnx" / "secret.onnx").write_text("mine")
    assert push(hub, folder).code == 0
    assert not {"notes.txt", "onnx/secret.onnx"} & set(hub.files_of(REPO))


def test_a_model_card_of_ones_own_is_sent(hub: UploadServer, folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    assert push(hub, folder).code == 0
    assert hub.files_of(REPO)["README.md"].endswith(b"# Mine\n")
    manifest = parse_manifest(hub.files_of(REPO)[MANIFEST_FILE])
    assert [page.path for page in manifest.pages] == [REPORT_FILE]


def test_private_branch_pull_request_and_message(hub: UploadServer, folder: Path) -> None:
    done = push(hub, folder, "--private", "--revision", "int8", "--message", "First")
    assert done.code == 0, done.stderr
    assert hub.private == {REPO}
    assert_pushed(hub.files_of(REPO, "int8"), folder)
    assert 'revision="int8",' in hub.files_of(REPO, "int8")["README.md"].decode()
    assert hub.files_of(REPO, "main") == {}
    assert hub.messages == ["First"]
    done = push(hub, folder, "--create_pr")
    assert done.stdout == f"{hub.url}/{REPO}/discussions/1\n"
    (request,) = hub.pull_requests
    assert_pushed(request, folder)
    assert hub.files_of(REPO, "main") == {}


def test_a_push_that_broke_off_goes_on(hub: UploadServer, folder: Path) -> None:
    def break_off(request: BaseHTTPRequestHandler) -> bool:
        if request.command == "PUT" and len(hub.uploads()) > 2:
            refuse(request, 400, "BadRequest")
            return True
        return False

    hub.faults.append(break_off)
    done = push(hub, folder)
    assert done.code != 0
    assert "run the command again" in done.stderr
    assert hub.files_of(REPO) == {}, "a push is one commit, or none"
    arrived = set(hub.objects)
    assert len(arrived) == 2

    hub.faults.clear()
    hub.requests.clear()
    assert push(hub, folder).code == 0
    assert not arrived & set(hub.uploads()), "what the hub has is not sent again"
    assert_pushed(hub.files_of(REPO), folder)

    hub.requests.clear()
    assert push(hub, folder).code == 0
    assert hub.uploads() == []


def test_what_an_earlier_push_left_is_removed_and_no_more(hub: UploadServer, folder: Path) -> None:
    assert push(hub, folder).code == 0
    hub.files_of(REPO)["by-hand.txt"] = b"somebody's"
    (folder / "onnx" / "model_opt1_Float16.onnx").unlink()
    manifest = json.loads((folder / "embconvert.json").read_text())
    manifest["artifacts"] = [a for a in manifest["artifacts"] if "Float16" not in a["path"]]
    (folder / "embconvert.json").write_text(json.dumps(manifest))
    done = push(hub, folder)
    assert "removed onnx/model_opt1_Float16.onnx" in done.stderr
    files = dict(hub.files_of(REPO))
    assert files.pop("by-hand.txt") == b"somebody's"
    assert_pushed(files, folder)


@pytest.mark.parametrize(
    ("harm", "code", "message"),
    [
        ("unverified", 8, "onnx/model.onnx not verified"),
        ("missing", 3, "is missing"),
        ("changed", 3, "differs from the manifest"),
        ("report", 3, "embconvert report"),
        ("link", 3, "model.onnx is a link, not a file"),
    ],
)
def test_a_folder_that_is_not_what_was_verified_is_refused(
    hub: UploadServer, folder: Path, harm: str, code: int, message: str
) -> None:
    model = folder / "onnx" / "model.onnx"
    if harm == "unverified":
        published(folder, graph(folder, "model", 1000, fidelity=None))
    elif harm == "missing":
        model.unlink()
    elif harm == "changed":
        model.write_bytes(model.read_bytes()[:-1] + b"x")
    elif harm == "report":
        (folder / "report.html").write_text("another")
    else:
        model.rename(folder.parent / "elsewhere")
        model.symlink_to(folder.parent / "elsewhere")
    done = push(hub, folder)
    assert done.code == code
    assert message in done.stderr
    assert hub.requests == []


def test_a_token_is_needed_and_shows_nowhere(hub: UploadServer, folder: Path) -> None:
    done = push(hub, folder, token="")
    assert (done.code, hub.requests) == (2, [])
    assert "HF_TOKEN" in done.stderr
    for options in ((), ("--debug",)):
        done = push(hub, folder, *options, token="hf_somebody_else")
        assert done.code == 9
        assert "does not allow this token to write" in done.stderr
        assert "hf_somebody_else" not in done.stdout + done.stderr
    for options in ((), ("--debug",)):
        done = push(hub, folder, *options)
        assert "hf_writer" not in done.stdout + done.stderr
        assert "Signature" not in done.stdout + done.stderr


def test_a_hub_that_fails_is_worth_a_retry(hub: UploadServer, folder: Path) -> None:
    def fail(request: BaseHTTPRequestHandler) -> bool:
        refuse(request, 500, "Internal")
        return True

    hub.faults.append(fail)
    done = push(hub, folder)
    assert done.code == 10
    assert "run the command again" in done.stderr


def test_dry_run_checks_and_opens_no_connection(hub: UploadServer, folder: Path) -> None:
    done = push(hub, folder, "--dry_run", token="")
    assert done.code == 0
    assert done.stdout.splitlines() == [f"to {REPO}:", *sorted(files_in(folder))]
    assert hub.requests == []
