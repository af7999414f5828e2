"""A small Hugging Face hub on this machine, for huggingface_hub itself to talk to.

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

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>[^/?]+))?(\?.*)?")
_TREE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/?]+)(\?.*)?")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>[^?]+)(\?.*)?")

#: Answers a request instead of the server; returns whether it did.
Fault = Callable[[BaseHTTPRequestHandler], bool]


@dataclass
class _Model:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False


class HubServer:
    """Serves models until the end of its context.

    Attributes:
        requests: Method and path of every request, in order.
        faults: Each is asked before a request is answered.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self._models: dict[str, _Model] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self._server.server_port}"

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
            gated: Nobody may have its files.
        """
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        listing = json.dumps({n: hashlib.sha256(c).hexdigest() for n, c in files.items()})
        sha = hashlib.sha1(listing.encode()).hexdigest()
        model = self._models.setdefault(repo, _Model())
        model.commits[sha] = files
        model.names[branch] = sha
        if tag is not None:
            model.names[tag] = sha
        model.token, model.gated = token, gated
        return sha

    def files_sent(self) -> list[str]:
        """The files that were fetched, in order."""
        matches = [_FILE.fullmatch(path) for method, path in self.requests if method == "GET"]
        return [match["file"] for match in matches if match]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

            def do_HEAD(self) -> None:
                hub._answer(self)

            def do_GET(self) -> None:
                hub._answer(self)

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append((request.command, request.path))
        if any(fault(request) for fault in self.faults):
            return
        matches = (pattern.fullmatch(request.path) for pattern in (_INFO, _TREE, _FILE))
        match = next(filter(None, matches), None)
        model = self._models.get(match["repo"]) if match else None
        wanted = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if match is None or model is None or (model.token and wanted != model.token):
            refuse(request, 401, "RepoNotFound")
            return
        revision = match["revision"] or "main"
        sha = model.names.get(revision, revision)
        files = model.commits.get(sha)
        if files is None:
            refuse(request, 404, "RevisionNotFound")
        elif match.re is _INFO:
            siblings = [{"rfilename": name} for name in files]
            info = {"_id": sha, "id": match["repo"], "sha": sha, "siblings": siblings}
            send(request, json.dumps(info).encode(), {"Content-Type": "application/json"})
        elif match.re is _TREE:
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
                for name, content in files.items()
            ]
            send(request, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        elif model.gated:
            refuse(request, 403, "GatedRepo")
        elif match["file"] not in files:
            refuse(request, 404, "EntryNotFound")
        else:
            content = files[match["file"]]
            send(request, content, {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": sha})


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def refuse(request: BaseHTTPRequestHandler, status: int, code: str) -> None:
    """Answers with one of the hub's errors."""
    send(request, b"", {"X-Error-Code": code}, status=status)


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
        request.wfile.write(content)
