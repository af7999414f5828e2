"""Models from a hub: pinned, cached, checked, patient, and with clear errors."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from support.asymmetric import build_two_towers
from support.command_line import Outcome, embconvert, files_in
from support.hub_faults import changing, cutting, failing, stalling
from support.hub_server import HubServer
from support.pickling import save, tensor

pytestmark = pytest.mark.integration

TOKEN = "hf_secretOfTheTests"
UNWANTED = (
    "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "onnx/model.onnx", "train.py",
    "openvino/openvino_model.xml", "model.fp16.safetensors", "1_Pooling/extra.bin",
    "checkpoint-5/model.safetensors", "training_args.bin", ".gitattributes", "rust_model.ot",
)  # fmt: skip


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


def environment(hub: HubServer, tmp_path: Path, token: str = "") -> dict[str, str]:
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_ETAG_TIMEOUT": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_TOKEN": token,
    }


def arguments(tmp_path: Path, *options: object) -> list[str]:
    words = ("export", "--model_id", "somebody/model", "--output_parent_dir", tmp_path / "out",
             "--skip_validation", *options)  # fmt: skip
    return [str(word) for word in words]


def convert(hub: HubServer, tmp_path: Path, *options: object, token: str = "") -> Outcome:
    return embconvert(*arguments(tmp_path, *options), env=environment(hub, tmp_path, token))


def fetch(hub: HubServer, tmp_path: Path, *options: object, token: str = "") -> Outcome:
    """All that convert() does but the conversion."""
    return convert(hub, tmp_path, "--dry_run", *options, token=token)


def assert_refused(outcome: Outcome, code: int, message: str, hint: str) -> None:
    *_, error, advice = ["", *outcome.stderr.splitlines()]
    assert outcome.code == code, outcome.stderr
    assert error.startswith("error: ")
    assert advice.startswith("hint: ")
    assert message in error, outcome.stderr
    assert hint in advice, outcome.stderr
    assert "Traceback" not in outcome.stderr


def cached_blobs(tmp_path: Path) -> list[str]:
    return [p.name for p in (tmp_path / "home").rglob("blobs/*")]


def test_a_hub_model_is_pinned_to_its_commit_and_cached(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    sha = hub.add_model("somebody/model", tiny_bert, branch="main", tag="v1")
    first = convert(hub, tmp_path, "--revision", "v1")
    assert first.code == 0, first.stderr
    assert first.stdout == f"{tmp_path / 'out' / 'somebody' / 'model'}\n"
    assert first.manifest["source"]["revision"] == sha
    assert re.search(r"fetching 0\.\d MB of somebody/model", first.stderr)
    assert len([sent for sent in hub.requests if "/content/" in sent.path]) == 2

    hub.requests.clear()
    again = convert(hub, tmp_path)
    assert again.code == 0
    assert hub.files_sent() == []
    # One question for the commit, and none from what runs afterwards.
    assert [sent.path for sent in hub.requests] == ["/api/models/somebody/model"]
    assert "up to date" in again.stderr


def test_a_revision_is_a_branch_a_tag_or_a_commit(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    sha = hub.add_model("somebody/model", tiny_bert, branch="main", tag="v1")
    newer = tmp_path / "newer"
    shutil.copytree(tiny_bert, newer)
    (newer / "special_tokens_map.json").write_text("{}\n")
    newest = hub.add_model("somebody/model", newer)
    pull = hub.add_model("somebody/model", tiny_bert, branch="refs/pr/1")
    assert newest != sha
    assert pull == sha
    for revision, commit in (("v1", sha), (sha, sha), ("main", newest), ("refs/pr/1", pull)):
        plan = fetch(hub, tmp_path, "--revision", revision, "--json")
        assert plan.code == 0, plan.stderr
        assert json.loads(plan.stdout)["revision"] == commit


@pytest.mark.parametrize("revision", ["../../main", "a//b", "/main", "main/", "a b", "-x", "a\\b"])
def test_a_revision_that_no_hub_has_never_leaves_this_machine(
    revision: str, hub: HubServer, tmp_path: Path
) -> None:
    outcome = fetch(hub, tmp_path, f"--revision={revision}")
    assert_refused(outcome, 2, "--revision", "a branch, a tag or a commit")
    assert hub.requests == []


def test_a_model_that_was_renamed_is_found(hub: HubServer, tiny_bert: Path, tmp_path: Path) -> None:
    hub.add_model("somebody/new-name", tiny_bert)
    hub.renamed["somebody/model"] = "somebody/new-name"
    outcome = fetch(hub, tmp_path)
    assert outcome.code == 0, outcome.stderr


def test_only_needed_files_are_fetched(hub: HubServer, tiny_bert: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    for name in UNWANTED:
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(b"not wanted")
    hub.add_model("somebody/model", model)
    assert fetch(hub, tmp_path).code == 0
    assert set(UNWANTED).isdisjoint(hub.files_sent())
    assert sorted(hub.files_sent()) == sorted(files_in(tiny_bert))

    hub.requests.clear()
    offline = fetch(hub, tmp_path, "--offline")
    assert offline.code == 0, offline.stderr
    assert hub.requests == []


def test_shards_are_fetched_by_the_names_in_their_index(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    weight_map = {name: f"part{n % 2}.safetensors" for n, name in enumerate(weights)}
    for file in ("part0.safetensors", "part1.safetensors"):
        save_file({n: weights[n] for n, of in weight_map.items() if of == file}, model / file)
    index = {"metadata": {}, "weight_map": weight_map}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    hub.add_model("somebody/model", model)
    for options in ((), ("--offline",)):
        outcome = fetch(hub, tmp_path, *options)
        assert outcome.code == 0, outcome.stderr
    assert sorted(hub.files_sent()) == sorted(files_in(model))


def test_of_a_repository_of_another_programs_files_nothing_is_fetched(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    (model / "onnx").mkdir()
    (model / "model.safetensors").rename(model / "onnx" / "model.onnx")
    hub.add_model("somebody/model", model)
    outcome = fetch(hub, tmp_path)
    assert_refused(outcome, 3, "does not load onnx/model.onnx", "of which these files were made")
    assert hub.files_sent() == ["modules.json"]


def test_of_an_asymmetric_model_only_the_asked_route_is_fetched(
    hub: HubServer, tmp_path: Path
) -> None:
    model = build_two_towers(tmp_path / "model", tmp_path / "parts")
    hub.add_model("somebody/model", model)
    fetched = fetch(hub, tmp_path, "--route", "query")
    assert fetched.code == 0, fetched.stderr
    sent = set(hub.files_sent())
    everything = set(files_in(model))
    assert sent == {file for file in everything if not file.startswith("document_")}
    both = fetch(hub, tmp_path)
    assert both.code == 0, both.stderr
    # Files with the same content are one file in the cache.
    sent = set(hub.files_sent())
    assert {(model / f).read_bytes() for f in sent} == {
        (model / f).read_bytes() for f in everything
    }
    revisions = [line for line in both.stdout.splitlines() if line.startswith("model ")]
    assert len(revisions) == 2
    assert len(set(revisions)) == 1
    offline = fetch(hub, tmp_path, "--offline")
    assert offline.code == 0, offline.stderr


def test_pickles_are_fetched_where_there_are_no_safetensors(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    (model / "model.safetensors").unlink()
    save(model / "pytorch_model.bin", {"a": tensor((400, 64))}, {"0": bytes(4 * 400 * 64)})
    wanted = sorted(files_in(model))
    (model / "training_args.bin").write_bytes(b"not wanted")
    hub.add_model("somebody/model", model)
    fetched = fetch(hub, tmp_path)
    assert fetched.code == 0, fetched.stderr
    assert sorted(hub.files_sent()) == wanted
    assert "the weights are read from pickles, without running them" in fetched.stderr


def test_offline_works_with_a_cache_and_says_so_without(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert)
    assert_refused(fetch(hub, tmp_path, "--offline"), 3, "not in the cache", "without --offline")
    assert fetch(hub, tmp_path).code == 0
    hub.requests.clear()
    offline = fetch(hub, tmp_path, "--offline")
    assert offline.code == 0, offline.stderr
    assert hub.requests == []

    (weights,) = (tmp_path / "home").rglob("snapshots/*/model.safetensors")
    with weights.resolve().open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    damaged = fetch(hub, tmp_path, "--offline")
    assert_refused(damaged, 3, "model.safetensors in the cache is damaged", "without --offline")
    mended = fetch(hub, tmp_path)
    assert mended.code == 0, mended.stderr
    assert (
        "model.safetensors: the content differs from the hub's hash; fetching again"
        in mended.stderr
    )
    weights.unlink()
    in_part = fetch(hub, tmp_path, "--offline")
    assert_refused(in_part, 3, "is incomplete in the cache", "without --offline")


def test_a_model_or_revision_that_is_not_there_has_near_names(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    assert_refused(fetch(hub, tmp_path), 3, "no folder somebody/model", "check the spelling")
    hub.add_model("somebody/modell", tiny_bert)
    assert_refused(
        fetch(hub, tmp_path), 3, "no model of that name", "did you mean somebody/modell?"
    )
    hub.add_model("somebody/model", tiny_bert, tag="v1.0")
    near = fetch(hub, tmp_path, "--revision", "v1.1")
    assert_refused(near, 3, "somebody/model has no revision v1.1", "did you mean v1.0?")
    far = fetch(hub, tmp_path, "--revision", "experimental")
    assert_refused(far, 3, "no revision experimental", "it has: main, v1.0")
    assert not (tmp_path / "out").exists()


def test_a_private_model_needs_the_right_token(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert, token=TOKEN)
    assert_refused(fetch(hub, tmp_path), 3, "or it is private", "HF_TOKEN")
    wrong = fetch(hub, tmp_path, token="hf_wrong")
    assert_refused(wrong, 3, "the hub refuses HF_TOKEN", "valid token")
    broken = fetch(hub, tmp_path, token=f"{TOKEN}\tagain é")
    assert_refused(broken, 2, "HF_TOKEN is not a token", "copy it again")
    assert TOKEN not in broken.stderr
    right = fetch(hub, tmp_path, token=TOKEN)
    assert right.code == 0, right.stderr
    # Nor is it sent to where the hub sends us.
    assert all("authorization" not in s.headers for s in hub.requests if "/content/" in s.path)


def test_a_gated_model_says_to_accept_its_licence(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert, gated=True)
    without = fetch(hub, tmp_path)
    assert_refused(without, 3, "is gated", "accept its licence on its page on the hub, then set")
    with_token = fetch(hub, tmp_path, token=TOKEN)
    assert_refused(with_token, 3, "is gated", "as the user of HF_TOKEN")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, 3, "requires a token"),
        (404, 3, "refuses the request"),
        (400, 3, "refuses the request"),
    ],
)
def test_an_answer_that_no_retry_changes_is_no_network_error(
    status: int, code: int, message: str, hub: HubServer, tmp_path: Path
) -> None:
    hub.faults.append(failing(status, times=99))
    assert_refused(fetch(hub, tmp_path), code, message, "")
    assert len(hub.requests) == 1


def test_a_busy_hub_gets_the_time_that_it_asks_for(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert)
    hub.faults += [
        failing(429, times=1, of="/api/models/somebody/model", Retry_After="1"),
        failing(503, times=2, of="/tree/", Retry_After="0"),
        failing(429, times=1, of="config.json", RateLimit='"api";r=0;t=1'),
        failing(500, times=1, of="/content/", Retry_After="0"),
    ]
    start = time.monotonic()
    outcome = fetch(hub, tmp_path)
    assert outcome.code == 0, outcome.stderr
    assert time.monotonic() - start > 2
    waits = [line for line in outcome.stderr.splitlines() if "trying again" in line]
    assert "the hub responds 429 Too Many Requests; trying again in 1 s (1 of 4)" in waits
    assert "the hub responds 503 Service Unavailable; trying again in 0 s (2 of 4)" in waits
    assert len(waits) == 5


def test_a_hub_that_asks_for_too_long_a_wait_is_left_alone(hub: HubServer, tmp_path: Path) -> None:
    hub.faults.append(failing(429, times=99, Retry_After="3600"))
    assert_refused(fetch(hub, tmp_path), 10, "asks to wait 3600 s", "after that time")
    assert len(hub.requests) == 1


def test_a_hub_that_fails_is_given_up_after_a_few_tries(hub: HubServer, tmp_path: Path) -> None:
    hub.faults.append(failing(500, times=99, Retry_After="0"))
    outcome = fetch(hub, tmp_path)
    assert_refused(outcome, 10, "responds 500 Internal Server Error, after 5 tries", "try again")
    assert len(hub.requests) == 5


def test_a_hub_that_stalls_is_asked_again(hub: HubServer, tiny_bert: Path, tmp_path: Path) -> None:
    hub.add_model("somebody/model", tiny_bert)
    hub.faults += [stalling(1.5, times=1, of=part) for part in ("/api/", "/tree/", "/content/")]
    outcome = fetch(hub, tmp_path)
    assert outcome.code == 0, outcome.stderr
    assert outcome.stderr.count("the hub does not respond; trying again in 1 s (1 of 4)") == 3


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_cut_in_mid_file_is_resumed(
    reset: bool, hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    # huggingface_hub writes in pieces of 10 MiB; what is over them comes again.
    save_file({"weight": np.zeros(6 << 20, np.float32)}, model / "model.safetensors")
    hub.add_model("somebody/model", model)
    hub.faults.append(cutting(23 << 20, times=1, of="model.safetensors", reset=reset))
    outcome = fetch(hub, tmp_path)
    assert outcome.code == 0, outcome.stderr
    assert re.search(r"model.safetensors: the connection was lost after [0-9.]+ MB", outcome.stderr)
    ranges = [s.headers.get("range") for s in hub.requests if "/model.safetensors?" in s.path]
    assert len(ranges) == 2
    assert ranges[0] is None
    if not reset:  # a reset may take with it what was on its way
        assert ranges[1] == f"bytes={20 << 20}-"


def test_a_file_whose_content_is_wrong_is_fetched_again_and_then_refused(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert)
    for name in ("model.safetensors", "config.json"):
        shutil.rmtree(tmp_path / "home", ignore_errors=True)
        hub.faults[:] = [changing(times=1, of=f"/{name}")]
        once = fetch(hub, tmp_path)
        assert once.code == 0, once.stderr
        assert f"{name}: the content differs from the hub's hash; fetching again" in once.stderr

        shutil.rmtree(tmp_path / "home")
        hub.faults[:] = [changing(times=9, of=f"/{name}")]
        always = fetch(hub, tmp_path)
        assert_refused(always, 3, f"{name} differs from the hub's hash", "proxy")
        hub.faults.clear()
        assert fetch(hub, tmp_path).code == 0, "nothing wrong is left in the cache"


def test_a_cache_without_room_is_an_output_error(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert)
    outcome = fetch(hub, tmp_path, "--cache_dir", "/proc/nowhere")
    assert_refused(outcome, 9, "hub cache cannot be written", "--cache_dir")


def test_an_endpoint_that_is_no_address_is_a_usage_error(hub: HubServer, tmp_path: Path) -> None:
    nowhere = environment(hub, tmp_path) | {"HF_ENDPOINT": "nowhere"}
    outcome = embconvert(*arguments(tmp_path), env=nowhere)
    assert_refused(outcome, 2, "HF_ENDPOINT is not a valid URL", "https://")


def test_two_processes_share_one_cache_and_one_output_folder(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "embconvert", *arguments(tmp_path)],
            env={**os.environ, **environment(hub, tmp_path)}, stdout=-1, stderr=-1, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert sum("up to date" in text for text in said) == 1
    assert [p.name for p in (tmp_path / "out" / "somebody").iterdir()] == ["model"]
    assert not [name for name in cached_blobs(tmp_path) if name.endswith(".incomplete")]


def test_what_a_killed_download_left_is_removed_when_it_is_old(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert)
    blobs = tmp_path / "home" / "hub" / "models--somebody--model" / "blobs"
    blobs.mkdir(parents=True)
    old, young = blobs / "aa.11111111.incomplete", blobs / "aa.22222222.incomplete"
    for part in (old, young):
        part.write_bytes(b"part")
    os.utime(old, (0, 0))
    assert fetch(hub, tmp_path).code == 0
    assert (old.exists(), young.exists()) == (False, True)


def test_the_token_is_in_nothing_that_is_written_or_said(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    hub.add_model("somebody/model", tiny_bert, token=TOKEN)
    good = convert(hub, tmp_path, "--debug", "--json", token=TOKEN)
    assert good.code == 0, good.stderr

    def crash(request: BaseHTTPRequestHandler) -> bool:
        request.spoil = lambda content: b"no JSON" + content  # type: ignore[attr-defined]
        return False

    said = [good]
    for fault in (failing(403, times=99), failing(500, times=99, Retry_After="0"), crash):
        hub.faults[:] = [fault]
        said.append(convert(hub, tmp_path, "--debug", token=TOKEN))
        assert said[-1].code in (1, 3, 10)
        assert "Traceback" in said[-1].stderr
    for outcome in said:
        assert TOKEN not in outcome.stdout + outcome.stderr
        assert "of-the-content-host" not in outcome.stdout + outcome.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "embconvert.json" for path in written)
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []
    # It was there to be told.
    to_the_hub = [s for s in hub.requests if "/content/" not in s.path]
    unsigned = [s.path for s in to_the_hub if s.headers.get("authorization") != f"Bearer {TOKEN}"]
    assert unsigned == []
