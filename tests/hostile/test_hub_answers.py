"""A hub, a mirror, a login page or a cache that is not what it should be."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Outcome, embconvert
from support.examples import published
from support.hub_faults import answering, claiming, raw
from support.hub_server import Fault, HubServer, send
from support.hub_upload_server import UploadServer

pytestmark = pytest.mark.integration

TOKEN = "hf_secretOfTheTests"
INFO, TREE, FILE = "/api/models/somebody/model", "/tree/", "/resolve/"
#: Where a hub tries to have a file written.
ESCAPED = Path(tempfile.gettempdir()) / f"escaped-{os.getpid()}"
#: Makes a run give up on a hub soon.
HURRIED = {
    "EMBCONVERT_HUB_PATIENCE_S": "3",
    "EMBCONVERT_HUB_LISTING_S": "5",
    "EMBCONVERT_HUB_LISTING_PAGES": "30",
    "EMBCONVERT_HUB_API_BYTES": str(1 << 20),
    "EMBCONVERT_HUB_FILE_BYTES": str(1 << 20),
    "EMBCONVERT_HUB_UPLOAD_TIMEOUT_S": "1",
}


@pytest.fixture
def hub(tiny_bert: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        server.add_model("somebody/model", tiny_bert, tag="v1")
        yield server


def environment(hub: HubServer, tmp_path: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_ETAG_TIMEOUT": "2",
        "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        "HF_TOKEN": TOKEN,
    }


def fetch(hub: HubServer, tmp_path: Path, *options: str, **env: str) -> Outcome:
    return embconvert(
        "export", "--model_id", "somebody/model", "--output_parent_dir", tmp_path / "out",
        "--skip_validation", "--dry_run", *options, env=environment(hub, tmp_path) | env,
    )  # fmt: skip


def assert_refused(outcome: Outcome, codes: tuple[int, ...], *words: str) -> None:
    *_, error, advice = ["", *outcome.stderr.splitlines()]
    assert outcome.code in codes, outcome.stderr
    assert error.startswith("error: "), outcome.stderr
    assert advice.startswith("hint: "), outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert TOKEN not in outcome.stderr
    assert "\x1b" not in outcome.stderr
    for word in words:
        assert word in error, outcome.stderr


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


OTHER = "f" * 40
CLAIMS = {
    "an ETag that leads upwards": ({"ETag": '"../../../../../escaped"'}, FILE, "ETag"),
    "an ETag with an absolute path": ({"ETag": f'"{ESCAPED}"'}, FILE, "ETag"),
    "an ETag of many bytes": ({"ETag": f'"{"a" * 4000}"'}, FILE, "ETag"),
    "an ETag of another file": ({"ETag": f'"{OTHER}"'}, FILE, "ETag"),
    "a linked ETag that leads upwards": ({"X-Linked-Etag": '"../../escaped"'}, FILE, "ETag"),
    "a commit that leads upwards": ({"X-Repo-Commit": "../.."}, FILE, "X-Repo-Commit"),
    "another commit": ({"X-Repo-Commit": OTHER}, FILE, "X-Repo-Commit"),
    "a size that is no number": ({"X-Linked-Size": "many"}, FILE, "X-Linked-Size"),
    "a size of many digits": ({"X-Linked-Size": "9" * 5000}, FILE, "X-Linked-Size"),
    "another size": ({"X-Linked-Size": "9"}, FILE, "size"),
    "a file by another scheme": (
        {"X-Linked-Size": "", "Location": "file:///etc/passwd"}, "model.safetensors", "Location",
    ),
    "a redirect without a host": (
        {"Location": "http:///etc/passwd"}, "model.safetensors", "Location",
    ),
    "a redirect to a port that is none": (
        {"Location": "http://127.0.0.1:99999/x"}, "model.safetensors", "Location",
    ),
    "a redirect without a scheme": ({"Location": "//else/x"}, "model.safetensors", "Location"),
    "compressed content": ({"Content-Encoding": "gzip"}, INFO, "Content-Encoding"),
    "an unknown compression": ({"Content-Encoding": "zstd, br"}, FILE, "Content-Encoding"),
    "a range of another file": ({"Content-Range": "bytes x"}, "model.safetensors", ""),
    "xet's hash that leads upwards": ({"X-Xet-Hash": "../../x"}, FILE, "X-Xet-Hash"),
    "xet's token from another host": (
        {"X-Xet-Hash": "a" * 64, "X-Xet-Refresh-Route": "http://else.example/token"}, FILE,
        "X-Xet-Refresh-Route",
    ),
    "xet's storage at no address": ({"X-Xet-Cas-Url": "file:///"}, FILE, "X-Xet-Cas-Url"),
    "the next page at another host": (
        {"Link": '<http://else.example/p>; rel="next"'}, TREE, "Link",
    ),
    "the next page at no address": ({"Link": '<javascript:x>; rel="next"'}, TREE, "Link"),
}  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_headers_say_is_checked_before_it_is_used(
    claim: str, hub: HubServer, tmp_path: Path
) -> None:
    headers, of, word = CLAIMS[claim]
    hub.faults.append(claiming(headers, of=of))
    outcome = fetch(hub, tmp_path)
    if claim == "a range of another file":  # which nobody asked for: the file is whole
        assert outcome.code == 0, outcome.stderr
    else:
        assert_refused(outcome, (10,), word, "http://127.0.0.1", " gives an invalid response: ")
    outside = {p for p in files_below(tmp_path) if not p.is_relative_to(tmp_path / "home" / "hub")}
    assert outside == set()
    cached = [path.name for path in files_below(tmp_path / "home") if "blobs" in path.parts]
    assert all(len(name) in (40, 64) for name in cached)
    assert not ESCAPED.exists()


def tree(**changes: Any) -> bytes:
    return json.dumps(
        [{"type": "file", "path": "a", "size": 1, "oid": "0" * 40} | changes]
    ).encode()


BODIES: dict[str, tuple[str, bytes]] = {
    "a login page": (INFO, b"<html><body>Log in</body></html>"),
    "an empty answer": (INFO, b""),
    "a list": (INFO, b"[]"),
    "null": (INFO, b"null"),
    "deep nesting": (INFO, b"[" * 200_000),
    "deep nesting of objects": (INFO, b'{"sha":' * 100_000),
    "a number of many digits": (INFO, b'{"id":"somebody/model","sha":' + b"9" * 9999 + b"}"),
    "no commit": (INFO, b'{"id":"somebody/model"}'),
    "a commit that leads upwards": (INFO, b'{"id":"somebody/model","sha":"../../x"}'),
    "a commit that is a list": (INFO, b'{"id":"somebody/model","sha":[]}'),
    "a name that is a number": (INFO, b'{"id":7,"sha":"' + b"0" * 40 + b'"}'),
    "a listing that is null": (TREE, b"null"),
    "a listing that is an object": (TREE, b'{"error":7}'),
    "a listing of numbers": (TREE, b"[1,2]"),
    "a path that is a number": (TREE, tree(path=7)),
    "a size that is a word": (TREE, tree(size="1")),
    "a size that is NaN": (TREE, b'[{"type":"file","path":"a","size":NaN,"oid":""}]'),
    "a size below zero": (TREE, tree(size=-1)),
    "a size that is true": (TREE, tree(size=True)),
    "a size beyond all disks": (TREE, tree(size=1 << 60)),
    "a hash that leads upwards": (TREE, tree(oid="../../x")),
    "a hash of large content that leads upwards": (
        TREE, tree(lfs={"oid": "../../x", "size": 1, "pointerSize": 1})),
    "large content that is a list": (TREE, tree(lfs=[1])),
    "xet's hash that leads upwards": (TREE, tree(xetHash="../../x")),
    "one file twice": (TREE, tree()[:-1] + b"," + tree(size=2)[1:]),
    "bytes that are no text": (TREE, b'[{"path":"\xff"}]'),
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_what_bodies_say_is_checked_before_it_is_used(
    body: str, hub: HubServer, tmp_path: Path
) -> None:
    of, content = BODIES[body]
    kind = "text/html" if content.startswith(b"<") else "application/json"
    hub.faults.append(answering(content, of=of, headers={"Content-Type": kind}))
    outcome = fetch(hub, tmp_path)
    assert_refused(outcome, (10,), f"{hub.url}{INFO}", " gives an invalid response: ")
    if kind == "text/html":
        assert "text/html instead of JSON" in outcome.stderr


@pytest.mark.parametrize(
    "name",
    ["../../escaped.json", "/tmp/escaped.json", "a/../../escaped.json", "a\\..\\b.json",
     "a//b.json", "./config.json", "a\x1b[31m.json", "a\u202e.json", "\ud800.json",
     "a" * 300, "a/" * 700 + "b", "1_Pooling/\x00.json", ""],
)  # fmt: skip
def test_a_file_with_an_impossible_name_is_never_touched(
    name: str, hub: HubServer, tmp_path: Path
) -> None:
    def listing(request: BaseHTTPRequestHandler) -> bool:
        if TREE not in request.path or "cursor" in request.path:
            return False
        entry = {"type": "file", "path": name, "size": 1, "oid": "0" * 40}
        link = {"Link": f'<{hub.url}{request.path}&cursor=0>; rel="next"'}
        send(request, json.dumps([entry]).encode(), link)
        return True

    hub.faults.append(listing)
    outcome = fetch(hub, tmp_path)
    assert outcome.code == 0, outcome.stderr
    assert not [path for path in files_below(tmp_path) if "escaped" in path.name]
    (stored,) = (tmp_path / "home").rglob("trees/*.json")
    assert name not in json.loads(stored.read_text())["files"]


def test_names_that_differ_in_case_only_are_refused_where_both_are_needed(
    hub: HubServer, tiny_bert: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_bert, model)
    (model / "1_Pooling" / "CONFIG.json").write_text("{}")
    hub.add_model("somebody/model", model)
    assert_refused(fetch(hub, tmp_path), (3,), "differ only in case", "1_Pooling/CONFIG.json")


def endless(*start: bytes, then: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: chain(start, repeat(then))


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
# How it begins, how it goes on, the pause between the parts in seconds, and which limit is hit.
ENDLESS: dict[str, tuple[str, Callable[[], Iterator[bytes]], float, str]] = {
    "a header that trickles": (INFO, endless(HEAD + b"X-A: ", then=b"a"), 0.3, "too slowly"),
    "a body that trickles": (
        INFO, endless(HEAD + b"Content-Length: 999\r\n\r\n", then=b" "), 0.3, "too slowly"),
    "a chunk's size that trickles": (INFO, endless(CHUNKED + b"1;", then=b"a"), 0.3, "too slowly"),
    "a file that trickles": (
        "/content/", endless(HEAD + b"Content-Length: 99999999\r\n\r\n", then=b" "), 0.3,
        "too slowly"),
    "interim answers without end": (
        INFO, endless(then=b"HTTP/1.1 102 Processing\r\n\r\n" * 100), 0.0, "before the body"),
    "JSON without end": (
        INFO, endless(CHUNKED, then=b"8000\r\n" + b" " * 0x8000 + b"\r\n"), 0.0, "more than"),
    "a file without end": (
        "/content/", endless(CHUNKED, then=b"8000\r\n" + b" " * 0x8000 + b"\r\n"), 0.0,
        "more than"),
    "an error without end": (
        INFO, endless(CHUNKED.replace(b"200 OK", b"404 No"),
                      then=b"8000\r\n" + b" " * 0x8000 + b"\r\n"), 0.0, "more than"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_an_end_is_cut_off(kind: str, hub: HubServer, tmp_path: Path) -> None:
    of, parts, pause_s, limit = ENDLESS[kind]
    hub.faults.append(raw(parts, of=of, pause_s=pause_s))
    start = time.monotonic()
    outcome = fetch(hub, tmp_path, **HURRIED)
    assert_refused(outcome, (10,), limit)
    assert time.monotonic() - start < 60


def test_a_file_that_breaks_off_after_each_byte_is_given_up(hub: HubServer, tmp_path: Path) -> None:
    def drip(request: BaseHTTPRequestHandler) -> bool:
        if "/content/" in request.path and request.command == "GET":
            request.spoil = lambda content: content[:1]  # type: ignore[attr-defined]
        return False

    hub.faults.append(drip)
    outcome = fetch(hub, tmp_path, **HURRIED)
    assert_refused(outcome, (10,))


@pytest.mark.parametrize("moving", [True, False])
def test_a_listing_without_an_end_is_cut_off(moving: bool, hub: HubServer, tmp_path: Path) -> None:
    seen: list[str] = []

    def another_page(request: BaseHTTPRequestHandler) -> bool:
        if TREE not in request.path:
            return False
        seen.append(request.path)
        target = f"{hub.url}{request.path.partition('?')[0]}?cursor={len(seen) * moving}"
        send(request, b"[]", {"Link": f'<{target}>; rel="next"'})
        return True

    hub.faults.append(another_page)
    outcome = fetch(hub, tmp_path, **HURRIED)
    assert_refused(outcome, (10,), "the listing is too long", "30 pages")
    assert len(seen) == 31


def test_the_token_goes_to_no_other_host(hub: HubServer, tmp_path: Path) -> None:
    # Another port is another host: a redirect, and the address that a file is said to be at.
    with HubServer() as other:
        target = f"{other.url}/api/models/somebody/model"
        hub.faults.append(answering(of=INFO, status=307, headers={"Location": target}))
        assert_refused(fetch(hub, tmp_path), (3, 10))
        assert [sent.path for sent in other.requests] == [INFO]
        assert "authorization" not in other.requests[0].headers


ERRORS = {
    "a list": b"[]",
    "numbers": b"7",
    "errors that are no list": b'{"errors":5}',
    "errors of numbers": b'{"errors":[5]}',
    "escape sequences": b'{"error":"\\u001b[31m\\u202e"}',
    "a page": b"<html>",
    "deep nesting": b"[" * 100_000,
}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_may_have_any_body(error: str, hub: HubServer, tmp_path: Path) -> None:
    headers = {"X-Error-Message": "\x1b[31mred", "X-HF-Warning": "a; \x1b[31mred"}
    hub.faults.append(answering(ERRORS[error], of=INFO, status=404, headers=headers))
    assert_refused(fetch(hub, tmp_path), (3,))
    assert "\x1b" not in fetch(hub, tmp_path, "--debug").stderr


@pytest.mark.parametrize("status", [b"204 No", b"304 Not", b"299 X", b"999 X", b"600 X", b"101 X"])
def test_no_status_is_a_bug(status: bytes, hub: HubServer, tmp_path: Path) -> None:
    for of in (INFO, "/content/"):
        head = b"HTTP/1.1 " + status + b" \x1b[31mred\r\nContent-Length: 0\r\n\r\n"
        hub.faults[:] = [raw(partial(repeat, head, 1), of=of)]
        assert_refused(fetch(hub, tmp_path), (3, 10))


def test_a_hub_that_asks_for_an_absurd_wait_is_left_alone(hub: HubServer, tmp_path: Path) -> None:
    for headers in (
        {"RateLimit": f'"api";r=0;t={"9" * 400}'},
        {"RateLimit": f'"api";r=0;t={"9" * 5000}'},
        {"Retry-After": "9" * 400},
    ):
        hub.faults[:] = [answering(of=INFO, status=429, headers=headers)]
        waits = fetch(hub, tmp_path)
        assert_refused(waits, (10,))


SETTINGS: dict[str, dict[str, str]] = {
    "an unknown proxy": {"HTTP_PROXY": "gopher://user:hunter2@proxy:1"},
    "a proxy by SOCKS, whose library is not there": {"ALL_PROXY": "socks5://user:hunter2@proxy:1"},
    "a proxy's port that is none": {"HTTP_PROXY": "http://user:hunter2@proxy:99999"},
    "a proxy's port that is a word": {"HTTP_PROXY": "http://user:hunter2@proxy:port"},
    "a proxy that is no word": {"HTTP_PROXY": "::hunter2::"},
    "no certificates": {"SSL_CERT_FILE": "/nowhere"},
    "an endpoint without a scheme": {"HF_ENDPOINT": "hunter2"},
    "an endpoint of another scheme": {"HF_ENDPOINT": "ftp://hunter2"},
    "an endpoint's port that is none": {"HF_ENDPOINT": "http://127.0.0.1:99999"},
    "an endpoint with a space": {"HF_ENDPOINT": "http://hunter2 .example"},
    "an endpoint with a password": {"HF_ENDPOINT": "http://user:hunter2@[::1"},
    "an endpoint with a query": {"HF_ENDPOINT": "http://127.0.0.1/?hunter2"},
    "a token with a line's end": {"HF_TOKEN": "hf_hunter2\nX: y"},
    "a token with a letter of another script": {"HF_TOKEN": "hf_hunter2é"},
    "a token with a space": {"HF_TOKEN": "hf_hunter2 hf_hunter2"},
    "a token that is no text": {"HF_TOKEN": "hf_hunter2\udcff"},
    "a token's file that is no text": {"HF_TOKEN": "", "HF_TOKEN_PATH": "/bin/sh"},
    "a token's file that is a device": {"HF_TOKEN": "", "HF_TOKEN_PATH": "/dev/zero"},
    "a token's file that is a folder": {"HF_TOKEN": "", "HF_TOKEN_PATH": "/"},
    "a time that is a word": {"HF_HUB_ETAG_TIMEOUT": "soon"},
    "a time below zero": {"HF_HUB_DOWNLOAD_TIMEOUT": "-1"},
}  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_that_cannot_be_is_a_usage_error(
    setting: str, hub: HubServer, tmp_path: Path
) -> None:
    outcome = fetch(hub, tmp_path, **SETTINGS[setting])
    assert_refused(outcome, (2,))
    assert "hunter2" not in outcome.stderr
    assert any(name in outcome.stderr for name in (*SETTINGS[setting], "the token file"))
    assert hub.requests == []


@pytest.mark.parametrize("hosts", ["http://[hunter2", "a b,::1/64", "[::1,*", "\u00e9,\tx"])
def test_odd_exceptions_from_a_proxy_are_no_bug(hosts: str, hub: HubServer, tmp_path: Path) -> None:
    outcome = fetch(hub, tmp_path, NO_PROXY=f"{hosts},127.0.0.1", HTTP_PROXY="http://127.0.0.1:9")
    assert outcome.code in (0, 2), outcome.stderr
    assert "hunter2" not in outcome.stderr


def test_a_list_of_models_meets_the_same_hub(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models: [somebody/model]\n")
    command = ("batch", tmp_path / "models.yaml", "--output_parent_dir", tmp_path / "out")
    hub.faults.append(answering(b"[]", of=INFO))
    outcome = embconvert(*command, env=environment(hub, tmp_path))
    assert outcome.code not in (0, 1)
    assert "gives an invalid response" in outcome.stdout + outcome.stderr
    wrong = embconvert(*command, env=environment(hub, tmp_path) | {"ALL_PROXY": "gopher://a"})
    assert wrong.code == 2
    assert "ALL_PROXY" in wrong.stderr


# The hub cache ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a cache that is whole."""
    folder = tmp_path_factory.mktemp("filled")
    with HubServer() as server:
        server.add_model("somebody/model", tiny_bert)
        assert fetch(server, folder).code == 0
    return folder / "home"


@pytest.fixture
def cache(filled: Path, tmp_path: Path) -> Path:
    """The model's folder in a cache that is whole."""
    shutil.copytree(filled, tmp_path / "home", symlinks=True)
    return tmp_path / "home" / "hub" / "models--somebody--model"


def replace_by_link(path: Path, outside: Path) -> None:
    target = outside / "secret"
    outside.mkdir(exist_ok=True)
    if path.exists():
        shutil.move(path, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def replace_by_pipe(path: Path, _: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("replace", [replace_by_link, replace_by_pipe])
@pytest.mark.parametrize(
    "part",
    ["", "refs", "snapshots", "blobs", "trees", "refs/main", "snapshots/*",
     "snapshots/*/config.json", "blobs/*", "trees/*", "../.locks",
     "../.locks/models--somebody--model", "../CACHEDIR.TAG",
     "../.locks/models--somebody--model/x.lock"],
)  # fmt: skip
def test_a_cache_that_leads_elsewhere_is_refused(
    part: str, replace: Callable[[Path, Path], None], hub: HubServer, cache: Path, tmp_path: Path
) -> None:
    path = next(iter(sorted(cache.glob(part))), cache / part) if "*" in part else cache / part
    if replace is replace_by_pipe and path.is_dir():
        shutil.rmtree(path)
    replace(path, tmp_path / "outside")
    before = {p: p.lstat() for p in files_below(tmp_path / "outside")}
    outcome = fetch(hub, tmp_path, *(["--offline"] if replace is replace_by_pipe else []))
    assert_refused(outcome, (3,), path.name if part else "models--", "in the hub cache is")
    assert hub.files_sent() == []
    assert {p: p.lstat() for p in files_below(tmp_path / "outside")} == before


def test_a_cache_that_says_nonsense_is_refused_offline_and_fetched_again_online(
    hub: HubServer, cache: Path, tmp_path: Path
) -> None:
    reference = cache / "refs" / "main"
    (listing,) = (cache / "trees").iterdir()
    good = json.loads(listing.read_text())
    for content in (b"\xff\xfe", b"../../..", b"", b"x" * 100_000, b"\0" * 40):
        reference.write_bytes(content)
        assert_refused(fetch(hub, tmp_path, "--offline"), (3,), "refs/main", "is not a commit")
        assert fetch(hub, tmp_path).code == 0
    nonsense: tuple[Any, ...] = (
        [], None, 7, {"format_version": 1}, {"format_version": 1, "files": []},
        {"format_version": 1, "files": {"../../x": {"size": 1, "blob_id": "0" * 40}}},
        {"format_version": 1, "files": {"config.json": {"size": "1", "blob_id": "0" * 40}}},
        {"format_version": 1, "files": {"config.json": {"size": 1, "blob_id": 7}}},
        {"format_version": 1, "files": {"config.json": 7}},
    )  # fmt: skip
    for value in nonsense:
        listing.write_text(json.dumps(value))
        assert_refused(fetch(hub, tmp_path, "--offline"), (3,), "trees/", "is damaged")
    listing.write_bytes(b"[" * 100_000)
    assert_refused(fetch(hub, tmp_path, "--offline"), (3,), "trees/", "is damaged")
    mended = fetch(hub, tmp_path)
    assert mended.code == 0, mended.stderr
    assert json.loads(listing.read_text()) == good


def test_files_that_were_swapped_in_the_cache_are_found(
    hub: HubServer, cache: Path, tmp_path: Path
) -> None:
    (snapshot,) = (cache / "snapshots").iterdir()
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to((snapshot / "tokenizer_config.json").readlink())
    assert_refused(fetch(hub, tmp_path, "--offline"), (3,), "config.json in the cache is damaged")
    mended = fetch(hub, tmp_path)
    assert mended.code == 0, mended.stderr
    assert fetch(hub, tmp_path, "--offline").code == 0


@pytest.mark.parametrize(
    ("part", "mode", "options", "code"),
    [("", 0, ["--offline"], 3), ("", 0, [], 3), ("snapshots/*", 0, ["--offline"], 3),
     ("blobs/*", 0, ["--offline"], 3), ("refs/main", 0, ["--offline"], 3),
     ("trees/*", 0, ["--offline"], 3), ("trees/*", 0, [], 3), ("..", 0o500, [], 9),
     ("../..", 0, ["--offline"], 3)],
)  # fmt: skip
def test_a_cache_that_this_user_may_not_use_is_an_error_with_the_way_out(
    part: str, mode: int, options: list[str], code: int, hub: HubServer, cache: Path, tmp_path: Path
) -> None:
    path = next(iter(sorted(cache.glob(part)))) if "*" in part else (cache / part).resolve()
    if mode:  # to be read and not to be written; and there is something to write
        shutil.rmtree(cache)
    path.chmod(mode)
    # Root may do anything; a user of another name space may not.
    done = subprocess.run(
        ["unshare", "--user", "--map-user=54321", sys.executable, "-m", "embconvert", "export",
         "--model_id", "somebody/model", "--output_parent_dir", tmp_path / "out", "--dry_run",
         "--skip_validation", *options],
        env={**os.environ, **environment(hub, tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    path.chmod(0o700)
    assert_refused(Outcome(done.returncode, done.stdout, done.stderr), (code,), "the hub cache")
    assert "permissions" in done.stderr
    assert "--cache_dir" in done.stderr


# Uploads ------------------------------------------------------------------------------------------


@pytest.fixture
def uploads() -> Iterator[UploadServer]:
    with UploadServer(TOKEN) as server:
        yield server


def push(hub: UploadServer, tmp_path: Path, **env: str) -> Outcome:
    folder = tmp_path / "model"
    if not folder.exists():
        published(folder)
    return embconvert(
        "push", folder, "--repo_id", "my-org/model", env=environment(hub, tmp_path) | env
    )


def answer(content: Any, of: str) -> Fault:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return answering(text, of=of, methods=("POST", "GET"))


CREATED, MODES, BATCH, COMMITTED = "/repos/create", "/preupload/", "/objects/batch", "/commit/"
TRANSFER = {"oid": "0" * 64, "size": 1}
UPLOADS: dict[str, tuple[str, Any]] = {
    "a login page": (CREATED, b"<html>"),
    "a list": (CREATED, []),
    "another repository": (CREATED, {"url": "https://huggingface.co/somebody/else"}),
    "an address that is none": (CREATED, {"url": "javascript:alert(1)"}),
    "an address that is a number": (CREATED, {"url": 7}),
    "modes that are null": (MODES, None),
    "modes of no file": (MODES, {"files": []}),
    "modes of numbers": (MODES, {"files": [7]}),
    "a mode that is none": (MODES, {"files": [{"path": "a", "uploadMode": "ftp"}]}),
    "transfers that are null": (BATCH, None),
    "transfers of numbers": (BATCH, {"objects": [7]}),
    "transfers of nothing": (BATCH, {"objects": []}),
    "an upload by another scheme": (
        BATCH, {"objects": [TRANSFER | {"actions": {"upload": {"href": "file:///etc/x"}}}]}),
    "an upload to nowhere": (
        BATCH, {"objects": [TRANSFER | {"actions": {"upload": {"href": 7}}}]}),
    "actions that are a list": (BATCH, {"objects": [TRANSFER | {"actions": [7]}]}),
    "parts that are nothing": (
        BATCH, {"objects": [TRANSFER | {"actions": {"upload": {
            "href": "http://127.0.0.1:9/", "header": {"chunk_size": 0, "1": "x"}}}}]}),
    "a commit that is a list": (COMMITTED, []),
    "a commit without an address": (COMMITTED, {"commitOid": "0" * 40}),
    "a commit of another form": (
        COMMITTED, {"commitOid": "../..", "commitUrl": "https://huggingface.co/x"}),
    "deep nesting": (COMMITTED, b"[" * 100_000),
}  # fmt: skip


@pytest.mark.parametrize("case", UPLOADS)
def test_what_a_hub_says_of_uploads_is_checked(
    case: str, uploads: UploadServer, tmp_path: Path
) -> None:
    of, content = UPLOADS[case]
    uploads.faults.append(answer(content, of))
    outcome = push(uploads, tmp_path)
    assert_refused(outcome, (9, 10))
    elsewhere = [s for s in uploads.requests if s.method == "PUT" and "authorization" in s.headers]
    assert elsewhere == []


def test_an_upload_sends_the_token_to_no_other_host(uploads: UploadServer, tmp_path: Path) -> None:
    with HubServer() as other:
        href = f"{other.url}/api/models"

        def batch(request: BaseHTTPRequestHandler) -> bool:
            if BATCH not in request.path:
                return False
            asked = json.loads(uploads.requests[-1].body)["objects"]
            actions = {"upload": {"href": href}, "verify": {"href": href}}
            objects = [a | {"actions": actions} for a in asked]
            send(request, json.dumps({"objects": objects}).encode(), {})
            return True

        uploads.faults.append(batch)
        outcome = push(uploads, tmp_path)
        assert outcome.code in (9, 10), outcome.stderr
        assert other.requests or outcome.stderr
        assert [s for s in other.requests if "authorization" in s.headers] == []


def test_an_upload_that_a_hub_never_answers_has_an_end(
    uploads: UploadServer, tmp_path: Path
) -> None:
    trickle = endless(HEAD + b"X-A: ", then=b"a")
    uploads.faults.append(raw(trickle, of=CREATED, pause_s=0.3, methods="POST"))
    assert_refused(push(uploads, tmp_path, **HURRIED), (10,), "too slowly")


def test_a_push_with_a_proxy_that_cannot_be_is_a_usage_error(
    uploads: UploadServer, tmp_path: Path
) -> None:
    outcome = push(uploads, tmp_path, HTTP_PROXY="gopher://user:hunter2@proxy:1")
    assert_refused(outcome, (2,), "HTTP_PROXY")
    assert "hunter2" not in outcome.stderr
