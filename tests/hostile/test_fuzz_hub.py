"""Whatever a hub answers, it is read or refused, and nothing is written outside the cache.

As test_fuzz.py: a few hundred answers in CI, `make fuzz` for longer.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import constants, errors
from hypothesis import given
from hypothesis import strategies as st

from embconvert.errors import EmbconvertError, NetworkError
from embconvert.hub import answer_values, answers
from embconvert.hub.guard import Guard
from embconvert.hub.http import asked_wait_s, guarded_client
from embconvert.hub.limits import Limits
from embconvert.hub.stored import CachedModel
from embconvert.hub.wanted import needed_files
from support.fuzzing import JSON, damaged, fuzz, mutated
from support.hub_server import git_blob

# Not reached by any: every answer is made here.
ENDPOINT, COMMIT = "http://127.0.0.1:9", "0123456789" * 4
CONTENT = b'{"model_type": "bert"}'
SHA = "a" * 64

INFO = {"_id": "1", "id": "org/model", "sha": COMMIT, "siblings": [{"rfilename": "config.json"}]}
TREE = [
    {"type": "directory", "path": "1_Pooling", "oid": "0" * 40, "size": 0},
    {"type": "file", "path": "config.json", "size": 22, "oid": git_blob(CONTENT)},
    {"type": "file", "path": "w.safetensors", "size": 9, "oid": "0" * 40, "xetHash": SHA,
     "lfs": {"oid": SHA, "size": 9, "pointerSize": 1}},
]  # fmt: skip
REFS = {"branches": [{"name": "main", "ref": "m", "targetCommit": COMMIT}], "tags": [],
        "converts": []}  # fmt: skip
BATCH = {"transfer": "basic", "objects": [{"oid": SHA, "size": 9, "actions": {
    "upload": {"href": "https://s3.example/x", "header": {"chunk_size": "5", "1": "https://a/b"}},
    "verify": {"href": f"{ENDPOINT}/verify"}}}]}  # fmt: skip
MODES = {"files": [{"path": "a", "uploadMode": "lfs", "shouldIgnore": False, "oid": None}]}
DONE = {"commitUrl": f"{ENDPOINT}/org/model/commit/x", "commitOid": COMMIT,
        "pullRequestUrl": f"{ENDPOINT}/org/model/discussions/1"}  # fmt: skip
PATHS = {
    "/api/models/org/model": INFO, "/api/models/org/model/tree/main": TREE,
    "/api/models/org/model/refs": REFS, "/org/model.git/info/lfs/objects/batch": BATCH,
    "/api/models/org/model/preupload/main": MODES, "/api/models/org/model/commit/main": DONE,
    "/api/models": [INFO], "/api/repos/create": {"url": f"{ENDPOINT}/org/model"},
    "/api/validate-yaml": {"errors": [{"message": "m"}], "warnings": []},
}  # fmt: skip

ODD = st.sampled_from(
    ["", "..", "../../x", "/x", "a/../b", "//x", "\x1b[31m", "9" * 400, "-1", "1.5", "NaN", "null",
     "W/", '"', "bytes 1-", "bytes 5-1/3", "http://[::1", "http://a:99999/", "file:///x",
     f"{ENDPOINT}/x", "https://else.example/x", f'<{ENDPOINT}/p>; rel="next"', "<>;rel=next",
     '<http://x>; rel="next", <', "gzip", COMMIT, SHA, '"api";r=0;t=99', "Mon, 01 Jan 9999999"]
)  # fmt: skip
VALUE = ODD | st.text(st.characters(codec="ascii", exclude_characters="\r\n\0"), max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["ETag", "X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit", "Location", "Link",
         "Content-Range", "Content-Encoding", "Content-Type", "X-Xet-Hash", "X-Xet-Cas-Url",
         "X-Xet-Refresh-Route", "X-Xet-Token-Expiration", "X-Xet-Access-Token", "X-Error-Code",
         "X-Error-Message", "X-HF-Warning", "Retry-After", "RateLimit"]
    ),
    VALUE, max_size=4,
)  # fmt: skip
STATUS = st.sampled_from([200] * 8 + [101, 201, 204, 206, 304, 307, 400, 401, 403, 404, 409, 416])
BODY = st.one_of(
    st.binary(max_size=50),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"[" * 60_000, b'{"a":' * 60_000, b"<html>", b"9" * 5000]),
)


def client_for(answer: Callable[[httpx2.Request], httpx2.Response]) -> type[httpx2.Client]:
    """A client whose requests reach a function."""
    guarded, _ = guarded_client(1.0, ENDPOINT, Limits())

    class Client(guarded):  # type: ignore[misc, valid-type]
        def _init_transport(self, *_: Any, **__: Any) -> httpx2.MockTransport:
            return httpx2.MockTransport(answer)

        def _init_proxy_transport(self, *_: Any, **__: Any) -> httpx2.MockTransport:
            return httpx2.MockTransport(answer)

    return Client


def is_read_or_refused(call: Callable[[], Any]) -> None:
    """Calls; what is raised is one of the errors that this program turns into its own."""
    try:
        call()
    except EmbconvertError as error:
        assert error.message
        assert error.hint
    except (errors.HfHubHTTPError, httpx2.HTTPError, OSError):
        pass


@pytest.fixture(scope="module")
def scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="embconvert-fuzz-hub-"))


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    yield
    huggingface_hub.set_client_factory(httpx2.Client)


@fuzz
@given(st.data(), STATUS, HEADERS, BODY | st.none())
def test_answers_of_the_api(data: st.DataObject, status: int, headers: Any, body: Any) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        good: Any = TREE if "/tree/" in request.url.path else REFS
        good = INFO if request.url.path.endswith("/model") else good
        content = json.dumps(data.draw(mutated(good))).encode() if body is None else body
        # The first page only, so that the listing has an end.
        sent = {} if "p" in request.url.path[-2:] else headers
        return httpx2.Response(status, headers=sent, stream=httpx2.ByteStream(content))

    huggingface_hub.set_client_factory(client_for(answer))
    api = huggingface_hub.HfApi(endpoint=ENDPOINT, token=False)
    is_read_or_refused(lambda: api.model_info("org/model").sha)
    is_read_or_refused(lambda: list(api.list_repo_tree("org/model", recursive=True)))
    is_read_or_refused(lambda: api.list_repo_refs("org/model"))


@fuzz
@given(STATUS, STATUS, HEADERS, HEADERS, st.binary(max_size=40) | st.just(CONTENT))
def test_answers_for_a_file(
    scratch: Path, status: int, then: int, headers: Any, others: Any, content: bytes
) -> None:
    good = {"ETag": f'"{git_blob(CONTENT)}"', "X-Repo-Commit": COMMIT}

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "HEAD":
            return httpx2.Response(status, headers=good | headers)
        return httpx2.Response(then, headers=others, stream=httpx2.ByteStream(content))

    huggingface_hub.set_client_factory(client_for(answer))
    home = Path(tempfile.mkdtemp(dir=scratch))
    is_read_or_refused(
        lambda: huggingface_hub.hf_hub_download(
            "org/model", "config.json", revision=COMMIT, endpoint=ENDPOINT, token=False,
            cache_dir=home / "cache",
        )
    )  # fmt: skip
    assert [path.name for path in home.iterdir() if path.name != "cache"] == []
    model = home / "cache" / "models--org--model"
    for path in model.rglob("*"):
        kind = path.relative_to(model).parts[0]
        assert kind in ("blobs", "snapshots", "refs")
        assert kind != "blobs" or path.is_dir() or answer_values.CONTENT_ID.fullmatch(path.name)
    shutil.rmtree(home)


@fuzz
@given(st.sampled_from(sorted(PATHS)), st.data())
def test_each_answer_is_reduced_to_what_is_known(path: str, data: st.DataObject) -> None:
    value = data.draw(mutated(PATHS[path]) | JSON)
    read = answers.reader(path)
    assert read is not None
    try:
        known = read(value)
    except ValueError as error:
        assert str(error)
        return
    assert read(known) is not None, "what is known passes again"
    assert len(json.dumps(known)) <= 2 * len(json.dumps(value)) + 300


def test_the_good_answers_are_good() -> None:
    for path, value in PATHS.items():
        read = answers.reader(path)
        assert read is not None
        assert read(value)


@fuzz
@given(VALUE | st.text(max_size=60) | JSON, st.sampled_from(["", ENDPOINT, "https://h/a?b"]))
def test_addresses(text: Any, base: str) -> None:
    try:
        parts = answer_values.address(text, base=base)
    except ValueError:
        return
    assert parts.scheme in ("http", "https")
    assert httpx2.URL(parts.geturl()).host
    assert answer_values.origin(parts)[2] in range(1, 65536)


@fuzz
@given(st.text(max_size=30) | st.lists(st.sampled_from(["..", ".", "", "a", "é"])).map("/".join))
def test_file_names(scratch: Path, name: str) -> None:
    if answer_values.is_file_name(name):
        below = (scratch / "names" / name).resolve()
        assert below.is_relative_to(scratch / "names")
        assert below != scratch / "names"
        assert needed_files([name], [""], python=True) in ([], [name])


@fuzz
@given(HEADERS)
def test_waits(headers: dict[str, str]) -> None:
    wait = asked_wait_s(headers)
    assert wait is None or wait >= 0


LISTING = {
    "format_version": 1,
    "files": {
        "config.json": {"size": 22, "blob_id": "0" * 40},
        "w.safetensors": {"size": 9, "blob_id": "0" * 40, "lfs_sha256": SHA, "lfs_size": 9},
    },
}


@fuzz
@given(
    mutated(LISTING).map(lambda value: json.dumps(value).encode())
    | damaged(json.dumps(LISTING).encode()),
    st.binary(max_size=60),
)
def test_notes_in_the_cache(scratch: Path, listing: bytes, reference: bytes) -> None:
    model = CachedModel(scratch / "notes", "org/model")
    for name, content in (("trees", listing), ("refs", reference)):
        (model.folder / name).mkdir(parents=True, exist_ok=True)
        (model.folder / name / (f"{COMMIT}.json" if name == "trees" else "main")).write_bytes(
            content
        )
    for call in (model.check, lambda: model.listing(COMMIT), lambda: model.commit("main")):
        is_read_or_refused(call)


def test_a_file_that_begins_anew_for_ever_is_given_up() -> None:
    """The library asks to resume, and the hub begins from the start each time."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        length = {"Content-Length": str(1 << 24)}
        return httpx2.Response(200, headers=length, stream=httpx2.ByteStream(bytes(1 << 24)))

    client = client_for(answer)()
    url = f"{ENDPOINT}/org/model/resolve/{COMMIT}/config.json"
    with client.stream("GET", url) as whole:
        assert len(whole.read()) == 1 << 24

    def resume() -> None:
        for _ in range(20):
            with client.stream("GET", url, headers={"Range": "bytes=5-"}) as response:
                response.read()

    with pytest.raises(NetworkError, match="again and again"):
        resume()


def test_the_token_stays_at_the_hub() -> None:
    guard = Guard(ENDPOINT)
    for url, kept in (
        (f"{ENDPOINT}/x", True), ("https://huggingface.co/x", True),
        ("http://huggingface.co", False),
        ("http://127.0.0.1:10/x", False), ("https://huggingface.co.example/x", False),
        ("http://127.0.0.1:9@else.example/x", False),
    ):  # fmt: skip
        request = httpx2.Request("GET", url, headers={"Authorization": "Bearer hf_x"})
        guard.check_request(request)
        assert ("Authorization" in request.headers) == kept, url
