"""The uploading side of the small hub: repositories that huggingface_hub itself can fill.

It answers as the real one does over its LFS protocol: a repository is made, the client asks which
files are large, sends those to a content host that is another origin, and commits.
"""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support import hub_server
from support.hub_server import HubServer, git_blob, is_large, refuse, send, send_json, sha256

_REPO = r"(?P<repo>[^/]+/[^/]+)"
_CREATE = re.compile(r"/api/repos/create")
_VALIDATE = re.compile(r"/api/validate-yaml")
_BRANCH = re.compile(rf"/api/models/{_REPO}/branch/(?P<branch>.+)")
_PREUPLOAD = re.compile(rf"/api/models/{_REPO}/preupload/(?P<revision>.+)")
_BATCH = re.compile(rf"/{_REPO}\.git/info/lfs/objects/batch")
_COMMIT = re.compile(rf"/api/models/{_REPO}/commit/(?P<revision>.+)")
_VERIFY = re.compile(r"/lfs/verify")
_OBJECT = re.compile(r"/lfs/(?P<oid>[0-9a-f]{64})")


class UploadServer(HubServer):
    """A hub that one token may write to.

    Attributes:
        token: Who writes must send it.
        private: The repositories that were made private.
        objects: Large files that came, by their sha256.
        pull_requests: Files of each pull request.
        messages: Of the commits.
    """

    def __init__(self, token: str = "hf_writer") -> None:
        super().__init__()
        self.token = token
        self.private: set[str] = set()
        self.objects: dict[str, bytes] = {}
        self.pull_requests: list[dict[str, bytes]] = []
        self.messages: list[str] = []
        routes = (
            (_CREATE, self._create), (_VALIDATE, self._validate), (_BRANCH, self._branch),
            (_PREUPLOAD, self._preupload), (_BATCH, self._batch), (_COMMIT, self._commit),
            (_VERIFY, self._verify),
        )  # fmt: skip
        hub, answer = self, self._hub.RequestHandlerClass

        class Handler(answer):  # type: ignore[valid-type, misc]
            def do_POST(self) -> None:  # noqa: N802
                body = _begin(hub, self)
                if body is None:
                    return
                path = self.path.partition("?")[0]
                for pattern, route in routes:
                    match = pattern.fullmatch(path)
                    if match:
                        if self.headers.get("Authorization") != f"Bearer {hub.token}":
                            refuse(self, 401, "RepoNotFound")
                            return
                        route(self, match, body)
                        return
                refuse(self, 404, "EntryNotFound")

        class ContentHandler(self._content.RequestHandlerClass):  # type: ignore[misc, name-defined]
            def do_PUT(self) -> None:  # noqa: N802
                body = _begin(hub, self)
                match = _OBJECT.fullmatch(self.path.partition("?")[0])
                if body is None or match is None:
                    return
                # The address is signed; a token is not for this host to see.
                assert "Authorization" not in self.headers
                if hashlib.sha256(body).hexdigest() != match["oid"]:
                    send(self, b"", {}, status=400)
                    return
                hub.objects[match["oid"]] = body
                send(self, b"", {})

        self._hub.RequestHandlerClass = Handler
        self._content.RequestHandlerClass = ContentHandler

    def files_of(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a branch."""
        model = self._models[repo]
        return model.commits[model.branches[revision]]

    def uploads(self) -> list[str]:
        """The large files that were sent, by their sha256, in order."""
        return [
            sent.path.partition("?")[0].rpartition("/")[2]
            for sent in self.requests
            if sent.method == "PUT"
        ]

    def _create(self, request: Any, _match: re.Match[str], body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked['organization'] or 'writer'}/{asked['name']}"
        url = {"url": f"{self.url}/{repo}", "name": repo, "id": repo}
        if repo in self._models:
            send(
                request, json.dumps(url).encode(), {"Content-Type": "application/json"}, status=409
            )
            return
        model = self._models.setdefault(repo, hub_server.Model())
        first = hashlib.sha1(repo.encode()).hexdigest()
        model.commits[first], model.branches["main"] = {}, first
        if asked.get("visibility") == "private":
            self.private.add(repo)
            model.token = self.token
        send_json(request, url)

    def _branch(self, request: Any, match: re.Match[str], _body: bytes) -> None:
        model = self._models[match["repo"]]
        if match["branch"] in model.branches:
            send(request, b"{}", {}, status=409)
            return
        model.branches[match["branch"]] = model.branches["main"]
        send_json(request, {})

    def _validate(self, request: Any, _match: re.Match[str], _body: bytes) -> None:
        send_json(request, {"errors": [], "warnings": []})

    def _preupload(self, request: Any, match: re.Match[str], body: bytes) -> None:
        files = self.files_of(match["repo"], match["revision"])
        send_json(
            request,
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                        "shouldIgnore": False,
                        "oid": _oid(file["path"], files.get(file["path"])),
                    }
                    for file in json.loads(body)["files"]
                ]
            },
        )

    def _batch(self, request: Any, _match: re.Match[str], body: bytes) -> None:
        host = f"http://127.0.0.1:{self._content.server_port}"
        objects: list[dict[str, Any]] = []
        for asked in json.loads(body)["objects"]:
            answer = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.objects:  # else there is nothing to do
                upload = {"href": f"{host}/lfs/{asked['oid']}?Signature=of-the-content-host"}
                answer["actions"] = {
                    "upload": upload,
                    "verify": {"href": f"{self.url}/lfs/verify"},
                }
            objects.append(answer)
        send_json(request, {"transfer": "basic", "objects": objects})

    def _verify(self, request: Any, _match: re.Match[str], body: bytes) -> None:
        send(request, b"", {}, status=200 if json.loads(body)["oid"] in self.objects else 404)

    def _commit(self, request: Any, match: re.Match[str], body: bytes) -> None:
        files = dict(self.files_of(match["repo"], match["revision"]))
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.messages.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            else:
                assert entry["key"] == "deletedFile"
                del files[value["path"]]
        names = json.dumps({n: sha256(c) for n, c in files.items()}) + str(len(self.messages))
        sha = hashlib.sha1(names.encode()).hexdigest()
        url = f"{self.url}/{match['repo']}"
        answer = {"success": True, "commitOid": sha, "commitUrl": f"{url}/commit/{sha}"}
        if parse_qs(urlsplit(request.path).query).get("create_pr") == ["1"]:
            self.pull_requests.append(files)
            answer["pullRequestUrl"] = f"{url}/discussions/{len(self.pull_requests)}"
        else:
            model = self._models[match["repo"]]
            model.commits[sha] = files
            model.branches[match["revision"]] = sha
        send_json(request, answer)


def _oid(name: str, content: bytes | None) -> str | None:
    if content is None:
        return None
    return sha256(content) if is_large(name) else git_blob(content)


def _begin(hub: HubServer, request: BaseHTTPRequestHandler) -> bytes | None:
    """Reads a request's body and notes both; None when a fault answers it."""
    request.spoil = lambda content: content  # type: ignore[attr-defined]
    if request.headers.get("Transfer-Encoding") == "chunked":
        body = b""
        while size := int(request.rfile.readline(), 16):
            body += request.rfile.read(size)
            request.rfile.readline()
        request.rfile.readline()
    else:
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
    headers = {name.lower(): value for name, value in request.headers.items()}
    hub.requests.append(hub_server.Sent(request.command, request.path, headers, body))
    return None if any(fault(request) for fault in list(hub.faults)) else body
