"""Uploading folders, through huggingface_hub itself to a small hub on this machine.

Without torch and without a conversion: what push reads is a folder and its manifest.
"""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from conftest import Outcome, embconvert, files_in
from examples import graph, published
from hub_server import refuse
from hub_upload_server import UploadServer

from embconvert.reporting.report import report
from embconvert.request.records import ReportRequest

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


def test_the_repository_is_what_the_folder_is(hub: UploadServer, folder: Path) -> None:
    done = push(hub, folder)
    assert done.code == 0, done.stderr
    assert done.stdout == f"{hub.url}/{REPO}\n"
    assert hub.files_of(REPO) == contents(folder)
    assert hub.messages == ["Converted by embconvert 0.1.0"]
    assert not hub.private


def test_nothing_but_the_folders_own_files_is_sent(hub: UploadServer, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "onnx" / "secret.onnx").write_text("mine")
    assert push(hub, folder).code == 0
    assert not {"notes.txt", "onnx/secret.onnx"} & set(hub.files_of(REPO))


def test_a_model_card_of_ones_own_is_sent(hub: UploadServer, folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    assert push(hub, folder).code == 0
    assert hub.files_of(REPO)["README.md"].endswith(b"# Mine\n")


def test_private_branch_pull_request_and_message(hub: UploadServer, folder: Path) -> None:
    done = push(hub, folder, "--private", "--revision", "int8", "--message", "First")
    assert done.code == 0, done.stderr
    assert hub.private == {REPO}
    assert hub.files_of(REPO, "int8") == contents(folder)
    assert hub.files_of(REPO, "main") == {}
    assert hub.messages == ["First"]
    done = push(hub, folder, "--create_pr")
    assert done.stdout == f"{hub.url}/{REPO}/discussions/1\n"
    assert hub.pull_requests == [contents(folder)]
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
    assert "run it again" in done.stderr
    assert hub.files_of(REPO) == {}, "a push is one commit, or none"
    arrived = set(hub.objects)
    assert len(arrived) == 2

    hub.faults.clear()
    hub.requests.clear()
    assert push(hub, folder).code == 0
    assert not arrived & set(hub.uploads()), "what the hub has is not sent again"
    assert hub.files_of(REPO) == contents(folder)

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
    assert hub.files_of(REPO) == contents(folder) | {"by-hand.txt": b"somebody's"}


@pytest.mark.parametrize(
    ("harm", "code", "message"),
    [
        ("unverified", 8, "onnx/model.onnx not verified"),
        ("missing", 3, "is missing"),
        ("changed", 3, "is not what the manifest says"),
        ("report", 3, "embconvert report"),
        ("link", 3, "model.onnx is a link, where a file must be"),
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
        assert "does not let this token write" in done.stderr
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
    assert "run it again" in done.stderr


def test_dry_run_checks_and_opens_no_connection(hub: UploadServer, folder: Path) -> None:
    done = push(hub, folder, "--dry_run", token="")
    assert done.code == 0
    assert done.stdout.splitlines() == [f"to {REPO}:", *sorted(files_in(folder))]
    assert hub.requests == []
