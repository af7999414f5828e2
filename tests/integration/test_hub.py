"""Models from a hub: pinned, cached, and with clear errors."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Outcome, embconvert
from hub_server import HubServer, refuse

pytestmark = pytest.mark.integration

TOKEN = "hf_secretOfTheTests"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def convert(hub: HubServer, tmp_path: Path, *arguments: object, token: str = "") -> Outcome:
    home = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    return embconvert(
        "export", "--model_id", "somebody/model", "--output_parent_dir", tmp_path / "out",
        "--skip_validation", *arguments, env=home | ({"HF_TOKEN": token} if token else {}),
    )  # fmt: skip


def test_a_hub_model_is_pinned_to_its_commit_and_cached(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    sha = hub.add_model("somebody/model", tiny_bert)
    first = convert(hub, tmp_path)
    assert first.code == 0, first.stderr
    assert first.stdout == f"{tmp_path / 'out' / 'somebody' / 'model'}\n"
    assert first.manifest["source"]["revision"] == sha
    assert "model.safetensors" in hub.files_sent()

    hub.requests.clear()
    again = convert(hub, tmp_path)
    assert again.code == 0
    assert hub.files_sent() == []
    assert "up to date" in again.stderr


def test_a_revision_is_a_branch_a_tag_or_a_commit(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    sha = hub.add_model("somebody/model", tiny_bert, branch="main", tag="v1")
    newer = tmp_path / "newer"
    shutil.copytree(tiny_bert, newer)
    (newer / "special_tokens_map.json").write_text("{}\n")
    newest = hub.add_model("somebody/model", newer)
    assert newest != sha
    for revision, commit in (("v1", sha), (sha, sha), ("main", newest)):
        outcome = convert(hub, tmp_path, "--revision", revision)
        assert outcome.code == 0, outcome.stderr
        assert outcome.manifest["source"]["revision"] == commit


def test_only_needed_files_are_fetched(hub: HubServer, tiny_bert: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    for name in ("pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "train.py", "README.md"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(b"not wanted")
    hub.add_model("somebody/model", model)
    assert convert(hub, tmp_path).code == 0
    unwanted = {"pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "train.py", "README.md"}
    assert unwanted.isdisjoint(hub.files_sent())


def test_offline_works_with_a_cache_and_says_so_without(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert)
    without = convert(hub, tmp_path, "--offline")
    assert (without.code, "not in the cache" in without.stderr) == (3, True)
    assert convert(hub, tmp_path).code == 0
    hub.requests.clear()
    shutil.rmtree(tmp_path / "out")
    offline = convert(hub, tmp_path, "--offline")
    assert offline.code == 0, offline.stderr
    assert hub.requests == []


def test_a_model_or_revision_that_is_not_there_is_named(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    nothing = convert(hub, tmp_path)
    assert (nothing.code, "has no model somebody/model" in nothing.stderr) == (3, True)
    hub.add_model("somebody/model", tiny_bert)
    revision = convert(hub, tmp_path, "--revision", "v9")
    assert (revision.code, "no revision v9" in revision.stderr) == (3, True)
    assert not (tmp_path / "out").exists()


def test_a_private_model_needs_the_right_token_which_is_never_shown(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert, token=TOKEN)
    for wrong in ("", "hf_wrong"):
        refused = convert(hub, tmp_path, token=wrong)
        assert (refused.code, "HF_TOKEN" in refused.stderr) == (3, True)
    outcome = convert(hub, tmp_path, "--debug", token=TOKEN)
    assert outcome.code == 0, outcome.stderr
    published = (tmp_path / "out").rglob("*.json")
    for text in (outcome.stderr, outcome.stdout, *(p.read_text() for p in published)):
        assert TOKEN not in text


def test_a_gated_model_says_to_accept_its_licence(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert, gated=True)
    outcome = convert(hub, tmp_path)
    assert (outcome.code, "accept its licence" in outcome.stderr) == (3, True)


def test_a_hub_that_fails_is_an_error_of_two_lines(hub: HubServer, tmp_path: Path) -> None:
    def fail(request: object) -> bool:
        refuse(request, 500, "")  # type: ignore[arg-type]
        return True

    hub.faults.append(fail)
    outcome = convert(hub, tmp_path)
    assert outcome.code == 10
    assert "Traceback" not in outcome.stderr
    assert [line.split(":")[0] for line in outcome.stderr.splitlines()[-2:]] == ["error", "hint"]
