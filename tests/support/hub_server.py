"""A small Hugging Face hub on this machine, for huggingface_hub itself to talk to.

It answers as the real one does: model info and trees (in pages), files by HEAD and GET with
ranges, weights by a redirect to a content host that is another origin, renamed models by a
redirect, and refusals with the hub's own codes and headers.

The client reads HF_ENDPOINT when it is imported, so tests run it in a process of its own.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

_REPO = r"(?P<repo>[^/]+/[^/]+)"
_REVISION = r"(?P<revision>[^/]+)"
_INFO = re.compile(rf"/api/models/{_REPO}(/revision/{_REVISION})?")
_TREE = re.compile(rf"/api/models/{_REPO}/tree/{_REVISION}")
_REFS = re.compile(rf"/api/models/{_REPO}/refs")
_FILE = re.compile(rf"/{_REPO}/resolve/{_REVISION}/(?P<file>.+)")
_CONTENT = re.compile(r"/content/(?P<sha256>[0-9a-f]{64})/(?P<file>.+)")
_TREE_PAGE = 5

#: Answers a request instead of the server; returns whether it did. Where it gives the request a
#: `spoil`, bodies go through that.
Fault = Callable[[BaseHTTPRequestHandler], bool]


@dataclass(frozen=True)
class Sent:
    """A request that came; its headers' names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Model:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False


class HubServer:
    """Serves models until the end of its context, weights from a second port.

    Attributes:
        requests: What came, in order, to both ports.
        faults: Each is asked before a request is answered.
        renamed: Old names of models to new ones.
    """

    def __init__(self) -> None:
        self.requests: list[Sent] = []
        self.faults: list[Fault] = []
        self.renamed: dict[str, str] = {}
        self._models: dict[str, Model] = {}
        self._hub = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(self._answer))
        self._content = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(self._answer_content))

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self._hub.server_port}"

    def add_model(
        self,
        repo: str,
        folder: Path,
        *,
        branch: str = "main",
        tag: str | None = None,
        token: str | None = None,
        gated: bool = False,
    ) -> str:
        """Adds a commit with the files of a folder; returns its sha.

        Args:
            repo: As `org/name`.
            folder: Its files, subfolders too.
            branch: Points to the commit afterwards.
            tag: Points to the commit for good.
            token: Who wants to see the model must send it.
            gated: Nobody may have its files, with or without a token.
        """
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        listing = json.dumps({n: hashlib.sha256(c).hexdigest() for n, c in files.items()})
        sha = hashlib.sha1(listing.encode()).hexdigest()
        model = self._models.setdefault(repo, Model())
        model.commits[sha] = files
        model.branches[branch] = sha
        if tag is not None:
            model.tags[tag] = sha
        model.token, model.gated = token, gated
        return sha

    def files_sent(self) -> list[str]:
        """The files that were fetched, in order."""
        matches = [
            _CONTENT.fullmatch(_path(sent.path)) or _FILE.fullmatch(_path(sent.path))
            for sent in self.requests
            if sent.method == "GET"
        ]
        return [match["file"] for match in matches if match]

    def __enter__(self) -> Self:
        for server in (self._hub, self._content):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in (self._hub, self._content):
            server.shutdown()
            server.server_close()

    def _handler(
        self, answer: Callable[[BaseHTTPRequestHandler], None]
    ) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

            def do_HEAD(self) -> None:
                self.spoil = lambda body: body  # the connection may have seen a request before
                headers = {name.lower(): value for name, value in self.headers.items()}
                hub.requests.append(Sent(self.command, self.path, headers))
                if not any(fault(self) for fault in list(hub.faults)):
                    answer(self)

            do_GET = do_HEAD  # noqa: N815

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = _path(request.path)
        if path == "/api/models":
            self._list(request)
            return
        matches = (pattern.fullmatch(path) for pattern in (_REFS, _TREE, _INFO, _FILE))
        match = next(filter(None, matches), None)
        if match and match["repo"] in self.renamed:
            new = request.path.replace(match["repo"], self.renamed[match["repo"]], 1)
            send(request, b"", {"Location": new}, status=307)
            return
        model = self._models.get(match["repo"]) if match else None
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if model is not None and model.token and token not in ("", model.token):
            message = "Invalid credentials in Authorization header"
            send(request, b"", {"X-Error-Message": message}, status=401)
        elif match is None or model is None or (model.token and not token):
            refuse(request, 401, "RepoNotFound")
        elif match.re is _REFS:
            refs = {
                kind: [{"name": n, "ref": n, "targetCommit": c} for n, c in names.items()]
                for kind, names in (("branches", model.branches), ("tags", model.tags))
            }
            send_json(request, refs | {"converts": []})
        else:
            self._answer_revision(request, match, model, with_token=bool(token))

    def _answer_revision(
        self,
        request: BaseHTTPRequestHandler,
        match: re.Match[str],
        model: Model,
        *,
        with_token: bool,
    ) -> None:
        revision = unquote(match["revision"] or "main")
        sha = {**model.branches, **model.tags}.get(revision, revision)
        files = model.commits.get(sha)
        if files is None:
            refuse(request, 404, "RevisionNotFound")
        elif match.re is _INFO:
            siblings = [{"rfilename": name} for name in files]
            send_json(request, {"_id": sha, "id": match["repo"], "sha": sha, "siblings": siblings})
        elif match.re is _TREE:
            self._send_tree(request, files)
        elif model.gated:
            refuse(request, 403 if with_token else 401, "GatedRepo")
        elif match["file"] not in files:
            refuse(request, 404, "EntryNotFound")
        else:
            self._send_file(request, match["file"], files[match["file"]], sha)

    def _list(self, request: BaseHTTPRequestHandler) -> None:
        asked = parse_qs(urlsplit(request.path).query)
        author, search = asked.get("author", [""])[0], asked.get("search", [""])[0]
        names = [n for n in self._models if n.startswith(f"{author}/" * bool(author))]
        send_json(request, [{"_id": n, "id": n} for n in names if search in n])

    def _send_tree(self, request: BaseHTTPRequestHandler, files: dict[str, bytes]) -> None:
        entries: list[dict[str, Any]] = []
        for name, content in files.items():
            entry = {"type": "file", "path": name, "size": len(content), "oid": git_blob(content)}
            if is_large(name):
                lfs = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
                entry |= {"lfs": lfs, "oid": git_blob(b"pointer to " + name.encode())}
            entries.append(entry)
        entries += [
            {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
            for folder in {n.rpartition("/")[0] for n in files} - {""}
        ]
        start = int(parse_qs(urlsplit(request.path).query).get("cursor", ["0"])[0])
        headers = {}
        if start + _TREE_PAGE < len(entries):
            following = (
                f"{self.url}{_path(request.path)}?recursive=true&cursor={start + _TREE_PAGE}"
            )
            headers["Link"] = f'<{following}>; rel="next"'
        send_json(request, entries[start : start + _TREE_PAGE], headers)

    def _send_file(
        self, request: BaseHTTPRequestHandler, name: str, content: bytes, commit: str
    ) -> None:
        headers = {"X-Repo-Commit": commit}
        if not is_large(name):
            send(request, content, headers | {"ETag": f'"{git_blob(content)}"'})
            return
        host = f"http://127.0.0.1:{self._content.server_port}"
        headers |= {
            "X-Linked-Etag": f'"{sha256(content)}"',
            "X-Linked-Size": str(len(content)),
            "Location": f"{host}/content/{sha256(content)}/{name}?Signature=of-the-content-host",
        }
        send(request, b"", headers, status=302)

    def _answer_content(self, request: BaseHTTPRequestHandler) -> None:
        match = _CONTENT.fullmatch(_path(request.path))
        commits = [c for model in self._models.values() for c in model.commits.values()]
        for files in commits if match else ():
            content = files.get(match["file"]) if match else None
            if match and content is not None and sha256(content) == match["sha256"]:
                send(request, content, {"ETag": f'"{match["sha256"]}"'})
                return
        refuse(request, 404, "EntryNotFound")


def _path(target: str) -> str:
    return target.partition("?")[0]


def is_large(name: str) -> bool:
    """Whether the hub keeps a file apart from git."""
    return name.endswith((".safetensors", ".bin", ".onnx", ".h5", "tokenizer.json"))


def sha256(content: bytes) -> str:
    """The ETag of a large file."""
    return hashlib.sha256(content).hexdigest()


def git_blob(content: bytes) -> str:
    """The ETag of a small file: git's id of it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def refuse(request: BaseHTTPRequestHandler, status: int, code: str, **headers: str) -> None:
    """Answers with one of the hub's errors."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    send(request, b"", {"X-Error-Code": code} | named, status=status)


def send_json(
    request: BaseHTTPRequestHandler, value: Any, headers: dict[str, str] | None = None
) -> None:
    """Answers with JSON."""
    send(
        request, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {})
    )


def send(
    request: BaseHTTPRequestHandler, content: bytes, headers: dict[str, str], *, status: int = 200
) -> None:
    """Answers with a body, or the part of it that a range asks for."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if asked and status == 200:
        start = int(asked[1])
        end = int(asked[2] or len(content) - 1)
        headers |= {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        content, status = content[start : end + 1], 206
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    if request.command != "HEAD":
        body = request.spoil(content)  # type: ignore[attr-defined]
        request.wfile.write(body)
        request.close_connection = request.close_connection or len(body) < len(content)
